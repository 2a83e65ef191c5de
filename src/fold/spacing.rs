//! Says when a snapshot of a growing log is due, and which of the old ones are dropped.
//!
//! Two wishes meet. A question about any moment should fold few events, so there should be many
//! snapshots. And they should take little of the disk beside the log, so there should be few. The
//! rule:
//!
//! 1. A snapshot is due when the log has grown by [`Spacing::step`] events since the newest one. A
//!    log that is shorter has none: folding it takes a moment, and a snapshot would save nothing
//!    that anybody notices.
//! 2. While all snapshots together take more than the [`Spacing::share`]th part of the rest of the
//!    log, the oldest one is dropped that can be spared: without it, the two beside it are still at
//!    most [`Spacing::folded_max`] events apart (the log's beginning counts as one of them).
//! 3. The newest one is never dropped. It is the one that nearly every command begins from.
//!
//! So what is old is as sparse as the million allows before what is new is thinned at all, and the
//! share gives way twice. It gives way to the million: a question that takes a minute is worse than
//! some more of the disk, and what the million needs is bounded by the log (one state for each
//! million of its events). And it gives way to the newest snapshot while the log is small compared
//! with its state.

use crate::model::Seq;

/// The numbers of the rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spacing {
    /// After how many events a snapshot is due.
    pub step: u64,
    /// How many events lie between two snapshots at most, and before the first. More only if none
    /// could be stored for so long.
    pub folded_max: u64,
    /// The snapshots' part of the rest of the log on disk: one of so many.
    pub share: u64,
}

impl Default for Spacing {
    /// A step takes about a third of a second to fold, a million events three.
    fn default() -> Self {
        Self { step: 100_000, folded_max: 1_000_000, share: 10 }
    }
}

/// A stored snapshot, as far as the rule looks at it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stored {
    /// Its event.
    pub seq: Seq,
    /// What it takes of the disk.
    pub bytes: u64,
}

impl Spacing {
    /// Returns whether a snapshot is due at the event `now` if the newest is of `newest`.
    pub fn is_due(&self, now: Option<Seq>, newest: Option<Seq>) -> bool {
        let number = |seq: Option<Seq>| seq.map_or(0, Seq::get);
        number(now).saturating_sub(number(newest)) >= self.step
    }

    /// Returns after how many events a long fold should leave a snapshot behind: as many as the
    /// maximum allows, with room for the commit or page that is under way.
    pub fn stride(&self) -> u64 {
        self.folded_max.saturating_sub(self.step).max(self.step)
    }

    /// Returns which snapshots to drop, given all of them, oldest first. `others_bytes` is what the
    /// rest of the log takes of the disk. Cost: O(snapshots).
    pub fn spare(&self, stored: &[Stored], others_bytes: u64) -> Vec<Seq> {
        let mut total: u64 = stored.iter().map(|s| s.bytes).sum();
        let (mut before, mut dropped) = (0, Vec::new());
        for pair in stored.windows(2) {
            let [this, next] = [pair[0], pair[1]];
            if total.saturating_mul(self.share) > others_bytes && next.seq.get() - before <= self.folded_max {
                total -= this.bytes;
                dropped.push(this.seq);
            } else {
                before = this.seq.get();
            }
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stored(all: &[(u64, u64)]) -> Vec<Stored> {
        all.iter().map(|&(seq, bytes)| Stored { seq: Seq::new(seq).unwrap(), bytes }).collect()
    }

    fn spared(all: &[(u64, u64)], others: u64) -> Vec<u64> {
        let spacing = Spacing { step: 10, folded_max: 100, share: 10 };
        spacing.spare(&stored(all), others).into_iter().map(Seq::get).collect()
    }

    #[test]
    fn due_at_a_step_and_not_before() {
        let spacing = Spacing::default();
        let at = Seq::new;
        assert!(!spacing.is_due(None, None));
        assert!(!spacing.is_due(at(99_999), None));
        assert!(spacing.is_due(at(100_000), None));
        assert!(!spacing.is_due(at(149_999), at(50_000)));
        assert!(spacing.is_due(at(150_000), at(50_000)));
        assert!(!spacing.is_due(at(7), at(50_000)), "the newest is beyond the end");
        assert_eq!(spacing.stride(), 900_000);
    }

    /// At the limits: a tenth exactly is held, 100 events apart exactly is allowed.
    #[test]
    fn the_oldest_that_can_be_spared_goes_first() {
        let all = [(40, 5), (60, 5), (100, 5), (140, 5)];
        assert!(spared(&all, 200).is_empty(), "twenty is a tenth");
        assert_eq!(spared(&all, 199), [40]);
        assert_eq!(spared(&all, 149), [40, 60]);
        // 100 is needed: 140 is more than 100 events from the beginning.
        assert_eq!(spared(&all, 0), [40, 60]);
        assert!(spared(&[(41, 5), (101, 5)], 0).is_empty(), "101 events from the beginning");
        assert_eq!(spared(&[(41, 5), (100, 5)], 0), [41]);
        assert!(spared(&[(5, 1_000)], 0).is_empty(), "the newest stays");
        assert!(spared(&[], 0).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// A log grows by commits of any size. After each of them a snapshot is made if one is due,
        /// of a state that grows or shrinks. Sometimes the disk refuses it.
        #[test]
        fn holds_while_a_log_grows(
            step in 1_u64..200,
            folds in 2_u64..20,
            share in 2_u64..20,
            commits in prop::collection::vec((1_u64..60, 1_u64..400, 0_u64..900, prop::bool::weighted(0.05)), 1..400),
        ) {
            let spacing = Spacing { step, folded_max: step * folds, share };
            let (mut head, mut others) = (0, 0);
            let mut all: Vec<Stored> = Vec::new();
            // The widest space that refusals and the size of commits explain.
            let (mut widest, mut refused_at) = (0, 0);
            for (events, bytes, size, refused) in commits {
                head += events;
                others += events * bytes;
                let newest = all.last().map(|s| s.seq);
                if !spacing.is_due(Seq::new(head), newest) {
                    continue;
                }
                if refused {
                    refused_at = head;
                    continue;
                }
                let since = head - newest.map_or(0, Seq::get);
                if refused_at > newest.map_or(0, Seq::get) || events > step {
                    widest = widest.max(since);
                } else {
                    prop_assert!(since < step + events, "made as soon as it is due");
                }
                all.push(Stored { seq: Seq::new(head).unwrap(), bytes: size });
                let dropped = spacing.spare(&all, others);
                all.retain(|s| !dropped.contains(&s.seq));

                prop_assert_eq!(all.last().map(|s| s.seq), Seq::new(head), "the newest stays");
                let points: Vec<u64> = std::iter::once(0).chain(all.iter().map(|s| s.seq.get())).collect();
                let allowed = spacing.folded_max.max(widest).max(step + 60);
                for w in points.windows(2) {
                    prop_assert!(w[1] - w[0] <= allowed, "{} to {}", w[0], w[1]);
                }
                let total: u64 = all.iter().map(|s| s.bytes).sum();
                if total * share > others {
                    for w in points.windows(3) {
                        prop_assert!(w[2] - w[0] > spacing.folded_max, "{} could be spared", w[1]);
                    }
                }
            }
        }
    }
}
