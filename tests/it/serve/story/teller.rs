//! The distribution, and who tells the story: what happens, and what one waits for.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use koschei::base::clock;
use koschei::decide::{Policy, plan};
use koschei::event::{Envelope, Event};
use koschei::fold::State;
use koschei::log::{AnyLog, EventLog};
use koschei::model::{Outcome, PackageState, Seq};

use crate::executor::{self, Executor};
use crate::hub::{Contents, Hub, NewBuild, NewWorld, RootFor, V, World};
use crate::live::{Follower, Live, PATIENCE};
use crate::nats_server::NatsServer;
use crate::rabbitmq_server::RabbitServer;
use crate::serve::announced::table;
use crate::serve::bus::{Carrier, Counts, Mood};
use crate::serve::facts::differences;
use crate::subscriber::subscribe;

pub(super) const ARCHES: [&str; 2] = ["x86_64", "aarch64"];
/// Number of libraries. Each other package needs one of them.
pub(super) const LIBS: usize = 10;
pub(super) const APPS: usize = 220;
/// Number of packages that are also in the smaller collection.
pub(super) const SMALL: usize = 12;
/// Most rebuilds at once: over all collections, and of the smaller collection.
pub(super) const MAX: usize = 24;
pub(super) const MAX_SMALL: usize = 5;
/// Polls after the hub has come to rest until the log must equal it.
pub(super) const POLLS_MAX: usize = 6;

pub(super) fn tables(amqp: &str) -> String {
    format!(
        r#"
[bus]
amqp_url = "{amqp}"

[policy]
max_builds = {MAX}
build_threshold = 100
load_threshold = 1000
tick_interval_secs = 1

[[collection]]
name = "f99"
target = "f99"
track_all = true

[[collection]]
name = "f98"
target = "f98"
track_all = true
max_builds = {MAX_SMALL}
"#
    )
}

pub(super) fn lib(n: usize, version: usize) -> NewBuild {
    let name = format!("lib{n}");
    NewBuild::new(&format!("{name}-{version}-1.fc99"))
        .build_requires(&["make"])
        .binary_with(&name, &ARCHES, &[&format!("{name}.so.1")], &["bash"])
        .binary(&format!("{name}-devel"), &ARCHES, &[&name])
}

pub(super) fn app(n: usize, version: usize) -> NewBuild {
    let (name, lib) = (app_name(n), n % LIBS);
    NewBuild::new(&format!("{name}-{version}-1.fc99")).build_requires(&[&format!("lib{lib}-devel"), "make"]).binary(
        &name,
        &ARCHES,
        &[&format!("lib{lib}.so.1")],
    )
}

pub(super) fn app_name(n: usize) -> String {
    format!("app{n:03}")
}

/// Returns the packages that need a library.
pub(super) fn apps_of(lib: usize) -> impl Iterator<Item = String> {
    (0..APPS).filter(move |n| n % LIBS == lib).map(app_name)
}

pub(super) fn seed(hub: &Hub) {
    hub.settings(|s| s.plan.contents = Some(Arc::new(installed)));
    let mut builds = vec![
        NewBuild::new("bash-5-1.fc99").binary("bash", &ARCHES, &[]),
        NewBuild::new("make-4-1.fc99").binary("make", &ARCHES, &["bash"]),
        NewBuild::new("lone-1-1.fc99").build_requires(&["nobody-has-this"]).binary("lone", &ARCHES, &[]),
    ];
    builds.extend((0..LIBS).map(|n| lib(n, 1)));
    builds.extend((0..APPS).map(|n| app(n, 1)));
    NewWorld::on(hub)
        .release("f99", "x86_64 aarch64", &["bash", "make"])
        .release("f98", "x86_64", &["bash", "make"])
        .and(|tx| tx.edit_tag_extra("f99-build", "repo.auto", Some(V::from(true))))
        .and(|tx| tx.edit_tag_extra("f98-build", "repo.auto", Some(V::from(true))))
        .builds("f99", builds.clone())
        .builds("f98", builds.into_iter().take(3 + LIBS + SMALL))
        .ready(["f99-build", "f98-build"]);
}

/// Returns what a builder installs: the group and the requirements, with everything these need.
pub(super) fn installed(w: &World, root: &RootFor<'_>) -> Contents {
    let rpms = w.repo_rpms(root.tag, root.event, root.arch);
    let mut providers: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, rpm) in rpms.iter().enumerate() {
        for dep in rpm.deps.iter().filter(|d| d.kind == 1) {
            providers.entry(&dep.name).or_insert(at);
        }
    }
    let closure = |wanted: Vec<String>| {
        let (mut open, mut found) = (wanted, std::collections::BTreeSet::new());
        while let Some(name) = open.pop() {
            if let Some(at) = providers.get(name.as_str())
                && found.insert(*at)
            {
                open.extend(rpms[*at].deps.iter().filter(|d| d.kind == 0).map(|d| d.name.clone()));
            }
        }
        found.into_iter().map(|at| rpms[at].name.clone()).collect::<Vec<_>>()
    };
    let base = closure(w.group_packages_of(root.tag, Some(root.event), "build"));
    Contents { builddeps: closure(root.requires.to_vec()), base }
}

