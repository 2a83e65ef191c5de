//! Finds out when a message was sent, even if clocks are wrong. Compares what the message says with
//! other clocks.
//!
//! Recorded time never goes back. So one message from a machine whose clock is ahead would move the
//! time of the whole log forward. Our own clock cannot judge a recording, which may be of any year.
//! What remains is the recorder's time (`seen_at`), and, without it, the messages around.
//!
//! Only earlier messages count, no matter in which run they were fed in. So a recording gives the
//! same log whether it is fed in whole or in pieces. The first message is an exception: nothing
//! comes before it, so it is compared with the messages that follow.

use std::collections::VecDeque;

use super::entry::MessageTimes;
use crate::model::Timestamp;

/// Number of messages that a time is compared with.
pub const NEIGHBOURS: usize = 100;

/// With fewer messages than these, their median says nothing. Only the previous message counts
/// then.
const FEW: usize = 10;

/// Maximum difference between the recorder's and the publisher's time, in microseconds, before one
/// of them is considered wrong. It is a month, because a message may wait in a queue that long.
const APART_MAX: u64 = 31 * 86_400 * 1_000_000;

/// A time may be this many times as far from the median as half of the messages around. In a sparse
/// recording with equal gaps, the last message is twice as far. Three times leaves room for a gap
/// of fifty messages.
const SPREAD: u64 = 3;

/// What is known about the clocks behind a stream of messages.
#[derive(Clone, Debug)]
pub struct Times {
    /// Maximum difference between two times that count as near, in microseconds.
    tolerance: u64,
    /// Times that the last [`NEIGHBOURS`] messages said. `None`: the message said no time.
    said: VecDeque<Option<Timestamp>>,
    /// The latest time that any message was taken for.
    last: Option<Timestamp>,
    /// Times of the messages that follow, as long as none came before.
    ahead: Vec<Timestamp>,
}

impl Times {
    /// Returns a state without messages. `tolerance_secs`: maximum difference between two times
    /// that count as near.
    pub fn new(tolerance_secs: u32) -> Self {
        let tolerance = u64::from(tolerance_secs) * 1_000_000;
        Self { tolerance, said: VecDeque::with_capacity(NEIGHBOURS), last: None, ahead: Vec::new() }
    }

    /// Checks whether no message had a time yet. Only then does [`Times::expect`] help.
    pub fn is_new(&self) -> bool {
        self.said.iter().all(Option::is_none)
    }

    /// Announces the messages that follow, including the next one. Looks at [`NEIGHBOURS`] of them.
    /// This affects only the first message.
    pub fn expect(&mut self, ahead: impl Iterator<Item = MessageTimes>) {
        self.ahead = ahead.take(NEIGHBOURS).filter_map(|s| s.seen.or(s.sent)).collect();
    }

    /// Notes that an earlier message was taken for that time.
    pub fn remember(&mut self, said: MessageTimes, taken: Timestamp) {
        self.push(match (said.seen, said.sent) {
            (Some(seen), Some(sent)) if seen.0.abs_diff(sent.0) > APART_MAX => {
                let sent_was_taken = sent.0.abs_diff(taken.0) < seen.0.abs_diff(taken.0);
                Some(if sent_was_taken { sent } else { seen })
            }
            (seen, sent) => seen.or(sent),
        });
        self.last = self.last.max(Some(taken));
    }

    /// Notes that something was recorded at that time, possibly before all remembered messages.
    pub fn reached(&mut self, recorded: Timestamp) {
        self.last = self.last.max(Some(recorded));
    }

    /// Returns when a message was sent, as far as can be known. `None` if the message says no time
    /// and none came before.
    pub fn take(&mut self, said: MessageTimes) -> Option<Timestamp> {
        let (taken, kept) = match (said.seen, said.sent) {
            // The recorder's clock counts, unless it is the one that is wrong.
            (Some(seen), Some(sent)) if seen.0.abs_diff(sent.0) > APART_MAX && self.fits(sent) && !self.fits(seen) => {
                (Some(sent), Some(sent))
            }
            (Some(seen), _) => (Some(seen), Some(seen)),
            // A time that does not fit is still remembered. If most messages say so, it was right.
            (None, Some(sent)) if self.fits(sent) => (Some(sent), Some(sent)),
            (None, Some(sent)) => (self.instead(), Some(sent)),
            (None, None) => (self.last, None),
        };
        self.push(kept);
        self.last = self.last.max(taken);
        taken
    }

    /// Like [`Times::take`], for a message that has just come or has waited in a queue. Compares it
    /// with our own clock. Never returns a time later than `now`.
    pub fn take_live(&mut self, said: MessageTimes, now: Timestamp) -> Timestamp {
        // Nobody sends messages from the future. Such a time is ignored, also as a neighbour of
        // others.
        let past = |t: &Timestamp| t.since(now) <= i64::try_from(self.tolerance).unwrap_or(i64::MAX);
        let (seen, sent) = (said.seen.filter(past), said.sent.filter(past));
        if seen.or(sent).is_none() && said != MessageTimes::default() {
            return self.last.map_or(now, |last| last.min(now));
        }
        let said = MessageTimes { seen: seen.map(|t| t.min(now)), sent: sent.map(|t| t.min(now)) };
        let heard = said.seen.or(said.sent);
        let fresh = heard.is_none_or(|t| self.near(now, t));
        let lost = self.is_new() && heard.is_some_and(|t| now.0.abs_diff(t.0) > APART_MAX);
        if fresh || lost {
            let taken = heard.filter(|_| fresh).unwrap_or(now);
            self.push(Some(taken));
            self.last = self.last.max(Some(taken));
            return taken;
        }
        self.take(said).unwrap_or(now).min(now)
    }

