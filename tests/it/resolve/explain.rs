//! Chains and true distances in tiny repositories.

use std::sync::Arc;

use koschei::resolve::{Mode, Universe};
use rstest::rstest;

use crate::tiny::{Pkg, content, pkg};

/// Returns `package distance: requirement > requirement`, one per package of the closure, in the
/// order of the repository.
fn explained(packages: &[Pkg], requires: &[&str], mode: Mode) -> Vec<String> {
    let universe = Universe::load(Arc::new(content(packages)), "x86_64").unwrap();
    let prepared = universe.prepare(&["base".to_owned()], mode).unwrap();
    let answer = prepared.resolver().with_true_distances().resolve(requires);
    assert!(answer.ok, "{:?}", answer.problems);
    let chains = prepared.explainer().chains(requires, &answer.closure);
    let rows = answer.closure.iter().zip(&answer.true_distances).zip(chains).map(|((&id, distance), chain)| {
        let chain = chain.expect("every package of a closure is there for a reason");
        assert_eq!(chain.steps.last().unwrap().package, id);
        let texts: Vec<&str> = chain.steps.iter().map(|s| s.requirement.as_str()).collect();
        let distance = distance.map_or_else(|| chain.origin.as_str().to_owned(), |d| d.to_string());
        format!("{} {distance}: {}", universe.package(id).name, texts.join(" > "))
    });
    rows.collect()
}

#[rstest]
#[case::group_only(vec![], &[], &["base group: base"])]
#[case::steps(
    vec![pkg("a-1-1.noarch").requires(&["b"]), pkg("b-1-1.noarch").requires(&["c"]), pkg("c-1-1.noarch")],
    &["a"], &["base group: base", "a 1: a", "b 2: a > b", "c 3: a > b > c"]
)]
#[case::shortest(
    vec![pkg("a-1-1.noarch").requires(&["b"]), pkg("b-1-1.noarch").requires(&["c"]), pkg("c-1-1.noarch")],
    &["a", "c"], &["base group: base", "a 1: a", "b 2: a > b", "c 1: c"]
)]
#[case::a_build_requires_before_the_group(vec![], &["base"], &["base 1: base"])]
#[case::not_over_what_could_have_been(
    vec![
        pkg("a-1-1.noarch").requires(&["b"]),
        pkg("b-1-1.noarch").requires(&["far"]),
        pkg("cap1-1-1.noarch").provides(&["cap"]),
        pkg("cap2-1-1.noarch").provides(&["cap"]).requires(&["far"]),
        pkg("far-1-1.noarch"),
    ],
    &["cap", "a"], &["base group: base", "a 1: a", "b 2: a > b", "cap1 1: cap", "far 3: a > b > far"]
)]
#[case::what_a_package_gives_itself_leads_nowhere(
    vec![
        pkg("a-1-1.noarch").provides(&["cap"]).requires(&["cap", "b"]),
        pkg("b-1-1.noarch").requires(&["other"]),
        pkg("other-1-1.noarch").provides(&["cap"]),
    ],
    &["a"], &["base group: base", "a 1: a", "b 2: a > b", "other 3: a > b > other"]
)]
#[case::condition_met(
    vec![pkg("a-1-1.noarch").requires(&["(b if base)"]), pkg("b-1-1.noarch")],
    &["a"], &["base group: base", "a 1: a", "b 2: a > (b if base)"]
)]
#[case::condition_not_met(
    vec![pkg("a-1-1.noarch").requires(&["(b if x)"]), pkg("b-1-1.noarch"), pkg("d-1-1.noarch").requires(&["b"])],
    &["a", "d"], &["base group: base", "a 1: a", "b 2: d > b", "d 1: d"]
)]
#[case::otherwise(
    vec![pkg("a-1-1.noarch").requires(&["(b if x else c)"]), pkg("b-1-1.noarch"), pkg("c-1-1.noarch")],
    &["a"], &["base group: base", "a 1: a", "c 2: a > (b if x else c)"]
)]
#[case::both_parts_of_a_build_requires(
    vec![pkg("a-1-1.noarch"), pkg("b-1-1.noarch")],
    &["(a and b)"], &["base group: base", "a 1: (a and b)", "b 1: (a and b)"]
)]
#[case::any_file(
    vec![pkg("a-1-1.noarch").files(&["/opt/a"])],
    &["/opt/a"], &["base group: base", "a 1: /opt/a"]
)]
fn chains_and_distances(
    #[case] packages: Vec<Pkg>,
    #[case] requires: &[&str],
    #[case] expected: &[&str],
    #[values(Mode::Two, Mode::Joint)] mode: Mode,
) {
    let packages: Vec<Pkg> = std::iter::once(pkg("base-1-1.noarch")).chain(packages).collect();
    assert_eq!(explained(&packages, requires, mode), expected);
}
