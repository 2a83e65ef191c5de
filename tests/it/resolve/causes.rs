//! First causes: which change of a tiny repository broke a buildroot. Tested by examples, and in
//! random repositories by checking which package changed.

use std::sync::Arc;

use koschei::resolve::{Culprit, Effect, FirstCause, Generation, Mode, Universe, first_causes, group_by_cause};
use proptest::prelude::*;
use rstest::rstest;

use crate::tiny::{Pkg, content, pkg};

/// Resolves the last of `requires` in each generation, and explains the last generation. `None` if
/// it resolves there, or nowhere.
fn explain(
    generations: &[Vec<Pkg>],
    group: &[&str],
    requires: &[&[&str]],
    mode: Mode,
) -> Option<(usize, Vec<FirstCause>)> {
    let owned = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<String>>();
    let requires: Vec<Vec<String>> = requires.iter().map(|r| owned(r)).collect();
    let lists: Vec<&[String]> =
        (0..generations.len()).map(|g| requires[g.min(requires.len() - 1)].as_slice()).collect();
    let universes: Vec<Universe> =
        generations.iter().map(|g| Universe::load(Arc::new(content(g)), "x86_64").unwrap()).collect();
    let prepared: Vec<_> = universes.iter().map(|u| u.prepare(&owned(group), mode).unwrap()).collect();
    let answers: Vec<_> = prepared.iter().zip(&lists).map(|(p, r)| p.resolver().without_texts().resolve(r)).collect();
    let generations: Vec<Generation<'_>> =
        prepared.iter().enumerate().map(|(i, p)| Generation::new(format!("g{i}"), p)).collect();
    if answers.last().unwrap().ok {
        return None;
    }
    let resolved = answers.iter().rposition(|a| a.ok)?;
    Some((resolved, first_causes(&generations, &lists, resolved, &answers[resolved].closure)))
}

fn show(cause: &FirstCause) -> String {
    let effect = match &cause.effect {
        Effect::Lost { requirement } => format!("lost {requirement}"),
        Effect::Requires { requirement } => format!("requires {requirement}"),
        Effect::Provides { requirement } => format!("provides {requirement}"),
        Effect::Conflict { with } => format!("conflicts with {}", with.name),
    };
    let path: Vec<&str> = cause.path.iter().map(|l| l.requirement.as_str()).collect();
    format!("{} {effect}: {}", cause.id(), path.join(" > "))
}

fn causes(generations: &[Vec<Pkg>], requires: &[&str]) -> Vec<String> {
    let found = explain(generations, &["base"], &[requires], Mode::Two).expect("resolves first and not last");
    found.1.iter().map(show).collect()
}

/// The package that every tiny repository here has, for the build group.
fn base() -> Pkg {
    pkg("base-1-1.noarch")
}

