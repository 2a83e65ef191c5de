//! Random histories of a hub with a bad bus: a third of the messages is lost, some come twice or
//! late, and some are invented. After one reconciliation the state equals the hub's tables.
//!
//! A history is a list of steps. A step that the hub refuses does nothing. A failing history is
//! shortened within a number of attempts, and printed with its seed and the differing lines.

mod steps;

use koschei::model::Name;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::feed::scale;
use crate::hub::{BusMessage, Hub, Settings};
use crate::serve::facts::differences;
use crate::serve::inside::Inside;
use steps::{Step, apply, phantoms, random_step, seed};

const ARCHES: [&str; 2] = ["x86_64", "aarch64"];
const TAGS: [&str; 8] = ["base", "f99", "f99-build", "over", "f98", "f98-build", "spare", "deep"];
const TARGETS: [&str; 2] = ["f99", "f98"];
const PACKAGES: usize = 7;
/// Steps between two comparisons.
const PHASE: usize = 12;
const PHASES: usize = 30;
/// Attempts to shorten a history.
const SHORTER_MAX: usize = 60;

const CONFIG: &str = r#"
[policy]
passive = true
load_threshold = 1000

[[collection]]
name = "f99"
target = "f99"
build_tag = "f99-build"
dest_tag = "f99"
track_all = true

[[collection]]
name = "copy"
target = "f99"
build_tag = "f99-build"
dest_tag = "f99"
track_all = true

[[collection]]
name = "f98"
target = "f98"
build_tag = "f98-build"
dest_tag = "f98"
track_all = true
"#;

/// A bus that loses, duplicates, delays and invents messages, always in the same way for a step.
#[derive(Default)]
struct Bus {
    /// Late messages, with the number of the step at which they come.
    late: Vec<(usize, BusMessage)>,
    counts: Counts,
}

#[derive(Default, Clone, Copy, Debug)]
struct Counts {
    /// Number of steps the hub did.
    done: usize,
    sent: usize,
    lost: usize,
    doubled: usize,
    delayed: usize,
    invented: usize,
}

impl Bus {
    fn takes(&mut self, at: usize, messages: Vec<BusMessage>, rng: &mut StdRng) {
        for message in messages {
            self.counts.sent += 1;
            if rng.random_bool(0.3) {
                self.counts.lost += 1;
                continue;
            }
            let due = if rng.random_bool(0.3) { at + rng.random_range(1..8) } else { at };
            self.counts.delayed += usize::from(due > at);
            if rng.random_bool(0.05) {
                self.counts.doubled += 1;
                // A message published twice has two ids. A message delivered twice has the same id.
                let mut again = message.clone();
                if rng.random() {
                    again.id = format!("{:032x}", rng.random::<u128>());
                }
                self.late.push((at + rng.random_range(0..8), again));
            }
            self.late.push((due, message));
        }
    }

    fn due(&mut self, at: usize) -> Vec<BusMessage> {
        let (due, late) = std::mem::take(&mut self.late).into_iter().partition(|(when, _)| *when <= at);
        self.late = late;
        let due: Vec<(usize, BusMessage)> = due;
        due.into_iter().map(|(_, m)| m).collect()
    }
}

/// A step with its number in the original history. Its random choices thus stay the same when other
/// steps are left out.
type Numbered = (usize, Step);

/// Runs a history. Returns the differing lines, and the step after which they differ.
async fn live_through(seed_: u64, steps: &[Numbered]) -> Result<Counts, (usize, Vec<String>)> {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(Settings::new(dir.path().join("koji")));
    seed(&hub);
    let mut inside = Inside::new(hub.clone(), dir.path(), CONFIG).await;
    inside.start();
    let lived = lived(seed_, steps, &mut inside).await;
    if lived.is_ok() {
        inside.looked().await;
    }
    inside.stop().await;
    koschei::log::verify::verify(&inside.log, None, &mut |_| {}).await.unwrap();
    lived
}

