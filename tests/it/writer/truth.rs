//! The state after a recording equals what its `actions.jsonl` records, except for messages that
//! were lost or came from rolled back calls. The actions are played on a model of a hub, see
//! [`super::model_of_actions`].

use std::collections::BTreeMap;
use std::path::Path;

use koschei::buildroot::{NoResolver, RepoResolver};
use koschei::event::Event;
use koschei::fold::State;
use koschei::log::{EventLog, folding};
use koschei::model::{Hub, TaskId};
use rand::SeedableRng;
use rand::seq::IndexedRandom;
use rstest::rstest;
use serde_json::Value;

use crate::feed;
use crate::writer::model_of_actions::{self as model, History, View};

/// Returns the dest tag by target, from the hub's recorded answers.
fn targets(dir: &Path) -> BTreeMap<String, String> {
    let observed = feed::archive(dir).observations();
    let dest = |e| match e {
        Event::TargetObserved(t) => Some((t.target.to_string(), t.dest_tag?.to_string())),
        _ => None,
    };
    observed.into_iter().filter_map(dest).collect()
}

fn history(dir: &Path) -> History {
    model::history(dir, &targets(dir))
}

/// Returns the state in the model's form.
pub fn view(state: &State) -> View {
    let mut view = View::default();
    let Some(hub) = state.hubs.get(&Hub::new(feed::HUB)) else { return view };
    for (tag, t) in &hub.tags {
        for (package, p) in &t.packages {
            let key = (tag.to_string(), package.to_string());
            if !p.builds.is_empty() {
                view.tags.insert(key.clone(), p.builds.iter().map(|b| hub.builds[&b.build].nvr.to_string()).collect());
            }
            if p.blocked() == Some(true) {
                view.blocked.insert(key);
            }
        }
    }
    // Nothing is known about a build that only a tag message mentioned.
    for b in hub.builds.values() {
        if let Some(s) = b.state {
            view.builds.insert(b.nvr.to_string(), format!("{s:?}").to_uppercase());
        }
    }
    view
}

/// Returns last state and last outcome of every task in the log. The state keeps only a package's
/// last builds.
async fn tasks(log: &koschei::log::AnyLog) -> BTreeMap<i64, (String, Option<String>)> {
    let mut tasks: BTreeMap<i64, (String, Option<String>)> = BTreeMap::new();
    let mut see = |_: &State, e: &koschei::event::Envelope| match &e.event {
        Event::TaskChanged(t) => tasks.entry(t.task_id.0).or_default().0 = format!("{:?}", t.state).to_uppercase(),
        Event::RebuildFinished(r) => tasks.entry(r.task_id.0).or_default().1 = Some(format!("{:?}", r.outcome)),
        _ => {}
    };
    folding::fold(log, None, &mut |_| {}, &mut see).await.unwrap();
    tasks
}

/// Ingests `lines` and compares with the actions: tags and blocked packages whenever the hub was at
/// rest, everything at the end.
async fn differences<E: RepoResolver>(history: &History, lines: &[String], resolver: E) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let log = feed::sqlite(dir.path(), "log.db").await;
    let mut writer = feed::awake(&log, resolver).await;
    let mut found = Vec::new();
    let mut rest = lines;
    for moment in &history.moments {
        let seen = |l: &String| serde_json::from_str::<Value>(l).unwrap()["seen_at"].as_f64().unwrap() < moment.at;
        let (before, after) = rest.split_at(rest.iter().position(|l| !seen(l)).unwrap_or(rest.len()));
        rest = after;
        feed::feed(&mut writer, before, 500).await;
        let (mut want, mut got) = (moment.seen.clone(), view(writer.state()));
        for v in [&mut want, &mut got] {
            v.builds.clear();
            v.tags.retain(|(_, package), _| !moment.open.contains(package));
        }
        found.extend(model::differences(&want, &got).into_iter().map(|d| format!("at {}: {d}", moment.at)));
    }
    feed::feed(&mut writer, rest, 500).await;
    let state = writer.into_state();
    found.extend(model::differences(&history.seen, &view(&state)));
    let known = tasks(&log).await;
    for (id, want) in &history.rebuilds {
        let got = known.get(id).cloned().unwrap_or_default();
        if want.state.as_ref().is_some_and(|s| *s != got.0) {
            found.push(format!("task {id}: {:?} by the actions, {:?} by the log", want.state, got.0));
        }
        if want.outcome.is_some_and(|o| got.1.as_deref() != Some(o)) {
            found.push(format!("rebuild {id}: {:?} by the actions, {:?} by the log", want.outcome, got.1));
        }
        let hub = &state.hubs[&Hub::new(feed::HUB)];
        if let Some(t) = hub.tasks.get(&TaskId(*id))
            && (format!("{:?}", t.state).to_uppercase(), t.outcome.map(|o| format!("{o:?}"))) != got
        {
            found.push(format!("task {id}: state holds {:?} {:?}, the log says {got:?}", t.state, t.outcome));
        }
    }
    log.close().await;
    found
}

