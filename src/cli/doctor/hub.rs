//! A hub and the collections on it.

use std::io::BufReader;
use std::path::PathBuf;
use std::time::Duration;

use super::super::live_hub;
use super::{Doctor, Verdict, on_thread};
use crate::base::clock;
use crate::config::{CollectionConfig, Config, HubConfig, PackageConfig};
use crate::decide::command::BindRepo;
use crate::decide::refusal;
use crate::koji::calls::{self, ListTasks};
use crate::koji::client::{Auth, HubSettings};
use crate::koji::faults::FaultKind;
use crate::koji::files::{FetchError, FetchSettings, Fetcher, Place};
use crate::koji::records::{Repo, Tag, Task, TaskResult};
use crate::koji::session::Session;
use crate::koji::{HubClient, HubError};
use crate::model::arch::ArchOverride;
use crate::model::causes::with_causes;
use crate::model::koji::{RepoState, TaskState};
use crate::model::{Name, RepoId, Timestamp, arch};
use crate::repodata::{Limits, Repomd};

/// Hubs from here on have everything we ask for.
const WHOLE: (u32, u32) = (1, 35);
/// Hubs from here on take sessions in headers, which is the only way we have.
const SESSIONS: (u32, u32) = (1, 31);
/// Clocks that differ by so many seconds and more are worth mending.
const SKEW_WARNING: f64 = 5.0;
/// Kerberos refuses from here on, and what we look for among our tasks by time may be overlooked.
const SKEW_FAILED: f64 = 300.0;
/// How many of our ended tasks are looked at, to see what the hub allowed.
const TASKS: u32 = 20;
/// How many of those that failed.
const FAILED_TASKS: u32 = 200;
/// Of how many failed ones of a kind the reason is asked for.
const REASONS: usize = 5;
/// How many of the newest repositories are looked at for one that builds are made from.
const REPOS_MAX: u32 = 50;
/// Largest index of a repository.
const REPOMD_MAX: u64 = 4 << 20;

const OF_HUB: [&str; 4] = ["hub", "clock", "login", "permissions"];
const OF_COLLECTION: [&str; 2] = ["tags", "repository"];
/// Of a collection of another hub that is built here.
const OF_GUEST: [&str; 1] = ["building"];

/// Checks a hub, and the collections on it.
pub(super) async fn examine(doctor: &mut Doctor, config: &Config, hub: &HubConfig) {
    let name = hub.name.as_str();
    let on_it = |c: &&CollectionConfig| c.hub.as_ref().unwrap_or(&config.default_hub) == name;
    let collections: Vec<&CollectionConfig> = config.collections.iter().filter(on_it).collect();
    let built_on = |c: &&CollectionConfig| c.builds_on.as_ref().and_then(|b| b.hub.as_deref()) == Some(name);
    let guests: Vec<&CollectionConfig> = config.collections.iter().filter(built_on).collect();
    // Collections of other hubs, or some of its own that do not go elsewhere; without any, what is found later may be
    // built here.
    let builds = collections.is_empty() || !guests.is_empty() || collections.iter().any(|c| c.builds_on.is_none());
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
    match doctor.check("login", Some(name), login(&mut session, &config.service_user, builds)).await {
        Some(user) => {
            doctor.check("permissions", Some(name), permissions(&mut session, user, hub.bind_repo)).await;
        }
        None => doctor.unchecked(&OF_HUB[3..], name, "there is no login"),
    }
    // A hub that does not answer now forgets the session by itself.
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

/// How the hub is reached: our configuration, the koji profile, certificates. Something is only tried once here.
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
        // The rest can be looked at all the same.
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
            Verdict::failed("it is older than 1.23", "Koschei needs a hub of 1.31 at least, better 1.35")
        }
        Err(e) => unanswered(&e),
    }
}

