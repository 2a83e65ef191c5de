//! Views of earlier moments, for readers who ask what was known then.
//!
//! A view is folded from the newest snapshot before its moment, which takes seconds on a log of
//! millions of events. It needs as much memory as the present one, so few are kept, and not for long.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::Site;
use super::refusal::{Refusal, short};
use super::view::View;
use crate::base::clock;
use crate::event::Event;
use crate::fold::State;
use crate::log::point::{self, AsOf, Edge};
use crate::log::{EventLog, LogError, folding};
use crate::model::Seq;

/// Number of views that are kept: two, so that a reader can go back and forth.
const KEPT: usize = 2;
/// How long a view is kept that nobody asks for.
const KEPT_FOR: Duration = Duration::from_secs(300);
/// Number of views that may wait to be made. Others are refused.
const WAITING: usize = 4;
/// Number of events before a moment that are searched for changes of states.
const LOOK_BACK: u64 = 5_000;

/// The views of earlier moments. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Past(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    kept: Mutex<Vec<Kept>>,
    /// One is made at a time.
    making: Semaphore,
    waiting: Arc<Semaphore>,
}

#[derive(Debug)]
struct Kept {
    /// The last event that counts. `None` is before the first.
    until: Option<Seq>,
    view: Arc<View>,
    asked: Instant,
}

impl Default for Past {
    fn default() -> Self {
        Self(Arc::new(Shared {
            kept: Mutex::default(),
            making: Semaphore::new(1),
            waiting: Arc::new(Semaphore::new(WAITING)),
        }))
    }
}

impl Past {
    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, until: Option<Seq>) -> Option<Arc<View>> {
        let mut kept = self.kept();
        let found = kept.iter_mut().find(|k| k.until == until)?;
        found.asked = Instant::now();
        Some(found.view.clone())
    }

    /// Returns the view after an event, made once for all who ask. It is made to its end even if those
    /// who asked go away, so that asking again helps.
    ///
    /// # Errors
    /// Refuses if too many wait, or if the log cannot be read.
    async fn view(&self, log: &(impl EventLog + Clone + 'static), until: Option<Seq>) -> Result<Arc<View>, Refusal> {
        if let Some(known) = self.known(until) {
            return Ok(known);
        }
        let Ok(place) = self.0.waiting.clone().try_acquire_owned() else {
            return Err(Refusal::Unavailable("others wait for earlier moments".to_owned()));
        };
        let (past, log) = (self.clone(), log.clone());
        let made = tokio::spawn(async move {
            let _place = place;
            // The semaphore is never closed.
            let _turn = past.0.making.acquire().await;
            if let Some(known) = past.known(until) {
                return Ok(known);
            }
            let view = Arc::new(view_of(&log, until).await?);
            past.keep(until, view.clone());
            Ok::<_, LogError>(view)
        });
        Ok(made.await.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))?)
    }

    fn keep(&self, until: Option<Seq>, view: Arc<View>) {
        let mut kept = self.kept();
        kept.push(Kept { until, view, asked: Instant::now() });
        if kept.len() > KEPT {
            let oldest = kept.iter().enumerate().min_by_key(|(_, k)| k.asked).map(|(at, _)| at);
            oldest.map(|at| kept.swap_remove(at));
        }
        let past = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(KEPT_FOR).await;
                let Some(shared) = past.upgrade() else { return };
                let past = Self(shared);
                let mut kept = past.kept();
                kept.retain(|k| k.asked.elapsed() < KEPT_FOR);
                if kept.is_empty() {
                    return;
                }
            }
        });
    }
}

/// Folds the view after an event.
async fn view_of(log: &impl EventLog, until: Option<Seq>) -> Result<View, LogError> {
    let state = match until {
        Some(_) => folding::state(log, until, &mut |_| {}).await?,
        None => State::default(),
    };
    with_changes(log, state).await
}

/// Makes the view of a state, with the changes of states that the last events before it tell.
///
/// # Errors
/// Returns a [`LogError`] if the log cannot be read.
pub(super) async fn with_changes(log: &impl EventLog, state: State) -> Result<View, LogError> {
    let mut view = View::of(state);
    let Some(shown) = view.state.seq else { return Ok(view) };
    let from = Seq::new(shown.get().saturating_sub(LOOK_BACK));
    let before = log.read(from, usize::try_from(LOOK_BACK).unwrap_or(usize::MAX)).await?;
    for record in before.iter().filter(|r| r.kind == "package_state_changed" && r.seq <= shown) {
        let envelope = record.decode()?;
        if let Event::PackageStateChanged(what) = &envelope.event {
            view.changed(&envelope, what);
        }
    }
    Ok(view)
}

