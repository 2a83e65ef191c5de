//! `koschei doctor`: checks whether the service will work, and advises what to fix.
//!
//! The command changes nothing, with two exceptions. An existing queue of the broker is bound
//! again, as `serve` does at each start. A session of the hub begins and ends. [`hub`] checks a hub
//! and its collections, [`place`] checks the machine, the database and the bus.

mod hub;
mod place;

use std::future::Future;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;

use super::out::colours;
use super::{CliError, DbArgs, Done, FOUND, with_causes};
use crate::base::clock::Stopwatch;
use crate::config::Config;
use crate::service::kerberos;

/// Check whether the service will work with this configuration, and advise what to fix.
///
/// It checks the configuration, each hub (answers, version, clock, login, permissions), the
/// targets, tags and repositories of the collections, the cache directory, the database, the bus,
/// NATS, and the address of the pages. It changes nothing and can run beside the service.
#[derive(Args, Debug)]
#[command(after_help = "Exit status: 0 no check failed, 5 a check failed.\n\nExample:\n  koschei doctor --config \
    /etc/koschei/koschei.toml --db /var/lib/koschei/koschei.db")]
pub(crate) struct DoctorArgs {
    /// Configuration file; deploy/koschei.toml explains every key
    #[arg(long, value_name = "FILE", env = "KOSCHEI_CONFIG")]
    config: PathBuf,
    #[command(flatten)]
    db: DbArgs,
    /// Time limit of one check
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Result of a check.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    /// The service will work.
    Ok,
    /// The service will work, but not as well as it could.
    Warning,
    /// The service will not work.
    Failed,
    /// The check was not made because an earlier one failed.
    Unchecked,
}

impl Status {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Unchecked => "unchecked",
        }
    }

    fn style(self) -> Style {
        let colour = match self {
            Self::Ok => AnsiColor::Green,
            Self::Warning => AnsiColor::Yellow,
            Self::Failed => AnsiColor::Red,
            Self::Unchecked => AnsiColor::BrightBlack,
        };
        Style::new().fg_color(Some(colour.into()))
    }
}

/// What a check found, and the value that later checks need.
struct Verdict<T = ()> {
    status: Status,
    found: String,
    advice: Option<String>,
    value: Option<T>,
}

impl<T> Verdict<T> {
    fn ok(found: impl Into<String>) -> Self {
        Self { status: Status::Ok, found: found.into(), advice: None, value: None }
    }

    fn warning(found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { status: Status::Warning, found: found.into(), advice: Some(advice.into()), value: None }
    }

    fn failed(found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { status: Status::Failed, found: found.into(), advice: Some(advice.into()), value: None }
    }

    /// A failed call: what was being done, and the error.
    fn error(doing: &str, error: &dyn std::error::Error, advice: impl Into<String>) -> Self {
        Self::failed(with_causes(&format!("failed to {doing}"), error), advice)
    }

    fn with(mut self, value: T) -> Self {
        self.value = Some(value);
        self
    }
}

/// A line of the report.
#[derive(Serialize, Debug)]
struct Finding {
    /// The check. Programs read these words, so they do not change.
    check: &'static str,
    /// The hub or collection.
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<String>,
    status: Status,
    found: String,
    /// Advice.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
    seconds: f64,
}

/// Makes checks, and prints each finding at once.
struct Doctor {
    /// Time limit of one check.
    limit: Duration,
    json: bool,
    colours: bool,
    bar: ProgressBar,
    findings: Vec<Finding>,
    /// The first error of printing a finding.
    deaf: Option<std::io::Error>,
}

impl Doctor {
    fn new(args: &DoctorArgs) -> Self {
        // The bar shows nothing if standard error is not a terminal.
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(Duration::from_millis(100));
        let limit = Duration::from_secs(args.timeout);
        Self { limit, json: args.json, colours: colours(), bar, findings: Vec::new(), deaf: None }
    }

    /// Makes a check within the time limit.
    async fn check<T>(
        &mut self,
        check: &'static str,
        of: Option<&str>,
        doing: impl Future<Output = Verdict<T>>,
    ) -> Option<T> {
        self.bar.set_message(of.map_or_else(|| format!("checking {check}"), |of| format!("checking {check} of {of}")));
        let watch = Stopwatch::start();
        // The future is boxed because checks hold whole answers of hubs.
        let verdict = tokio::time::timeout(self.limit, Box::pin(doing)).await.unwrap_or_else(|_| {
            let found = format!("no answer within {} s", self.limit.as_secs());
            Verdict::failed(found, "check the network and firewalls on the way, or raise --timeout")
        });
        let Verdict { status, found, advice, value } = verdict;
        let of = of.map(str::to_owned);
        let seconds = (watch.seconds() * 1000.0).round() / 1000.0;
        self.say(Finding { check, of, status, found, advice, seconds });
        value
    }

