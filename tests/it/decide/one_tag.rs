//! Several collections get their repositories from one tag. They are resolved at once, and the log
//! is as if one followed the other.

use koschei::event::{CollectionSettings, Envelope};
use serde_json::Value;

use crate::decide::cases_hub::Z;
use crate::story::{World, broken, ok, settings};

/// A collection on the tag of `f99`.
fn on_its_tag(name: &str) -> CollectionSettings {
    CollectionSettings { build_tag: "f99-build".into(), dest_tag: "f99".into(), ..settings(name) }
}

/// Returns what three repositories lead to in these collections. `asked` gets the units of each call.
fn told(collections: &[(&str, CollectionSettings)], asked: &mut Vec<Vec<String>>) -> Vec<Envelope> {
    let mut w = World::examining_with(collections);
    w.submits();
    for nvr in ["foo-1-1", "bar-1-1", "baz-1-1,draft_7"] {
        w.tag("f99", nvr);
    }
    let newer = "zlib-0:2-1.x86_64/1";
    for (repo, draft, closure) in [(1, "baz-1-1,draft_7", Z), (2, "baz-1-1", newer), (3, "baz-1-1", Z)] {
        let has = [ok("foo-1-1", closure), broken("bar-1-1", "nothing provides q"), ok(draft, closure)];
        w.holds("f99-build", repo, "x86_64", &has);
        w.holds("f99-build", repo, "aarch64", &has);
        w.done("f99-build", repo);
        w.examine();
    }
    w.sound();
    asked.extend(w.asked());
    w.events()
}

/// Returns the events of a collection, without what counts events.
fn of(events: &[Envelope], collection: &str) -> Vec<Value> {
    let payloads = events.iter().map(|e| (e.event.kind().name, serde_json::to_value(&e.event).unwrap()));
    let ours = payloads.filter(|(kind, _)| {
        ["repo_resolved", "package_state_changed", "resolution_examined", "buildroot_resolved"].contains(kind)
    });
    ours.map(|(_, payload)| payload).filter(|payload| payload["data"]["collection"] == collection).collect()
}

#[test]
fn collections_on_one_tag_are_resolved_at_once() {
    let both = [("f99", settings("f99")), ("rebuild", on_its_tag("rebuild"))];
    let (mut together, mut alone) = (Vec::new(), Vec::new());
    let events = told(&both, &mut together);
    let units = ["f99 aarch64", "f99 x86_64", "rebuild aarch64", "rebuild x86_64"];
    // The second repository shows a promotion, which changes the sources of the other collection. It is
    // resolved for that one with the sources that count now.
    let asked: [&[&str]; 4] = [&units, &units, &units[2..], &units];
    assert_eq!(together, asked);
    for (name, settings) in both {
        let events_alone = told(&[(name, settings)], &mut alone);
        assert_eq!(of(&events, name), of(&events_alone, name), "{name}");
        assert!(of(&events, name).len() > 10);
    }
    // What follows for a collection stays together.
    let order: Vec<String> = events
        .iter()
        .filter_map(|e| serde_json::to_value(&e.event).ok().filter(|_| e.event.kind().name == "repo_resolved"))
        .map(|payload| payload.to_string())
        .map(|text| units.iter().find(|u| u.split(' ').all(|word| text.contains(&format!("\"{word}\"")))).unwrap())
        .map(|unit| (*unit).to_owned())
        .collect();
    assert_eq!(order, [units; 3].concat());
}
