//! Parses any bytes as `primary.xml`. The parser returns a result or an error and never panics. The
//! resolver resolves against the parsed packages or refuses them.
#![no_main]

use std::sync::Arc;

use koschei::repodata::{Limits, RepoContent, Rich, primary};
use koschei::resolve::{Mode, Universe};
use libfuzzer_sys::fuzz_target;

/// Largest number of packages that a run also resolves. More would make a run slow without showing
/// more.
const RESOLVED_MAX: usize = 20;

fuzz_target!(|input: &[u8]| {
    let limits = Limits { xml_token: 4096, packages: 200, ..Limits::default() };
    let mut content = RepoContent::default();
    if primary::parse(input, "primary.xml", &limits, &mut content).is_err() {
        return;
    }
    assert!(content.packages().len() <= limits.packages);
    for package in content.packages() {
        assert!(!package.name.is_empty());
        let _ = (package.nevra().to_string(), content.build_requires(package));
        for id in package.dependencies() {
            let dependency = content.dependency(id);
            if dependency.is_rich() {
                let _ = Rich::parse(&dependency.name);
            }
        }
    }
    if content.packages().len() > RESOLVED_MAX {
        return;
    }
    let names: Vec<String> = content.packages().iter().map(|p| p.name.to_string()).collect();
    let Ok(universe) = Universe::load(Arc::new(content), "x86_64") else { return };
    let group: Vec<String> = names.iter().take(1).cloned().collect();
    for mode in [Mode::Two, Mode::Joint] {
        let Ok(prepared) = universe.prepare(&group, mode) else { continue };
        let mut resolver = prepared.resolver().with_distances();
        for name in &names {
            let answer = resolver.resolve(&[name]);
            assert_eq!(answer.ok, answer.problems.is_empty());
        }
    }
});
