//! What a hub is started with, and what a test switches while it runs.

use std::path::PathBuf;
use std::time::Duration;

use super::clock::Micros;
use super::ops::exec::Plan;

#[derive(Clone, Debug)]
pub struct Settings {
    /// The header `Koji-Version` (sent by hubs from 1.35 on) and the answer of `getKojiVersion`. Below 1.35 there are
    /// no calls `repo.*`.
    pub version: String,
    /// Before the topics of messages.
    pub topic_prefix: String,
    /// Where the web interface would be; in messages.
    pub base_url: String,
    /// Directory that is served under `/kojifiles/`: `repos`, `packages`, `work`, `scratch`.
    pub topdir: PathBuf,
    /// After which every call of a session gets fault 1007.
    pub session_timeout: Duration,
    /// `repo.request` without `min_event` is content with a repository this much older than the last change, rounded to
    /// the step.
    pub repo_lag: Duration,
    pub repo_lag_window: Duration,
    /// How often a repository that failed is tried again.
    pub repo_retries: i64,
    /// The hub's policies that kojid asks for a scratch `build`: whether ordinary users may bind it to a repository
    /// (`build_from_repo_id`) and build at all (`build_rpm`), by Koji's own rules where nobody configured them. Koji
    /// asks `build_from_srpm` only for what is no scratch build; a hub that refuses it asks always.
    pub may_use_repo_id: bool,
    pub may_use_srpm: bool,
    pub may_build: bool,
    /// `LoginCreatesUser`.
    pub login_creates_user: bool,
    /// Over plain HTTP, log in whom the header `Koji-Test-User` names, or this user.
    pub trusted_user: Option<String>,
    /// Longest request.
    pub max_request: usize,
    /// `ServerOffline`, with its message.
    pub offline: Option<String>,
    /// `LockOut`.
    pub lockout: bool,
    /// Every call gets fault 1014.
    pub database_down: bool,
    /// Old sessions in the URL (`DisableURLSessions` off).
    pub url_sessions: bool,
    /// By how many seconds the web server's clock is ahead of ours, in the header `Date`.
    pub clock_ahead: i64,
    /// Calls of this method with an argument that is this text or number, alone or within a `multiCall`, are answered
    /// with a fault.
    pub broken: Vec<(String, String)>,
    /// Elements of a `multiCall` with this method are answered with this fault.
    pub element_fault: Option<(String, i64, String)>,
    /// What builders do.
    pub plan: Plan,
    /// The time the tables begin, for tests that need a certain one.
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

    /// Whether this hub has the calls `repo.*` and the header with the version.
    pub fn has_repo_calls(&self) -> bool {
        self.minor() >= (1, 35)
    }

    /// Whether session ids come in headers; before, only in the URL.
    pub fn has_header_auth(&self) -> bool {
        self.minor() >= (1, 31)
    }
}