#[rstest]
#[case::removed(
    &[vec![base(), pkg("a-1-1.noarch")], vec![base()]],
    &["a"], &["a.noarch 1-1 -> removed @1 lost a: a"]
)]
#[case::provides_no_longer(
    &[vec![base(), pkg("a-1-1.noarch").provides(&["cap"])], vec![base(), pkg("a-2-1.noarch")]],
    &["cap"], &["a.noarch 1-1 -> 2-1 @1 lost cap: cap"]
)]
#[case::soname_bump_below(
    &[
        vec![base(), pkg("app-1-1.noarch").requires(&["mid"]), pkg("mid-1-1.noarch").requires(&["so.1"]),
             pkg("lib-1-1.noarch").provides(&["so.1"])],
        vec![base(), pkg("app-1-1.noarch").requires(&["mid"]), pkg("mid-1-1.noarch").requires(&["so.1"]),
             pkg("lib-2-1.noarch").provides(&["so.2"])],
    ],
    &["base", "app"], &["lib.noarch 1-1 -> 2-1 @1 lost so.1: app > mid > so.1"]
)]
#[case::pinned_version_left_behind(
    &[
        vec![base(), pkg("d-1-1.noarch").requires(&["l = 1-1"]), pkg("l-1-1.noarch")],
        vec![base(), pkg("d-1-1.noarch").requires(&["l = 1-1"]), pkg("l-2-1.noarch")],
    ],
    &["d"], &["l.noarch 1-1 -> 2-1 @1 lost l = 1-1: d > l = 1-1"]
)]
#[case::new_requirement(
    &[vec![base(), pkg("a-1-1.noarch")], vec![base(), pkg("a-2-1.noarch").requires(&["nothing"])]],
    &["a"], &["a.noarch 1-1 -> 2-1 @1 requires nothing: a > nothing"]
)]
#[case::an_update_that_lacks_something_below(
    &[
        vec![base(), pkg("tool-1-1.noarch").requires(&["std = 1-1"]), pkg("std-1-1.noarch")],
        vec![base(), pkg("tool-2-1.noarch").requires(&["std = 2-1"]), pkg("std-2-1.noarch").requires(&["nothing"])],
    ],
    &["tool"],
    &["std.noarch 1-1 -> 2-1 @1 requires nothing: tool > std = 2-1 > nothing",
      "tool.noarch 1-1 -> 2-1 @1 requires std = 2-1: tool > std = 2-1"]
)]
#[case::taken_away_comes_before_asked_for(
    &[
        vec![base(), pkg("a-1-1.noarch"), pkg("b-1-1.noarch").provides(&["cap"])],
        vec![base(), pkg("a-2-1.noarch").requires(&["cap"])],
    ],
    &["a"],
    &["b.noarch 1-1 -> removed @1 lost cap: a > cap", "a.noarch 1-1 -> 2-1 @1 requires cap: a > cap"]
)]
#[case::order_of_the_build_requires(
    &[vec![base(), pkg("a-1-1.noarch"), pkg("b-1-1.noarch")], vec![base()]],
    &["b", "a"], &["b.noarch 1-1 -> removed @1 lost b: b", "a.noarch 1-1 -> removed @1 lost a: a"]
)]
#[case::only_the_provider_that_was_used(
    &[
        vec![base(), pkg("a-1-1.noarch").provides(&["cap"]), pkg("b-1-1.noarch").provides(&["cap"])],
        vec![base(), pkg("a-2-1.noarch")],
    ],
    &["cap"], &["a.noarch 1-1 -> 2-1 @1 lost cap: cap"]
)]
#[case::turned_to_noarch(
    &[vec![base(), pkg("a-1-1.x86_64").provides(&["cap"])], vec![base(), pkg("a-2-1.noarch")]],
    &["cap"], &["a.x86_64 1-1 -> 2-1 @1 lost cap: cap"]
)]
#[case::circle(
    &[
        vec![
            base(), pkg("a-1-1.noarch").requires(&["b"]), pkg("b-1-1.noarch").requires(&["a", "c"]),
            pkg("c-1-1.noarch"),
        ],
        vec![base(), pkg("a-1-1.noarch").requires(&["b"]), pkg("b-1-1.noarch").requires(&["a", "c"])],
    ],
    &["a"], &["c.noarch 1-1 -> removed @1 lost c: a > b > c"]
)]
#[case::conflict_said_by_the_new_version(
    &[
        vec![base(), pkg("a-1-1.noarch"), pkg("b-1-1.noarch")],
        vec![base(), pkg("a-1-1.noarch"), pkg("b-2-1.noarch").conflicts(&["a"])],
    ],
    &["a", "b"], &["b.noarch 1-1 -> 2-1 @1 conflicts with a: a"]
)]
#[case::conflict_with_the_new_version(
    &[
        vec![base(), pkg("a-1-1.noarch"), pkg("b-1-1.noarch").conflicts(&["a >= 2"])],
        vec![base(), pkg("a-2-1.noarch"), pkg("b-1-1.noarch").conflicts(&["a >= 2"])],
    ],
    &["a", "b"], &["a.noarch 1-1 -> 2-1 @1 conflicts with b: a"]
)]
#[case::the_way_round_a_conflict_is_gone(
    &[
        vec![base(), pkg("a-1-1.noarch").conflicts(&["b"]), pkg("b-1-1.noarch").provides(&["cap"]),
             pkg("c-1-1.noarch").provides(&["cap"])],
        vec![base(), pkg("a-1-1.noarch").conflicts(&["b"]), pkg("b-1-1.noarch").provides(&["cap"])],
    ],
    &["a", "cap"], &["c.noarch 1-1 -> removed @1 lost cap: cap"]
)]
#[case::both_parts(
    &[vec![base(), pkg("a-1-1.noarch"), pkg("b-1-1.noarch")], vec![base(), pkg("a-1-1.noarch")]],
    &["(a and b)"], &["b.noarch 1-1 -> removed @1 lost (a and b): (a and b)"]
)]
#[case::condition_met(
    &[
        vec![base(), pkg("a-1-1.noarch").requires(&["(c if b)"]), pkg("b-1-1.noarch"), pkg("c-1-1.noarch")],
        vec![base(), pkg("a-1-1.noarch").requires(&["(c if b)"]), pkg("b-1-1.noarch")],
    ],
    &["a", "b"], &["c.noarch 1-1 -> removed @1 lost (c if b): a > (c if b)"]
)]
#[case::condition_met_by_itself(
    &[
        vec![base(), pkg("a-1-1.noarch").provides(&["self"]).requires(&["(c if self)"]), pkg("c-1-1.noarch")],
        vec![base(), pkg("a-1-1.noarch").provides(&["self"]).requires(&["(c if self)"])],
    ],
    &["a"], &["c.noarch 1-1 -> removed @1 lost (c if self): a > (c if self)"]
)]
#[case::condition_met_by_the_provider(
    &[
        vec![base(), pkg("p-1-1.noarch").provides(&["c4"]),
             pkg("q-1-1.noarch").provides(&["c1", "c0"]).requires(&["c0", "(c4 if c0)"]).conflicts(&["c0"])],
        vec![base(), pkg("p-2-1.noarch").requires(&["(c4 and c3)"]),
             pkg("q-1-1.noarch").provides(&["c1", "c0"]).requires(&["c0", "(c4 if c0)"]).conflicts(&["c0"])],
    ],
    &["c1"], &["p.noarch 1-1 -> 2-1 @1 lost (c4 if c0): c1 > (c4 if c0)"]
)]
#[case::file(
    &[vec![base(), pkg("a-1-1.noarch").files(&["/usr/bin/a"])], vec![base(), pkg("a-2-1.noarch")]],
    &["/usr/bin/a"], &["a.noarch 1-1 -> 2-1 @1 lost /usr/bin/a: /usr/bin/a"]
)]
#[case::dated_at_the_step(
    &[vec![base(), pkg("a-1-1.noarch")], vec![base(), pkg("a-2-1.noarch")], vec![base()], vec![base()]],
    &["a"], &["a.noarch 2-1 -> removed @2 lost a: a"]
)]
#[case::what_is_missing_now_not_what_was_meanwhile(
    &[
        vec![base(), pkg("a-1-1.noarch"), pkg("b-1-1.noarch")],
        vec![base(), pkg("b-1-1.noarch")],
        vec![base(), pkg("a-1-1.noarch")],
    ],
    &["a", "b"], &["b.noarch 1-1 -> removed @2 lost b: b"]
)]
fn first_cause(#[case] generations: &[Vec<Pkg>], #[case] requires: &[&str], #[case] expected: &[&str]) {
    assert_eq!(causes(generations, requires), expected);
}

