//! Parses any lines as versions and plain dependencies. Comparison is an order as far as rpm's is.
//! A parsed value can be written and parsed again.
#![no_main]

use std::cmp::Ordering;

use koschei::model::Nvr;
use koschei::model::nevra::rpmvercmp;
use koschei::repodata::{DepEvr, Dependency};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let lines: Vec<&str> = text.lines().take(4).collect();
    for a in &lines {
        assert_eq!(rpmvercmp(a, a), Ordering::Equal, "{a:?}");
        for b in &lines {
            assert_eq!(rpmvercmp(a, b), rpmvercmp(b, a).reverse(), "{a:?} {b:?}");
        }
        let _ = (Nvr::parse(a), Nvr::parse_srpm(a));
        if let Ok(evr) = DepEvr::parse(a)
            && is_clear(&evr)
        {
            assert_eq!(DepEvr::parse(&evr.to_string()).as_ref(), Ok(&evr), "{a:?}");
        }
        let Ok(dependency) = Dependency::parse(a) else { continue };
        if dependency
            .relation
            .as_ref()
            .is_none_or(|relation| !relation.evr.version.is_empty() && is_clear(&relation.evr))
        {
            assert_eq!(Dependency::parse(&dependency.to_string()).as_ref(), Ok(&dependency), "{a:?}");
        }
    }
});

/// Checks whether the version, once written, parses to the same value. `0:1:2` and `1-2-` lose a
/// part that has no meaning, and the rest parses to another value.
fn is_clear(evr: &DepEvr) -> bool {
    !evr.version.contains([':', '-']) && evr.release.as_ref().is_none_or(|release| !release.contains(':'))
}