fn judge(version: &str) -> Verdict<(u32, u32)> {
    let mut numbers = version.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
    let number = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let verdict = if number < SESSIONS {
        let advice = "Koschei needs 1.31 at least: before, sessions were told in addresses, which get into logs";
        Verdict::failed(format!("Koji {version}: a login will not work"), advice)
    } else if number < WHOLE {
        let found = format!(
            "Koji {version}: only the newest repository of a tag is seen (no `repo.query`), so that those that expire \
             or are deleted are noticed late; none can be asked for (no `repo.request`)"
        );
        Verdict::warning(found, "all of it works from 1.35 on; until then leave `request_repo_after_secs` at 0")
    } else {
        Verdict::ok(format!("Koji {version}"))
    };
    verdict.with(number)
}

/// Compares clocks by the time the web server puts on every answer, which is in whole seconds.
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
            "its web server does not say what time it is",
            "see to it that both machines ask a time server",
        );
    };
    let ahead = ahead(before, after, Timestamp(date.as_microsecond()));
    let words = format!("{} s {}", ahead.abs().round(), if ahead > 0.0 { "ahead of ours" } else { "behind ours" });
    let advice = "have both machines ask a time server (chronyd, systemd-timesyncd): a login with Kerberos allows five \
                  minutes, and our own tasks are found again by their time";
    match ahead.abs() {
        d if d >= SKEW_FAILED => Verdict::failed(words, advice),
        d if d >= SKEW_WARNING => Verdict::warning(words, advice),
        _ => Verdict::ok("agrees with ours"),
    }
}

/// By how many seconds another clock is ahead of ours at least; negative: behind. It told its whole seconds between two
/// moments of ours.
#[expect(clippy::cast_precision_loss, reason = "seconds, with a fraction")]
fn ahead(before: Timestamp, after: Timestamp, theirs: Timestamp) -> f64 {
    let (earliest, latest) = (theirs.since(after) as f64 / 1e6, theirs.plus_secs(1).since(before) as f64 / 1e6);
    if earliest > 0.0 { earliest } else { latest.min(0.0) }
}

async fn login(session: &mut Session, service_user: &str, builds: bool) -> Verdict<i64> {
    let how = match &session.hub().settings().auth {
        Auth::Anonymous if !builds => {
            return Verdict::ok("no login is configured, and none is needed: its collections are built on another hub");
        }
        Auth::Anonymous => {
            let advice = "to have rebuilds submitted, set `auth` to \"certificate\" or \"gssapi\"; to only look on, \
                          set `passive = true` in `[policy]` and let it be";
            return Verdict::warning("no login is configured: we look and decide, and submit nothing", advice);
        }
        Auth::Certificate { cert, .. } => format!("certificate {}", cert.display()),
        Auth::Gssapi { principal, .. } => {
            format!("Kerberos, {}", principal.as_deref().unwrap_or("the default principal"))
        }
    };
    match session.ask(calls::get_logged_in_user()).await {
        Ok(Some(user)) if user.name == service_user => Verdict::ok(format!("{} ({how})", user.name)).with(user.id),
        Ok(Some(user)) => {
            let found = format!("we are `{}` ({how}), and `service_user` is `{service_user}`", user.name);
            let advice = format!(
                "set `service_user = \"{}\"`, or log in as `{service_user}`: builds of anybody else are not taken for \
                    ours",
                user.name
            );
            Verdict::failed(found, advice).with(user.id)
        }
        Ok(None) => Verdict::failed("the hub let us in and does not know us", "ask who runs the hub"),
        Err(e) => unanswered(&e),
    }
}

/// What our ended tasks show of the hub's policies, which it tells nobody: the newest of each kind.
#[derive(Default)]
struct Shown {
    /// Built a source package.
    built: Option<i64>,
    /// Built one bound to a repository.
    bound: Option<i64>,
    /// Was not allowed to be bound.
    not_bound: Option<(i64, String)>,
    /// Was not allowed for another reason.
    refused: Option<(i64, String)>,
}