async fn lived(seed_: u64, steps: &[Numbered], inside: &mut Inside) -> Result<Counts, (usize, Vec<String>)> {
    let hub = inside.hub.clone();
    let mut bus = Bus::default();
    inside.reconciled().await.map_err(|lines| (0, lines))?;
    for (nth, (number, step)) in steps.iter().enumerate() {
        let mut rng = StdRng::seed_from_u64(seed_ ^ (*number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        bus.counts.done += usize::from(hub.try_as("kojiadmin", |tx| apply(tx, *step)).is_ok());
        let sent = hub.take_messages();
        bus.takes(*number, sent, &mut rng);
        // About one message in fifty, because steps send several messages or none.
        if rng.random_bool(0.06) {
            let invented = phantoms(&hub, random_step(&mut rng));
            bus.counts.invented += invented.len().min(1);
            bus.late.extend(invented.into_iter().take(1).map(|m| (*number, m)));
        }
        let due = bus.due(*number);
        inside.deliver(&due).await;
        match step {
            Step::Look => inside.looked().await,
            Step::Restart => inside.restart().await,
            _ => {}
        }
        let ends = steps.get(nth + 1).is_none_or(|(next, _)| next / PHASE > number / PHASE);
        if ends {
            inside.deliver(&bus.due(usize::MAX)).await;
            let state = inside.reconciled().await.map_err(|lines| (*number, lines))?;
            for (name, c) in &state.collections {
                let target = hub.see(|w| {
                    let t = w.target(&c.settings.target, None)?;
                    Some([t.build_tag, t.dest_tag].map(|t| Name::from(w.tag_name(t).unwrap())))
                });
                let follows =
                    target.is_none_or(|tags| tags == [c.settings.build_tag.clone(), c.settings.dest_tag.clone()]);
                let gone = hub.see(|w| w.target(&c.settings.target, None).is_none());
                if !follows || c.target_gone != gone {
                    let what =
                        format!("collection {name} is of {:?}, its target is gone: {}", c.settings, c.target_gone);
                    return Err((*number, vec![what]));
                }
            }
        }
    }
    Ok(bus.counts)
}

/// Removes the steps that the failure does not need.
async fn shorter(seed_: u64, steps: Vec<Numbered>) -> Vec<Numbered> {
    let mut steps = steps;
    let (mut attempts, mut size) = (0, steps.len() / 2);
    while size > 0 && attempts < SHORTER_MAX {
        let mut at = 0;
        let mut found = false;
        while at < steps.len() && attempts < SHORTER_MAX {
            let without: Vec<Numbered> =
                steps[..at].iter().chain(&steps[(at + size).min(steps.len())..]).copied().collect();
            attempts += 1;
            if let Err((number, _)) = live_through(seed_, &without).await {
                steps = without.into_iter().filter(|(n, _)| *n <= number).collect();
                found = true;
            } else {
                at += size;
            }
        }
        if !found || size == 1 {
            size /= 2;
        }
    }
    steps
}

async fn history(seed_: u64) -> Counts {
    let mut rng = StdRng::seed_from_u64(seed_);
    let steps: Vec<Numbered> = (0..PHASE * PHASES).map(|n| (n, random_step(&mut rng))).collect();
    let (number, lines) = match live_through(seed_, &steps).await {
        Ok(counts) => {
            println!("seed {seed_}: {counts:?}");
            return counts;
        }
        Err(wrong) => wrong,
    };
    let short = shorter(seed_, steps.into_iter().filter(|(n, _)| *n <= number).collect()).await;
    let again = live_through(seed_, &short).await.err();
    panic!(
        "seed {seed_}: after step {number} hub (-) and state (+) differ:\n{}\nwhich takes no more than (it {} so \
            again)\n{}",
        lines.join("\n"),
        if again.is_some() { "goes wrong" } else { "does not go wrong" },
        short.iter().map(|(n, s)| format!("    ({n}, Step::{s:?}),\n")).collect::<String>(),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_bus_does_the_state_is_what_the_hub_has() {
    // `KOSCHEI_TEST_SEED=17` or `0..100` runs other seeds.
    let given = std::env::var("KOSCHEI_TEST_SEED").ok().map(|text| {
        let (from, to) = text.split_once("..").unwrap_or((&text, ""));
        let from: u64 = from.parse().unwrap();
        from..to.parse().unwrap_or(from + 1)
    });
    for seed_ in given.unwrap_or(0..scale(2, 10)) {
        let c = history(seed_).await;
        assert!(
            c.lost * 5 > c.sent && c.doubled + c.delayed > 0 && c.invented > 0 && c.done * 3 > PHASE * PHASES,
            "{c:?}"
        );
    }
}

/// The comparison notices a single missing fact.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_missing_fact_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(Settings::new(dir.path().join("koji")));
    seed(&hub);
    let mut inside = Inside::new(hub.clone(), dir.path(), CONFIG).await;
    inside.start();
    assert_eq!(inside.reconciled().await.err(), None);
    inside.stop().await;
    // The service is stopped and does not see this change.
    hub.change(|tx| tx.package_list_block("f99", "p1"));
    let lines = differences(inside.state().await, &hub);
    assert!(!lines.is_empty() && lines.iter().all(|l| l.contains("p1")), "{lines:?}");
}
