//! The recording's mix: kinds by frequency and size. The generator follows it, and a test compares
//! it with the recording.

/// A kind, its number of events in the recording's log, and the mean length of its payload in
/// bytes.
pub type Share = (&'static str, u64, u64);

/// The log that `koschei ingest --from tests/data/koji/events.jsonl --archive tests/data/koji`
/// makes, by kind.
pub const RECORDING: [Share; 24] = [
    ("task_changed", 227, 279),
    ("rebuild_requested", 171, 341),
    ("rebuild_not_submitted", 171, 79),
    ("package_state_changed", 153, 139),
    ("dependencies_measured", 145, 116),
    ("package_list_changed", 116, 109),
    ("build_changed", 88, 193),
    ("build_tagged", 86, 134),
    ("rebuild_finished", 74, 143),
    ("build_compared", 72, 458),
    ("repo_initialised", 28, 59),
    ("repo_ready", 28, 76),
    ("repo_resolved", 22, 3307),
    ("repo_not_resolved", 18, 119),
    ("evaluation_made", 17, 1498),
    ("updates_arrived", 10, 567),
    ("tick", 8, 24),
    ("build_untagged", 6, 137),
    ("buildroot_resolved", 4, 85),
    ("target_observed", 3, 79),
    ("collection_created", 3, 224),
    ("collection_state_changed", 2, 69),
    ("policy_adopted", 1, 522),
    ("tag_observed", 1, 490),
];

/// Kinds of the recording that the generator does not make, because few events have them. They are
/// no part of the table.
pub const LEFT_OUT: [&str; 2] = ["causes_found", "suspects_ranked"];

/// Resolutions of the recording, one line each: packages listed, moves named, and changes per
/// listed package.
pub const RESOLUTIONS: [(usize, usize, usize); 16] = [
    (45, 2, 1),
    (47, 2, 1),
    (4, 3, 2),
    (5, 3, 1),
    (3, 2, 1),
    (4, 6, 2),
    (0, 0, 0),
    (0, 0, 0),
    (0, 0, 0),
    (0, 0, 0),
    (43, 2, 2),
    (45, 2, 2),
    (45, 12, 7),
    (47, 12, 7),
    (45, 33, 11),
    (47, 34, 12),
];

/// Returns the number of events in the recording's log.
pub fn total() -> u64 {
    RECORDING.iter().map(|r| r.1).sum()
}

/// Returns the position of a kind in [`RECORDING`].
pub fn index(kind: &str) -> Option<usize> {
    RECORDING.iter().position(|r| r.0 == kind)
}

/// Returns the distance of a mix from the recording's, in thousandths: half the sum of the
/// differences of all shares. 0 means equal, 1000 means nothing in common. `counts` is by kind.
/// Kinds that the recording does not have count as differences.
pub fn distance<'a>(counts: impl Iterator<Item = (&'a str, u64)>) -> u64 {
    let counts: std::collections::BTreeMap<&str, u64> = counts.collect();
    let all: u64 = counts.values().sum();
    let share = |n: u64, of: u64| n.saturating_mul(1_000_000) / of.max(1);
    let known: u64 = RECORDING
        .iter()
        .map(|(kind, n, _)| share(*n, total()).abs_diff(share(counts.get(kind).copied().unwrap_or(0), all)))
        .sum();
    let foreign: u64 = counts.iter().filter(|(kind, _)| index(kind).is_none()).map(|(_, n)| share(*n, all)).sum();
    (known + foreign) / 2000
}