async fn shown(session: &mut Session, user: i64) -> Result<Shown, HubError> {
    let mut tasks = ended(session, user, vec![TaskState::Closed, TaskState::Failed], TASKS).await?;
    // Where binding is refused it is seldom tried.
    tasks.extend(ended(session, user, vec![TaskState::Failed], FAILED_TASKS).await?);
    tasks.sort_by_key(|t| std::cmp::Reverse(t.id));
    tasks.dedup_by_key(|t| t.id);
    let mut shown = Shown::default();
    let mut reasons = [REASONS; 2];
    for task in tasks {
        let Some(request) = task.build_request().filter(|r| r.scratch && r.source.contains("/packages/")) else {
            continue;
        };
        let bound = request.repo_id.is_some();
        if task.state == TaskState::Closed {
            shown.built.get_or_insert(task.id.0);
            if bound {
                shown.bound.get_or_insert(task.id.0);
            }
            continue;
        }
        // What was allowed later says more.
        let settled = if bound {
            shown.bound.is_some() || shown.not_bound.is_some()
        } else {
            shown.built.is_some() || shown.refused.is_some()
        };
        let left = &mut reasons[usize::from(bound)];
        if settled || *left == 0 {
            continue;
        }
        *left -= 1;
        let TaskResult::Fault(fault) = session.hub().ask(calls::get_task_result(task.id)).await? else { continue };
        if fault.kind() != FaultKind::NotAllowed {
            continue;
        }
        let words: String = fault.message.chars().take(200).collect();
        match refusal::policy_of(&words) {
            Some(refusal::BUILD_FROM_REPO_ID) if bound => shown.not_bound = Some((task.id.0, words)),
            _ if shown.built.is_none() => {
                shown.refused.get_or_insert((task.id.0, words));
            }
            _ => {}
        }
    }
    Ok(shown)
}

async fn ended(session: &Session, user: i64, states: Vec<TaskState>, limit: u32) -> Result<Vec<Task>, HubError> {
    let which = ListTasks { owner: user, states, decoded: true, newest_first: true, limit, ..ListTasks::default() };
    session.hub().ask(calls::list_tasks(&which)).await
}

async fn permissions(session: &mut Session, user: i64, bind: BindRepo) -> Verdict {
    let perms = match session.ask(calls::get_perms()).await {
        Ok(perms) => perms,
        Err(e) => return unanswered(&e),
    };
    if perms.iter().any(|p| p == "admin") {
        let found = "`admin`: scratch builds of source packages, bound to repositories, are allowed";
        return Verdict::warning(found, "it works, but Koschei needs no administrator: policies for its user will do");
    }
    let shown = match shown(session, user).await {
        Ok(shown) => shown,
        Err(e) => return unanswered(&e),
    };
    if let Some((task, why)) = shown.refused {
        let policy = refusal::policy_of(&why).unwrap_or("build_rpm").to_owned();
        let found = format!("the hub did not allow task {task}: {why}; the collections it is refused for stop");
        return Verdict::failed(found, refusal::remedy(&policy));
    }
    let advice = refusal::remedy(refusal::BUILD_FROM_REPO_ID);
    if let Some((task, why)) = shown.not_bound {
        match bind {
            BindRepo::Never => {}
            BindRepo::Auto => {
                let found = format!(
                    "the hub does not let us bind builds to repositories (task {task}: {why}), so they are made \
                     without: what is built may differ from what was resolved"
                );
                return Verdict::warning(found, advice);
            }
            BindRepo::Always => {
                let found = format!(
                    "the hub does not let us bind builds to repositories (task {task}: {why}), and `bind_repo = \
                        \"always\"` stops what it refuses"
                );
                return Verdict::failed(found, format!("set `bind_repo = \"auto\"`, or {advice}"));
            }
        }
    }
    let source = match shown.built {
        Some(task) => format!("source packages of the hub may be built (task {task})"),
        None => "source packages of the hub will be built (policy `build_rpm`, by default open to all)".to_owned(),
    };
    let repository = match (bind, shown.bound) {
        (BindRepo::Never, _) => "not bound to repositories (`bind_repo = \"never\"`)".to_owned(),
        (_, Some(task)) => format!("bound to repositories (task {task})"),
        (BindRepo::Auto, None) => {
            "bound to repositories unless the hub refuses it (policy `build_from_repo_id`)".to_owned()
        }
        (BindRepo::Always, None) => "always bound to repositories (policy `build_from_repo_id`)".to_owned(),
    };
    let found = format!("scratch builds are open to every user; {source}, {repository}");
    let known = shown.built.is_some() && (bind == BindRepo::Never || shown.bound.is_some());
    if known {
        return Verdict::ok(found);
    }
    let advice = format!(
        "a hub tells nobody its policies, and by default only administrators bind builds to repositories: {advice}. \
            The first builds will show it"
    );
    Verdict::warning(found, advice)
}

