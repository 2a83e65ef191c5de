//! What a builder installed for a build, as the hub recorded it: the attachment a `buildroot_recorded` event names by
//! digest.
//!
//! Where a prediction of ours says what *would* be installed, this says what *was*; dependency changes are measured
//! from it. Koji's listing only grows: what the second step (the build requirements) replaced stays listed beside what
//! replaced it, so that the whole list is more than was there in the end ([`Buildroot::installed`] takes care of it).
//!
//! Stored as JSON, sorted by package:
//! `{"format":1,"packages":["zlib-0:1.3.1-1.fc99.x86_64",…],"added":[…],"external":{"third":[…]}}`, numbers being
//! places in `packages`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::verdicts::{Closures, VerdictsError, parse_nevra};
use crate::event::DependencyMove;
use crate::model::{Evr, Name, Nevra};
use crate::resolve::{self, Installed};

/// Layout of the attachment; counts up when it changes.
pub const FORMAT: u32 = 1;
/// Most packages of one buildroot. The largest ones of Fedora have a few thousand.
pub const PACKAGES_MAX: usize = 50_000;
/// Longest name of a package with version and architecture, or of an external repository, in bytes.
pub const NAME_BYTES_MAX: usize = 1000;
/// Largest attachment, in bytes.
pub const BYTES_MAX: usize = 32 << 20;

/// One package of a buildroot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BuildrootPackage {
    /// What.
    pub nevra: Nevra,
    /// Put there by the second step, for the build requirements (`is_update` of `listRPMs`); else it is of the build
    /// group.
    pub added: bool,
    /// The external repository it came from (`external_repo_name` where `external_repo_id` is not 0); absent: Koji's
    /// own.
    pub external: Option<Name>,
}

/// A recorded buildroot, sorted by package, each once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Buildroot {
    packages: Vec<BuildrootPackage>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    packages: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    added: Vec<u32>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    external: BTreeMap<String, Vec<u32>>,
}

/// How a recorded buildroot compares with what was expected. Counts are of packages by name and architecture.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Difference {
    /// Expected and not there.
    pub missing: u32,
    /// There and not expected.
    pub extra: u32,
    /// There in another version.
    pub differing: u32,
    /// All of them, `old` being what was expected and `new` what was there.
    pub moves: Vec<DependencyMove>,
}

fn bad(what: impl Into<String>) -> VerdictsError {
    VerdictsError::new("a recorded buildroot", what)
}

impl Buildroot {
    /// From what a hub lists, in any order. A package listed by both steps counts as put there by the first.
    ///
    /// # Errors
    /// [`VerdictsError`] for more than [`PACKAGES_MAX`] packages or a name longer than [`NAME_BYTES_MAX`].
    pub fn new(packages: Vec<BuildrootPackage>) -> Result<Self, VerdictsError> {
        if packages.len() > PACKAGES_MAX {
            return Err(bad(format!("it lists {} packages, at most {PACKAGES_MAX} are taken", packages.len())));
        }
        let mut named: Vec<(String, BuildrootPackage)> =
            packages.into_iter().map(|p| (p.nevra.to_string(), p)).collect();
        let longest = named.iter().map(|(n, p)| n.len().max(p.external.as_ref().map_or(0, |e| e.len()))).max();
        if longest.is_some_and(|n| n > NAME_BYTES_MAX) {
            return Err(bad(format!("a name in it is longer than {NAME_BYTES_MAX} bytes")));
        }
        named.sort_by(|(a, p), (b, q)| (a, p.added, &p.external).cmp(&(b, q.added, &q.external)));
        named.dedup_by(|(a, _), (b, _)| a == b);
        Ok(Self { packages: named.into_iter().map(|(_, p)| p).collect() })
    }

    /// Everything listed, sorted.
    pub fn packages(&self) -> &[BuildrootPackage] {
        &self.packages
    }

    /// Whether the build requirements were installed, so that this is the whole buildroot and not the build group
    /// alone. The hub notes each step after it: so either the second one left something, or the task ended well, and
    /// then there was nothing to install. `last_of_task`: no later buildroot of the same task shows that this one was
    /// abandoned.
    pub fn is_complete(&self, task_closed: bool, last_of_task: bool) -> bool {
        let second_step = self.packages.iter().any(|p| p.added);
        let first_step = self.packages.iter().any(|p| !p.added);
        first_step && (second_step || (task_closed && last_of_task))
    }

