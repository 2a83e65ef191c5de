//! Package versions as RPM understands them: EVR, NVR, NEVRA (`rpm-version(7)`).

use std::cmp::Ordering;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// Epoch, version and release, ordered as in RPM. A missing epoch equals 0.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Evr {
    /// The epoch. `None` and 0 are equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    /// Upstream's version.
    #[schemars(with = "String")]
    pub version: SmolStr,
    /// The packager's release.
    #[schemars(with = "String")]
    pub release: SmolStr,
}

impl Evr {
    /// Returns the epoch as a number.
    pub fn epoch(&self) -> u32 {
        self.epoch.unwrap_or(0)
    }
}

/// Compares two version strings, or two release strings. Digits are newer than letters, `~` sorts
/// lowest, and `^` sorts after the end. Source: `rpmvercmp` in RPM, by way of the `rpm-version`
/// crate.
pub fn rpmvercmp(a: &str, b: &str) -> Ordering {
    rpm_version::Evr::new("", a, "").cmp(&rpm_version::Evr::new("", b, ""))
}

impl Ord for Evr {
    fn cmp(&self, other: &Self) -> Ordering {
        self.epoch()
            .cmp(&other.epoch())
            .then_with(|| rpmvercmp(&self.version, &other.version))
            .then_with(|| rpmvercmp(&self.release, &other.release))
    }
}

impl PartialOrd for Evr {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Two versions are equal if RPM considers them equal: `1.01` equals `1.1`.
impl PartialEq for Evr {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Evr {}

impl fmt::Display for Evr {
    /// Writes `version-release`, with `epoch:` in front if it is not 0.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.epoch() != 0 {
            write!(f, "{}:", self.epoch())?;
        }
        write!(f, "{}-{}", self.version, self.release)
    }
}

/// Returns a release, or `version-release`, without the mark of a draft (`,draft_17`; Koji:
/// `DRAFT_RELEASE_FORMAT`). This is its name after promotion.
pub fn without_draft(release: &str) -> &str {
    match release.rsplit_once(",draft_") {
        Some((plain, number)) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => plain,
        _ => release,
    }
}

/// Name, version and release of a source package or build. They identify a build in Koji, and the
/// epoch does not count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Nvr {
    /// Package name.
    #[schemars(with = "String")]
    pub name: SmolStr,
    /// Version.
    #[schemars(with = "String")]
    pub version: SmolStr,
    /// Release.
    #[schemars(with = "String")]
    pub release: SmolStr,
}

impl Nvr {
    /// Splits `name-version-release` at the last two dashes. Returns `None` if there are fewer than
    /// two dashes or a part is empty.
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, release) = text.rsplit_once('-')?;
        let (name, version) = rest.rsplit_once('-')?;
        (!name.is_empty() && !version.is_empty() && !release.is_empty()).then(|| Self {
            name: name.into(),
            version: version.into(),
            release: release.into(),
        })
    }

    /// Returns whether this is the name of a draft. The build gets another name when the draft is
    /// promoted.
    pub fn is_draft(&self) -> bool {
        without_draft(&self.release).len() < self.release.len()
    }

    /// Returns the file name of the source package, without `.src.rpm`. Koji marks a draft only in
    /// the release of the build. Its packages already have the names that they keep after
    /// promotion.
    pub fn file_stem(&self) -> String {
        format!("{}-{}-{}", self.name, self.version, without_draft(&self.release))
    }

    /// Parses `name-version-release.src.rpm`, the last component of a scratch build's source.
    pub fn parse_srpm(file: &str) -> Option<Self> {
        let file = file.rsplit('/').next()?;
        Self::parse(file.strip_suffix(".src.rpm").or_else(|| file.strip_suffix(".nosrc.rpm"))?)
    }
}

impl fmt::Display for Nvr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.name, self.version, self.release)
    }
}

/// Name, EVR and architecture of a binary package.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Nevra {
    /// Package name.
    pub name: SmolStr,
    /// Epoch, version and release.
    pub evr: Evr,
    /// Architecture, possibly `noarch`.
    pub arch: SmolStr,
}

