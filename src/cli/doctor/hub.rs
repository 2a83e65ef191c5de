//! Checks of a hub and of the collections on it.

mod permissions;
mod repository;
mod tags;

use std::time::Duration;

use self::permissions::permissions;
use self::repository::repository;
use self::tags::{building, tags};
use super::{Doctor, Verdict, on_thread};
use crate::base::clock;
use crate::config::{CollectionConfig, Config, Executor, HubConfig};
use crate::koji::client::{Auth, HubSettings};
use crate::koji::files::Place;
use crate::koji::session::Session;
use crate::koji::{HubClient, HubError, calls};
use crate::model::Timestamp;
use crate::model::causes::with_causes;
use crate::service::live_hub;

/// From this version on, a hub has every method that Koschei calls.
const WHOLE: (u32, u32) = (1, 35);
/// From this version on, a hub accepts sessions in headers. Koschei sends them in no other way.
const SESSIONS: (u32, u32) = (1, 31);
/// From this difference of clocks on, the check warns, in seconds.
const SKEW_WARNING: f64 = 5.0;
/// From this difference of clocks on, Kerberos refuses a login, and Koschei may miss its own tasks
/// when it searches them by time. In seconds.
const SKEW_FAILED: f64 = 300.0;

const OF_HUB: [&str; 4] = ["hub", "clock", "login", "permissions"];
const OF_COLLECTION: [&str; 2] = ["tags", "repository"];
/// Checks of a collection of another hub that is built on this one.
const OF_GUEST: [&str; 1] = ["building"];

/// Checks a hub, and the collections on it.
pub(super) async fn examine(doctor: &mut Doctor, config: &Config, hub: &HubConfig) {
    let name = hub.name.as_str();
    let on_it = |c: &&CollectionConfig| c.hub.as_ref().unwrap_or(&config.default_hub) == name;
    let collections: Vec<&CollectionConfig> = config.collections.iter().filter(on_it).collect();
    let built_on = |c: &&CollectionConfig| c.builds_on.as_ref().and_then(|b| b.hub.as_deref()) == Some(name);
    let guests: Vec<&CollectionConfig> = config.collections.iter().filter(built_on).collect();
    // The hub builds if collections of other hubs are built on it, or if one of its own collections
    // is not built elsewhere. A hub without collections counts too, because tags found later may be
    // built on it.
    let builds = collections.is_empty() || !guests.is_empty() || collections.iter().any(|c| c.builds_on.is_none());
    let needless = match (builds, hub.executor) {
        (false, _) => Some("its collections are built on another hub"),
        (true, Executor::Jetstream) => Some("other programs carry out the commands"),
        (true, Executor::Koschei) => None,
    };
    let limit = doctor.limit;
    let Some((client, place)) = doctor.check("settings", Some(name), async { settings(hub, limit) }).await else {
        doctor.unchecked(&OF_HUB, name, "the settings cannot be used");
        without_building(doctor, &guests, "the settings of the hub it is built on cannot be used");
        return without(doctor, &collections, "the settings of its hub cannot be used");
    };
    let Some(version) = doctor.check("hub", Some(name), answers(&client)).await else {
        doctor.unchecked(&OF_HUB[1..], name, "the hub does not answer");
        without_building(doctor, &guests, "the hub it is built on does not answer");
        return without(doctor, &collections, "its hub does not answer");
    };
    doctor.check("clock", Some(name), skew(&client)).await;
    let mut session = client.session();
    match doctor.check("login", Some(name), login(&mut session, &config.service_user, needless)).await {
        Some(user) => {
            doctor.check("permissions", Some(name), permissions(&mut session, user, hub.bind_repo)).await;
        }
        None => doctor.unchecked(&OF_HUB[3..], name, "there is no login"),
    }
    // A hub that does not answer now lets the session expire.
    let _ended = tokio::time::timeout(limit, session.logout()).await;
    for c in guests {
        doctor.check(OF_GUEST[0], Some(&c.name), building(&client, c, config)).await;
    }
    for c in collections {
        let Some(tag) = doctor.check("tags", Some(&c.name), tags(&client, c, config)).await else {
            doctor.unchecked(&OF_COLLECTION[1..], &c.name, "its build tag is not known");
            continue;
        };
        let whole = version >= WHOLE;
        let repository = repository(&client, &place, &tag, c, whole, hub.request_repo_after_secs);
        doctor.check("repository", Some(&c.name), repository).await;
    }
}

