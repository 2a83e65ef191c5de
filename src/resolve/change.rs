//! Computes the difference between two closures.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use smol_str::SmolStr;

use crate::model::{Evr, Nevra};

/// One package of a closure, with its distance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Installed {
    /// The package.
    pub nevra: Nevra,
    /// Distance from the source package, 1 to [`super::DISTANCE_MAX`]. `None` if it is not reached.
    pub distance: Option<u8>,
}

/// One difference between two closures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Package name.
    pub name: SmolStr,
    /// Architecture. `noarch` counts as one.
    pub arch: SmolStr,
    /// Version in the old closure. `None` if the package was not there.
    pub old: Option<Evr>,
    /// Version in the new closure. `None` if the package is gone.
    pub new: Option<Evr>,
    /// Distance in the new closure. `None` if the package is gone or not reached.
    pub distance: Option<u8>,
}

/// Returns what changed from one closure to another, sorted by name, architecture, and version.
///
/// The function compares packages of the same name *and* architecture. A version on both sides is
/// not a change, whatever other versions there are. It then sorts the remaining versions of each
/// side and pairs the n-th old one with the n-th new one. The highest versions of the longer side
/// are left over as removed or added.
///
/// Examples: `1, 2 → 2, 3` is `1 → 3`. `1 → 1, 2` is `added 2`. A package that turns from `x86_64`
/// to `noarch` is removed as one and added as the other.
///
/// Versions are compared as text, as Koschei does: `1.01` and `1.1` are a change although rpm
/// orders them as equal. Unlike Koschei's, the result does not depend on the order of the input,
/// and several versions or architectures of a package do not hide each other. As in Koschei, an
/// empty closure never differs: it means "not known".
pub fn changes(old: &[Installed], new: &[Installed]) -> Vec<Change> {
    if old.is_empty() || new.is_empty() {
        return Vec::new();
    }
    changes_of_rest(old, new)
}

/// Like [`changes`], but for closures from which common packages were removed before, equally often
/// from both sides. The removal does not change the result and leaves little to compare. Here one
/// side or both may be empty.
pub fn changes_of_rest(old: &[Installed], new: &[Installed]) -> Vec<Change> {
    let mut families: BTreeMap<(&str, &str), [Vec<&Installed>; 2]> = BTreeMap::new();
    for (side, packages) in [old, new].into_iter().enumerate() {
        for package in packages {
            families.entry((&package.nevra.name, &package.nevra.arch)).or_default()[side].push(package);
        }
    }
    let mut rows = Vec::new();
    for [mut left, mut joined] in families.into_values() {
        left.sort_by(|a, b| order(&a.nevra.evr, &b.nevra.evr));
        joined.sort_by(|a, b| order(&a.nevra.evr, &b.nevra.evr));
        drop_common(&mut left, &mut joined);
        for index in 0..left.len().max(joined.len()) {
            let (old, new) = (left.get(index), joined.get(index));
            let Some(either) = new.or(old) else { continue };
            rows.push(Change {
                name: either.nevra.name.clone(),
                arch: either.nevra.arch.clone(),
                old: old.map(|i| i.nevra.evr.clone()),
                new: new.map(|i| i.nevra.evr.clone()),
                distance: new.and_then(|i| i.distance),
            });
        }
    }
    rows
}

/// Orders by version. Versions that rpm calls equal are ordered by their text, so that the order is
/// total.
fn order(a: &Evr, b: &Evr) -> Ordering {
    a.cmp(b).then_with(|| text(a).cmp(&text(b)))
}

fn text(evr: &Evr) -> (u32, &str, &str) {
    (evr.epoch(), &evr.version, &evr.release)
}