/// Target, tags, architectures, build group. The build tag, if there is one.
async fn tags(client: &HubClient, c: &CollectionConfig, config: &Config) -> Verdict<Tag> {
    match tags_of(client, c, config).await {
        Ok(verdict) => verdict,
        Err(e) => unanswered(&e),
    }
}

async fn tags_of(client: &HubClient, c: &CollectionConfig, config: &Config) -> Result<Verdict<Tag>, HubError> {
    // Without one, builds are submitted to the target named as the dest tag.
    let target = c.target.as_deref().or(c.dest_tag.as_deref()).unwrap_or(&c.name);
    let found = client.ask(calls::get_build_target(target)).await?;
    let named = |ours: &Option<String>, theirs: Option<&Name>| ours.as_deref().map(Name::from).or(theirs.cloned());
    let build = named(&c.build_tag, found.as_ref().map(|t| &t.build_tag_name));
    let dest = named(&c.dest_tag, found.as_ref().map(|t| &t.dest_tag_name));
    let mut wrong = Vec::new();
    let mut odd = Vec::new();
    match &found {
        // Nothing is submitted to it where another hub builds; all it is for then is to name tags.
        _ if c.builds_on.is_some() => {}
        None => wrong.push(format!("there is no target `{target}`, so nothing can be submitted")),
        Some(t) if build.as_ref() != Some(&t.build_tag_name) => odd.push(format!(
            "target `{target}` builds in `{}`, and what is resolved are the repositories of `build_tag`",
            t.build_tag_name
        )),
        Some(_) => {}
    }
    let mut tag = None;
    for (what, name) in [("build tag", &build), ("dest tag", &dest)] {
        let Some(name) = name else {
            wrong.push(format!("its {what} is not known"));
            continue;
        };
        match client.ask(calls::get_build_config(name, None)).await {
            Ok(Some(found)) if what == "build tag" => tag = Some(found),
            Ok(Some(_)) => {}
            Ok(None) => wrong.push(format!("there is no {what} `{name}`")),
            Err(HubError::Fault { .. }) => wrong.push(format!("there is no {what} `{name}`")),
            Err(e) => return Err(e),
        }
    }
    if let Some(tag) = &tag {
        let has: Vec<&str> = tag.arches().iter().map(|a| arch::canonical(a)).collect();
        if has.is_empty() {
            wrong.push(format!("build tag `{}` has no architectures: nothing can be built in it", tag.name));
        }
        let absent: Vec<&String> = c.arches.iter().filter(|a| !has.contains(&arch::canonical(a))).collect();
        if !absent.is_empty() && !has.is_empty() {
            odd.push(format!("`{}` has no {absent:?}, only {}", tag.name, has.join(", ")));
        }
        if c.builds_on.is_none() {
            odd.extend(overridden(c, tag));
        }
        let group = c.build_group.as_deref().unwrap_or(&config.policy.build_group);
        let groups = client.ask(calls::get_tag_groups(&tag.name)).await?;
        if !groups.iter().any(|g| g.name == group && !g.blocked) {
            wrong.push(format!("`{}` has no group `{group}`: no buildroot can be resolved", tag.name));
        }
    }
    let name = |n: &Option<Name>| n.as_deref().unwrap_or("?").to_owned();
    let words = format!("target {target}, build tag {}, dest tag {}", name(&build), name(&dest));
    let verdict = if !wrong.is_empty() {
        let advice = "correct `target`, `build_tag`, `dest_tag` or `build_group` of the collection, or have it made on \
            the hub (`koji add-target`)";
        Verdict::failed(format!("{words}: {}", wrong.join("; ")), advice)
    } else if !odd.is_empty() {
        Verdict::warning(
            format!("{words}: {}", odd.join("; ")),
            "leave `build_tag` and `arches` out, and correct `arch_override`, unless it is meant so",
        )
    } else {
        Verdict::ok(words)
    };
    Ok(match tag {
        Some(tag) => verdict.with(tag),
        None => verdict,
    })
}

