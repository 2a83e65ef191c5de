//! Which architectures count for a package: those of the collection, less what an override takes away.

use crate::model::Name;

/// Koji's canonical name of an architecture: what a repository directory is called (`koji.canonArch`).
pub fn canonical(arch: &str) -> &str {
    match arch {
        "i386" | "i486" | "i586" | "i686" | "athlon" => "i386",
        "x86_64" | "amd64" | "ia32e" | "x86_64_v2" | "x86_64_v3" | "x86_64_v4" => "x86_64",
        "ppc64" | "ppc64pseries" | "ppc64iseries" | "ppc64p7" => "ppc64",
        "sparc" | "sparcv8" | "sparcv9" | "sparcv9v" | "sparcv9v2" => "sparc",
        "sparc64" | "sparc64v" | "sparc64v2" => "sparc64",
        "alpha" | "alphaev4" | "alphaev45" | "alphaev5" | "alphaev56" | "alphapca56" | "alphaev6" | "alphaev67"
        | "alphaev68" | "alphaev7" => "alpha",
        "armhfp" | "armv6hl" | "armv7hl" | "armv7hnl" => "armhfp",
        "arm" | "armv5tel" | "armv5tejl" | "armv6l" | "armv7l" => "arm",
        "sh4" | "sh4a" => "sh4",
        other => other,
    }
}

/// Whether an override (`x86_64 aarch64` or `^s390x`) leaves `arch` in. A `^` counts on every word; a list of only
/// `^` words takes away, any other word replaces the list.
pub fn override_allows(list: &str, arch: &str) -> bool {
    let arch = canonical(arch);
    let words = || list.split([' ', ',', '\t']).filter(|w| !w.is_empty());
    let taken = words().filter_map(|w| w.strip_prefix('^')).any(|w| canonical(w) == arch);
    let mut named = words().filter(|w| !w.starts_with('^')).peekable();
    !taken && (named.peek().is_none() || named.any(|w| canonical(w) == arch || w == "noarch"))
}

/// Whether a collection limited to `allowed` (empty: everything) looks at `arch`.
pub fn collection_allows(allowed: &[Name], arch: &str) -> bool {
    allowed.is_empty() || allowed.iter().any(|a| canonical(a) == canonical(arch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides() {
        assert!(override_allows("x86_64 aarch64", "aarch64"));
        assert!(!override_allows("x86_64", "aarch64"));
        assert!(override_allows("^aarch64", "x86_64"));
        assert!(!override_allows("^aarch64", "aarch64"));
        assert!(!override_allows("x86_64, ^x86_64", "x86_64"), "taking away wins");
        assert!(override_allows("armv7hl", "armhfp"));
        assert!(override_allows("", "x86_64"));
    }
}
