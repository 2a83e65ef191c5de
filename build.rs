//! Finds the system's C libraries and compiles the small C file for each, which hides what differs between their
//! versions.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    library("libsolv", "0.7.20", "src/resolve/solv/shim.c", "libsolv-dev", "libsolv-devel");
    if std::env::var_os("CARGO_FEATURE_GSSAPI").is_some() {
        library("krb5-gssapi", "1.10", "src/koji/gss/shim.c", "libkrb5-dev", "krb5-devel");
    }
}

fn library(name: &str, oldest: &str, shim: &str, debian: &str, fedora: &str) {
    println!("cargo::rerun-if-changed={shim}");
    match pkg_config::Config::new().atleast_version(oldest).probe(name) {
        Ok(library) => {
            cc::Build::new()
                .file(shim)
                .includes(&library.include_paths)
                .warnings(true)
                .extra_warnings(true)
                .compile(&format!("koschei_{}_shim", name.replace('-', "_")));
        }
        Err(error) => {
            println!(
                "cargo::error={name} is needed to build: `apt install {debian} pkg-config` (Debian, Ubuntu) or `dnf \
                    install {fedora} pkgconf-pkg-config` (Fedora)"
            );
            for line in error.to_string().lines() {
                println!("cargo::warning={line}");
            }
        }
    }
}