// ---- the teller ----

pub(super) struct Story {
    pub(super) live: Live,
    /// If commands are carried out by others: the server of their queue, and these others.
    pub(super) outside: Option<(NatsServer, [Executor; 2])>,
    pub(super) rabbit: RabbitServer,
    pub(super) carrier: Option<Carrier>,
    pub(super) builders: Option<crate::hub::state::Builders>,
    pub(super) follower: Follower,
    pub(super) versions: BTreeMap<usize, usize>,
    pub(super) counts: Vec<Counts>,
}

impl Story {
    /// `outside`: whether the service itself has no login, and two other programs carry out its
    /// commands.
    pub(super) async fn begin(outside: bool) -> Self {
        let rabbit = RabbitServer::start().await;
        let mut live = Live::new();
        subscribe(&rabbit, "announced", "heard", &["#.koschei.#"], None).await;
        live.tables = table("announced", &rabbit.url()) + &tables(&rabbit.url());
        let nats = if outside { Some(NatsServer::start().await) } else { None };
        if let Some(nats) = &nats {
            live.auth = "none";
            live.of_hub = executor::OUTSIDE;
            live.tables += &executor::table(nats);
        }
        // Koji's default: only administrators bind builds to repositories.
        live.hub.settings(|s| s.may_use_repo_id = false);
        seed(&live.hub);
        let carrier = Some(Carrier::start(live.hub.clone(), &rabbit).await);
        live.start();
        let outside = nats.map(|nats| {
            let executors = [(); 2].map(|()| Executor::start(&live, &nats));
            (nats, executors)
        });
        let follower = Follower::default();
        Self { live, outside, rabbit, carrier, builders: None, follower, versions: BTreeMap::new(), counts: Vec::new() }
    }

    pub(super) fn hub(&self) -> &Hub {
        &self.live.hub
    }

    pub(super) fn bus(&self, mood: Mood) {
        self.carrier.as_ref().unwrap().be(mood);
    }

    /// Makes a new version of a library. Every package that needs it is due.
    pub(super) fn update(&mut self, n: usize) {
        let version = self.versions.entry(n).or_insert(1);
        *version += 1;
        let build = lib(n, *version);
        self.live.hub.change(|tx| {
            tx.import_into("f99", &build)?;
            tx.import_into("f98", &build)
        });
    }

    /// A library changes, and its rebuilds run. No builder works on them until builders are started
    /// again, so even a slow test sees them running.
    pub(super) async fn has_rebuilds_running(&mut self, library: usize) {
        drop(self.builders.take());
        self.update(library);
        self.hub().change(|tx| tx.new_repo("f99-build"));
        self.until("rebuilds run", |s| s.running() > 3).await;
    }