    fn push(&mut self, said: Option<Timestamp>) {
        if self.said.len() == NEIGHBOURS {
            self.said.pop_front();
        }
        self.said.push_back(said);
    }

    /// Checks whether a time fits the messages around: it is near the last one, or close enough to
    /// their median compared with them ([`SPREAD`]).
    fn fits(&self, time: Timestamp) -> bool {
        if self.last.is_some_and(|last| self.near(last, time)) {
            return true;
        }
        if !self.is_new() {
            let said: Vec<Timestamp> = self.said.iter().copied().flatten().collect();
            return said.len() >= FEW && self.within(&said, time);
        }
        match self.ahead.as_slice() {
            [] | [_] => true,
            // The time is before most others and not alone: a gap follows it. A time that is too
            // early does no harm, because the messages that follow move time on.
            ahead => {
                self.within(ahead, time)
                    || (Some(time) < median(ahead) && ahead.iter().filter(|t| self.near(**t, time)).count() > 1)
            }
        }
    }

    fn within(&self, others: &[Timestamp], time: Timestamp) -> bool {
        let Some(middle) = median(others) else { return true };
        let away = |t: &Timestamp| t.0.abs_diff(middle.0);
        let mut apart: Vec<u64> = others.iter().map(away).collect();
        let half = (apart.len() - 1) / 2;
        let (_, spread, _) = apart.select_nth_unstable(half);
        away(&time) <= self.tolerance.saturating_add(spread.saturating_mul(SPREAD))
    }

    fn near(&self, one: Timestamp, other: Timestamp) -> bool {
        one.0.abs_diff(other.0) <= self.tolerance
    }

    /// Returns a replacement for a time that does not fit: the time of the earlier messages, or of
    /// the first following message that fits.
    fn instead(&self) -> Option<Timestamp> {
        match self.is_new() {
            true => self.ahead.iter().copied().find(|t| self.within(&self.ahead, *t)).or(self.last),
            false => {
                let said: Vec<Timestamp> = self.said.iter().copied().flatten().collect();
                let middle = median(&said).filter(|_| said.len() >= FEW);
                // While the wrong clock has the majority, the last accepted time is closer.
                middle.filter(|m| self.last.is_none_or(|last| self.near(last, *m))).or(self.last)
            }
        }
    }
}

