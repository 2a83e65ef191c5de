//! Ingested recordings always give the same log: the same events, to the last bit.
//!
//! A chain hash covers each event with all events before it, with the payload as written. The
//! stand-ins of persons are random and are part of it. Here they are derived from the name (see
//! [`super::steady`]).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use koschei::event::ChainHash;
use koschei::fold::State;
use koschei::log::{EventLog, Options, folding};
use koschei::model::Seq;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use super::repository;
use super::steady::{Recorded, json};
use crate::feed::scale;

pub(super) const REFERENCE: &str = "tests/reference/recordings.txt";

/// Returns a recording's digests in the form of the reference file: the number of events, the chain
/// hash of the last one, the digest of the folded state, and the digest of the facts. The number of
/// events of each kind shows at a glance where a difference lies.
async fn written(recorded: &Recorded, lines: &[String]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let told = recorded.ingested(dir.path(), lines).await;
    let stats = json(dir.path(), &["log", "stats", "--json"]);
    let mut text = format!("{}\n", recorded.name);
    let of = |key: &str| told[key].as_str().unwrap();
    writeln!(text, "  events {}\n  chain  {}\n  log    {}", told["head"], of("head_hash"), of("log_digest")).unwrap();
    writeln!(text, "  facts  {}\n  kinds  {}", of("facts_digest"), kinds(&stats)).unwrap();
    text
}

pub(super) fn kinds(stats: &Value) -> String {
    let kinds = stats["kinds"].as_object().unwrap_or_else(|| panic!("{stats:#}"));
    let one = |(kind, k): (&String, &Value)| format!("{kind} {}", k["events"]);
    kinds.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Returns the references, by recording. Lines with `#` are explanations.
fn references() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(repository(REFERENCE)).unwrap();
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut name = "";
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        if !line.starts_with(' ') {
            name = line;
        }
        found.entry(name.to_owned()).or_default().push_str(&format!("{line}\n"));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recording_gives_the_log_it_always_gave() {
    let kept: String = references().into_values().collect();
    let mut found = String::new();
    for recorded in Recorded::all() {
        found += &written(&recorded, &recorded.lines).await;
    }
    assert!(found == kept, "{REFERENCE} says\n{kept}but this is\n{found}");
}

/// Two planted faults in each recording: one message less, and one message about another
/// repository. Each changes the chain, the state and the facts.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_less_or_another_one_is_seen() {
    let kept = references();
    for recorded in Recorded::all() {
        let kept: Vec<&str> = kept[&recorded.name].lines().collect();
        let at = recorded.lines.iter().rposition(|l| l.contains("buildsys.repo.done")).unwrap();
        let mut less = recorded.lines.clone();
        less.remove(at);
        let mut other = recorded.lines.clone();
        other[at] = other[at].replace("\"repo_id\": ", "\"repo_id\": 77");
        assert_ne!(other[at], recorded.lines[at], "{}: the fault is there", recorded.name);
        for (fault, lines) in [("a message less", less), ("another repository", other)] {
            let found = written(&recorded, &lines).await;
            for digest in ["  chain ", "  log ", "  facts "] {
                let kept = kept.iter().find(|l| l.starts_with(digest)).unwrap();
                assert!(found.contains(digest), "{found}");
                assert!(!found.lines().any(|l| l == *kept), "{}: {fault} does not show in{digest}", recorded.name);
            }
        }
    }
}

/// The hash of everything but its own place, which a snapshot has in its head.
fn mended(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes[..72]).update(&bytes[104..]);
    bytes[72..104].copy_from_slice(hasher.finalize().as_bytes());
    bytes
}

/// At several events of each recording, the state as a snapshot is the state, and folding goes on
/// from it as from the state itself. A damaged snapshot is refused; one that was changed by
/// somebody who can compute its hash never makes the program fail.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_the_state_of_every_recording() {
    let mut random = StdRng::seed_from_u64(9);
    for recorded in Recorded::all() {
        let dir = tempfile::tempdir().unwrap();
        recorded.ingested(dir.path(), &recorded.lines).await;
        let db = dir.path().join("koschei.db");
        let log = koschei::log::open(db.to_str().unwrap(), &Options::default()).await.unwrap();
        let last = log.head().await.unwrap().seq.unwrap().get();
        let whole = folding::from_start(&log, None, &mut |_| {}).await.unwrap();
        for at in [1, last / 3, 2 * last / 3, last].into_iter().filter_map(Seq::new) {
            let state = folding::from_start(&log, Some(at), &mut |_| {}).await.unwrap();
            let hash = ChainHash([u8::try_from(at.get() % 251).unwrap(); 32]);
            let bytes = state.to_bytes(hash);
            let (again, read) = State::from_bytes(&bytes).unwrap();
            assert_eq!((again.digest(), again.facts_digest()), (state.digest(), state.facts_digest()));
            assert_eq!((read, again.to_bytes(hash) == bytes), (hash, true), "{} at {at}", recorded.name);
            folding::keep(&log, &state).await.unwrap();
            let end = folding::state(&log, None, &mut |_| {}).await.unwrap();
            assert_eq!(end.digest(), whole.digest(), "{} on from {at}", recorded.name);

            for _ in 0..scale(20, 2_000) {
                let mut damaged = bytes.clone();
                let place = random.random_range(0..bytes.len());
                damaged[place] ^= random.random_range(1..=255_u8);
                assert!(State::from_bytes(&damaged).is_err(), "{} at {at}: byte {place}", recorded.name);
                if place >= 104 {
                    // Whatever comes out, nothing panics.
                    drop(State::from_bytes(&mended(damaged)));
                }
                let cut = random.random_range(0..bytes.len());
                assert!(State::from_bytes(&bytes[..cut]).is_err());
                if cut > 104 {
                    assert!(State::from_bytes(&mended(bytes[..cut].to_vec())).is_err(), "cut at {cut}");
                }
            }
        }
        assert_eq!(mended(whole.to_bytes(ChainHash::GENESIS)), whole.to_bytes(ChainHash::GENESIS));
    }
}
