//! Scans any bytes as `primary.xml`, in pieces of a size that the first byte gives. Where the
//! scanner has an answer, the parser must have the same.
#![no_main]

use koschei::repodata::pieces::scan;
use koschei::repodata::{Limits, RepoContent, primary};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((size, xml)) = input.split_first() else { return };
    let limits = Limits { xml_token: 4096, packages: 200, ..Limits::default() };
    let Ok(scanned) = scan(xml, &limits, usize::from(*size) * 32) else { return };
    let mut parsed = RepoContent::default();
    primary::parse(xml, "primary.xml", &limits, &mut parsed).expect("the parser accepts what was scanned");
    assert_eq!(format!("{:?}", scanned.content.packages()), format!("{:?}", parsed.packages()));
    assert!(scanned.content.dependencies().eq(parsed.dependencies()));
    assert_eq!(scanned.content.oddities, parsed.oddities);
});
