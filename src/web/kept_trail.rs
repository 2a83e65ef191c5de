//! Keeps what was read of the trails of packages: the events about a subject before a given one.
//! The log only grows, so an answer stays right.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;
use tokio::sync::OnceCell;

use crate::event::Record;
use crate::log::LogError;
use crate::log::trail::WithCauses;
use crate::model::Seq;

/// Number of answers that are kept. When there are more, all are read anew. Each event that pages
/// come to show asks a new question, so old answers must not stay long.
const KEPT: usize = 256;
/// Size of the largest answer that is kept, in bytes of events. Few are larger than some kilobytes.
const LARGE: usize = 128 << 10;

/// What was asked: the subject, the event before which all others are, and how many at most.
type Asked = (String, Seq, usize);

/// An answer, once somebody has read it.
type Answer<T> = Arc<OnceCell<Arc<T>>>;

/// Answers of the log. Pages that ask the same at the same time wait for one answer.
#[derive(Debug)]
pub(super) struct KeptTrail<T>(Arc<Mutex<FxHashMap<Asked, Answer<T>>>>);

impl<T> Clone for KeptTrail<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for KeptTrail<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// How much memory an answer needs.
pub(super) trait Size {
    /// Returns the bytes of its events.
    fn size(&self) -> usize;
}

impl Size for Vec<Arc<Record>> {
    fn size(&self) -> usize {
        self.iter().map(|record| record.payload.len()).sum()
    }
}

impl Size for Vec<WithCauses> {
    fn size(&self) -> usize {
        self.iter().map(|(record, _)| record.payload.len()).sum()
    }
}

impl<T: Size> KeptTrail<T> {
    fn known(&self) -> MutexGuard<'_, FxHashMap<Asked, Answer<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the answer to a question about events before one that is in the log, or its end.
    /// `read` asks the log, if the answer is not kept. An error is not kept.
    pub(super) async fn get(
        &self,
        subject: &str,
        before: Seq,
        limit: usize,
        read: impl Future<Output = Result<T, LogError>>,
    ) -> Result<Arc<T>, LogError> {
        let asked = (subject.to_owned(), before, limit);
        let cell = {
            let mut known = self.known();
            if known.len() >= KEPT && !known.contains_key(&asked) {
                known.clear();
            }
            Arc::clone(known.entry(asked.clone()).or_default())
        };
        let answer = cell.get_or_try_init(|| async { read.await.map(Arc::new) }).await.cloned();
        let is_kept = answer.as_ref().is_ok_and(|answer| answer.size() <= LARGE);
        if !is_kept {
            self.known().remove(&asked);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    impl Size for usize {
        fn size(&self) -> usize {
            *self
        }
    }

    #[derive(Default)]
    struct Log {
        reads: AtomicUsize,
        kept: KeptTrail<usize>,
    }

    impl Log {
        async fn ask(&self, subject: &str, before: u64, answer: Result<usize, LogError>) -> Option<usize> {
            let read = async {
                self.reads.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                answer
            };
            let before = Seq::new(before).unwrap();
            self.kept.get(subject, before, 30, read).await.ok().map(|answer| *answer)
        }

        fn reads(&self) -> usize {
            self.reads.load(Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn an_answer_is_read_once_for_all_who_ask_the_same() {
        let log = Log::default();
        let both = tokio::join!(log.ask("a", 7, Ok(1)), log.ask("a", 7, Ok(1)));
        assert_eq!((both, log.reads()), ((Some(1), Some(1)), 1));
        assert_eq!((log.ask("a", 7, Ok(2)).await, log.reads()), (Some(1), 1));
        assert_eq!((log.ask("b", 7, Ok(2)).await, log.ask("a", 8, Ok(3)).await), (Some(2), Some(3)));
        assert_eq!(log.reads(), 3);
    }

    #[tokio::test]
    async fn errors_and_large_answers_are_not_kept() {
        let log = Log::default();
        let error = || Err(LogError::Broken("no answer".to_owned()));
        assert_eq!((log.ask("a", 7, error()).await, log.ask("a", 7, Ok(1)).await), (None, Some(1)));
        log.ask("b", 7, Ok(LARGE + 1)).await;
        assert_eq!(log.ask("b", 7, Ok(LARGE)).await, Some(LARGE));
        assert_eq!((log.ask("b", 7, Ok(5)).await, log.reads()), (Some(LARGE), 4));
    }

    #[tokio::test]
    async fn few_answers_are_kept() {
        let log = Log::default();
        for before in 1..=1_000 {
            log.ask("a", before, Ok(1)).await;
        }
        assert!(log.kept.known().len() <= KEPT);
    }
}