    /// Reports checks that cannot be made, and why.
    fn unchecked(&mut self, checks: &[&'static str], of: &str, why: &str) {
        for check in checks {
            let (of, found) = (Some(of.to_owned()), why.to_owned());
            self.say(Finding { check, of, status: Status::Unchecked, found, advice: None, seconds: 0.0 });
        }
    }

    fn say(&mut self, finding: Finding) {
        if !self.json && self.deaf.is_none() {
            let text = line(&finding, self.colours);
            let said = self.bar.suspend(|| crate::cli::out::stdout().write_all(text.as_bytes()));
            self.deaf = said.err();
        }
        self.findings.push(finding);
    }

    fn count(&self, status: Status) -> usize {
        self.findings.iter().filter(|f| f.status == status).count()
    }

    /// Prints the summary.
    fn end(self) -> Done {
        self.bar.finish_and_clear();
        if let Some(deaf) = self.deaf {
            return Err(CliError::Output(deaf));
        }
        let (failed, warnings, unchecked) =
            (self.count(Status::Failed), self.count(Status::Warning), self.count(Status::Unchecked));
        let mut out = crate::cli::out::stdout();
        if self.json {
            let report = serde_json::json!({
                "checks": self.findings, "failed": failed, "warnings": warnings, "unchecked": unchecked,
            });
            writeln!(out, "{report}")?;
        } else {
            let left = if unchecked > 0 { format!(", {unchecked} not made because of that") } else { String::new() };
            writeln!(out, "{} checks: {failed} failed, {warnings} warnings{left}", self.findings.len())?;
        }
        Ok(if failed > 0 { ExitCode::from(FOUND) } else { ExitCode::SUCCESS })
    }
}

/// Formats a finding for people: what was found, and below it what to do.
fn line(finding: &Finding, colours: bool) -> String {
    let word = format!("{:<9}", finding.status.word());
    let word = match colours {
        true => format!("{s}{word}{s:#}", s = finding.status.style()),
        false => word,
    };
    let what = match &finding.of {
        Some(of) => format!("{} {of}", finding.check),
        None => finding.check.to_owned(),
    };
    let mut text = format!("{word}  {what}: {}\n", finding.found);
    if let Some(advice) = &finding.advice {
        text.push_str(&format!("           what to do: {advice}\n"));
    }
    text
}

/// Runs work that may block for ever, such as reading a network disk, on a thread of its own.
async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, heard) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().spawn(move || {
        // The caller may have given up.
        let _gone = done.send(work());
    });
    thread.ok()?;
    heard.await.ok()
}

pub(super) async fn run(args: &DoctorArgs) -> Done {
    let mut doctor = Doctor::new(args);
    let config = doctor.check("configuration", None, async { configuration(args) }).await;
    if let Some(config) = &config {
        for hub in &config.hubs {
            Box::pin(hub::examine(&mut doctor, config, hub)).await;
        }
        doctor.check("cache", None, place::cache(&config.serve)).await;
    }
    doctor.check("database", None, place::database(&args.db.db)).await;
    if let Some(verdict) = place::overrides(&args.db.db, doctor.limit).await {
        doctor.check("overrides", None, async { verdict }).await;
    }
    if let Some(config) = &config {
        doctor.check("bus", None, place::bus(&config.bus, doctor.limit)).await;
        if config.announce.enabled {
            doctor.check("announcements", None, place::announcing(config, doctor.limit)).await;
        }
        if config.jetstream.url.is_some() {
            doctor.check("jetstream", None, place::nats(config)).await;
        }
        doctor.check("pages", None, place::pages(config.serve.listen)).await;
    }
    doctor.end()
}

fn configuration(args: &DoctorArgs) -> Verdict<Config> {
    let at = args.config.display();
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(e) => return Verdict::error_of(&e, "correct it; deploy/koschei.toml explains every key"),
    };
    if let Err(e) = kerberos::settle(&config) {
        return Verdict::error_of(&e, "correct `keytab`; one can hold the keys of several principals (`ktutil`)");
    }
    let passive = if config.policy.passive { "; passive: nothing will be submitted" } else { "" };
    let (hubs, collections) = (config.hubs.len(), config.collections.len());
    let found = format!("{at} can be used; hubs: {hubs}, collections: {collections}{passive}");
    let verdict = if hubs == 0 {
        Verdict::failed(found, "add a `[[hub]]`; to work without a hub, use `koschei ingest` or `koschei follow`")
    } else if collections == 0 {
        Verdict::warning(
            found,
            "no collection is watched: add a `[[collection]]`, or create one with `koschei admin create-collection`",
        )
    } else {
        Verdict::ok(found)
    };
    verdict.with(config)
}

impl<T> Verdict<T> {
    /// A failed call whose error says what was being done.
    fn error_of(error: &dyn std::error::Error, advice: impl Into<String>) -> Self {
        let text = crate::model::causes::with_causes(error);
        Self::failed(format!("failed to {text}"), advice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(status: Status) -> Finding {
        Finding {
            check: "login",
            of: Some("primary".to_owned()),
            status,
            found: "nobody".to_owned(),
            advice: Some("log in".to_owned()),
            seconds: 0.0,
        }
    }

    #[test]
    fn a_finding_as_people_read_it() {
        let plain = line(&finding(Status::Warning), false);
        assert_eq!(plain, "warning    login primary: nobody\n           what to do: log in\n");
        let coloured = line(&finding(Status::Failed), true);
        assert!(coloured.starts_with("\u{1b}[31mfailed"), "{coloured:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_ends_in_time() {
        let args = DoctorArgs { config: PathBuf::new(), db: DbArgs { db: String::new() }, timeout: 20, json: true };
        let mut doctor = Doctor::new(&args);
        let value: Option<()> = doctor.check("bus", None, std::future::pending()).await;
        assert_eq!(value, None);
        assert_eq!(doctor.findings[0].status, Status::Failed);
        assert!(doctor.findings[0].found.contains("within 20 s"));
    }

    #[tokio::test]
    async fn what_blocks_has_a_thread_of_its_own() {
        assert_eq!(on_thread(|| 7).await, Some(7));
    }
}
