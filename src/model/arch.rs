//! Names of architectures.
//!
//! An architecture has several names. Tags and packages say `i686`, while repositories and builders
//! use the canonical name of its family, `i386`. Names sent to a hub are spelled as in the tag. All
//! other code compares families.

mod known;
mod overrides;

pub use known::{is_known, nearest};
pub use overrides::{
    ArchOverride, ArchOverrideError, MAX_OVERRIDE_ARCHES, MAX_OVERRIDE_BYTES, NOARCH, UnknownArch, check_name,
};

/// Returns the canonical name of an architecture, which repositories and builders use: `i686` →
/// `i386`, `armv7hl` → `armhfp`. An unknown name is returned as it is. Source: `koji.canonArch`.
pub fn canonical(arch: &str) -> &str {
    let bytes = arch.as_bytes();
    match bytes {
        [b'i', _, b'8', b'6'] | b"athlon" => "i386",
        b"ia32e" => "x86_64",
        b"ppc64le" => "ppc64le",
        _ if bytes.starts_with(b"ppc64") => "ppc64",
        _ if bytes.starts_with(b"sparc64") => "sparc64",
        _ if bytes.starts_with(b"sparc") => "sparc",
        _ if bytes.starts_with(b"alpha") => "alpha",
        _ if bytes.starts_with(b"arm") => {
            // `arm*h*`: an `h` anywhere after the prefix means hardware floating point.
            if bytes.iter().skip(3).any(|&b| b == b'h') { "armhfp" } else { "arm" }
        }
        _ => arch,
    }
}

/// Returns how packages and tags usually spell an architecture given by its canonical name: `i386`
/// → `i686`. Source: Fedora's tags since `i686` (Fedora 13) and `armv7hl` (Fedora 15) were
/// introduced.
pub fn of_packages(canonical: &str) -> &str {
    match canonical {
        "i386" => "i686",
        "armhfp" => "armv7hl",
        other => other,
    }
}

/// Returns the text that rpm's macro `%{?_isa}` appends to a name on an architecture, without the
/// parentheses: `x86_64` → `x86-64`. Returns `None` for `noarch` and for architectures without such
/// a text in rpm. Several architectures share one (`ppc64` and `ppc64le`, all `i?86`). Source: rpm,
/// `installplatform` (`ISANAME`, `ISABITS`). `loongarch64` follows the port to that architecture.
pub fn isa(arch: &str) -> Option<&'static str> {
    Some(match arch {
        "x86_64" | "amd64" | "ia32e" | "x86_64_v2" | "x86_64_v3" | "x86_64_v4" => "x86-64",
        "i386" | "i486" | "i586" | "i686" | "athlon" | "geode" | "pentium3" | "pentium4" => "x86-32",
        "aarch64" => "aarch-64",
        "ppc64" | "ppc64le" | "ppc64p7" => "ppc-64",
        "ppc" => "ppc-32",
        "s390x" => "s390-64",
        "s390" => "s390-32",
        "riscv64" => "riscv-64",
        "armhfp" | "armv7hl" | "armv7hnl" => "armv7hl-32",
        "armv6hl" => "armv6hl-32",
        "armv7l" => "armv7l-32",
        "loongarch64" => "loongarch-64",
        "ia64" => "ia-64",
        "alpha" => "alpha-64",
        "sparc64" | "sparc64v" => "sparc-64",
        "sparc" | "sparcv9" => "sparc-32",
        "mips" | "mipsel" => "mips-32",
        "mips64" | "mips64el" => "mips-64",
        _ => return None,
    })
}

/// Checks whether a text is one that [`isa`] returns. They all end in `-64` or `-32`.
pub fn is_isa(text: &str) -> bool {
    const NAMES: [&str; 18] = [
        "aarch-64",
        "alpha-64",
        "armv6hl-32",
        "armv7hl-32",
        "armv7l-32",
        "ia-64",
        "loongarch-64",
        "mips-32",
        "mips-64",
        "ppc-32",
        "ppc-64",
        "riscv-64",
        "s390-32",
        "s390-64",
        "sparc-32",
        "sparc-64",
        "x86-32",
        "x86-64",
    ];
    NAMES.binary_search(&text).is_ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("x86_64", Some("x86-64"))]
    #[case("i386", Some("x86-32"))]
    #[case("i686", Some("x86-32"))]
    #[case("aarch64", Some("aarch-64"))]
    #[case("ppc64le", Some("ppc-64"))]
    #[case("s390x", Some("s390-64"))]
    #[case("riscv64", Some("riscv-64"))]
    #[case("armv7hl", Some("armv7hl-32"))]
    #[case("armhfp", Some("armv7hl-32"))]
    #[case("noarch", None)]
    #[case("src", None)]
    #[case("", None)]
    fn isa_of_an_architecture(#[case] arch: &str, #[case] expected: Option<&str>) {
        assert_eq!(isa(arch), expected);
    }

    #[test]
    fn every_isa_is_known_as_one() {
        let arches = ["x86_64", "i686", "aarch64", "ppc64", "ppc", "s390x", "s390", "riscv64", "armhfp", "armv6hl"];
        let more = ["armv7l", "loongarch64", "ia64", "alpha", "sparc64", "sparc", "mips", "mips64"];
        let names: std::collections::BTreeSet<_> = arches.iter().chain(&more).map(|a| isa(a).unwrap()).collect();
        assert_eq!(names.len(), 18, "each row of the table once");
        assert!(names.iter().all(|n| is_isa(n)), "{names:?}");
        assert!(!is_isa("64bit") && !is_isa("x86_64") && !is_isa(""));
    }
}
