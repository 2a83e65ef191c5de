//! An answer is as old as the event it was read after: what came later is not missing from it.

use rstest::rstest;

use super::*;
use crate::event::{BuildTagged, CollectionCreated, CollectionSettings, Envelope, Event, RepoReady, Source};
use crate::hub::snapshot::Why;
use crate::model::{BuildId, RepoId, Seq, Timestamp};

fn primary() -> Hub {
    Hub::new("primary")
}

fn apply(state: &mut State, event: impl Into<Event>, koji_event: i64) {
    let envelope = Envelope {
        seq: Seq::after(state.seq),
        recorded_at: Timestamp::EPOCH,
        occurred_at: Timestamp::EPOCH,
        source: Source::Hub,
        fact: None,
        koji_event: Some(koji_event),
        causation: None,
        correlation: None,
        event: event.into(),
    };
    state.apply(&envelope);
}

/// A collection whose dest tag got builds 1 and 2 at Koji events 10 and 30, and whose build tag got repositories 1 and
/// 2 then.
fn known() -> State {
    let mut state = State::default();
    let settings = CollectionSettings {
        display_name: "f99".to_owned(),
        hub: primary(),
        target: "f99".into(),
        build_tag: "f99-build".into(),
        dest_tag: "f99".into(),
        build_group: "build".into(),
        coefficient: 1000,
        arches: vec!["x86_64".into()],
        track_all: true,
        max_builds: None,
        found: false,
        builds_on: None,
    };
    apply(&mut state, CollectionCreated { collection: "f99".into(), settings }, 1);
    for (number, event) in [(1, 10), (2, 30)] {
        let tagged = BuildTagged {
            hub: primary(),
            tag: "f99".into(),
            tag_id: None,
            build_id: BuildId(number),
            name: "foo".into(),
            version: "1".into(),
            release: number.to_string().into(),
            by: None,
        };
        apply(&mut state, tagged, event);
        let ready = RepoReady {
            hub: primary(),
            repo_id: RepoId(number),
            tag: "f99-build".into(),
            tag_id: None,
            create_event: Some(event),
            arches: None,
        };
        apply(&mut state, ready, event);
    }
    state
}

/// A look that was read after `event` and found nothing.
fn look(event: i64) -> Observation {
    let seen = vec![
        Seen::TagBuilds { tag: "f99".into(), package: None, builds: Vec::new() },
        Seen::Repos { tag: "f99-build".into(), usable: Vec::new(), from: None, later: Vec::new() },
    ];
    Observation {
        hub: primary(),
        event,
        why: Why::Hint,
        at: Timestamp::EPOCH,
        settled: None,
        fresh: std::collections::BTreeSet::new(),
        seen,
        complete: false,
    }
}

#[rstest]
#[case::before_either(5, &[])]
#[case::between(20, &[1])]
#[case::after_both(40, &[1, 2])]
fn what_came_after_we_looked_is_not_gone(#[case] event: i64, #[case] gone: &[i64]) {
    let facts = differences(&known(), &look(event)).facts;
    let untagged: Vec<i64> = facts
        .iter()
        .filter_map(|f| match &f.event {
            Event::BuildUntagged(e) => Some(e.build_id.0),
            _ => None,
        })
        .collect();
    let deleted: Vec<i64> = facts
        .iter()
        .filter_map(|f| match &f.event {
            Event::RepoDeleted(e) => Some(e.repo_id.0),
            _ => None,
        })
        .collect();
    assert_eq!((untagged.as_slice(), deleted.as_slice()), (gone, gone));
}
