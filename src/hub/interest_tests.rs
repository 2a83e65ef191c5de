//! Tests of which object of ours a message hints at, if any.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::event::{BuildTagged, CollectionCreated, CollectionSettings, Envelope, Inheritance, Source, TagObserved};
use crate::message::CLOCK_TOLERANCE_SECS;
use crate::model::Seq;

fn apply(state: &mut State, event: impl Into<Event>) {
    let envelope = Envelope {
        seq: Seq::after(state.seq),
        recorded_at: Timestamp::EPOCH,
        occurred_at: Timestamp::EPOCH,
        source: Source::Hub,
        fact: None,
        koji_event: Some(1),
        causation: None,
        correlation: None,
        event: event.into(),
    };
    state.apply(&envelope);
}

/// A collection with dest tag `f99`, build tag `f99-build` and package `foo`. `f99-build` inherits
/// from `f99` and `base`.
fn state() -> State {
    let mut state = State::default();
    let hub = Hub::new("primary");
    let settings = CollectionSettings { hub: hub.clone(), arches: vec!["x86_64".into()], ..CollectionSettings::f99() };
    apply(&mut state, CollectionCreated { collection: "f99".into(), settings });
    let parent = |tag: &str| Inheritance {
        tag: tag.into(),
        priority: 0,
        max_depth: None,
        intransitive: false,
        no_config: false,
    };
    let observed = TagObserved {
        hub: hub.clone(),
        tag: "f99-build".into(),
        tag_id: None,
        gone: false,
        arches: None,
        inheritance: Some(vec![parent("f99"), parent("base")]),
        groups: None,
        external_repos: None,
    };
    apply(&mut state, observed);
    let tagged = BuildTagged {
        hub,
        tag: "f99".into(),
        tag_id: None,
        build_id: BuildId(1),
        name: "foo".into(),
        version: "1".into(),
        release: "1".into(),
        by: None,
    };
    apply(&mut state, tagged);
    state
}

/// Before anything is read from a hub, its collections say what to read. Collections of other hubs
/// do not.
#[test]
fn collections_say_what_there_is_to_read_of_an_unknown_hub() {
    let known = state();
    let mut state = State::default();
    let settings = known.collections["f99"].settings.clone();
    apply(&mut state, CollectionCreated { collection: "f99".into(), settings });
    let here = Interest::of(&state, &Hub::new("primary"));
    assert_eq!(here.build_tags, BTreeSet::from(["f99-build".into()]));
    assert_eq!(here.dest_tags, BTreeSet::from(["f99".into()]));
    assert_eq!(here.targets, BTreeSet::from(["f99".into()]));
    assert!(here.told && here.builds);
    let there = Interest::of(&state, &Hub::new("arm"));
    assert_eq!(there, Interest { told: true, ..Interest::default() });
    // After the tags are read, all ancestors count, too.
    let read = Interest::of(&known, &Hub::new("primary"));
    assert_eq!(read.tags, BTreeSet::from(["base".into(), "f99".into(), "f99-build".into()]));
    let below: Vec<_> = read.below("base").map(Name::as_str).collect();
    assert_eq!(below, ["base", "f99-build"]);
}

/// Returns what a message of a topic hints at.
fn hint_of(topic: &str, body: Value) -> Hint {
    let context = Context {
        service_user: "koschei".to_owned(),
        default_hub: Hub::new("primary"),
        source: Source::Hub,
        clock_tolerance_secs: CLOCK_TOLERANCE_SECS,
    };
    let publisher = if topic.starts_with("bodhi.") { "" } else { "buildsys." };
    let topic = format!("org.example.{publisher}{topic}");
    let body = json!({"id": "m", "topic": topic, "sent-at": "2026-11-20T08:00:00+00:00", "body": body});
    let message = Incoming {
        id: "m".to_owned(),
        source: "amqp".to_owned(),
        topic,
        received_at: Timestamp::from_secs(1_795_164_000),
        body: body.to_string().into_bytes(),
    };
    hint(&message, &context, &state())
}