/// Only if the group is solved together with the rest. In mode two, the group's packages give way
/// and break nothing.
#[rstest]
#[case::conflict_with_the_group(
    &[
        vec![base(), pkg("a-1-1.noarch")],
        vec![base(), pkg("a-2-1.noarch").conflicts(&["base"])],
    ],
    "a.noarch 1-1 -> 2-1 @1 conflicts with base: a"
)]
#[case::the_group_brings_what_it_did_not(
    &[
        vec![base(), pkg("a-1-1.noarch"), pkg("b-1-1.noarch").conflicts(&["a"])],
        vec![pkg("base-2-1.noarch").requires(&["b"]), pkg("a-1-1.noarch"), pkg("b-1-1.noarch").conflicts(&["a"])],
    ],
    "base.noarch 1-1 -> 2-1 @1 requires b: base > b"
)]
fn what_the_group_is_in_the_way_of(#[case] generations: &[Vec<Pkg>], #[case] expected: &str) {
    let (_, causes) = explain(generations, &["base"], &[&["a"]], Mode::Joint).unwrap();
    assert_eq!(causes.iter().map(show).collect::<Vec<_>>(), [expected]);
    assert_eq!(explain(generations, &["base"], &[&["a"]], Mode::Two), None);
}

/// A conflict with a base package proves nothing. The conflict that counts is between two requested
/// packages.
#[test]
fn a_conflict_with_the_base_is_no_cause() {
    let repo = |c: Pkg| {
        vec![
            base().provides(&["tool"]),
            pkg("a-1-1.noarch").requires(&["tool"]).conflicts(&["base"]),
            pkg("b-1-1.noarch").provides(&["tool"]),
            c,
        ]
    };
    let before = repo(pkg("c-1-1.noarch"));
    let after = repo(pkg("c-2-1.noarch").conflicts(&["b"]));
    let generations = [before, after];
    assert_eq!(causes(&generations, &["a", "c"]), ["c.noarch 1-1 -> 2-1 @1 conflicts with b: c"]);
}