/// Returns the median, the lower one of two in the middle. A time that is too early does less harm.
fn median(times: &[Timestamp]) -> Option<Timestamp> {
    let mut times = times.to_vec();
    let half = times.len().checked_sub(1)? / 2;
    Some(*times.select_nth_unstable(half).1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const T: i64 = 1_800_000_000;
    const HOUR: i64 = 3_600;
    const Y2099: i64 = 4_070_908_800;

    fn said(seen: Option<i64>, sent: Option<i64>) -> MessageTimes {
        MessageTimes { seen: seen.map(Timestamp::from_secs), sent: sent.map(Timestamp::from_secs) }
    }

    fn sent(secs: i64) -> MessageTimes {
        said(None, Some(secs))
    }

    /// Returns what messages are taken for, in seconds, if fed in one run.
    fn whole(messages: &[MessageTimes]) -> Vec<i64> {
        let mut times = Times::new(3_600);
        times.expect(messages.iter().copied());
        messages.iter().map(|s| times.take(*s).unwrap().micros() / 1_000_000).collect()
    }

    #[rstest]
    #[case::right(said(Some(T), Some(T - 2)), T)]
    #[case::from_a_queue(said(Some(T), Some(T - 7 * HOUR)), T)]
    #[case::ahead(said(Some(T), Some(Y2099)), T)]
    #[case::far_back(said(Some(T), Some(0)), T)]
    #[case::no_sender(said(Some(T), None), T)]
    #[case::recorder_astray(said(Some(Y2099), Some(T)), T)]
    fn the_recorder_is_believed_unless_it_went_astray(#[case] odd: MessageTimes, #[case] expected: i64) {
        for place in 0..3 {
            let mut all = vec![said(Some(T - 1), Some(T - 1)); 5];
            all.insert(place * 2, odd);
            assert_eq!(whole(&all)[place * 2], expected, "{odd:?} at {place}");
        }
    }

    #[rstest]
    #[case::ahead(Y2099)]
    #[case::far_back(0)]
    #[case::two_hours_ahead(T + 2 * HOUR)]
    #[case::two_hours_back(T - 2 * HOUR)]
    fn without_a_recorder_the_messages_around_judge(#[case] odd: i64) {
        for (count, place) in [(9, 0), (9, 4), (9, 8), (300, 0), (300, 7), (300, 150), (300, 299)] {
            let mut all: Vec<MessageTimes> = (0..count).map(|i| sent(T + i)).collect();
            all[place] = sent(odd);
            let taken = whole(&all);
            assert!(taken.iter().all(|t| (T..T + count).contains(t)), "{place} of {count}: {taken:?}");
            assert!(taken.iter().enumerate().all(|(i, t)| i == place || *t == T + i as i64), "others stay: {taken:?}");
        }
    }

    #[test]
    fn several_first_messages_of_a_wrong_clock_do_not_win() {
        let all: Vec<MessageTimes> = (0..3).map(|_| sent(Y2099)).chain((0..60).map(|i| sent(T + i))).collect();
        assert!(whole(&all).iter().all(|t| (T..T + 60).contains(t)));
    }

    #[test]
    fn a_third_of_all_messages_may_be_wrong() {
        let all: Vec<MessageTimes> = (0..500).map(|i| sent(if i % 3 == 1 { Y2099 + i } else { T + i })).collect();
        assert!(whole(&all).iter().all(|t| (T..T + 500).contains(t)));
    }

    /// After a gap, time stands still until most messages agree. Then it goes on.
    #[test]
    fn a_gap_is_believed_when_most_messages_say_so() {
        let all: Vec<MessageTimes> =
            (0..200).map(|i| sent(T + i)).chain((0..100).map(|i| sent(T + 9 * HOUR + i))).collect();
        let taken = whole(&all);
        assert!(taken[..=240].iter().all(|t| *t < T + HOUR));
        assert_eq!(taken[260..], (60..100).map(|i| T + 9 * HOUR + i).collect::<Vec<_>>());
    }

    #[test]
    fn a_sparse_recording_keeps_its_times() {
        let all: Vec<MessageTimes> = (0..300).map(|i| sent(T + i * 5 * HOUR)).collect();
        assert_eq!(whole(&all)[20..], (20..300).map(|i| T + i * 5 * HOUR).collect::<Vec<_>>());
        let alone = whole(&[sent(T), sent(T + HOUR)]);
        assert_eq!(alone, [T, T + HOUR]);
    }

    #[test]
    fn without_any_time_there_is_none() {
        let mut times = Times::new(3_600);
        assert_eq!(times.take(MessageTimes::default()), None);
        times.take(sent(T));
        assert_eq!(times.take(MessageTimes::default()), Some(Timestamp::from_secs(T)));
    }

    /// Messages that waited in a queue overnight keep their times. A wrong clock counts neither
    /// there nor later, and no message is ahead of our own clock.
    #[test]
    fn live_messages_are_never_ahead_of_our_clock() {
        let at = Timestamp::from_secs;
        let mut times = Times::new(3_600);
        let night: Vec<i64> = (0..20).map(|i| T + i).collect();
        let now = at(T + 8 * HOUR);
        for (i, t) in night.iter().enumerate() {
            assert_eq!(times.take_live(sent(*t), now), at(*t));
            let odd = [Y2099, 0, T + 4 * HOUR][i % 3];
            assert!(times.take_live(sent(odd), now) <= at(*t), "{odd}");
        }
        assert_eq!(times.take_live(sent(T + 8 * HOUR - 1), now), at(T + 8 * HOUR - 1));
        assert_eq!(times.take_live(MessageTimes::default(), now), now);
        let mut first = Times::new(3_600);
        assert_eq!(first.take_live(sent(Y2099), now), now);
        assert_eq!(first.take_live(sent(T + 8 * HOUR), now), now);
        assert_eq!(Times::new(3_600).take_live(sent(0), now), now);
        assert_eq!(Times::new(3_600).take_live(said(Some(Y2099), None), now), now);
    }

    proptest! {
        /// A run that continues where another stopped takes every message for the same time.
        #[test]
        fn pieces_give_the_same(
            messages in prop::collection::vec((any::<bool>(), 0_i64..20_000, prop::option::of(0_i64..Y2099)), 1..250),
            cut in 0_usize..250,
        ) {
            let mut now = T;
            let all: Vec<MessageTimes> = messages.iter().map(|(seen, step, odd)| {
                now += step;
                said(seen.then_some(now), Some(odd.filter(|o| o % 3 == 0).unwrap_or(now)))
            }).collect();
            let cut = cut.clamp(1, all.len());
            let mut first = Times::new(3_600);
            first.expect(all.iter().copied());
            let mut taken: Vec<_> = all[..cut].iter().map(|s| first.take(*s)).collect();
            let mut second = Times::new(3_600);
            for (s, t) in all[..cut].iter().zip(&taken).skip(cut.saturating_sub(NEIGHBOURS)) {
                second.remember(*s, t.unwrap());
            }
            // The latest of all times is known, because recorded time is.
            second.reached(first.last.unwrap());
            taken.extend(all[cut..].iter().map(|s| second.take(*s)));
            let mut once = Times::new(3_600);
            once.expect(all.iter().copied());
            let expected: Vec<_> = all.iter().map(|s| once.take(*s)).collect();
            prop_assert_eq!(taken, expected);
        }
    }
}
