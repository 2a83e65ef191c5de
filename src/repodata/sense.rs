//! Converts requirements from the form of package headers (name, flags, version) to the form of a
//! spec file. The hub returns requirements in the header form, too. Source: `RPMSENSE_…` of rpm's
//! `rpmds.h`; the hub's `getRPMDeps` with `DEP_REQUIRE`; rules of Koschei (behaviour §3.3).

/// `RPMSENSE_FIND_REQUIRES`: a dependency generator wrote the requirement. Such requirements count
/// like any other.
const FIND_REQUIRES: u64 = 1 << 14;
/// `RPMSENSE_LESS`, `RPMSENSE_GREATER`, `RPMSENSE_EQUAL`, lowest bit first.
const COMPARISONS: [(u64, char); 3] = [(1 << 1, '<'), (1 << 2, '>'), (1 << 3, '=')];

/// Returns one requirement as a string: `name` or `name op version`. The operator's characters come
/// lowest bit first. Returns `None` for requirements internal to rpm (`rpmlib(…)`, scriptlet
/// requirements). They have a flag other than the comparisons and `RPMSENSE_FIND_REQUIRES`.
pub fn hub_requirement(name: &str, version: &str, flags: u64) -> Option<String> {
    let flags = flags & !FIND_REQUIRES;
    let known = COMPARISONS.iter().fold(0, |all, (bit, _)| all | bit);
    if flags & !known != 0 {
        return None;
    }
    let op: String = COMPARISONS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, c)| *c).collect();
    Some(format!("{name} {op} {version}").trim_end().to_owned())
}

/// Returns all requirements of a source package as strings, in the hub's order.
pub fn hub_build_requires<'a>(triples: impl IntoIterator<Item = (&'a str, &'a str, u64)>) -> Vec<String> {
    triples.into_iter().filter_map(|(name, version, flags)| hub_requirement(name, version, flags)).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// Case T5h: the hub's answer for a source package with rpmlib requirements.
    #[test]
    fn t5h_drops_rpmlib() {
        let hub = [
            ("maven-local", "", 0),
            ("jetty-toolchain", "", 0),
            ("rpmlib(FileDigests)", "4.6.0-1", 16_777_226),
            ("rpmlib(CompressedFileNames)", "3.0.4-1", 16_777_226),
        ];
        assert_eq!(hub_build_requires(hub), ["maven-local", "jetty-toolchain"]);
    }

    /// Case T5i and the other operators. The find-requires bit is cleared.
    #[rstest]
    #[case("foo", "1.2", 12, Some("foo >= 1.2"))]
    #[case("foo", "", 0, Some("foo"))]
    #[case("foo", "1.2", 10, Some("foo <= 1.2"))]
    #[case("foo", "1.2", 2, Some("foo < 1.2"))]
    #[case("foo", "1.2", 4, Some("foo > 1.2"))]
    #[case("foo", "1:1.2-3", 8, Some("foo = 1:1.2-3"))]
    #[case("python3dist(x)", "1", 16384 | 12, Some("python3dist(x) >= 1"))]
    #[case("(a if b)", "", 1 << 14, Some("(a if b)"))]
    #[case("/bin/sh", "", 1 << 9, None)]
    fn t5i_operators(#[case] name: &str, #[case] version: &str, #[case] flags: u64, #[case] expected: Option<&str>) {
        assert_eq!(hub_requirement(name, version, flags).as_deref(), expected);
    }
}
