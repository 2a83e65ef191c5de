//! Fetches the content of new repositories before the writer hears of them. The writer can then
//! resolve a repository in the same step in which it hears of it.
//!
//! Each hub's repositories are fetched one after the other, and only the newest of each tag. A
//! newer repository of the same tag replaces one that still waits. A repository that cannot be
//! fetched waits on its own and delays no other tag.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::reader::Reader;
use super::snapshot::{LookReason, Observation, RepoSeen, Seen};
use super::to_writer::{Ending, Input, ToWriter};
use crate::base::backoff::Backoff;
use crate::base::clock;
use crate::base::stage::stage;
use crate::fold::tag::Moment;
use crate::hub::turns::Observed;
use crate::koji::HubError;
use crate::koji::calls::{get_build_config, get_source_headers};
use crate::koji::files::{FetchError, Mirror, MirroredRepo, SourceRequires, SourceStore};
use crate::koji::records::RpmHeaders;
use crate::model::koji::RepoState;
use crate::model::{Class, Classified, Hub, Name, Nvr, RepoId};
use crate::repodata::{SourcePackage, load_build_names};
use crate::telemetry::Metrics;

/// Number of failed attempts after which the writer hears of a repository without its content.
/// Verdicts then stay as they are, marked stale, and attempts go on.
const TELL_AFTER: u32 = 3;
/// Number of attempts (half a minute) after which we accept that a repository has no metadata for
/// an architecture of its tag.
const ABSENT_AFTER: u32 = 6;
/// Maximum number of attempts for one repository.
const ATTEMPTS_MAX: u32 = 50;
/// Number of source packages whose headers one request to the hub asks for. The hub opens a file
/// for each.
const HEADERS_AT_ONCE: usize = 100;
/// Number of source packages whose requirements are stored on disk together.
const STORE_AT_ONCE: usize = 200;

/// A repository to fetch.
#[derive(Clone, PartialEq, Debug)]
pub struct Fetch {
    /// The repository.
    pub repo: RepoSeen,
    /// The repository is already resolved, and the writer is not told of it again. Only the
    /// requirements of more packages are fetched.
    pub resolved: bool,
}

/// Fetches the new repositories of one hub.
pub struct Fetching {
    /// Hub instance.
    pub hub: Hub,
    /// Reads the hub.
    pub reader: Reader,
    /// Where files are stored.
    pub mirror: Mirror,
    /// Known build requirements of source packages.
    pub sources: SourceStore,
    /// The queue to the writer.
    pub writer: ToWriter,
    /// Repositories to fetch.
    pub new: mpsc::UnboundedReceiver<Fetch>,
    /// Number of files fetched at a time.
    pub at_once: usize,
    /// Counters.
    pub metrics: Metrics,
    /// Stops fetching.
    pub stop: CancellationToken,
}