impl Site {
    /// Finds the moment that a reader wrote (see [`AsOf`]). `None` is the present: nothing was written, or
    /// a moment that is not over. `Some(None)` is before the first event.
    ///
    /// # Errors
    /// Refuses a text that is no moment, and an event that the log does not have yet.
    pub(super) async fn moment(&self, as_of: Option<&str>) -> Result<Option<Option<Seq>>, Refusal> {
        let Some(text) = as_of else { return Ok(None) };
        let as_of: AsOf = text.parse().map_err(|_| {
            Refusal::BadRequest(format!(
                "`as_of` must be an event's number, a time (2026-11-20T08:45:00Z), a day (2026-11-20) or a span (1 \
                    hour ago), not `{}`",
                short(text)
            ))
        })?;
        let found = point::settle(&self.log, as_of, Edge::End, clock::now()).await?;
        let until = found.point.seq(&self.log).await?;
        let status = self.follower.status();
        match until {
            Some(_) if until > status.head.max(status.seq) => {
                let end = status.head.map_or(0, Seq::get);
                Err(Refusal::BadRequest(format!("`as_of` must not be after the end of the log, event {end}")))
            }
            Some(_) if until >= status.seq => Ok(None),
            until => Ok(Some(until)),
        }
    }

    /// Makes something from the state as of a moment ([`Site::moment`]), on a thread for blocking work.
    ///
    /// # Errors
    /// Refuses what `look` refuses, and if the moment cannot be read now.
    pub(super) async fn look_at<T: Send + 'static>(
        &self,
        moment: Option<Option<Seq>>,
        look: impl FnOnce(&View) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let Some(until) = moment else { return self.look(look).await };
        let view = self.past.view(&self.log, until).await?;
        // The semaphore is never closed.
        let _permit = self.pages.acquire().await;
        let made = tokio::task::spawn_blocking(move || look(&view)).await;
        made.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{NewEvent, Source, Tick};
    use crate::log::{AnyLog, Commit, Options, open};
    use crate::model::Timestamp;

    /// Returns a log of ticks.
    async fn ticks(dir: &std::path::Path, n: u64) -> AnyLog {
        let log = open(dir.join("log.db").to_str().unwrap(), &Options::default()).await.unwrap();
        let mut hash = crate::event::ChainHash::GENESIS;
        let mut records = Vec::new();
        for seq in 1..=n {
            let at = Timestamp::from_secs(i64::try_from(seq).unwrap());
            let new = NewEvent {
                event: Tick { now: at }.into(),
                occurred_at: at,
                source: Source::Engine,
                fact: None,
                koji_event: None,
                causation: None,
                correlation: None,
            };
            let record = crate::event::Record::new(Seq::new(seq).unwrap(), at, &new, hash);
            hash = record.hash;
            records.push(record);
        }
        log.append(None, &Commit { records, ..Commit::default() }).await.unwrap();
        log
    }

    #[tokio::test]
    async fn a_view_is_made_once_and_two_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (log, past) = (ticks(dir.path(), 9).await, Past::default());
        let view = async |seq: u64| past.view(&log, Seq::new(seq)).await.unwrap();
        let (one, same) = tokio::join!(view(3), view(3));
        assert!(Arc::ptr_eq(&one, &same) && Arc::ptr_eq(&one, &view(3).await));
        assert_eq!(one.state.seq, Seq::new(3));
        let two = view(5).await;
        view(3).await;
        assert_eq!(view(0).await.state.seq, None, "before the first event");
        assert!(past.known(Seq::new(5)).is_none(), "nobody asked for it as long as for the others");
        assert!(Arc::ptr_eq(&one, &view(3).await) && !Arc::ptr_eq(&two, &view(5).await));
        log.close().await;
    }

    #[tokio::test]
    async fn few_wait_and_one_that_is_begun_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let (log, past) = (ticks(dir.path(), 9).await, Past::default());
        let turn = past.0.making.acquire().await.unwrap();
        for seq in 1..=4 {
            // Who asked goes away.
            let asked = past.view(&log, Seq::new(seq));
            assert!(tokio::time::timeout(Duration::ZERO, asked).await.is_err());
        }
        let refused = past.view(&log, Seq::new(5)).await;
        assert!(matches!(refused, Err(Refusal::Unavailable(_))), "{refused:?}");
        drop(turn);
        while past.0.waiting.available_permits() < WAITING {
            tokio::task::yield_now().await;
        }
        assert!(past.known(Seq::new(4)).is_some());
        assert!(past.view(&log, Seq::new(5)).await.is_ok());
        log.close().await;
    }

    #[tokio::test]
    async fn a_view_goes_when_nobody_asks() {
        let dir = tempfile::tempdir().unwrap();
        let (log, past) = (ticks(dir.path(), 9).await, Past::default());
        past.view(&log, Seq::new(3)).await.unwrap();
        log.close().await;
        tokio::time::pause();
        let wait = async |part: u32| {
            tokio::time::advance(KEPT_FOR / part).await;
            tokio::task::yield_now().await;
        };
        wait(2).await;
        assert!(past.known(Seq::new(3)).is_some());
        for _ in 0..4 {
            wait(2).await;
            wait(4).await;
        }
        assert!(past.kept().is_empty());
    }
}