    /// As stored. The same list gives the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut stored = Stored { format: FORMAT, packages: Vec::new(), added: Vec::new(), external: BTreeMap::new() };
        for (p, at) in self.packages.iter().zip(0_u32..) {
            stored.packages.push(p.nevra.to_string());
            if p.added {
                stored.added.push(at);
            }
            if let Some(repo) = &p.external {
                stored.external.entry(repo.to_string()).or_default().push(at);
            }
        }
        serde_json::to_vec(&stored).expect("a buildroot holds only what JSON can say")
    }

    /// From stored bytes.
    ///
    /// # Errors
    /// [`VerdictsError`] (broken): too large, not JSON of this layout, a name that is none, a place outside the list.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, VerdictsError> {
        if bytes.len() > BYTES_MAX {
            return Err(bad(format!("it has {} bytes, at most {BYTES_MAX} are read", bytes.len())));
        }
        let stored: Stored = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
        if stored.format != FORMAT {
            return Err(bad(format!("layout {} is not known to this program", stored.format)));
        }
        let mut packages = Vec::with_capacity(stored.packages.len().min(PACKAGES_MAX));
        for text in &stored.packages {
            packages.push(BuildrootPackage { nevra: parse_nevra(text)?, added: false, external: None });
        }
        let outside = || bad("a place lies outside the list");
        for at in &stored.added {
            packages.get_mut(*at as usize).ok_or_else(outside)?.added = true;
        }
        for (repo, places) in &stored.external {
            for at in places {
                packages.get_mut(*at as usize).ok_or_else(outside)?.external = Some(repo.as_str().into());
            }
        }
        Self::new(packages)
    }

    /// What was there in the end: everything listed, less what the second step replaced.
    ///
    /// Of a name and architecture that both steps put there, the second step's counts, newer or not: the one case
    /// recorded (`zlib-1.3.2` of the build group, `zlib-1.2.13` after it) is a downgrade, so that going by the version
    /// would be wrong. The same where a name turned from `noarch` to an architecture or back. Several versions put
    /// there by one step stand side by side. What the second step removed for another name (`Obsoletes`) cannot be told
    /// from the list and stays.
    pub fn installed(&self) -> Vec<Installed> {
        let added: BTreeSet<(&str, &str)> =
            self.packages.iter().filter(|p| p.added).map(|p| (p.nevra.name.as_str(), p.nevra.arch.as_str())).collect();
        let names: BTreeSet<&str> = added.iter().map(|(name, _)| *name).collect();
        let replaced = |p: &BuildrootPackage| {
            let (name, arch) = (p.nevra.name.as_str(), p.nevra.arch.as_str());
            let turned = if arch == "noarch" { names.contains(name) } else { added.contains(&(name, "noarch")) };
            !p.added && (turned || added.contains(&(name, arch)))
        };
        let left = self.packages.iter().filter(|p| !replaced(p));
        left.map(|p| Installed { nevra: p.nevra.clone(), distance: None }).collect()
    }

    /// How it differs from what was expected to be installed.
    pub fn differs_from(&self, expected: &[Installed]) -> Difference {
        let mut difference = Difference::default();
        for c in resolve::changes(expected, &self.installed()) {
            let counter = match (&c.old, &c.new) {
                (Some(_), Some(_)) => &mut difference.differing,
                (Some(_), None) => &mut difference.missing,
                _ => &mut difference.extra,
            };
            *counter += 1;
            difference.moves.push(as_move(c).0);
        }
        difference
    }
}

/// As events have it.
pub(crate) fn as_move(c: resolve::Change) -> (DependencyMove, u8) {
    let text = |evr: Option<Evr>| evr.map(|e| SmolStr::from(e.to_string()));
    (DependencyMove { name: c.name, arch: c.arch, old: text(c.old), new: text(c.new) }, c.distance.unwrap_or(0))
}

