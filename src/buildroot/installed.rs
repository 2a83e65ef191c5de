//! What a builder installed for a build, as the hub recorded it. A `buildroot_recorded` event names
//! this attachment by digest.
//!
//! Our prediction says what *would* be installed. This record says what *was*, and dependency
//! changes are measured from it. Koji's listing only grows. Packages that the second step (the
//! build requirements) replaced stay listed beside their replacements. The list therefore has more
//! packages than the final buildroot; [`Buildroot::installed`] corrects this.
//!
//! The record is stored as JSON, sorted by package:
//! `{"format":1,"packages":["zlib-0:1.3.1-1.fc99.x86_64",…],"added":[…],"external":{"third":[…]}}`.
//! The numbers are indexes into `packages`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::verdicts::{Closures, VerdictsError, parse_nevra};
use crate::event::DependencyMove;
use crate::model::{Evr, Name, Nevra};
use crate::resolve::{self, Installed};

/// Layout of the attachment. It increases when the layout changes.
pub const FORMAT: u32 = 1;
/// Most packages of one buildroot. The largest ones of Fedora have a few thousand.
pub const PACKAGES_MAX: usize = 50_000;
/// Longest package name with version and architecture, and longest name of an external repository,
/// in bytes.
pub const NAME_BYTES_MAX: usize = 1000;
/// Largest attachment, in bytes.
pub const BYTES_MAX: usize = 32 << 20;

/// One package of a buildroot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BuildrootPackage {
    /// The package.
    pub nevra: Nevra,
    /// Whether the second step installed it, for the build requirements (`is_update` of
    /// `listRPMs`). If not, it belongs to the build group.
    pub added: bool,
    /// The external repository it came from (`external_repo_name` if `external_repo_id` is not 0).
    /// `None` means Koji's own repository.
    pub external: Option<Name>,
}

/// A recorded buildroot. It is sorted by package and has each package once.
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

/// The difference between a recorded buildroot and the expected one. Counts are of packages by name
/// and architecture.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Difference {
    /// Number of expected packages that were not installed.
    pub missing: u32,
    /// Number of installed packages that were not expected.
    pub extra: u32,
    /// Number of packages installed in another version.
    pub differing: u32,
    /// All differences. `old` is the expected version and `new` the installed one.
    pub moves: Vec<DependencyMove>,
}

fn bad(what: impl Into<String>) -> VerdictsError {
    VerdictsError::new("a recorded buildroot", what)
}

impl Buildroot {
    /// Builds a buildroot from a hub's list, in any order. If both steps list a package, the first
    /// step counts.
    ///
    /// # Errors
    /// Returns [`VerdictsError`] if there are more than [`PACKAGES_MAX`] packages or if a name is
    /// longer than [`NAME_BYTES_MAX`].
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

    /// Returns everything that the hub listed, sorted.
    pub fn packages(&self) -> &[BuildrootPackage] {
        &self.packages
    }

    /// Checks whether the build requirements were installed, so that this is the whole buildroot
    /// and not only the build group. The hub records each step when it is over. There are two
    /// cases. Either the list has packages of the second step, or the task ended well and its
    /// second step had nothing to install. `last_of_task` says that the task has no later
    /// buildroot; a later one would show that this one was abandoned.
    pub fn is_complete(&self, task_closed: bool, last_of_task: bool) -> bool {
        let second_step = self.packages.iter().any(|p| p.added);
        let first_step = self.packages.iter().any(|p| !p.added);
        first_step && (second_step || (task_closed && last_of_task))
    }

    /// Returns the stored form. The same list gives the same bytes.
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

    /// Reads the stored form.
    ///
    /// # Errors
    /// Returns [`VerdictsError`] (broken) if the bytes are too many or not JSON of this layout, if
    /// a package name is invalid, or if an index lies outside the list.
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

    /// Returns what was installed in the end: everything listed, except packages that the second
    /// step replaced.
    ///
    /// If both steps installed a name and architecture, the second step counts, whether its version
    /// is newer or not. The one recorded case is a downgrade (`zlib-1.3.2` of the build group,
    /// `zlib-1.2.13` after it), so choosing by version would be wrong. The second step also counts
    /// if a name turned from `noarch` to an architecture or back. Several versions from one step
    /// are all kept. If the second step replaced a package by one of another name (`Obsoletes`),
    /// the list does not show that, and the package stays.
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

    /// Compares the buildroot with what was expected to be installed.
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

/// Converts a change to the form that events use.
pub(crate) fn as_move(c: resolve::Change) -> (DependencyMove, u8) {
    let text = |evr: Option<Evr>| evr.map(|e| SmolStr::from(e.to_string()));
    (DependencyMove { name: c.name, arch: c.arch, old: text(c.old), new: text(c.new) }, c.distance.unwrap_or(0))
}

/// Returns what changed in a package's buildroot since a build: from what was installed then to
/// what would be installed now. The distances are those of the new closure (0: not reached). The
/// result is empty if the package does not resolve now.
///
/// `expected` are the changes since our prediction for that build, if we have one. A package we
/// predict identically for both is not a change, even if the builder installed something else. Such
/// a difference is an error of our prediction. It would be there after every rebuild and must not
/// cause another one.
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
