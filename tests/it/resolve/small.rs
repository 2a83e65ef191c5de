//! Random small repositories in which every set of packages can be tried: the verdict must be right
//! and the closure valid.

use std::sync::Arc;

use koschei::resolve::{Mode, Universe};
use proptest::prelude::*;

use crate::tiny::{Pkg, content, pkg};

/// A package `p<n>`: what it provides, requires (each one of several capabilities) and conflicts
/// with, as capability numbers.
#[derive(Clone, Debug)]
struct Small {
    provides: Vec<u8>,
    requires: Vec<Vec<u8>>,
    conflicts: Vec<u8>,
}

fn small() -> impl Strategy<Value = Small> {
    let capability = 0u8..5;
    (
        prop::collection::vec(capability.clone(), 0..3),
        prop::collection::vec(prop::collection::vec(capability.clone(), 1..3), 0..3),
        prop::collection::vec(capability, 0..2),
    )
        .prop_map(|(provides, requires, conflicts)| Small { provides, requires, conflicts })
}

fn text(any: &[u8]) -> String {
    match any {
        [one] => format!("c{one}"),
        more => format!("({})", more.iter().map(|c| format!("c{c}")).collect::<Vec<_>>().join(" or ")),
    }
}

fn package(index: usize, small: &Small) -> Pkg {
    let owned = |caps: &[u8]| caps.iter().map(|c| format!("c{c}")).collect::<Vec<_>>();
    let (provides, conflicts) = (owned(&small.provides), owned(&small.conflicts));
    let requires: Vec<String> = small.requires.iter().map(|any| text(any)).collect();
    pkg(&format!("p{index}-1-1.noarch"))
        .provides(&refs(&provides))
        .requires(&refs(&requires))
        .conflicts(&refs(&conflicts))
}

fn refs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// Checks whether the set (bits) provides one of these.
fn provides(universe: &[Small], set: usize, any: &[u8]) -> bool {
    universe.iter().enumerate().any(|(i, p)| set >> i & 1 == 1 && p.provides.iter().any(|c| any.contains(c)))
}

fn valid(universe: &[Small], set: usize) -> bool {
    universe.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1).all(|(i, p)| {
        let others = set & !(1 << i);
        p.requires.iter().all(|any| provides(universe, set, any)) && !provides(universe, others, &p.conflicts)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Joint mode finds a set exactly if there is one, and its set is valid. Mode two does too if
    /// the group itself can be installed. There the group need not be in the set, and its members
    /// are packages.
    #[test]
    fn verdict_and_closure(
        packages in prop::collection::vec(small(), 1..8),
        group in prop::collection::vec(0u8..5, 0..2),
        wanted in prop::collection::vec(0u8..5, 0..3),
    ) {
        let built: Vec<Pkg> = packages.iter().enumerate().map(|(i, s)| package(i, s)).collect();
        let universe = Universe::load(Arc::new(content(&built)), "x86_64").unwrap();
        let everything = (1usize << packages.len()) - 1;
        let there = group.iter().copied().filter(|c| provides(&packages, everything, &[*c]));
        let together: Vec<u8> = there.chain(wanted.clone()).collect();
        let enough =
            |set: usize, all: &[u8]| valid(&packages, set) && all.iter().all(|c| provides(&packages, set, &[*c]));
        let possible = |all: &[u8]| (0..=everything).any(|set| enough(set, all));
        let members = group.iter().filter(|&&p| usize::from(p) < packages.len()).fold(0, |set, p| set | 1 << p);
        let installable = (0..=everything).any(|set| set & members == members && valid(&packages, set));

        let names = |kind: char, of: &[u8]| of.iter().map(|c| format!("{kind}{c}")).collect::<Vec<_>>();
        for (mode, kind, asked) in [(Mode::Joint, 'c', &together), (Mode::Two, 'p', &wanted)] {
            let prepared = universe.prepare(&names(kind, &group), mode).unwrap();
            let answer = prepared.resolver().with_distances().resolve(&names('c', &wanted));
            let expected = possible(asked) && (mode == Mode::Joint || installable);
            prop_assert_eq!(answer.ok, expected, "{:?}: {:?}", mode, answer.problems);
            prop_assert_eq!(answer.ok, answer.problems.is_empty());
            if answer.ok {
                let set = answer.closure.iter().fold(0, |set, id| set | 1 << id.index());
                prop_assert!(enough(set, asked), "{:?}: {:b}", mode, set);
                prop_assert_eq!(answer.distances.len(), answer.closure.len());
            }
        }
    }
}