/// Overrides of the configuration that name an architecture the tag that builds does not have.
fn overridden(c: &CollectionConfig, tag: &Tag) -> Vec<String> {
    let of = |p: &PackageConfig| {
        let over = p.arch_override.as_ref()?.parse::<ArchOverride>().ok()?;
        let absent: Vec<&str> = over.absent(tag.arches()).into_iter().map(Name::as_str).collect();
        (!absent.is_empty()).then(|| {
            format!(
                "`arch_override` of package `{}` names {}, which `{}` does not have",
                p.name,
                absent.join(", "),
                tag.name
            )
        })
    };
    c.packages.iter().filter_map(of).collect()
}

/// Target, build tag, architectures and build group on the hub that builds a collection of another.
async fn building(client: &HubClient, c: &CollectionConfig, config: &Config) -> Verdict {
    match building_of(client, c, config).await {
        Ok(verdict) => verdict,
        Err(e) => unanswered(&e),
    }
}

async fn building_of(client: &HubClient, c: &CollectionConfig, config: &Config) -> Result<Verdict, HubError> {
    let advice = "correct `target` of `builds_on`, or have it made on the hub that builds (`koji add-target`), with a \
                  build tag that has the repositories of the collection's hub as external ones";
    let Some(Ok(on)) = c.builds_on.as_ref().map(crate::config::BuildsOnConfig::settings) else {
        return Ok(Verdict::failed("it does not say where it is built", advice));
    };
    let Some(target) = client.ask(calls::get_build_target(&on.target)).await? else {
        let found = format!("there is no target `{}` on {}, so nothing can be submitted", on.target, on.hub);
        return Ok(Verdict::failed(found, advice));
    };
    let words = format!("target {} on {}, build tag {}", on.target, on.hub, target.build_tag_name);
    let tag = match client.ask(calls::get_build_config(&target.build_tag_name, None)).await {
        Ok(tag) => tag,
        Err(HubError::Fault { .. }) => None,
        Err(e) => return Err(e),
    };
    let Some(tag) = tag else { return Ok(Verdict::failed(format!("{words}: there is no such tag"), advice)) };
    let has: Vec<&str> = tag.arches().iter().map(|a| arch::canonical(a)).collect();
    if has.is_empty() {
        return Ok(Verdict::failed(format!("{words}: it has no architectures"), advice));
    }
    if !c.arches.is_empty() && !c.arches.iter().any(|a| has.contains(&arch::canonical(a))) {
        let found = format!("{words}: none of {:?}, only {}", c.arches, has.join(", "));
        return Ok(Verdict::failed(found, "correct `arches` of the collection, or have them added to the build tag"));
    }
    let groups = client.ask(calls::get_tag_groups(&tag.name)).await?;
    let group = c.build_group.as_deref().unwrap_or(&config.policy.build_group);
    if !groups.iter().any(|g| g.name == group && !g.blocked) {
        return Ok(Verdict::failed(format!("{words}: it has no group `{group}`"), advice));
    }
    let odd = overridden(c, &tag);
    if !odd.is_empty() {
        return Ok(Verdict::warning(
            format!("{words}: {}", odd.join("; ")),
            "correct `arch_override`, unless it is meant so",
        ));
    }
    Ok(Verdict::ok(format!("{words}, {}; source packages at {}/packages", has.join(", "), on.srpm_root)))
}