/// A tag counts together with all its ancestors.
#[rstest]
#[case::dest_tag("f99", true)]
#[case::build_tag("f99-build", true)]
#[case::ancestor("base", true)]
#[case::nobodys("f98", false)]
fn what_moves_in_a_tag_is_looked_at_where_the_tag_counts(#[case] tag: &str, #[case] ours: bool) {
    let build = json!({"tag": tag, "build_id": 4, "name": "bar", "version": "1", "release": "1", "user": "alice"});
    for topic in ["tag", "untag"] {
        let key = HubObject::TagBuilds(tag.into(), Some("bar".into()));
        assert_eq!(looked(hint_of(topic, build.clone())), ours.then_some(key), "{topic}");
    }
    let list = json!({"tag": tag, "package": "bar", "action": "add", "block": false, "user": "alice"});
    let key = HubObject::TagPackages(tag.into(), Some("bar".into()));
    assert_eq!(looked(hint_of("package.list.change", list)), ours.then_some(key));
}

/// Only repositories of build tags themselves are resolved, not those of their ancestors.
#[rstest]
#[case::build_tag("f99-build", true)]
#[case::dest_tag("f99", false)]
#[case::ancestor("base", false)]
#[case::nobodys("f98-build", false)]
fn a_repository_is_looked_at_where_somebody_builds_from_it(#[case] tag: &str, #[case] ours: bool) {
    for topic in ["repo.init", "repo.done"] {
        let body = json!({"tag": tag, "repo_id": 7});
        assert_eq!(looked(hint_of(topic, body)), ours.then_some(HubObject::Repo(RepoId(7))), "{topic}");
    }
    let elsewhere = json!({"tag": tag, "repo_id": 7, "instance": "arm"});
    assert_eq!(looked(hint_of("repo.done", elsewhere)), None, "the tag of another hub");
}

#[rstest]
#[case::in_a_collection("foo", "primary", true)]
#[case::in_none("bar", "primary", false)]
#[case::of_another_hub("foo", "arm", false)]
fn a_build_is_looked_at_where_a_collection_has_its_package(
    #[case] package: &str,
    #[case] instance: &str,
    #[case] ours: bool,
) {
    let body = json!({"build_id": 4, "name": package, "version": "1", "release": "1", "task_id": 5, "old": 0,
        "new": 1, "instance": instance});
    assert_eq!(looked(hint_of("build.state.change", body)), ours.then_some(HubObject::Build(BuildId(4))));
}

#[rstest]
#[case::ours("koschei", true)]
#[case::somebody_elses("alice", false)]
fn a_scratch_build_is_looked_at_where_it_is_ours(#[case] owner: &str, #[case] ours: bool) {
    let request = json!(["x/foo-1-1.src.rpm", "f99", {"scratch": true}]);
    let body = json!({"id": 5, "new": "OPEN", "owner": owner, "method": "build", "info": {"request": request}});
    assert_eq!(looked(hint_of("task.state.change", body)), ours.then_some(HubObject::Task(TaskId(5))));
}

#[test]
fn what_is_not_understood_is_said_to_be() {
    assert!(matches!(hint_of("tag", json!({"tag": 7})), Hint::Rejected(_)));
    assert!(matches!(hint_of("rpm.sign", json!({})), Hint::Nothing(_)));
}

/// No hub knows of buildroot overrides.
#[test]
fn an_override_is_not_a_hint_but_the_fact() {
    let body = json!({"override": {"nvr": "bash-5-1", "submitter": {"name": "alice"}}});
    for what in ["tag", "untag"] {
        assert_eq!(hint_of(&format!("bodhi.buildroot_override.{what}"), body.clone()), Hint::Fact);
        let bad = hint_of(&format!("bodhi.buildroot_override.{what}"), json!({"override": 7}));
        assert_eq!(bad, Hint::Rejected("`override` is not an object".to_owned()));
    }
}

/// Returns the object to look at, and checks that it is on the hub that sent the message.
fn looked(hint: Hint) -> Option<HubObject> {
    match hint {
        Hint::Look(hub, key) => {
            assert_eq!(hub, Hub::new("primary"));
            Some(key)
        }
        Hint::Nothing(_) | Hint::Fact => None,
        Hint::Rejected(why) => panic!("{why}"),
    }
}