fn without(doctor: &mut Doctor, collections: &[&CollectionConfig], why: &str) {
    for c in collections {
        doctor.unchecked(&OF_COLLECTION, &c.name, why);
    }
}

fn without_building(doctor: &mut Doctor, guests: &[&CollectionConfig], why: &str) {
    for c in guests {
        doctor.unchecked(&OF_GUEST, &c.name, why);
    }
}

/// Checks how the hub is reached: the configuration, the koji profile, certificates. Calls are not
/// retried here.
fn settings(hub: &HubConfig, limit: Duration) -> Verdict<(HubClient, Place)> {
    let mut settings = match live_hub::settings(hub) {
        Ok(settings) => settings,
        Err(e) => return Verdict::error_of(&e, "correct the `[[hub]]`, or the koji profile it names"),
    };
    bound(&mut settings, limit);
    let Some(topurl) = settings.topurl.clone() else {
        return Verdict::failed("`topurl` is missing", "set it: repositories are read from there");
    };
    let place = match Place::parse(&topurl) {
        Ok(place) => place,
        Err(e) => return Verdict::error_of(&e, "correct `topurl`"),
    };
    let from = hub.profile.as_ref().map(|p| format!(" (koji profile `{p}`)")).unwrap_or_default();
    let found = format!("{}{from}, files at {place}", settings.server);
    let anonymous = HubSettings { auth: Auth::Anonymous, ..settings.clone() };
    match (HubClient::new(settings), HubClient::new(anonymous)) {
        (Ok(client), _) => Verdict::ok(found).with((client, place)),
        // The remaining checks work without a login.
        (Err(e), Ok(client)) => {
            Verdict::error_of(&e, "correct `cert` and `key`; this program must be able to read the files")
                .with((client, place))
        }
        (Err(e), Err(_)) => Verdict::error_of(&e, "correct the `[[hub]]`"),
    }
}

fn bound(settings: &mut HubSettings, limit: Duration) {
    settings.max_retries = 0;
    for time in [&mut settings.connect_timeout, &mut settings.request_timeout, &mut settings.auth_timeout] {
        *time = (*time).min(limit);
    }
}

fn unanswered<T>(error: &HubError) -> Verdict<T> {
    Verdict::failed(format!("failed to {}", with_causes(error)), error.remedy())
}

async fn answers(client: &HubClient) -> Verdict<(u32, u32)> {
    match client.ask(calls::get_koji_version()).await {
        Ok(version) => judge(&version),
        Err(e) if e.is_unknown_method() => {
            Verdict::failed("it is older than 1.23", "Koschei needs Koji 1.31 or newer, preferably 1.35")
        }
        Err(e) => unanswered(&e),
    }
}

fn judge(version: &str) -> Verdict<(u32, u32)> {
    let mut numbers = version.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
    let number = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let verdict = if number < SESSIONS {
        let advice = "Koschei needs 1.31 or newer: older hubs expect the session key in the address, and addresses \
            get into logs";
        Verdict::failed(format!("Koji {version}: a login will not work"), advice)
    } else if number < WHOLE {
        let found = format!(
            "Koji {version}: it has no `repo.query`, so only the newest repository of a tag is seen, and expired or \
                deleted ones are noticed late; it has no `repo.request`, so Koschei cannot request one"
        );
        Verdict::warning(found, "Koji 1.35 has both; until then leave `request_repo_after_secs` at 0")
    } else {
        Verdict::ok(format!("Koji {version}"))
    };
    verdict.with(number)
}