/// The newest repository of a build tag, and whether what it has for each architecture can be fetched.
async fn repository(
    client: &HubClient,
    place: &Place,
    tag: &Tag,
    c: &CollectionConfig,
    whole: bool,
    asked_after: u64,
) -> Verdict {
    let newest = match newest(client, tag, whole).await {
        Ok(Some(newest)) => newest,
        Ok(None) => {
            let found = format!("`{}` has no repository that is ready", tag.name);
            return match asked_after {
                0 => Verdict::failed(
                    found,
                    "have one made (`koji regen-repo`, `koji wait-repo --request`), or set `request_repo_after_secs`; \
                        until then nothing is resolved",
                ),
                secs => {
                    Verdict::warning(found, format!("one will be asked for when the tag has been without for {secs} s"))
                }
            };
        }
        Err(e) => return unanswered(&e),
    };
    let at = match newest.create_event {
        event if event > 0 => Some(event),
        _ => None,
    };
    let arches: Vec<Name> = match client.ask(calls::get_build_config(&tag.name, at)).await {
        Ok(Some(then)) => then.arches().to_vec(),
        Ok(None) => tag.arches().to_vec(),
        Err(e) => return unanswered(&e),
    };
    let ours = |a: &&str| c.arches.is_empty() || c.arches.iter().any(|b| arch::canonical(b) == *a);
    let mut had = Vec::new();
    let mut wrong = Vec::new();
    for arch in arches.iter().map(|a| arch::canonical(a)).filter(ours) {
        match repomd(client, place, &tag.name, newest.id, arch).await {
            Ok(index) if index.find("primary").is_some() => had.push(arch.to_owned()),
            Ok(_) => wrong.push(format!("{arch}: its index names no packages")),
            Err(why) => wrong.push(format!("{arch}: {why}")),
        }
    }
    let found = format!("newest is {} of {}", newest.id, tag.name);
    if wrong.is_empty() {
        return Verdict::ok(format!("{found}; {} can be read at {place}", had.join(", ")));
    }
    let advice = match place {
        Place::Http(_) => "check `topurl` and what the server there lets us read; `serverca` is trusted for it as well",
        Place::Dir(_) => "check `topurl`: is the disk mounted, and may this user read it?",
    };
    Verdict::failed(format!("{found}; {}", wrong.join("; ")), advice)
}

async fn newest(client: &HubClient, tag: &Tag, whole: bool) -> Result<Option<Repo>, HubError> {
    if !whole {
        return client.ask(calls::get_repo(&tag.name)).await;
    }
    let repos = client.ask(calls::query_repos(tag.id, Some(RepoState::Ready), REPOS_MAX)).await?;
    Ok(repos.into_iter().filter(Repo::is_for_builds).max_by_key(|r| (r.create_event, r.id)))
}

/// The index of a repository.
async fn repomd(client: &HubClient, place: &Place, tag: &str, id: RepoId, arch: &str) -> Result<Repomd, String> {
    let id = id.to_string();
    let parts = ["repos", tag, &id, arch, "repodata", "repomd.xml"];
    if parts.iter().any(|p| p.is_empty() || p.contains('/') || *p == "..") {
        return Err("it cannot be the name of a directory".to_owned());
    }
    let (path, fetched) = match place {
        Place::Dir(top) => (parts.iter().fold(top.clone(), |path, part| path.join(part)), false),
        Place::Http(top) => {
            let mut url = top.clone();
            if let Ok(mut segments) = url.path_segments_mut() {
                segments.pop_if_empty().extend(parts);
            }
            let path = std::env::temp_dir().join(format!("koschei-doctor-{}-{id}-{arch}.xml", std::process::id()));
            let got = fetch(client.settings(), url.as_str(), &path).await;
            got.map_err(|e| with_causes(&e))?;
            (path, true)
        }
    };
    let read = on_thread(move || read(path, fetched)).await;
    read.unwrap_or_else(|| Err("nothing could be read".to_owned()))
}

async fn fetch(hub: &HubSettings, url: &str, to: &std::path::Path) -> Result<u64, FetchError> {
    let settings = FetchSettings {
        attempts: 1,
        connect_timeout: hub.connect_timeout,
        idle_timeout: hub.request_timeout,
        file_bytes_max: REPOMD_MAX,
        authorities: hub.serverca.clone(),
        ..FetchSettings::default()
    };
    Fetcher::new(settings)?.file(url, to, None, None).await
}

fn read(path: PathBuf, fetched: bool) -> Result<Repomd, String> {
    let name = path.display().to_string();
    let parsed = std::fs::File::open(&path)
        .map_err(|e| format!("read {name}: {e}"))
        .and_then(|file| Repomd::parse(BufReader::new(file), &name, &Limits::default()).map_err(|e| with_causes(&e)));
    if fetched && let Err(e) = std::fs::remove_file(&path) {
        tracing::debug!(path = %name, error = %crate::model::causes::with_causes(&e), "a temporary file stays");
    }
    parsed
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
