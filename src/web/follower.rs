//! Folds a state from the log for the pages, beside the state of the writer.
//!
//! Pages are made from this state, so that a reader never waits for the writer and never makes it
//! wait. The price is a second state in memory, and a lag that every page shows. The writer is not
//! needed at all: a follower works on any log that can be read.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{RwLock, watch};
use tokio_util::sync::CancellationToken;

use super::past::with_changes;
use super::view::View;
use crate::base::backoff::Backoff;
use crate::base::clock::{self, Stopwatch};
use crate::event::{Envelope, Record};
use crate::log::{EventLog, Head, LogError, folding};
use crate::model::{Seq, Timestamp};
use crate::telemetry::Metrics;

/// Number of events that are read at a time.
const PAGE: usize = 2_000;
/// Largest number of events that are folded while pages wait. A single event can still be large.
const CHUNK: usize = 128;
/// Time that pages wait for folding before they get a turn.
const CHUNK_TIME: Duration = Duration::from_millis(2);
/// Least time between two changes of what pages show, once the end of the log was reached. Pages
/// make what they derive from one state only so often.
const REST: Duration = Duration::from_millis(200);
/// First pause after the log did not answer. It doubles up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(200);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// Time to wait for the log to grow before the loop reports that it is alive.
const ROUND: Duration = Duration::from_secs(10);
/// Name of the follower's loop in metrics.
pub const LOOP: &str = "web";
/// Largest age of its last round: one round, the longest pause, and a large page of events.
const STALE_AFTER: Duration = Duration::from_secs(120);

/// Position of a follower in the log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// The last event that pages show.
    pub seq: Option<Seq>,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// The end of the log when it last answered.
    pub head: Option<Seq>,
    /// When the event at the end was recorded.
    pub head_recorded_at: Timestamp,
    /// Whether the end of the log was reached once. Before that, the folded state says nothing
    /// about the present.
    pub caught_up: bool,
    /// The id of the log, once it has answered.
    pub log_id: Option<Arc<str>>,
    /// Since when the log does not answer, and the error.
    pub trouble: Option<(Timestamp, String)>,
}

impl Status {
    /// Returns the number of events that pages do not show yet.
    pub fn behind_events(&self) -> u64 {
        self.head.map_or(0, Seq::get).saturating_sub(self.seq.map_or(0, Seq::get))
    }

    /// Returns how many seconds the pages are behind the end of the log, by recorded time. If the
    /// log does not answer, at least the time since then.
    pub fn behind_seconds(&self, now: Timestamp) -> i64 {
        let unread = if self.head > self.seq { self.head_recorded_at.since(self.recorded_at) } else { 0 };
        let unheard = self.trouble.as_ref().map_or(0, |(since, _)| now.since(*since));
        unread.max(unheard).max(0) / 1_000_000
    }
}

/// Where and when the folding began.
#[derive(Clone, Copy)]
struct Start {
    from: u64,
    watch: Stopwatch,
}

/// Folds a log for the pages; cheap to clone.
#[derive(Clone, Debug)]
pub struct Follower(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    // Tokio's lock is fair, so a waiting page gets its turn between two chunks of events.
    view: RwLock<View>,
    status: watch::Sender<Status>,
    metrics: Metrics,
}

impl Follower {
    /// Makes a follower that has folded nothing yet.
    pub fn new(metrics: Metrics) -> Self {
        Self(Arc::new(Shared { view: RwLock::default(), status: watch::Sender::default(), metrics }))
    }

    /// Returns its position in the log.
    pub fn status(&self) -> Status {
        self.0.status.borrow().clone()
    }

    /// Waits until the status fulfils a condition, and returns it.
    pub async fn when(&self, is: impl FnMut(&Status) -> bool) -> Status {
        // The sender lives as long as this follower, so this never fails.
        match self.0.status.subscribe().wait_for(is).await {
            Ok(status) => status.clone(),
            Err(_) => self.status(),
        }
    }

    /// Waits until the end of the log was reached once.
    pub async fn caught_up(&self) {
        self.when(|s| s.caught_up).await;
    }

    /// Calls `look` with the view as of one event. Blocks, so it is not for async code.
    pub(super) fn look<T>(&self, look: impl FnOnce(&View) -> T) -> T {
        look(&self.0.view.blocking_read())
    }