    /// Waits until the state satisfies `so`.
    pub(super) async fn until(&mut self, what: &str, mut so: impl FnMut(&State) -> bool) {
        let log = self.live.log().await;
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                self.follower.follow(&log).await;
                if so(&self.follower.state) {
                    return;
                }
                log.changed(self.follower.state.seq).await.unwrap();
            }
        });
        let in_time = waited.await.is_ok();
        log.close().await;
        if !in_time {
            self.complain(&format!("waited in vain until {what}")).await;
        }
    }

    pub(super) async fn complain(&self, what: &str) -> ! {
        let tail = self.live.tail(40).await;
        let others = executor::said(self.live.dir.path());
        let others = others.get(others.len().saturating_sub(5_000)..).unwrap_or_default();
        panic!("{what}\nthe service said:\n{}\nothers said:\n{others}\nthe log ends with:\n{tail}", self.live.said());
    }

    /// Waits until nothing moves any more on the hub and in the log, and both are equal.
    pub(super) async fn rests(&mut self, chapter: &str) {
        let log = self.live.log().await;
        let mut rest = (0, 0);
        let mut left = Vec::new();
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                self.follower.follow(&log).await;
                let state = &self.follower.state;
                let (polls, event) = (polls(&self.live.hub), self.live.hub.see(|w| w.events.last().unwrap().id));
                if rest.1 != event {
                    rest = (polls, event);
                }
                left = differences(state, &self.live.hub);
                let busy =
                    state.running() > 0 || !state.rebuilds.is_empty() || self.live.hub.see(is_busy) || is_due(state);
                let waits = log.counts().await.unwrap();
                if left.is_empty() && !busy && waits.inbox_pending == 0 && waits.outbox_pending == 0 {
                    return Ok(());
                }
                // Repositories are reported when their content is here, and polls do not wait for
                // that.
                let without_files = left.iter().any(|l| !l.contains(" repo "));
                if polls > rest.0 + POLLS_MAX && without_files {
                    return Err(());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let done = waited.await;
        log.close().await;
        match done {
            Ok(Ok(())) => println!("{chapter}: {} events, {} tasks", self.seq(), self.hub().dump().tasks.len()),
            Ok(Err(())) => {
                let lines = left.join("\n");
                self.complain(&format!("{chapter}: hub (-) and log (+) differ although all was compared:\n{lines}"))
                    .await
            }
            Err(_) => self.complain(&format!("{chapter}: it never rests; differing: {left:?}")).await,
        }
        self.within_limits(chapter);
    }

    pub(super) fn seq(&self) -> u64 {
        self.follower.state.seq.map_or(0, Seq::get)
    }

    /// Checks the limits in the hub's table, for every moment.
    pub(super) fn within_limits(&self, chapter: &str) {
        let (all, small) = self.hub().see(|w| (most_at_once(w, None), most_at_once(w, Some("f98"))));
        assert!(all <= MAX, "{chapter}: {all} rebuilds ran at once, {MAX} may");
        assert!(small <= MAX_SMALL, "{chapter}: {small} rebuilds of f98 ran at once, {MAX_SMALL} may");
    }

    pub(super) fn is(&self, collection: &str, package: &str) -> Option<PackageState> {
        Some(self.follower.state.package(collection, package)?.state(true))
    }

    pub(super) fn why(&self, collection: &str, package: &str) -> String {
        let out = Command::new(env!("CARGO_BIN_EXE_koschei"))
            .args(["why", package, "--collection", collection, "--db", &self.live.db])
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// Returns the outcomes of a package's rebuilds so far, oldest first.
    pub(super) async fn outcomes(&self, collection: &str, package: &str) -> Vec<Outcome> {
        let ended = |e: Envelope| match e.event {
            Event::RebuildFinished(f) if f.collection == collection && f.package == package => Some(f.outcome),
            _ => None,
        };
        let log = self.live.log().await;
        let all = all(&log).await.into_iter().filter_map(ended).collect();
        log.close().await;
        all
    }
}

pub(super) async fn all(log: &AnyLog) -> Vec<Envelope> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let records = log.read(after, 5000).await.unwrap();
        let Some(last) = records.last() else { return found };
        after = Some(last.seq);
        found.extend(records.iter().map(|r| r.decode().unwrap()));
    }
}

/// Returns the number of polls that have begun.
pub(super) fn polls(hub: &Hub) -> usize {
    hub.log().iter().filter(|l| l.elements.iter().any(|e| e == "tagLastChangeEvent")).count()
}

/// Checks whether a package will be rebuilt at the next tick.
pub(super) fn is_due(state: &State) -> bool {
    let policy: Policy = serde_json::from_value(state.policy.as_ref().unwrap().policy.clone()).unwrap();
    !plan(state, clock::now(), &policy, None).chosen.is_empty()
}

/// Checks whether builders or kojira have something to do.
pub(super) fn is_busy(w: &World) -> bool {
    let live = |t: &crate::hub::rows::Task| t.parent.is_none() && matches!(t.state, 0 | 1 | 4);
    w.tasks.iter().any(|t| live(t) && (t.method == "newRepo" || is_scratch(t)))
        || w.repo_requests.iter().any(|r| r.active)
}

pub(super) fn is_scratch(t: &crate::hub::rows::Task) -> bool {
    t.parent.is_none() && t.method == "build" && t.request.last().and_then(|o| o.get("scratch")).is_some()
}

/// Returns the largest number of scratch builds at once, of one target or of all.
pub(super) fn most_at_once(w: &World, target: Option<&str>) -> usize {
    let mut changes: Vec<(i64, i32)> = Vec::new();
    let fits =
        |t: &&crate::hub::rows::Task| is_scratch(t) && target.is_none_or(|name| t.request[1].as_str() == Some(name));
    for task in w.tasks.iter().filter(fits) {
        changes.push((task.create, 1));
        changes.extend(task.completion.map(|at| (at, -1)));
    }
    changes.sort_unstable();
    let mut now = 0;
    let most = changes.into_iter().map(|(_, by)| {
        now += by;
        now
    });
    usize::try_from(most.max().unwrap_or(0)).unwrap()
}