impl fmt::Display for Nevra {
    /// Writes `name-epoch:version-release.arch`. The epoch is always written. This is the form used
    /// in resolution output.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}:{}-{}.{}", self.name, self.evr.epoch(), self.evr.version, self.evr.release, self.arch)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[test]
    fn splits_from_the_right() {
        let nvr = Nvr::parse("python3-foo-bar-1.2~rc1-3.fc99").unwrap();
        assert_eq!(
            (nvr.name.as_str(), nvr.version.as_str(), nvr.release.as_str()),
            ("python3-foo-bar", "1.2~rc1", "3.fc99")
        );
        assert_eq!(
            Nvr::parse_srpm("../packages/m4/1.4.19/1.fc99/src/m4-1.4.19-1.fc99.src.rpm").unwrap().to_string(),
            "m4-1.4.19-1.fc99"
        );
        assert_eq!(Nvr::parse("short-1"), None);
        assert_eq!(Nvr::parse("-1-1"), None);
        assert_eq!(Nvr::parse_srpm("https://example.org/foo.git#abc"), None);
    }

    /// Compares in both directions, so that every row tests two comparisons.
    fn assert_order(a: &str, expected: char, b: &str) {
        let order = match expected {
            '<' => Ordering::Less,
            '=' => Ordering::Equal,
            '>' => Ordering::Greater,
            other => panic!("`{other}` in the table"),
        };
        assert_eq!(rpmvercmp(a, b), order, "{a} {expected} {b}");
        assert_eq!(rpmvercmp(b, a), order.reverse(), "{b} against {a}");
    }

    /// T76: the edge cases that it names.
    #[rstest]
    #[case("10.0001", '=', "10.1")]
    #[case("2_0", '=', "2.0")]
    #[case("+", '=', "_")]
    #[case("6.0.rc1", '>', "6.0")]
    #[case("xyz.4", '<', "8")]
    #[case("1.0~rc1", '<', "1.0")]
    #[case("1.0~rc1~git123", '<', "1.0~rc1")]
    #[case("1.0^", '>', "1.0")]
    #[case("1.0^git1", '<', "1.01")]
    #[case("1.0^20160101", '<', "1.0.1")]
    #[case("1.0~rc1^git1", '>', "1.0~rc1")]
    #[case("1.0^git1", '>', "1.0^git1~pre")]
    fn t76_named_edges(#[case] a: &str, #[case] expected: char, #[case] b: &str) {
        assert_order(a, expected, b);
    }

    /// T76: the rules of `rpm-version(7)`, each with rows of this project.
    #[rstest]
    // Numbers of any length compare as numbers, and leading zeros do not count.
    #[case("3.9", '<', "3.10")]
    #[case("3.09", '=', "3.9")]
    #[case("007", '=', "7")]
    #[case("0", '=', "000")]
    #[case("20240131", '<', "20240201")]
    #[case("99999999999999999999999998", '<', "99999999999999999999999999")]
    #[case("18446744073709551616", '>', "18446744073709551615")]
    #[case("00000000000000000000000000000000000000001", '=', "1")]
    // If all segments before are equal, more segments are newer, even a zero.
    #[case("4.2", '<', "4.2.0")]
    #[case("4", '<', "4.0")]
    #[case("4.2.0", '<', "4.2.1")]
    #[case("4.2.9", '<', "4.3")]
    #[case("", '<', "0")]
    #[case("", '=', "")]
    #[case("", '<', "a")]
    // Separators only separate. Which they are, and how many, does not count.
    #[case("7.1", '=', "7-1")]
    #[case("7..1", '=', "7.1")]
    #[case("7.1.", '=', "7.1")]
    #[case(".7.1", '=', "7.1")]
    #[case("7.1", '=', "7+_+1")]
    #[case("7.1", '<', "71")]
    #[case("...", '=', "")]
    // A change between letters and digits separates, too.
    #[case("7a1", '=', "7.a.1")]
    #[case("7a", '>', "7")]
    #[case("fc9", '<', "fc40")]
    #[case("1.fc41", '<', "1.fc42")]
    #[case("1.fc42", '<', "1.fc42.1")]
    #[case("2.fc41", '>', "1.fc42")]
    // Letters compare by their bytes: capitals come first, and longer words come later.
    #[case("1.B", '<', "1.a")]
    #[case("alpha", '<', "beta")]
    #[case("beta", '<', "betas")]
    #[case("a", '>', "Z")]
    // Digits are newer than letters.
    #[case("1.1", '>', "1.a")]
    #[case("1.0", '>', "1.zzz")]
    #[case("4.10rc1", '>', "4.10")]
    #[case("4.10.1", '>', "4.10rc1")]
    // Tilde sorts before everything, even the end.
    #[case("5.0~beta", '<', "5.0~rc")]
    #[case("5.0~rc2", '<', "5.0~rc10")]
    #[case("5.0~", '<', "5.0")]
    #[case("5.0~~", '<', "5.0~")]
    #[case("5.0~~a", '<', "5.0~a")]
    #[case("5.0~rc1", '=', "5.0.~rc1")]
    #[case("5.0~1", '<', "5.0a")]
    #[case("~1", '<', "")]
    #[case("5.0~rc1", '>', "4.9")]
    // Caret sorts after the end and before everything else.
    #[case("5.0^", '<', "5.0.1")]
    #[case("5.0^2", '<', "5.0a")]
    #[case("5.0^20240101", '<', "5.0^20240102")]
    #[case("5.0^20240101.gitabc", '>', "5.0^20240101")]
    #[case("5.0^^", '>', "5.0^")]
    #[case("5.0^a", '<', "5.1")]
    #[case("^", '>', "")]
    #[case("5.0^1", '<', "5.00.1")]
    // Both at once.
    #[case("5.0~rc1^git2", '<', "5.0")]
    #[case("5.0~rc1^git2", '<', "5.0~rc2")]
    #[case("5.0^git2~1", '>', "5.0")]
    #[case("5.0~", '<', "5.0^")]
    #[case("5.0^~", '<', "5.0^")]
    #[case("5.0~^", '>', "5.0~")]
    // Characters outside ASCII only separate.
    #[case("1.0é2", '=', "1.0.2")]
    #[case("1.0é", '=', "1.0")]
    fn t76_rules(#[case] a: &str, #[case] expected: char, #[case] b: &str) {
        assert_order(a, expected, b);
    }

