//! Lists the names of architectures, and guesses which one somebody meant.

use crate::model::nearest::{WRONG_MAX, distance};

/// Architectures that Fedora and related distributions build for today. They are the most probable
/// guesses.
const COMMON: [&str; 10] =
    ["x86_64", "aarch64", "ppc64le", "s390x", "i686", "riscv64", "armv7hl", "noarch", "loongarch64", "x86_64_v2"];

/// Every name for which rpm can build or on which it runs (`rpmrc` of rpm 4.20 and 6.0:
/// `arch_canon`, `arch_compat`, `buildarchtranslate`), and the two names that only Koji has
/// (`koji.canonArch`: `arm`, `armhfp`). Sorted.
const KNOWN: [&str; 104] = [
    "IP",
    "aarch64",
    "alpha",
    "alphaev5",
    "alphaev56",
    "alphaev6",
    "alphaev67",
    "alphapca56",
    "amd64",
    "arm",
    "armhfp",
    "armv3l",
    "armv4b",
    "armv4l",
    "armv4tl",
    "armv5tejl",
    "armv5tel",
    "armv5tl",
    "armv6hl",
    "armv6l",
    "armv7hl",
    "armv7hnl",
    "armv7l",
    "armv8hcnl",
    "armv8hl",
    "armv8hnl",
    "armv8l",
    "atariclone",
    "atarist",
    "atariste",
    "ataritt",
    "athlon",
    "axp",
    "em64t",
    "falcon",
    "fat",
    "geode",
    "hades",
    "hppa1.0",
    "hppa1.1",
    "hppa1.2",
    "hppa2.0",
    "i370",
    "i386",
    "i486",
    "i586",
    "i686",
    "ia32e",
    "ia64",
    "loongarch64",
    "m68k",
    "m68kmint",
    "milan",
    "mips",
    "mips64",
    "mips64el",
    "mips64r6",
    "mips64r6el",
    "mipsel",
    "mipsr6",
    "mipsr6el",
    "noarch",
    "parisc",
    "pentium3",
    "pentium4",
    "powerpc",
    "powerppc",
    "ppc",
    "ppc32dy4",
    "ppc64",
    "ppc64iseries",
    "ppc64le",
    "ppc64p7",
    "ppc64pseries",
    "ppc8260",
    "ppc8560",
    "ppciseries",
    "ppcpseries",
    "riscv",
    "riscv64",
    "rs6000",
    "s390",
    "s390x",
    "sgi",
    "sh",
    "sh3",
    "sh4",
    "sh4a",
    "sparc",
    "sparc64",
    "sparc64v",
    "sparcv8",
    "sparcv9",
    "sparcv9v",
    "sun4",
    "sun4c",
    "sun4d",
    "sun4m",
    "sun4u",
    "x86_64",
    "x86_64_v2",
    "x86_64_v3",
    "x86_64_v4",
    "xtensa",
];

/// Names that others use for architectures with another name here.
const ELSEWHERE: [(&str, &str); 9] = [
    ("386", "i386"),
    ("arm64", "aarch64"),
    ("armhf", "armv7hl"),
    ("loong64", "loongarch64"),
    ("powerpc64le", "ppc64le"),
    ("ppc64el", "ppc64le"),
    ("x64", "x86_64"),
    ("x86", "i686"),
    ("x86-64", "x86_64"),
];

/// Returns whether rpm or Koji has an architecture of this name. `src` and `nosrc` are not
/// architectures, because nothing is built on them.
pub fn is_known(name: &str) -> bool {
    KNOWN.binary_search(&name).is_ok()
}

/// Returns the known name nearest to an unknown one. If others use the unknown name for an
/// architecture, this is its name here. Otherwise the two differ in at most two letters (added, left
/// out, changed or swapped), and in fewer than half of the letters. Among equally near names, a
/// common one is chosen. Cost: O(known · length²).
pub fn nearest(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    if let Some((_, ours)) = ELSEWHERE.iter().find(|(theirs, _)| *theirs == lower) {
        return Some(ours);
    }
    let wrong = |known: &&'static str| (distance(&lower, known), *known);
    let (wrong, known) = COMMON.iter().chain(&KNOWN).map(wrong).min_by_key(|(wrong, _)| *wrong)?;
    (wrong <= WRONG_MAX && 2 * wrong < lower.len()).then_some(known)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(KNOWN.is_sorted() && COMMON.iter().all(|c| is_known(c)));
        assert!(ELSEWHERE.iter().all(|(theirs, ours)| is_known(ours) && !is_known(theirs)));
    }

    #[rstest]
    #[case("aarhc64", Some("aarch64"))]
    #[case("aarch46", Some("aarch64"))]
    #[case("x8664", Some("x86_64"))]
    #[case("X86_64", Some("x86_64"))]
    #[case("x86-64", Some("x86_64"))]
    #[case("s309x", Some("s390x"))]
    #[case("ppc64el", Some("ppc64le"))]
    #[case("ppc64-le", Some("ppc64le"))]
    #[case("i866", Some("i686"))]
    #[case("armv7h", Some("armv7hl"))]
    #[case("arm64", Some("aarch64"))]
    #[case("riscv46", Some("riscv64"))]
    #[case("noarhc", Some("noarch"))]
    #[case("asdf", None)]
    #[case("src", None)]
    #[case("", None)]
    #[case("a_name_much_longer_than_any", None)]
    fn nearest_names(#[case] name: &str, #[case] expected: Option<&str>) {
        assert!(!is_known(name));
        assert_eq!(nearest(name), expected);
    }
}
