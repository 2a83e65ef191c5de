//! Settings of a hub, at its start and for changes while it runs.

use std::path::PathBuf;
use std::time::Duration;

use super::clock::Micros;
use super::ops::exec::Plan;

#[derive(Clone, Debug)]
pub struct Settings {
    /// The header `Koji-Version` (sent by hubs from 1.35 on) and the answer of `getKojiVersion`.
    /// Hubs below 1.35 have no calls `repo.*`.
    pub version: String,
    /// Prefix of the topics of messages.
    pub topic_prefix: String,
    /// Address of the web interface, as it appears in messages.
    pub base_url: String,
    /// Directory that is served under `/kojifiles/`: `repos`, `packages`, `work`, `scratch`.
    pub topdir: PathBuf,
    /// Time after which every call of a session gets fault 1007.
    pub session_timeout: Duration,
    /// Lag and rounding step of `repo.request` without `min_event`. It accepts a repository this
    /// much older than the last change.
    pub repo_lag: Duration,
    pub repo_lag_window: Duration,
    /// How often a failed repository is retried.
    pub repo_retries: i64,
    /// The hub's policies that kojid checks for a scratch `build`: whether ordinary users may bind
    /// it to a repository (`build_from_repo_id`) and build at all (`build_rpm`). The defaults are
    /// those of Koji. Koji checks `build_from_srpm` only for builds that are not scratch builds.
    /// This hub always checks it if it is set to refuse.
    pub may_use_repo_id: bool,
    pub may_use_srpm: bool,
    pub may_build: bool,
    /// `LoginCreatesUser`.
    pub login_creates_user: bool,
    /// User who is logged in over plain HTTP without the header `Koji-Test-User`.
    pub trusted_user: Option<String>,
    /// Longest request, in bytes.
    pub max_request: usize,
    /// `ServerOffline`, with its message.
    pub offline: Option<String>,
    /// `LockOut`.
    pub lockout: bool,
    /// Whether every call gets fault 1014.
    pub database_down: bool,
    /// Whether old sessions in the URL are accepted (`DisableURLSessions` off).
    pub url_sessions: bool,
    /// How many seconds the web server's clock is ahead of ours, in the header `Date`.
    pub clock_ahead: i64,
    /// Method and argument (text or number). A call of this method with this argument is answered
    /// with a fault, alone or within a `multiCall`.
    pub broken: Vec<(String, String)>,
    /// Elements of a `multiCall` with this method are answered with this fault.
    pub element_fault: Option<(String, i64, String)>,
    /// What the builders do.
    pub plan: Plan,
    /// Time at which the tables begin, for tests that need a certain one.
    pub begin: Option<Micros>,
}

impl Settings {
    pub fn new(topdir: impl Into<PathBuf>) -> Self {
        Self {
            version: "1.35.3".to_owned(),
            topic_prefix: "org.fedoraproject.lab".to_owned(),
            base_url: "https://localhost".to_owned(),
            topdir: topdir.into(),
            session_timeout: Duration::from_hours(24),
            repo_lag: Duration::ZERO,
            repo_lag_window: Duration::from_mins(10),
            repo_retries: 1,
            may_use_repo_id: false,
            may_use_srpm: true,
            may_build: true,
            login_creates_user: true,
            trusted_user: None,
            max_request: 4 << 20,
            offline: None,
            lockout: false,
            database_down: false,
            url_sessions: true,
            clock_ahead: 0,
            broken: Vec::new(),
            element_fault: None,
            plan: Plan::default(),
            begin: None,
        }
    }

    fn minor(&self) -> (u32, u32) {
        let mut numbers = self.version.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }

    /// Checks whether this hub has the calls `repo.*` and the version header.
    pub fn has_repo_calls(&self) -> bool {
        self.minor() >= (1, 35)
    }

    /// Checks whether session ids come in headers. Older hubs take them only from the URL.
    pub fn has_header_auth(&self) -> bool {
        self.minor() >= (1, 31)
    }
}