    fn evr(epoch: Option<u32>, version: &str, release: &str) -> Evr {
        Evr { epoch, version: version.into(), release: release.into() }
    }

    /// T77: a missing epoch is 0, and the parts count in their order.
    #[rstest]
    #[case::t77(evr(Some(0), "1.1", "11.fc26"), Ordering::Greater, evr(None, "1.1", "8.fc26"))]
    #[case::t77_equal(evr(Some(0), "1.1", "8.fc26"), Ordering::Equal, evr(None, "1.1", "8.fc26"))]
    #[case::epoch_first(evr(Some(1), "1", "1"), Ordering::Greater, evr(None, "9", "9"))]
    #[case::epochs_are_numbers(evr(Some(10), "1", "1"), Ordering::Greater, evr(Some(9), "1", "1"))]
    #[case::version_before_release(evr(None, "1.2", "1"), Ordering::Greater, evr(None, "1.1", "9"))]
    #[case::not_one_string(evr(None, "1", "2.3"), Ordering::Less, evr(None, "1.2", "3"))]
    #[case::tilde_in_version(evr(None, "1.0~rc1", "9"), Ordering::Less, evr(None, "1.0", "1"))]
    #[case::written_differently(evr(None, "1.01", "1"), Ordering::Equal, evr(None, "1.1", "01"))]
    fn evr_order(#[case] a: Evr, #[case] expected: Ordering, #[case] b: Evr) {
        assert_eq!(a.cmp(&b), expected);
        assert_eq!(b.cmp(&a), expected.reverse());
        assert_eq!(a == b, expected == Ordering::Equal);
    }

    /// Generates versions from few characters, so that equal and nearly equal ones are common.
    fn version() -> impl Strategy<Value = String> {
        "[01aB.~^_é]{0,7}"
    }

    fn any_evr() -> impl Strategy<Value = Evr> {
        (prop::option::of(0_u32..3), version(), version()).prop_map(|(e, v, r)| evr(e, &v, &r))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn order_is_total_and_antisymmetric(a in any_evr(), b in any_evr()) {
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a.cmp(&a), Ordering::Equal);
            prop_assert_eq!(a == b, a.cmp(&b) == Ordering::Equal);
        }

        #[test]
        fn order_is_transitive(mut three in prop::array::uniform3(any_evr())) {
            three.sort();
            let [a, b, c] = &three;
            prop_assert!(a <= b && b <= c && a <= c);
            // Equal versions are interchangeable.
            if a == b {
                prop_assert_eq!(a.cmp(c), b.cmp(c));
            }
            if b == c {
                prop_assert_eq!(a.cmp(b), a.cmp(c));
            }
        }

        #[test]
        fn strings_are_transitive(three in prop::array::uniform3(version())) {
            let [a, b, c] = &three;
            if rpmvercmp(a, b).is_le() && rpmvercmp(b, c).is_le() {
                prop_assert!(rpmvercmp(a, c).is_le());
            }
        }
    }
}