#[rstest]
fn a_broken_build_group_is_the_cause_for_everything(#[values(Mode::Two, Mode::Joint)] mode: Mode) {
    let with =
        |lib: &str| vec![base().requires(&["so.1"]), pkg("lib-1-1.noarch").provides(&[lib]), pkg("a-1-1.noarch")];
    let (_, causes) = explain(&[with("so.1"), with("so.2")], &["base"], &[&["a"]], mode).unwrap();
    assert_eq!(causes.iter().map(show).collect::<Vec<_>>(), ["lib.noarch 1-1 -> 1-1 @1 lost so.1: base > so.1"]);
    assert!(causes[0].in_group);
}

/// A member that nothing provides is skipped until something provides it. Then the provider cannot
/// be installed, or brings a conflicting package.
#[rstest]
#[case::lacks_something(pkg("tool-1-1.noarch").requires(&["nothing"]), Mode::Two, "requires nothing: tool > nothing")]
#[case::brings_what_conflicts(pkg("tool-1-1.noarch").requires(&["b"]), Mode::Joint, "requires b: tool > b")]
#[case::conflicts_itself(pkg("tool-1-1.noarch").conflicts(&["a"]), Mode::Joint, "conflicts with a: a")]
fn a_member_of_the_group_that_nothing_provided(#[case] tool: Pkg, #[case] mode: Mode, #[case] expected: &str) {
    let before = || vec![base(), pkg("a-1-1.noarch"), pkg("b-1-1.noarch").conflicts(&["a"])];
    let after = before().into_iter().chain([tool]).collect();
    let (_, causes) = explain(&[before(), after], &["base", "tool"], &[&["a"]], mode).unwrap();
    assert_eq!(show(&causes[0]), format!("tool.noarch absent -> 1-1 @1 {expected}"));
}

#[test]
fn what_the_source_package_asks_for_itself() {
    let repo = || vec![base(), pkg("a-1-1.noarch")];
    let (_, causes) = explain(&[repo(), repo()], &["base"], &[&["a"], &["a", "b"]], Mode::Two).unwrap();
    assert_eq!(causes.iter().map(show).collect::<Vec<_>>(), ["build requirements @1 requires b: b"]);
    assert_eq!(causes[0].culprit, Culprit::BuildRequires);
}

#[test]
fn equal_causes_are_grouped_largest_first() {
    let before = vec![base(), pkg("a-1-1.noarch"), pkg("b-1-1.noarch")];
    let of = |requires: &[&str]| explain(&[before.clone(), vec![base()]], &["base"], &[requires], Mode::Two).unwrap().1;
    let found = [of(&["a"]), of(&["b"]), of(&["b", "a"]), Vec::new()];
    let lists: Vec<&[FirstCause]> = found.iter().map(Vec::as_slice).collect();
    let groups: Vec<(String, Vec<usize>)> = group_by_cause(&lists).into_iter().map(|(c, at)| (c.id(), at)).collect();
    assert_eq!(
        groups,
        [("b.noarch 1-1 -> removed @1".into(), vec![1, 2]), ("a.noarch 1-1 -> removed @1".into(), vec![0])]
    );
}

/// A random package with capabilities `c0` to `c4`.
#[derive(Clone, Debug)]
struct Small {
    provides: Vec<u8>,
    requires: Vec<(u8, u8, u8)>,
    conflicts: Vec<u8>,
}

