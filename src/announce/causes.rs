//! When to speak of a cause: once when it breaks several packages, a few times while it grows, and
//! once when it is over.

use super::SaidCause;
use super::richer::{CAUSE_GREW, CAUSE_OPENED, Cause};
use crate::decide::causes::OpenCause;
use crate::event::CausesFound;
use crate::model::{Name, Timestamp};

/// Growth that is told at once: this many times the packages of the last message.
const MANY: usize = 4;
/// After this many messages about growth, only that of a large cause is told.
const GROWTHS: u32 = 3;
/// A large cause breaks this many packages.
const LARGE: usize = 100;
/// Any growth is told this long after the last message, in seconds. The time doubles with each.
const PATIENCE: i64 = 6 * 3_600;
/// A cause to which nothing was added for this long is no news, in seconds. Such a cause was there
/// before announcing was switched on.
const NEWS: i64 = 24 * 3_600;

/// What is to be said of an open cause.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// The topic.
    pub topic: &'static str,
    /// The packages that the message is about.
    pub packages: Vec<Name>,
    /// Number of all packages that the cause breaks.
    pub count: usize,
}

/// Returns the subject of announcements about a cause.
pub fn subject(collection: &str, id: &str) -> String {
    format!("cause/{collection}/{id}")
}

/// Describes a cause for messages.
pub fn described(open: &OpenCause) -> Cause {
    Cause {
        id: open.id.clone(),
        kind: open.kind.as_str().to_owned(),
        known_by: open.known_by.clone(),
        source: open.update.source.clone(),
        was: open.update.was.clone(),
        together: open.together.clone(),
        repo_id: open.repo.map(|repo| repo.0),
        what: open.what.clone(),
    }
}

/// Returns whether a cause has messages of its own: it breaks several packages, or all. A cause
/// that breaks one package is told with the state of that package.
pub fn is_shared(open: &OpenCause) -> bool {
    is_several(&open.packages.iter().map(|p| p.name.clone()).collect::<Vec<_>>())
}

fn is_several(packages: &[Name]) -> bool {
    packages.len() > 1 || packages.iter().any(|name| name == CausesFound::GROUP)
}

/// Returns what is to be said of an open cause at `now`. `said` is what was said of it before. Only
/// packages count that it has broken for `hold` seconds.
pub fn notice(open: &OpenCause, said: Option<&SaidCause>, now: Timestamp, hold: i64) -> Option<Notice> {
    let standing = |p: &&crate::decide::causes::BrokenNow| p.since_time.is_none_or(|at| at.plus_secs(hold) <= now);
    let standing: Vec<_> = open.packages.iter().filter(standing).collect();
    let names: Vec<Name> = standing.iter().map(|p| p.name.clone()).collect();
    let count = names.len();
    let Some(said) = said else {
        let newest = standing.iter().filter_map(|p| p.since_time).max();
        let is_news = newest.is_none_or(|at| at.plus_secs(hold.saturating_add(NEWS)) >= now);
        return (is_several(&names) && is_news).then_some(Notice { topic: CAUSE_OPENED, packages: names, count });
    };
    let new: Vec<Name> = names.into_iter().filter(|name| !said.named.contains(name)).collect();
    let many = count >= MANY * usize::try_from(said.count).unwrap_or(usize::MAX).max(1);
    let waited = now >= said.at.plus_secs(PATIENCE << said.growths.min(GROWTHS));
    let is_due = if may_grow(said) { many || waited } else { many && count >= LARGE };
    (is_due && !new.is_empty()).then_some(Notice { topic: CAUSE_GREW, packages: new, count })
}

/// Returns whether the growth of a cause will be told for sure.
fn may_grow(said: &SaidCause) -> bool {
    said.growths < GROWTHS
}

/// Returns whether messages about an open cause name a package, or will. Then the package's own
/// state is not told.
pub fn covers(open: &OpenCause, said: Option<&SaidCause>, package: &Name) -> bool {
    is_shared(open) && said.is_none_or(|said| may_grow(said) || said.named.contains(package))
}