    /// Folds `log` until told to stop, up to `until` if that is given. If the log does not answer,
    /// it tries again with growing pauses, and the pages show what is known.
    ///
    /// # Errors
    /// Returns an error that does not pass: the log is damaged, or a newer program wrote it. The
    /// pages then show what was folded before, and the error.
    pub async fn run(&self, log: &impl EventLog, until: Option<Seq>, stop: &CancellationToken) -> Result<(), LogError> {
        self.0.metrics.loop_begins(LOOP, STALE_AFTER, clock::now());
        let watch = Stopwatch::start();
        let mut backoff = Backoff::new(PAUSE_FIRST, PAUSE_MAX);
        let mut begun = None;
        let mut rested = tokio::time::Instant::now();
        while !stop.is_cancelled() {
            let round = async {
                let from = match begun {
                    Some(from) => from,
                    None => *begun.insert(self.begin(log, until).await?),
                };
                self.round(log, until, Start { from, watch }, &mut rested).await
            };
            let done = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                done = round => done,
            };
            match done {
                Ok(()) => backoff.reset(),
                Err(e) if e.may_pass() => {
                    self.in_trouble(&e);
                    // The loop condition handles a stop.
                    let _goes_on = backoff.wait(stop).await;
                }
                Err(e) => {
                    self.in_trouble(&e);
                    return Err(e);
                }
            }
            self.0.metrics.loop_went_round(LOOP, clock::now());
        }
        self.0.metrics.loop_ended(LOOP);
        Ok(())
    }

    /// Starts from the newest usable snapshot, or from the first event. Returns the sequence of the
    /// snapshot.
    async fn begin(&self, log: &impl EventLog, until: Option<Seq>) -> Result<u64, LogError> {
        // The log is asked for its id first, so that a silent log is not mistaken for one without
        // snapshots.
        let log_id = log.info().await?.log_id;
        self.say(|s| s.log_id = Some(log_id.into()));
        let Some(state) = folding::newest_snapshot(log, until).await else { return Ok(0) };
        let view = with_changes(log, state).await?;
        let (seq, recorded_at) = (view.state.seq, view.state.recorded_at);
        *self.0.view.write().await = view;
        self.say(|s| (s.seq, s.recorded_at) = (seq, recorded_at));
        Ok(seq.map_or(0, Seq::get))
    }

    /// Waits for the log to grow, and for `rested`, and folds what is new.
    async fn round(
        &self,
        log: &impl EventLog,
        until: Option<Seq>,
        start: Start,
        rested: &mut tokio::time::Instant,
    ) -> Result<(), LogError> {
        let shown = self.0.view.read().await.state.seq;
        let mut head = log.head().await?;
        if until.is_some_and(|u| head.seq > Some(u)) {
            head = Head { seq: until, ..head };
        }
        self.heard(head);
        if head.seq <= shown {
            self.reached(start);
            if until.is_some() && shown >= until {
                // Later events are not shown.
                tokio::time::sleep(ROUND).await;
                return Ok(());
            }
            return match tokio::time::timeout(ROUND, log.changed(shown)).await {
                Ok(changed) => changed.map(|_| ()).map_err(LogError::from),
                Err(_) => Ok(()),
            };
        }
        let follows = self.status().caught_up;
        if follows {
            tokio::time::sleep_until(*rested).await;
        }
        let mut page = log.read(shown, PAGE).await?;
        while let Some(last) = page.last().map(|r| r.seq) {
            // Of a log that grows, the last page is short. What comes after it waits its time.
            let over = until.is_some_and(|u| last >= u) || (follows && page.len() < PAGE);
            let follower = self.clone();
            let records = std::mem::take(&mut page);
            let folding = tokio::task::spawn_blocking(move || follower.fold(&records, until));
            let next = async { if over { Ok(Vec::new()) } else { log.read(Some(last), PAGE).await } };
            let (folded, next) = tokio::join!(folding, next);
            folded.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))?;
            self.0.metrics.loop_went_round(LOOP, clock::now());
            page = next?;
        }
        *rested = tokio::time::Instant::now() + REST;
        if self.status().seq >= head.seq {
            self.reached(start);
        }
        Ok(())
    }

    fn fold(&self, records: &[Record], until: Option<Seq>) -> Result<(), LogError> {
        folding::check_sequence(self.0.view.blocking_read().state.seq, records)?;
        let envelopes: Vec<Envelope> = records
            .iter()
            .take_while(|r| until.is_none_or(|u| r.seq <= u))
            .map(Record::decode)
            .collect::<Result<_, _>>()?;
        let mut left = &envelopes[..];
        while !left.is_empty() {
            let mut view = self.0.view.blocking_write();
            let watch = Stopwatch::start();
            let mut done = 0;
            while done < left.len().min(CHUNK) && (done == 0 || watch.elapsed() < CHUNK_TIME) {
                view.apply(&left[done]);
                done += 1;
            }
            left = &left[done..];
        }
        if let Some(last) = envelopes.last() {
            self.say(|s| {
                s.seq = Some(last.seq);
                s.recorded_at = last.recorded_at;
                if s.head < s.seq {
                    (s.head, s.head_recorded_at) = (s.seq, s.recorded_at);
                }
            });
        }
        Ok(())
    }

    fn heard(&self, head: Head) {
        if let Some((since, _)) = self.status().trouble {
            let seconds = clock::now().since(since) / 1_000_000;
            tracing::info!(seconds, "the log answers again");
        }
        self.say(|s| {
            s.trouble = None;
            (s.head, s.head_recorded_at) = (head.seq, head.recorded_at);
        });
    }

    fn reached(&self, start: Start) {
        if let status @ Status { caught_up: false, .. } = self.status() {
            let folded = status.seq.map_or(0, Seq::get).saturating_sub(start.from);
            self.0.metrics.folded(folded, start.watch.seconds());
            self.say(|s| s.caught_up = true);
        }
    }

    fn in_trouble(&self, error: &LogError) {
        if self.status().trouble.is_none() {
            tracing::warn!(error = %crate::model::causes::with_causes(&error), "pages cannot follow the log");
        }
        let of = |s: &Status| s.trouble.as_ref().map_or_else(clock::now, |(since, _)| *since);
        self.say(|s| s.trouble = Some((of(s), error.to_string())));
    }

    fn say(&self, change: impl FnOnce(&mut Status)) {
        // The metric is set before anybody sees the change.
        self.0.status.send_modify(|status| {
            change(status);
            self.0.metrics.web_lag(status.behind_events(), status.behind_seconds(clock::now()));
        });
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;
    use crate::event::{ChainHash, NewEvent, Source, Tick};

    fn ticks(n: u64) -> Vec<Record> {
        let tick = |seq| {
            let new = NewEvent {
                event: Tick { now: Timestamp::from_secs(1) }.into(),
                occurred_at: Timestamp::EPOCH,
                source: Source::Engine,
                fact: None,
                koji_event: None,
                causation: None,
                correlation: None,
            };
            Record::new(Seq::new(seq).unwrap(), Timestamp::EPOCH, &new, ChainHash::GENESIS)
        };
        (1..=n).map(tick).collect()
    }

    /// A page waits for at most one chunk, however many events there are to fold.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_page_gets_its_turn_between_two_chunks() {
        let follower = Follower::new(Metrics::new());
        let first = follower.0.view.read().await;
        let folding = tokio::task::spawn_blocking({
            let follower = follower.clone();
            move || follower.fold(&ticks(5_000), None)
        });
        // Once the folding thread waits for the lock, every reader waits behind it.
        while follower.0.view.try_read().is_ok() {
            tokio::task::yield_now().await;
        }
        let mut second = std::pin::pin!(follower.0.view.read());
        std::future::poll_fn(|cx| {
            assert!(second.as_mut().poll(cx).is_pending(), "it stands in the queue");
            Poll::Ready(())
        })
        .await;
        drop(first);
        let seen = second.await.state.seq.map_or(0, Seq::get);
        assert!((1..=CHUNK as u64).contains(&seen), "{seen}");
        folding.await.unwrap().unwrap();
        assert_eq!(follower.status().seq, Seq::new(5_000));
    }

    /// Pages of one event share what is made for them, also if they ask at the same time.
    #[test]
    fn what_many_pages_need_is_made_once_for_each_event() {
        use std::sync::atomic::Ordering::Relaxed;
        let follower = Follower::new(Metrics::new());
        for (event, record) in (1..).zip(ticks(3).chunks(1)) {
            follower.fold(record, None).unwrap();
            let together = std::sync::Barrier::new(8);
            let ask = || {
                together.wait();
                (0..5).for_each(|_| follower.look(|view| assert!(view.queue().why(&view.state, "f99", "x").is_none())));
                follower.look(|view| assert_eq!(view.counts("f99"), [0; 6]));
            };
            std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(ask))));
            let made = |view: &View| (view.made.queues.load(Relaxed), view.made.listings.load(Relaxed));
            assert_eq!(follower.look(made), (event, event));
            follower.look(|view| assert_eq!(view.queue().now(), view.state.recorded_at));
        }
    }

    #[test]
    fn lag_is_that_of_the_log_or_of_its_silence() {
        let at = Timestamp::from_secs;
        let mut status = Status {
            seq: Seq::new(7),
            recorded_at: at(100),
            head: Seq::new(7),
            head_recorded_at: at(160),
            ..Status::default()
        };
        assert_eq!((status.behind_events(), status.behind_seconds(at(9_000))), (0, 0), "a quiet log is no lag");
        status.head = Seq::new(9);
        assert_eq!((status.behind_events(), status.behind_seconds(at(9_000))), (2, 60));
        status.trouble = Some((at(8_000), "gone".to_owned()));
        assert_eq!(status.behind_seconds(at(9_000)), 1_000);
    }
}
