//! Parses any bytes as comps. The parser returns a result or an error and never panics.
#![no_main]

use koschei::repodata::{Groups, Limits};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let limits = Limits { xml_token: 4096, ..Limits::default() };
    let Ok(groups) = Groups::parse(input, "comps.xml", &limits) else { return };
    for id in groups.ids() {
        let members = groups.installed(id).expect("an id that is listed is known");
        assert!(members.iter().all(|member| !member.is_empty()));
    }
});