/// What changed in a package's buildroot since a build, from what was installed then to what would be now, with
/// distances of the new closure (0: not reached). Empty when it does not resolve now.
///
/// `expected` is what changed from what we would have predicted for that build, where we can say. What we predict the
/// same for both did not change, even if the builder had something else: the difference is ours, it would be there
/// after every rebuild, and must not cause another.
pub fn moves_since(
    was: &Buildroot,
    expected: Option<&[(DependencyMove, u8)]>,
    now: &Closures,
    package: &str,
) -> Vec<(DependencyMove, u8)> {
    let Some(after) = now.installed(package) else { return Vec::new() };
    let moved: Option<BTreeSet<(&str, &str)>> =
        expected.map(|e| e.iter().map(|(m, _)| (m.name.as_str(), m.arch.as_str())).collect());
    resolve::changes(&was.installed(), &after)
        .into_iter()
        .filter(|c| moved.as_ref().is_none_or(|m| m.contains(&(c.name.as_str(), c.arch.as_str()))))
        .map(as_move)
        .collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::model::{Class, Classified};

    fn package(text: &str) -> BuildrootPackage {
        let (text, external) = text.split_once('@').map_or((text, None), |(t, e)| (t, Some(e.into())));
        let (text, added) = text.strip_prefix('+').map_or((text, false), |t| (t, true));
        BuildrootPackage { nevra: parse_nevra(text).unwrap(), added, external }
    }

    fn buildroot(list: &str) -> Buildroot {
        Buildroot::new(list.split_whitespace().map(package).collect()).unwrap()
    }

    fn names(list: &[Installed]) -> Vec<String> {
        list.iter().map(|i| i.nevra.to_string()).collect()
    }

    #[test]
    fn bytes_go_round() {
        let b = buildroot("zlib-0:1-1.x86_64 +gcc-0:14-1.x86_64 curl-1:8-1.x86_64@third +altcurl-0:1-1.noarch@third");
        assert_eq!(Buildroot::from_bytes(&b.to_bytes()).unwrap(), b);
        assert_eq!(
            String::from_utf8(b.to_bytes()).unwrap(),
            concat!(
                r#"{"format":1,"packages":["altcurl-0:1-1.noarch","curl-1:8-1.x86_64","gcc-0:14-1.x86_64","#,
                r#""zlib-0:1-1.x86_64"],"added":[0,2],"external":{"third":[0,1]}}"#
            )
        );
        let shuffled =
            buildroot("+altcurl-0:1-1.noarch@third curl-1:8-1.x86_64@third +gcc-0:14-1.x86_64 zlib-0:1-1.x86_64");
        assert_eq!(shuffled.to_bytes(), b.to_bytes(), "the order of the listing does not matter");
    }

    #[rstest]
    #[case::replaced_by_an_older_one("zlib-0:1.3.2-1.x86_64 +zlib-0:1.2.13-1.x86_64", &["zlib-0:1.2.13-1.x86_64"])]
    #[case::two_of_one_step("k-0:1-1.x86_64 k-0:2-1.x86_64", &["k-0:1-1.x86_64", "k-0:2-1.x86_64"])]
    #[case::two_added("k-0:1-1.x86_64 +k-0:2-1.x86_64 +k-0:3-1.x86_64", &["k-0:2-1.x86_64", "k-0:3-1.x86_64"])]
    #[case::another_architecture_beside_it("l-0:1-1.x86_64 +l-0:2-1.i686", &["l-0:1-1.x86_64", "l-0:2-1.i686"])]
    #[case::turned_from_noarch("t-0:1-1.noarch +t-0:2-1.x86_64", &["t-0:2-1.x86_64"])]
    #[case::turned_to_noarch("t-0:1-1.x86_64 +t-0:2-1.noarch", &["t-0:2-1.noarch"])]
    #[case::listed_by_both_steps("b-0:1-1.x86_64 +b-0:1-1.x86_64", &["b-0:1-1.x86_64"])]
    fn the_second_step_counts(#[case] list: &str, #[case] left: &[&str]) {
        assert_eq!(names(&buildroot(list).installed()), left);
    }

    #[rstest]
    #[case::both_steps("a-0:1-1.noarch +b-0:1-1.noarch", false, false, true)]
    #[case::nothing_to_install("a-0:1-1.noarch", true, true, true)]
    #[case::failed_in_between("a-0:1-1.noarch", false, true, false)]
    #[case::abandoned("a-0:1-1.noarch", true, false, false)]
    #[case::no_group("", true, true, false)]
    fn completeness(#[case] list: &str, #[case] closed: bool, #[case] last: bool, #[case] complete: bool) {
        assert_eq!(buildroot(list).is_complete(closed, last), complete);
    }

    #[rstest]
    #[case::not_json("{", "EOF")]
    #[case::newer(r#"{"format":2,"packages":[]}"#, "layout 2")]
    #[case::no_package(r#"{"format":1,"packages":["zlib"]}"#, "`zlib` is not a package")]
    #[case::outside(r#"{"format":1,"packages":[],"added":[0]}"#, "outside")]
    #[case::outside_too(r#"{"format":1,"packages":[],"external":{"x":[7]}}"#, "outside")]
    fn bad_bytes(#[case] text: &str, #[case] says: &str) {
        let error = Buildroot::from_bytes(text.as_bytes()).unwrap_err();
        assert_eq!(error.class(), Class::Broken);
        assert!(error.to_string().contains(says), "{error}");
    }

    #[test]
    fn bounds_are_kept() {
        let many = vec![package("a-0:1-1.noarch"); PACKAGES_MAX + 1];
        assert!(Buildroot::new(many).unwrap_err().to_string().contains("at most 50000"));
        let long = format!("{}-0:1-1.noarch", "n".repeat(NAME_BYTES_MAX));
        assert!(Buildroot::new(vec![package(&long)]).unwrap_err().to_string().contains("longer than 1000"));
        assert!(Buildroot::from_bytes(&vec![b' '; BYTES_MAX + 1]).unwrap_err().to_string().contains("bytes"));
    }

    #[test]
    fn differences_are_counted() {
        let expected = buildroot("a-0:1-1.noarch b-0:1-1.noarch c-0:1-1.noarch").installed();
        let d = buildroot("a-0:1-1.noarch b-0:2-1.noarch +d-0:1-1.noarch").differs_from(&expected);
        assert_eq!((d.missing, d.extra, d.differing, d.moves.len()), (1, 1, 1, 3));
        assert_eq!(
            buildroot("a-0:1-1.noarch b-0:1-1.noarch c-0:1-1.noarch").differs_from(&expected),
            Difference::default()
        );
    }
}