/// Compares the clocks. The web server puts its time on every answer, in whole seconds.
async fn skew(client: &HubClient) -> Verdict {
    let before = clock::now();
    let answer = match client.http().get(client.url().clone()).send().await {
        Ok(answer) => answer,
        Err(e) => return Verdict::error("ask for the time", &e, "check the network; the hub answered a moment ago"),
    };
    let after = clock::now();
    let date = answer.headers().get(reqwest::header::DATE).and_then(|d| d.to_str().ok());
    let date = date.and_then(|d| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(d).ok());
    let Some(date) = date else {
        return Verdict::warning(
            "its web server does not send its time",
            "make sure that both machines use a time server",
        );
    };
    let ahead = ahead(before, after, Timestamp(date.as_microsecond()));
    let words = format!("{} s {}", ahead.abs().round(), if ahead > 0.0 { "ahead of ours" } else { "behind ours" });
    let advice = "set both clocks by a time server (chronyd, systemd-timesyncd): Kerberos tolerates five minutes, \
        and Koschei finds its own tasks by their time";
    match ahead.abs() {
        d if d >= SKEW_FAILED => Verdict::failed(words, advice),
        d if d >= SKEW_WARNING => Verdict::warning(words, advice),
        _ => Verdict::ok("agrees with ours"),
    }
}

/// Returns by how many seconds another clock is at least ahead of ours; a negative value means
/// behind. The other clock told whole seconds, between two moments of ours.
#[expect(clippy::cast_precision_loss, reason = "seconds, with a fraction")]
fn ahead(before: Timestamp, after: Timestamp, theirs: Timestamp) -> f64 {
    let (earliest, latest) = (theirs.since(after) as f64 / 1e6, theirs.plus_secs(1).since(before) as f64 / 1e6);
    if earliest > 0.0 { earliest } else { latest.min(0.0) }
}

/// Checks the login. `needless` says why none is needed.
async fn login(session: &mut Session, service_user: &str, needless: Option<&str>) -> Verdict<i64> {
    let how = match (&session.hub().settings().auth, needless) {
        (Auth::Anonymous, Some(why)) => {
            return Verdict::ok(format!("no login is configured, and none is needed: {why}"));
        }
        (Auth::Anonymous, None) => {
            let advice = "to submit rebuilds, set `auth` to \"certificate\" or \"gssapi\"; to only observe, set \
                `passive = true` in `[policy]`";
            return Verdict::warning("no login is configured: Koschei decides, but submits nothing", advice);
        }
        (Auth::Certificate { cert, .. }, _) => format!("certificate {}", cert.display()),
        (Auth::Gssapi { principal, .. }, _) => {
            format!("Kerberos, {}", principal.as_deref().unwrap_or("the default principal"))
        }
    };
    match session.ask(calls::get_logged_in_user()).await {
        Ok(Some(user)) if user.name == service_user || needless.is_some() => {
            Verdict::ok(format!("{} ({how})", user.name)).with(user.id)
        }
        Ok(Some(user)) => {
            let found = format!("the login is `{}` ({how}), but `service_user` is `{service_user}`", user.name);
            let advice = format!(
                "set `service_user = \"{}\"`, or log in as `{service_user}`: builds of other users do not count as \
                    Koschei's own",
                user.name
            );
            Verdict::failed(found, advice).with(user.id)
        }
        Ok(None) => Verdict::failed(
            "the hub accepted the login, but does not know the user",
            "ask the administrators of the hub",
        ),
        Err(e) => unanswered(&e),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::cli::doctor::Status;

    #[rstest]
    #[case("1.35.3", Status::Ok)]
    #[case("1.36.0.post1", Status::Ok)]
    #[case("2.0", Status::Ok)]
    #[case("1.34.1", Status::Warning)]
    #[case("1.30.0", Status::Failed)]
    #[case("devel", Status::Failed)]
    fn versions(#[case] version: &str, #[case] expected: Status) {
        assert_eq!(judge(version).status, expected);
    }

    #[rstest]
    // The answer came between 100.2 and 100.4 of ours; it says whole seconds.
    #[case::same(100, 0.0)]
    #[case::the_second_before(99, -0.2)]
    #[case::ahead(110, 9.6)]
    #[case::behind(90, -9.2)]
    fn clocks(#[case] theirs: i64, #[case] expected: f64) {
        let got = ahead(Timestamp(100_200_000), Timestamp(100_400_000), Timestamp::from_secs(theirs));
        assert!((got - expected).abs() < 1e-6, "{got}");
    }
}