/// Why a repository could not be fetched.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error(transparent)]
    Files(#[from] FetchError),
    #[error(transparent)]
    Sources(#[from] crate::koji::SourcesError),
    #[error(transparent)]
    Content(#[from] crate::repodata::RepodataError),
    #[error("repository {0} has no metadata for {1} yet, which its tag has")]
    Absent(RepoId, String),
    #[error(transparent)]
    Ending(#[from] Ending),
}

impl Trouble {
    fn class(&self) -> Class {
        match self {
            Self::Hub(e) => e.class(),
            Self::Files(e) => e.class(),
            Self::Sources(e) => e.class(),
            Self::Absent(..) => Class::Unavailable,
            Self::Content(_) | Self::Ending(_) => Class::Rejected,
        }
    }
}

/// Architectures of each tag for which the newest repository has no metadata.
type Absent = BTreeMap<Name, BTreeSet<Name>>;

/// A repository that waits to be fetched, the number of attempts, and the time of the next one.
struct PendingRepo {
    repo: RepoSeen,
    attempts: u32,
    told: bool,
    resolved: bool,
    due: Instant,
    backoff: Backoff,
}

impl PendingRepo {
    fn new(Fetch { repo, resolved }: Fetch) -> Self {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300));
        Self { repo, attempts: 0, told: resolved, resolved, due: Instant::now(), backoff }
    }
}

impl Fetching {
    /// Fetches until told to stop.
    pub async fn run(mut self) {
        let mut waiting: BTreeMap<Name, PendingRepo> = BTreeMap::new();
        // Keeps the newest repository of each tag in use: resolving may read it again.
        let mut kept: BTreeMap<Name, MirroredRepo> = BTreeMap::new();
        let mut absent = Absent::new();
        loop {
            while let Ok(repo) = self.new.try_recv() {
                take(&mut waiting, repo);
            }
            let first = waiting.iter().min_by_key(|(_, w)| w.due).map(|(tag, w)| (tag.clone(), w.due));
            let due = first.as_ref().map(|(_, due)| *due);
            if due.is_none_or(|due| due > Instant::now()) {
                let until = due.unwrap_or_else(Instant::now);
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return,
                    repo = self.new.recv() => match repo {
                        Some(repo) => take(&mut waiting, repo),
                        None => return,
                    },
                    () = tokio::time::sleep_until(until), if due.is_some() => {}
                }
                continue;
            }
            let Some((tag, mut w)) = first.and_then(|(tag, _)| waiting.remove_entry(&tag)) else { continue };
            w.attempts += 1;
            let resolved = w.resolved;
            let step = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                done = Box::pin(self.one(&mut w, &mut absent)) => done,
            };
            match step {
                Ok(mirrored) => {
                    match mirrored {
                        // A newer repository may have been fetched after this one.
                        Some(m) if resolved => drop(kept.entry(tag).or_insert(m)),
                        Some(m) => drop(kept.insert(tag, m)),
                        None => {}
                    }
                }
                Err(Trouble::Ending(_)) => return,
                Err(e) => {
                    let text = crate::model::causes::with_causes(&e);
                    tracing::warn!(
                        hub = %self.hub,
                        tag = %tag,
                        repo = %w.repo.repo_id,
                        attempt = w.attempts,
                        error = %text,
                        "the content of a repository cannot be read"
                    );
                    let hopeless = e.class() != Class::Unavailable;
                    if !w.told && (hopeless || w.attempts >= TELL_AFTER) {
                        if self.tell(&w.repo, None).await.is_err() {
                            return;
                        }
                        w.told = true;
                    }
                    if w.attempts < ATTEMPTS_MAX {
                        w.due = Instant::now() + w.backoff.pause();
                        waiting.insert(tag, w);
                    }
                }
            }
        }
    }

    /// Fetches one repository and the requirements of its source packages, and tells the writer.
    async fn one(&self, w: &mut PendingRepo, absent: &mut Absent) -> Result<Option<MirroredRepo>, Trouble> {
        let repo = &w.repo;
        let arches = self.arches(repo).await?;
        let mirrored = match self.mirror.fetch(&repo.tag, repo.repo_id, &arches, &|_| {}).await {
            Ok(mirrored) => mirrored,
            Err(e) if e.is_gone() => {
                // The repository was there a moment ago. Reads its state again. If the hub still
                // calls it ready, this is an error; otherwise the writer hears the new state.
                let (event, mut seen) = self.again(repo).await?;
                if matches!(&seen, Some(r) if r.state == RepoState::Ready) {
                    return Err(e.into());
                }
                let gone = seen.take().unwrap_or(RepoSeen { state: RepoState::Deleted, ..repo.clone() });
                self.hand(event, vec![Seen::Repo(gone)]).await?;
                return Ok(None);
            }
            Err(e) => return Err(e.into()),
        };
        stage!("fetched", repo = repo.repo_id);
        // A file that is not there yet looks like a file that will never be there. If an
        // architecture was already absent in an earlier repository of the tag, there is no waiting.
        let known = absent.get(&repo.tag);
        if mirrored.absent.iter().any(|arch| known.is_none_or(|k| !k.contains(arch))) {
            if w.attempts < ABSENT_AFTER {
                let missing = mirrored.absent.iter().map(|a| a.as_str()).collect::<Vec<_>>().join(", ");
                drop(mirrored);
                self.mirror.forget(&repo.tag, repo.repo_id).await?;
                return Err(Trouble::Absent(repo.repo_id, missing));
            }
            tracing::warn!(
                hub = %self.hub,
                tag = %repo.tag,
                repo = %repo.repo_id,
                absent = ?mirrored.absent,
                "a repository has no metadata for architectures its tag has; it is resolved without them"
            );
        }
        absent.insert(repo.tag.clone(), mirrored.absent.iter().cloned().collect());
        // Resolving needs the collections' own sources, which the repository may not contain, and
        // those in the repository whose packages are tracked.
        let made = Moment { event: repo.create_event, at: clock::now() };
        let needed = self.writer.sources(self.hub.clone(), repo.tag.clone(), made).await?;
        let tracked = needed.tracked.clone();
        let nvrs = needed.with_listed(builds(&mirrored)?);
        self.requirements(&mirrored, &nvrs).await?;
        let known: Vec<Arc<SourcePackage>> = nvrs.iter().filter_map(|n| self.sources.get(n)).collect();
        let needs = known.iter().flat_map(|s| s.requires.iter().map(String::as_str));
        self.mirror.ensure_filelists(&mirrored, needs).await?;
        stage!("sources known", repo = repo.repo_id);
        let news = !w.told && self.tell(repo, Some(mirrored.arches.clone())).await?.missed > 0;
        if !news {
            // The writer knew the repository, but could not resolve it. The news is that its
            // content is available now.
            self.writer.hand(Input::Content(self.hub.clone(), repo.repo_id, tracked)).await?;
        }
        Ok(Some(mirrored))
    }

    /// Reads the architectures of the build tag at the event of the repository.
    async fn arches(&self, repo: &RepoSeen) -> Result<Vec<Name>, Trouble> {
        let config = get_build_config(&repo.tag, repo.create_event).required();
        Ok(self.reader.ask(config).await?.arches().to_vec())
    }

    async fn again(&self, repo: &RepoSeen) -> Result<(i64, Option<RepoSeen>), Trouble> {
        let keys = BTreeSet::from([super::interest::HubObject::Repo(repo.repo_id)]);
        let looked = self.reader.look(&keys, &super::objects::Scope::default()).await?;
        if let Some((_, e)) = looked.failed.into_iter().next() {
            return Err(e.into());
        }
        let found = looked.seen.into_iter().find_map(|s| if let Seen::Repo(r) = s { Some(r) } else { None });
        Ok((looked.event, found))
    }

    async fn tell(&self, repo: &RepoSeen, arches: Option<Vec<Name>>) -> Result<Observed, Ending> {
        let event = repo.create_event.unwrap_or(0);
        self.hand(event, vec![Seen::Repo(RepoSeen { arches, ..repo.clone() })]).await
    }

    async fn hand(&self, event: i64, seen: Vec<Seen>) -> Result<Observed, Ending> {
        let look = Observation {
            hub: self.hub.clone(),
            event,
            why: LookReason::Hint,
            at: clock::now(),
            settled: None,
            fresh: BTreeSet::new(),
            seen,
            complete: false,
        };
        self.writer.hand(Input::Looked { look, tickets: Vec::new() }).await
    }

    /// Gets the build requirements that are not known yet of these source packages. Tries the tag's
    /// source repository first, then the headers of the source packages, then the hub. What none of
    /// them has stays unknown, and the next repository asks for it again.
    async fn requirements(&self, repo: &MirroredRepo, nvrs: &BTreeSet<Nvr>) -> Result<(), Trouble> {
        let mut missing: BTreeSet<Nvr> = self.sources.missing(nvrs.iter().cloned()).into_iter().collect();
        if missing.is_empty() {
            return Ok(());
        }
        match self.mirror.from_source_repo(repo).await {
            Ok(Some(found)) => {
                let found: Vec<SourceRequires> = found.into_values().filter(|s| missing.remove(&s.nvr)).collect();
                for some in found.chunks(HEADERS_AT_ONCE) {
                    let told = self.with_arches(some).await?;
                    self.sources.add(told)?;
                }
            }
            Ok(None) => {}
            Err(e) => {
                tracing::warn!(hub = %self.hub, error = %crate::model::causes::with_causes(&e), "the source repository \
                    cannot be used")
            }
        }
        tracing::info!(hub = %self.hub, tag = %repo.tag, count = missing.len(), "reading headers of source packages");
        let mut left = Vec::new();
        let mut found = Vec::new();
        let mut trouble = None;
        {
            let headers = missing.into_iter().map(|nvr| async move { (self.mirror.header(&nvr).await, nvr) });
            let mut headers = futures_util::stream::iter(headers).buffer_unordered(self.at_once.max(1));
            while let Some((answer, nvr)) = headers.next().await {
                match answer {
                    Ok(source) => found.push(source),
                    Err(e) if e.class() == Class::Unavailable => {
                        trouble.get_or_insert(e);
                    }
                    // The package is missing or unreadable. The hub may know its headers.
                    Err(_) => left.push(nvr),
                }
                if found.len() >= STORE_AT_ONCE {
                    self.sources.add(std::mem::take(&mut found))?;
                }
            }
        }
        self.sources.add(found)?;
        if let Some(e) = trouble {
            return Err(e.into());
        }
        for some in left.chunks(HEADERS_AT_ONCE) {
            let told = self.told_by_hub(some).await?;
            self.sources.add(told)?;
        }
        Ok(())
    }

    /// Adds what a source repository does not contain: for which architectures packages are built.
    /// Leaves out packages whose headers the hub does not return. The next repository asks for them
    /// again.
    async fn with_arches(&self, sources: &[SourceRequires]) -> Result<Vec<SourcePackage>, Trouble> {
        let headers = self.headers(sources.iter().map(|s| &s.nvr), &RpmHeaders::ARCHES).await?;
        let with = |(s, head): (&SourceRequires, Option<RpmHeaders>)| {
            let RpmHeaders { build_archs, exclusive_arch, exclude_arch, .. } = head?;
            Some(s.clone().with_arches(build_archs, exclusive_arch, exclude_arch))
        };
        Ok(sources.iter().zip(headers).filter_map(with).collect())
    }

    /// Reads headers of source packages from the hub, in the given order. `None` if the hub answers
    /// with a fault.
    async fn headers(
        &self,
        nvrs: impl Iterator<Item = &Nvr>,
        headers: &[&str],
    ) -> Result<Vec<Option<RpmHeaders>>, HubError> {
        let mut batch = self.reader.batch();
        let asked: Vec<_> = nvrs.map(|nvr| batch.add(get_source_headers(nvr, headers))).collect();
        let mut answers = batch.send().await?;
        Ok(asked.into_iter().map(|asked| answers.take(asked).ok()).collect())
    }

    /// Reads build requirements that the hub itself extracts from source packages. `getRPMHeaders`
    /// has everything that `getRPMDeps` has. An empty answer means that the file is missing. It
    /// never means that the package needs nothing (Koschei D18): every source package has at least
    /// `rpmlib(…)`.
    async fn told_by_hub(&self, nvrs: &[Nvr]) -> Result<Vec<SourcePackage>, Trouble> {
        let headers = self.headers(nvrs.iter(), &RpmHeaders::ALL).await?;
        let mut found = Vec::new();
        for (nvr, head) in nvrs.iter().zip(headers) {
            let Some(head) = head else { continue };
            let Some(deps) = head.requires.filter(|deps| !deps.is_empty()) else { continue };
            let source = SourcePackage::from_hub(
                nvr.clone(),
                head.epoch,
                &deps,
                head.build_archs,
                head.exclusive_arch,
                head.exclude_arch,
            );
            match source {
                Ok(source) => found.push(source.conflicting(&head.conflicts.unwrap_or_default())),
                Err(e) => {
                    tracing::warn!(
                        hub = %self.hub,
                        source = %nvr,
                        error = %crate::model::causes::with_causes(&e),
                        "the hub's requirements cannot be used"
                    )
                }
            }
        }
        Ok(found)
    }
}

/// Adds a repository to those that wait, if it is the newest of its tag.
fn take(waiting: &mut BTreeMap<Name, PendingRepo>, new: Fetch) {
    let age = |r: &RepoSeen| (r.create_event, r.repo_id);
    match waiting.get(&new.repo.tag) {
        Some(w) if age(&w.repo) >= age(&new.repo) => {}
        _ => {
            waiting.insert(new.repo.tag.clone(), PendingRepo::new(new));
        }
    }
}

/// Returns the source packages whose builds are in a repository, on any architecture.
fn builds(repo: &MirroredRepo) -> Result<BTreeSet<Nvr>, Trouble> {
    let mut all = BTreeSet::new();
    for arch in &repo.arches {
        let dir = repo.dir.join(arch.as_str());
        if dir.join("pkglist").exists() {
            all.extend(load_build_names(&dir)?);
        }
    }
    Ok(all)
}