#[rstest]
#[case("koji")]
#[case("koji-external")]
#[tokio::test]
async fn a_recording_ends_as_its_actions_say(#[case] recording: &str) {
    let dir = feed::recorded(recording);
    let history = history(&dir);
    let actions = feed::json_lines(&dir.join("actions.jsonl"));
    let has = |what: &[&str]| actions.iter().any(|a| what.contains(&a["what"].as_str().unwrap()));
    // There must be something to compare, and the exceptions must come from the recording.
    assert!(history.moments.len() > 3 && !history.rebuilds.is_empty() && !history.seen.builds.is_empty());
    let excepting = ["broker-down", "phantom", "multicall-partial", "sidetag-removed", "rename-tag"];
    assert_eq!(!history.exceptions.is_empty(), has(&excepting), "{:#?}", history.exceptions);
    let found = differences(&history, &feed::lines(&dir.join("events.jsonl")), feed::archive(&dir)).await;
    assert!(found.is_empty(), "{found:#?}\nwith the exceptions {:#?}", history.exceptions);
    println!(
        "{recording}: {} tagged, {} blocked, {} builds, {} rebuilds ({} with an end) compared, at {} moments; \
            exceptions {:#?}",
        history.seen.tags.len(),
        history.seen.blocked.len(),
        history.seen.builds.len(),
        history.rebuilds.len(),
        history.rebuilds.values().filter(|r| r.state.is_some()).count(),
        history.moments.len(),
        history.exceptions
    );
}

/// The initial content of the recording is known only from its messages. The oracle, made from the
/// repositories, agrees: it has the latest build of each package in the first recorded repository,
/// which was made before the first action.
#[test]
fn the_setup_is_what_the_oracle_saw() {
    let dir = feed::recorded("koji");
    let first = &feed::json_lines(&dir.join("actions.jsonl"))[0];
    let setup = &history(&dir).moments[0];
    assert!((setup.at - first["at"].as_f64().unwrap()).abs() < 0.1, "the first moment is that of the first action");
    let oracle: Value =
        serde_json::from_slice(&std::fs::read(dir.join("oracle/f99-build/1/repo.json")).unwrap()).unwrap();
    let want: BTreeMap<String, String> = serde_json::from_value(oracle["latest"].clone()).unwrap();
    let in_f99 = setup.seen.tags.iter().filter(|((tag, _), _)| tag == "f99");
    let got: BTreeMap<String, String> = in_f99.map(|((_, p), b)| (p.clone(), b.last().unwrap().clone())).collect();
    assert_eq!(got, want);
}

/// Returns messages whose loss must be noticed: `(topic, lines)`.
fn telling(dir: &Path, history: &History, lines: &[String]) -> BTreeMap<&'static str, Vec<usize>> {
    let messages: Vec<Value> = lines.iter().map(|l| serde_json::from_str(l).unwrap()).collect();
    let nvr = |b: &Value| format!("{}-{}-{}", b["name"], b["version"], b["release"]).replace('"', "");
    let last = |is: &dyn Fn(&Value) -> bool| messages.iter().rposition(is);
    let mut found: BTreeMap<&'static str, Vec<usize>> = BTreeMap::new();
    for (at, m) in messages.iter().enumerate() {
        let b = &m["body"];
        let same = |keys: &[&str], other: &Value| {
            other["topic"] == m["topic"] && keys.iter().all(|k| other["body"][k] == b[k])
        };
        let topic = model::topic(m);
        let key = if topic == "tag" || topic == "untag" {
            let once = messages.iter().filter(|o| same(&["tag", "build_id"], o)).count() == 1;
            let tags = &history.seen.tags;
            let stands = tags.get(&(b["tag"].as_str().unwrap().to_owned(), b["name"].as_str().unwrap().to_owned()));
            let stands = stands.is_some_and(|builds| builds.contains(&nvr(b)));
            (once && stands == (topic == "tag")).then_some(if topic == "tag" { "tag" } else { "untag" })
        } else if topic == "task.state.change" {
            let judged = b["id"].as_i64().and_then(|id| history.rebuilds.get(&id)).is_some_and(|r| r.state.is_some());
            (judged && last(&|o| same(&["id"], o)) == Some(at)).then_some("task end")
        } else if topic == "build.state.change" {
            (last(&|o| same(&["build_id"], o)) == Some(at)).then_some("build")
        } else if topic == "package.list.change" && b["action"] == "block" {
            Some("block")
        } else {
            None
        };
        if let Some(key) = key {
            found.entry(key).or_default().push(at);
        }
    }
    assert!(!found.is_empty(), "{}", dir.display());
    found
}

#[rstest]
#[case("koji", &["tag", "untag", "task end", "build", "block"])]
#[case("koji-external", &["tag", "task end", "build", "block"])]
#[tokio::test]
async fn a_lost_message_is_noticed(#[case] recording: &str, #[case] kinds: &[&str]) {
    let dir = feed::recorded(recording);
    let history = history(&dir);
    let lines = feed::lines(&dir.join("events.jsonl"));
    let telling = telling(&dir, &history, &lines);
    assert_eq!(telling.keys().copied().collect::<Vec<_>>(), {
        let mut k = kinds.to_vec();
        k.sort_unstable();
        k
    });
    let mut rng = rand::rngs::StdRng::seed_from_u64(2);
    for (kind, all) in telling {
        let count = usize::try_from(feed::scale(4, 1_000)).unwrap();
        for lost in all.sample(&mut rng, count) {
            let mut rest = lines.clone();
            let gone = rest.remove(*lost);
            let found = differences(&history, &rest, NoResolver).await;
            assert!(!found.is_empty(), "nobody misses this {kind} message, line {}: {gone}", lost + 1);
        }
    }
}