fn small(conflicts: usize, forms: u8) -> impl Strategy<Value = Small> {
    let capability = 0u8..5;
    let requirement = (capability.clone(), capability.clone(), 0..forms);
    (
        prop::collection::vec(capability.clone(), 0..3),
        prop::collection::vec(requirement, 0..3),
        prop::collection::vec(capability, 0..=conflicts),
    )
        .prop_map(|(provides, requires, conflicts)| Small { provides, requires, conflicts })
}

fn build(index: usize, version: usize, small: &Small) -> Pkg {
    let named = |caps: &[u8]| caps.iter().map(|c| format!("c{c}")).collect::<Vec<_>>();
    let requirement = |&(a, b, form): &(u8, u8, u8)| match form {
        0 | 1 => format!("c{a}"),
        2 => format!("(c{a} or c{b})"),
        3 => format!("(c{a} and c{b})"),
        _ => format!("(c{a} if c{b})"),
    };
    let requires: Vec<String> = small.requires.iter().map(requirement).collect();
    let (provides, conflicts) = (named(&small.provides), named(&small.conflicts));
    pkg(&format!("p{index}-{version}-1.noarch"))
        .provides(&strs(&provides))
        .requires(&strs(&requires))
        .conflicts(&strs(&conflicts))
}

fn strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// Generations that differ by one package each: the package, and its new content (`None`: removed).
type Steps = Vec<(prop::sample::Index, Option<Small>)>;

fn generations(packages: &[Small], steps: &Steps) -> (Vec<Vec<Pkg>>, Vec<usize>) {
    let mut now: Vec<Option<(usize, Small)>> = packages.iter().map(|s| Some((1, s.clone()))).collect();
    let repo = |now: &[Option<(usize, Small)>]| {
        now.iter().enumerate().filter_map(|(i, p)| p.as_ref().map(|(version, s)| build(i, *version, s))).collect()
    };
    let mut repos = vec![repo(&now)];
    let mut changed = vec![usize::MAX];
    for (step, (index, to)) in steps.iter().enumerate() {
        let index = index.index(packages.len());
        now[index] = to.clone().map(|small| (step + 2, small));
        repos.push(repo(&now));
        changed.push(index);
    }
    (repos, changed)
}

fn check(packages: &[Small], steps: &Steps, group: &[u8], wanted: &[u8], complete: bool) -> Result<(), TestCaseError> {
    let (repos, changed) = generations(packages, steps);
    let named = |caps: &[u8]| caps.iter().map(|c| format!("c{c}")).collect::<Vec<_>>();
    let (group, wanted) = (named(group), named(wanted));
    let (group, wanted) = (strs(&group), strs(&wanted));
    for mode in [Mode::Two, Mode::Joint] {
        let Some((resolved, causes)) = explain(&repos, &group, &[&wanted], mode) else { continue };
        prop_assert!(!complete || !causes.is_empty(), "{mode:?}: no cause");
        for cause in &causes {
            prop_assert!(cause.step > resolved, "{}", show(cause));
            let Culprit::Package(change) = &cause.culprit else { panic!("the source package never changes") };
            prop_assert_eq!(change.name.as_str(), format!("p{}", changed[cause.step]), "{:?}: {}", mode, show(cause));
        }
    }
    Ok(())
}

fn steps(conflicts: usize, forms: u8) -> impl Strategy<Value = Steps> {
    prop::collection::vec((any::<prop::sample::Index>(), prop::option::weighted(0.7, small(conflicts, forms))), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// One package changes between two generations. A cause named at a step is always the package
    /// that changed there, even with conflicts and conditions.
    #[test]
    fn a_cause_is_always_a_package_that_changed_at_its_step(
        packages in prop::collection::vec(small(1, 5), 2..9),
        steps in steps(1, 5),
        group in prop::collection::vec(0u8..5, 0..2),
        wanted in prop::collection::vec(0u8..5, 1..4),
    ) {
        check(&packages, &steps, &group, &wanted, false)?;
    }

    /// Without conflicts and conditions, a cause is always found.
    #[test]
    fn a_missing_capability_always_has_a_cause(
        packages in prop::collection::vec(small(0, 4), 2..9),
        steps in steps(0, 4),
        group in prop::collection::vec(0u8..5, 0..2),
        wanted in prop::collection::vec(0u8..5, 1..4),
    ) {
        check(&packages, &steps, &group, &wanted, true)?;
    }
}
