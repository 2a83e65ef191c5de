//! Finds the system's libsolv and compiles the small C file that gives its inline functions an address.

fn main() {
    println!("cargo::rerun-if-changed=src/resolve/solv/shim.c");
    println!("cargo::rerun-if-changed=build.rs");
    match pkg_config::Config::new().atleast_version("0.7.20").probe("libsolv") {
        Ok(library) => {
            cc::Build::new()
                .file("src/resolve/solv/shim.c")
                .includes(&library.include_paths)
                .warnings(true)
                .extra_warnings(true)
                .compile("koschei_solv_shim");
        }
        Err(error) => {
            println!(
                "cargo::error=libsolv is needed to build: `apt install libsolv-dev pkg-config` (Debian, Ubuntu) or `dnf install libsolv-devel pkgconf-pkg-config` (Fedora)"
            );
            for line in error.to_string().lines() {
                println!("cargo::warning={line}");
            }
        }
    }
}