/// Removes from two sorted lists the elements they have in common.
fn drop_common(left: &mut Vec<&Installed>, right: &mut Vec<&Installed>) {
    let (mut l, mut r) = (0, 0);
    while let (Some(a), Some(b)) = (left.get(l), right.get(r)) {
        match order(&a.nevra.evr, &b.nevra.evr) {
            Ordering::Less => l += 1,
            Ordering::Greater => r += 1,
            Ordering::Equal => {
                left.remove(l);
                right.remove(r);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn closure(text: &str) -> Vec<Installed> {
        text.split_whitespace()
            .map(|word| {
                let (nevr, arch) = word.rsplit_once('.').unwrap();
                let (name, version) = nevr.split_once('-').unwrap();
                let evr = Evr { epoch: None, version: version.into(), release: "1".into() };
                Installed { nevra: Nevra { name: name.into(), evr, arch: arch.into() }, distance: Some(2) }
            })
            .collect()
    }

    fn show(changes: &[Change]) -> String {
        let side = |evr: &Option<Evr>| evr.as_ref().map_or("-".to_owned(), |e| e.version.to_string());
        let rows = changes.iter().map(|c| format!("{}.{} {}>{}", c.name, c.arch, side(&c.old), side(&c.new)));
        rows.collect::<Vec<_>>().join(", ")
    }

    /// Defect D24 of Koschei: a map by name pairs arbitrary versions. Here packages with several
    /// versions and architectures give correct rows.
    #[rstest]
    #[case::equal("a-1.x", "a-1.x", "")]
    #[case::update("a-1.x b-1.x", "a-2.x b-1.x", "a.x 1>2")]
    #[case::downgrade("a-2.x", "a-1.x", "a.x 2>1")]
    #[case::added("a-1.x", "a-1.x b-1.x", "b.x ->1")]
    #[case::removed("a-1.x b-1.x", "a-1.x", "b.x 1>-")]
    #[case::second_version_added("k-1.x", "k-1.x k-2.x", "k.x ->2")]
    #[case::versions_roll("k-1.x k-2.x", "k-3.x k-2.x", "k.x 1>3")]
    #[case::order_of_input("k-2.x k-1.x", "k-1.x k-2.x", "")]
    #[case::two_pairs("k-2.x k-1.x", "k-4.x k-3.x", "k.x 1>3, k.x 2>4")]
    #[case::one_arch_only("a-1.x a-1.i", "a-1.x a-2.i", "a.i 1>2")]
    #[case::both_arches("a-1.x a-1.i", "a-2.x a-2.i", "a.i 1>2, a.x 1>2")]
    #[case::arch_switch("a-1.x", "a-1.noarch", "a.noarch ->1, a.x 1>-")]
    #[case::text_counts("a-1.01.x", "a-1.1.x", "a.x 1.01>1.1")]
    #[case::nothing_known("", "a-1.x", "")]
    #[case::same_twice("a-1.x a-1.x", "a-1.x", "a.x 1>-")]
    fn rows(#[case] old: &str, #[case] new: &str, #[case] expected: &str) {
        assert_eq!(show(&changes(&closure(old), &closure(new))), expected);
    }

    #[test]
    fn distance_is_of_the_new_side() {
        let (old, mut new) = (closure("a-1.x b-1.x"), closure("a-2.x"));
        new[0].distance = None;
        assert_eq!(changes(&old, &new).iter().map(|c| c.distance).collect::<Vec<_>>(), [None, None]);
        new[0].distance = Some(3);
        assert_eq!(changes(&old, &new)[0].distance, Some(3));
    }

    proptest! {
        /// Applying the rows to the old closure gives the new one, whatever the order of either.
        #[test]
        fn rows_lead_from_old_to_new(old in packages(), new in packages()) {
            prop_assume!(!old.is_empty() && !new.is_empty());
            let (old, new) = (closure(&old.join(" ")), closure(&new.join(" ")));
            let rows = changes(&old, &new);
            let key = |n: &SmolStr, a: &SmolStr, e: &Evr| format!("{n}.{a} {e}");
            let mut have: Vec<String> = old.iter().map(|i| key(&i.nevra.name, &i.nevra.arch, &i.nevra.evr)).collect();
            for row in &rows {
                prop_assert_ne!(row.old.as_ref().map(ToString::to_string), row.new.as_ref().map(ToString::to_string));
                if let Some(evr) = &row.old {
                    let gone = key(&row.name, &row.arch, evr);
                    let at = have.iter().position(|h| *h == gone);
                    have.remove(at.expect("a row takes away only what is there"));
                }
            }
            have.extend(rows.iter().filter_map(|r| r.new.as_ref().map(|e| key(&r.name, &r.arch, e))));
            have.sort();
            let mut want: Vec<String> = new.iter().map(|i| key(&i.nevra.name, &i.nevra.arch, &i.nevra.evr)).collect();
            want.sort();
            prop_assert_eq!(have, want);
            let mut backwards = (old.clone(), new.clone());
            backwards.0.reverse();
            backwards.1.reverse();
            prop_assert_eq!(changes(&backwards.0, &backwards.1), rows);
        }
    }

    fn packages() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("[ab]-[1-4]\\.(x|i)", 0..8)
    }
}
