//! Names of architectures.

/// The canonical name of an architecture, by which repositories and builders go: `i686` → `i386`, `armv7hl` → `armhfp`.
/// Unknown names are their own. Source: `koji.canonArch`.
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
            // `arm*h*`: an h anywhere behind the prefix means hardware floating point.
            if bytes.iter().skip(3).any(|&b| b == b'h') { "armhfp" } else { "arm" }
        }
        _ => arch,
    }
}
