//! What is kept and what is dropped. `tests/it/resolve/scan.rs` compares contents with the parser's.

use super::*;

const KEY: [u64; 4] = [1, 2, 3, 4];
const FEW: Bounds = Bounds { repos: 3, elements: 40, few: 10 };

/// A `primary.xml` with these packages.
fn primary(packages: Range<u32>) -> String {
    let package = |i: u32| {
        let requires = if i.is_multiple_of(7) { "/usr/share/x" } else { "/usr/bin/x" };
        let arch = if i.is_multiple_of(5) { "" } else { "<arch>noarch</arch>" };
        format!(
            "<package type=\"rpm\"><name>p{i}</name>{arch}<version epoch=\"0\" ver=\"{i}\" rel=\"1\"/>\
             <format><rpm:requires><rpm:entry name=\"{requires}\"/></rpm:requires></format></package>"
        )
    };
    format!("<metadata>{}</metadata>", packages.map(package).collect::<String>())
}

/// Returns the number of different packages that are remembered.
fn remembered(known: &KnownPackages) -> usize {
    known.pool().elements.len()
}

fn read(known: &KnownPackages, packages: Range<u32>) -> String {
    let identity = format!("{packages:?}");
    known.read(primary(packages).as_bytes(), pieces::PIECE, &identity).unwrap();
    identity
}

/// The content of a repository that is kept is the one that the scanner gives.
fn assert_right(known: &KnownPackages, packages: Range<u32>) {
    let scanned = pieces::scan(primary(packages.clone()).as_bytes(), &Limits::default(), pieces::PIECE).unwrap();
    let content = known.content(&format!("{packages:?}")).unwrap();
    assert_eq!(format!("{:?}", content.packages()), format!("{:?}", scanned.content.packages()));
    assert!(content.dependencies().eq(scanned.content.dependencies()));
    assert_eq!(content.oddities, scanned.content.oddities);
    assert_eq!(content.oddities.counts().count(), usize::from(packages.clone().any(|i| i.is_multiple_of(5))));
    let beyond = packages.clone().any(|i| i.is_multiple_of(7));
    assert_eq!(known.names_beyond_primary(&format!("{packages:?}")), Some(beyond), "{packages:?}");
}

/// A package is read once, whatever repositories it is in.
#[test]
fn packages_are_shared() {
    let known = KnownPackages::bounded(Limits::default(), KEY, FEW);
    read(&known, 1..7);
    read(&known, 3..9);
    assert_eq!(remembered(&known), 8);
    assert_right(&known, 1..7);
    assert_right(&known, 3..9);
}

/// Packages that no kept repository has are dropped. The others keep their meaning.
#[test]
fn unused_packages_are_dropped() {
    let known = KnownPackages::bounded(Limits::default(), KEY, FEW);
    for first in 0..100 {
        read(&known, first..first + 6);
        assert_right(&known, first..first + 6);
        if first > 0 {
            assert_right(&known, first - 1..first + 5);
        }
        assert!(remembered(&known) <= 20, "{}", remembered(&known));
    }
    assert_eq!(known.content("0..6").map(|_| ()), None);
}

/// If the kept repositories have too many packages, those used longest ago go. One stays, even if it
/// alone has too many.
#[test]
fn old_repositories_are_dropped() {
    let known = KnownPackages::bounded(Limits::default(), KEY, FEW);
    for first in [0, 100, 200] {
        read(&known, first..first + 15);
    }
    assert!(!known.has("0..15") && known.has("100..115") && known.has("200..215"));
    read(&known, 300..345);
    assert!(known.has("300..345") && !known.has("100..115") && !known.has("200..215"));
    assert_eq!(remembered(&known), 45);
    assert_right(&known, 300..345);
    let too_many = known.read(primary(400..500).as_bytes(), pieces::PIECE, "x");
    assert!(too_many.is_err() && !known.has("x"), "there is room for twice the bound");
    assert_right(&known, 300..345);
}

/// Nothing is dropped while a repository is read: its numbers stay.
#[test]
fn nothing_is_dropped_while_one_reads() {
    let known = KnownPackages::bounded(Limits::default(), KEY, FEW);
    let reader = Reader::new(&known);
    for first in [0, 10, 20, 30, 40] {
        read(&known, first..first + 10);
    }
    assert_eq!(remembered(&known), 50);
    drop(reader);
    assert_eq!(remembered(&known), 30);
    assert_right(&known, 40..50);
}

/// Repositories are read side by side.
#[test]
fn side_by_side() {
    let known = KnownPackages::bounded(Limits::default(), KEY, Bounds { elements: 100, ..FEW });
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let known = &known;
            scope.spawn(move || {
                for first in 0..50 {
                    let packages = first * 2 + thread..first * 2 + thread + 5;
                    let identity = read(known, packages.clone());
                    // Another thread may have dropped it.
                    let names = known
                        .content(&identity)
                        .map(|content| content.packages().iter().map(|p| p.name.to_string()).collect::<Vec<_>>());
                    let expected = packages.map(|i| format!("p{i}")).collect::<Vec<_>>();
                    assert!(names.is_none_or(|names| names == expected));
                }
            });
        }
    });
}

/// A repository with more packages than allowed is not kept.
#[test]
fn a_bound_of_packages() {
    let known = KnownPackages::new(Limits { packages: 5, ..Limits::default() }, KEY);
    assert!(known.read(primary(0..6).as_bytes(), pieces::PIECE, "six").is_err());
    known.read(primary(0..5).as_bytes(), pieces::PIECE, "five").unwrap();
    assert!(known.has("five") && !known.has("six"));
}
