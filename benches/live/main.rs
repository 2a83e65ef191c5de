//! `cargo bench --bench live`: measures the time from `repo.done` on the bus to rebuild commands in
//! the outbox and tasks on the hub, with a distribution's repository on a local disk.
//! `BENCHMARKS.md` explains the numbers.
//!
//! Everything except the hub is real: RabbitMQ, `koschei serve` as a separate process, SQLite,
//! certificates. The hub is the tests' hub, in this process. Its repositories are given to it in
//! the form that a newRepo task leaves.
#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "a benchmark fails by panicking, counts in floating point, measures time and shares modules with tests"
)]

mod generations;
#[path = "../../tests/hub/mod.rs"]
mod hub;
mod mass;
#[path = "../koschei/measure.rs"]
mod measure;
#[path = "../../tests/it/support/rabbitmq_server.rs"]
mod rabbitmq_server;
#[path = "../koschei/random.rs"]
mod random;
mod service;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use koschei::koji::files::SourceStore;
use serde::Serialize;

use generations::{ARCHES, Distribution};
use hub::{Hub, Login, NewBuild, NewWorld, Pki, Settings, Tx};
use rabbitmq_server::{Publisher, RabbitServer};
use service::{Ended, Service};

/// Measures how long it takes from a repository's message to commands.
#[derive(Parser, Debug)]
#[command(after_help = "Example:\n  cargo bench --bench live -- --repos 60 --json > live.json")]
struct Args {
    /// Data of a whole distribution; CONTRIBUTING.md says what has to be there
    #[arg(long, value_name = "DIR", env = "KOSCHEI_DISTRO_DIR", default_value = "../shared/data/distro")]
    distro: PathBuf,
    /// Source packages in the collection
    #[arg(long, value_name = "N", default_value_t = 24_000)]
    packages: usize,
    /// Repositories that lead to commands
    #[arg(long, value_name = "N", default_value_t = 60)]
    repos: usize,
    /// Architectures, up to 4, with the same packages
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=4))]
    arches: u8,
    /// Which packages are rebuilt in between
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Before each repository a library that very many packages need gets another soname, and a
    /// package of the build group is rebuilt
    #[arg(long)]
    mass: bool,
    /// Where hub, cache and log lie; default: a temporary directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// The timed stages: the name of the stage, and what is measured.
const STAGES: [(&str, &str); 14] = [
    ("taken in", "message taken in: broker, inbox, commit"),
    ("looked", "look: the hub asked what became of the repository"),
    ("fetched", "files: linked or copied from the disk, checked"),
    ("sources known", "build requirements of new sources, and whether file lists are needed"),
    ("parsed", "rest of the metadata, build requirements"),
    ("prepared", "packages and dependencies made into rules, build group"),
    ("solved", "every source package resolved, one of a hundred by libsolv as well"),
    ("resolved", "buildroots collected"),
    ("attached", "attachment made and compressed"),
    ("compared", "compared with the buildroots of last builds"),
    ("settled", "states of packages"),
    ("decided", "rules applied"),
    ("appended", "appended to the log: commands are in the outbox"),
    ("submitted", "submitted: all commands are tasks on the hub"),
];

/// The measurements of one repository.
#[derive(Serialize)]
struct Run {
    repo: i64,
    rebuilt: usize,
    commands: usize,
    /// Seconds of each stage, in the order of [`STAGES`].
    stages: Vec<f64>,
    /// Seconds until the commands are in the outbox, until the first is a task, and until all are.
    outbox: f64,
    first: f64,
    all: f64,
    cpu: f64,
    /// Memory of the service after each stage, in MiB.
    memory: Vec<f64>,
}

/// A hub with a distribution, and everything around it.
struct Place {
    dir: PathBuf,
    hub: Hub,
    pki: Pki,
    distribution: Distribution,
    arches: Vec<&'static str>,
    random: random::Random,
    /// Packages with a requested rebuild that still runs.
    running: BTreeSet<usize>,
    rebuilt: BTreeSet<usize>,
}

impl Place {
    fn new(args: &Args, dir: &Path) -> Self {
        let distribution = Distribution::read(&args.distro, args.packages);
        let pki = Pki::new(&dir.join("pki"));
        let hub = Hub::start_with(Settings::new(dir.join("koji")), Login::Certificate(pki.clone()));
        let group: Vec<&str> = distribution.group.iter().map(String::as_str).collect();
        let arches: Vec<&'static str> = ARCHES.into_iter().take(args.arches.into()).collect();
        let builds = |tx: &mut Tx<'_>| {
            distribution.sources.iter().map(|source| build(source, &arches)).try_for_each(|build| {
                tx.import_into("f99", &build)?;
                // The build looks as if it had been made here a while ago. The service would
                // rebuild each imported build once.
                let id = tx.build_id(&build.nvr())?;
                tx.w.build_mut(id).task = Some(1_000_000_000 + id);
                Ok(())
            })
        };
        NewWorld::on(&hub).release("f99", &arches.join(" "), &group).and(builds).ready([]);
        let random = random::Random::new(args.seed);
        let (running, rebuilt) = (BTreeSet::new(), BTreeSet::new());
        Self { dir: dir.to_owned(), hub, pki, distribution, arches, random, running, rebuilt }
    }

    /// Fills the cache with the requirements of all source packages, so that the service knows them
    /// from the start.
    fn fill_cache(&self) {
        let cache = self.dir.join("cache/primary");
        std::fs::create_dir_all(&cache).unwrap();
        let store = SourceStore::open(&cache.join("buildrequires.jsonl")).unwrap();
        store.add(self.distribution.sources.iter().map(|s| s.package.clone()).collect()).unwrap();
    }

    fn config(&self, server: &RabbitServer) -> PathBuf {
        let text = format!(
            "[serve]\ncache_dir = \"{cache}\"\n\
             [bus]\namqp_url = \"{bus}\"\n\
             [policy]\nmax_builds = 100000\nload_threshold = 1000\n\
             [[hub]]\nname = \"primary\"\nserver = \"{hub}\"\ntopurl = \"{files}\"\nauth = \"certificate\"\n\
             cert = \"{cert}\"\n\
             serverca = \"{ca}\"\npoll_secs = 3600\nreconcile_secs = 86400\nrequests_per_second = 1000\n\
             [[collection]]\nname = \"f99\"\ntarget = \"f99\"\ntrack_all = true\n",
            cache = self.dir.join("cache").display(),
            bus = server.url(),
            hub = self.hub.url(),
            files = self.dir.join("koji").display(),
            cert = self.pki.user("koschei").display(),
            ca = self.pki.ca().display(),
        );
        let path = self.dir.join("koschei.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Begins a repository of the current state. Returns its number and the directory with its
    /// prepared metadata, with which the caller finishes it.
    fn begin(&self) -> (i64, PathBuf) {
        let prepared = self.dir.join("prepared");
        std::fs::remove_dir_all(&prepared).ok();
        let hub = &self.hub;
        self.distribution
            .write(&prepared, &self.arches, |nvr| hub.see(|w| w.build_of_nvr(&nvr.to_string()).map_or(0, |b| b.id)));
        (hub.change(|tx| tx.begin_repo("f99-build")), prepared)
    }

    /// Chooses packages to rebuild: mostly one, sometimes ten, and one that half of the
    /// distribution needs. At least one package that needs one of them is not already waiting for a
    /// rebuild.
    fn choose(&mut self) -> Vec<usize> {
        let free = |place: &Self, at: usize| {
            let s = &place.distribution.sources[at];
            !place.rebuilt.contains(&at) && s.needers.iter().any(|n| !place.running.contains(n))
        };
        let all: Vec<usize> = (0..self.distribution.sources.len()).filter(|at| free(self, *at)).collect();
        let needed = |place: &Self, at: &usize| place.distribution.sources[*at].needers.len();
        let count = if self.random.below(6) == 0 { 10 } else { 1 };
        if self.random.below(6) == 0 {
            let mut popular = all.clone();
            popular.sort_by_key(|at| std::cmp::Reverse(needed(self, at)));
            popular.truncate(100);
            return vec![popular[self.random.below(popular.len())]];
        }
        let mut chosen = BTreeSet::new();
        while chosen.len() < count {
            chosen.insert(all[self.random.below(all.len())]);
        }
        chosen.into_iter().collect()
    }

    /// Rebuilds packages on the hub: the builds are complete and tagged.
    fn rebuild(&mut self, chosen: &[usize]) {
        for at in chosen {
            self.distribution.rebuild(*at);
            self.rebuilt.insert(*at);
            let source = &self.distribution.sources[*at];
            self.hub.change(|tx| {
                let id = tx.import_build(&build(source, &self.arches))?;
                tx.w.build_mut(id).task = Some(1_000_000_000 + id);
                tx.tag_build("f99", &source.nvr().to_string(), false)
            });
        }
    }

    /// Returns the number of our tasks.
    fn tasks(&self) -> usize {
        self.hub.see(|w| w.tasks.iter().filter(|t| t.method == "build" && t.parent.is_none()).count())
    }

    fn note_running(&mut self) {
        let names: BTreeSet<String> = self.hub.see(|w| {
            let builds = w.tasks.iter().filter(|t| t.method == "build" && t.parent.is_none());
            builds.filter_map(|t| t.request[0].as_str()?.split('/').nth(2).map(str::to_owned)).collect()
        });
        let sources = self.distribution.sources.iter().enumerate();
        self.running = sources.filter(|(_, s)| names.contains(s.package.nvr.name.as_str())).map(|(at, _)| at).collect();
    }
}

fn build(source: &generations::Source, arches: &[&str]) -> NewBuild {
    let nvr = source.nvr();
    let mut build = NewBuild::new(&nvr.to_string()).binary(&nvr.name, arches, &[]);
    build.requires = source.package.requires.clone();
    build
}

async fn publish(publisher: &Publisher, messages: &[hub::BusMessage]) {
    for m in messages {
        publisher.line("amq.topic", &m.line(now()).to_string()).await;
    }
}

fn now() -> f64 {
    jiff::Timestamp::now().as_duration().as_secs_f64()
}

/// Checks whether the commands of a repository are out. Returns their number, and the position
/// among the stages.
fn decided(ended: &[Ended], repo: i64) -> Option<(usize, usize)> {
    let decided = ended.iter().position(|e| e.is("decided", Some(repo)))?;
    let appended = ended.iter().skip(decided).position(|e| e.is("appended", None))? + decided;
    Some((ended[appended].number("commands"), appended))
}

/// Returns when each stage ended, in seconds after the message, and the service's memory then.
fn stages(ended: &[Ended], repo: i64, t0: f64, appended: usize) -> Vec<(f64, f64)> {
    let after = |stage: &str, repo| ended.iter().find(|e| e.at >= t0 && e.is(stage, repo));
    let mut at = vec![after("taken in", None), after("looked", None)];
    at.extend(STAGES[2..12].iter().map(|(stage, _)| after(stage, Some(repo))));
    at.push(Some(&ended[appended]));
    // A mass change may lead to no commands, if all packages wait for their rebuilds already.
    let submitted = ended.iter().skip(appended).rfind(|e| e.is("submitted", None));
    at.push(submitted.or(Some(&ended[appended])));
    let said = at.into_iter().zip(STAGES).map(|(ended, (stage, _))| ended.unwrap_or_else(|| panic!("no {stage}")));
    said.map(|ended| (ended.at - t0, ended.memory)).collect()
}

fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    // The smallest value that is not below this many of them.
    let rank = (percent / 100.0 * sorted.len() as f64).ceil().max(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and the number of values")]
    sorted[rank as usize - 1]
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let args = Args::parse();
    let machine = measure::machine();
    let temporary = tempfile::Builder::new().prefix("koschei-live-").tempdir().unwrap();
    let dir = args.dir.clone().unwrap_or_else(|| temporary.path().to_owned());
    eprintln!("reading {}", args.distro.display());
    let mut place = Place::new(&args, &dir);
    place.fill_cache();
    let (first, prepared) = place.begin();
    place.hub.change(|tx| tx.finish_repo_with(first, &prepared));
    place.hub.take_messages();
    let server = RabbitServer::start().await;
    let publisher = server.publisher().await;
    let watch = measure::Meter::start();
    let service = Service::start(&place.config(&server), &dir.join("koschei.db"));
    service.wait(0, "the first repository is resolved", |ended| decided(ended, first).is_some());
    eprintln!("{} packages known and resolved after {:.1} s", args.packages, watch.cost().wall_secs);
    service.quiet(Duration::from_secs(3));
    let mut runs: Vec<Run> = Vec::new();
    let mut before = first;
    let mut without = 0;
    while runs.len() < args.repos {
        let chosen = if args.mass { place.distribution.mass_change(&place.rebuilt) } else { place.choose() };
        place.rebuild(&chosen);
        let (repo, prepared) = place.begin();
        publish(&publisher, &place.hub.take_messages()).await;
        // The builds and taggings must be known before the repository is ready.
        service.quiet(Duration::from_millis(1500));
        place.hub.change(|tx| tx.finish_repo_with(repo, &prepared));
        let messages = place.hub.take_messages();
        assert_eq!(messages.iter().filter(|m| m.topic.ends_with("repo.done")).count(), 1);
        let (from, tasks, cpu, t0) = (service.count(), place.tasks(), service.cpu(), now());
        publish(&publisher, &messages).await;
        let ended = service.wait(from, "commands are out", |ended| {
            decided(ended, repo).is_some_and(|(commands, appended)| {
                ended.iter().skip(appended).filter(|e| e.is("submitted", None)).count() >= commands
            })
        });
        let cpu = service.cpu() - cpu;
        let (commands, appended) = decided(&ended, repo).unwrap();
        place.note_running();
        if commands == 0 && !args.mass {
            without += 1;
            continue;
        }
        assert!(place.tasks() >= tasks + commands, "commands are tasks");
        let (at, memory): (Vec<f64>, _) = stages(&ended, repo, t0, appended).into_iter().unzip();
        let first_task = ended.iter().skip(appended).find(|e| e.is("submitted", None)).map_or(0.0, |e| e.at - t0);
        let run = Run {
            repo,
            rebuilt: chosen.len(),
            commands,
            stages: at.iter().scan(0.0, |last, t| Some(t - std::mem::replace(last, *t))).collect(),
            outbox: at[12],
            first: first_task,
            all: at[13],
            cpu,
            memory,
        };
        eprintln!(
            "{:>3}  repository {repo}: {} rebuilt, {commands} commands; outbox {:.2} s, hub {:.2} s, {:.2} s of \
                processor",
            runs.len() + 1,
            run.rebuilt,
            run.outbox,
            run.all,
            run.cpu
        );
        runs.push(run);
        service.quiet(Duration::from_millis(500));
        place.hub.change(|tx| tx.delete_repo(before));
        before = repo;
    }
    report(&args, &machine, &runs, without, service.memory());
}

fn report(args: &Args, machine: &measure::Machine, runs: &[Run], without: usize, memory: f64) {
    let load = measure::load();
    if args.json {
        let all = serde_json::json!({
            "machine": machine, "load_at_end": load, "packages": args.packages, "seed": args.seed, "mass": args.mass,
            "without_commands": without, "memory_mib": memory, "stages": STAGES.map(|(name, _)| name), "runs": runs,
        });
        println!("{all}");
        return;
    }
    println!("{} cores of {}; load {} at the start, {load} at the end", machine.cores, machine.processor, machine.load);
    println!(
        "{} source packages, {} repositories with commands ({without} without), {} commands; the service needed up to \
            {memory:.0} MiB",
        args.packages,
        runs.len(),
        runs.iter().map(|r| r.commands).sum::<usize>()
    );
    println!("{:<72} {:>7} {:>7} {:>7} {:>7} {:>7}", "seconds; most MiB after it", "p50", "p95", "p99", "max", "MiB");
    let row_with = |name: &str, values: Vec<f64>, more: String| {
        let p = |n| percentile(&values, n);
        println!("{name:<72} {:>7.3} {:>7.3} {:>7.3} {:>7.3} {more:>7}", p(50.0), p(95.0), p(99.0), p(100.0));
    };
    for (at, (_, what)) in STAGES.iter().enumerate() {
        let memory = runs.iter().map(|r| r.memory[at]).fold(0.0, f64::max);
        row_with(what, runs.iter().map(|r| r.stages[at]).collect(), format!("{memory:.0}"));
    }
    let row = |name: &str, values: Vec<f64>| row_with(name, values, String::new());
    row("repo.done to commands in the outbox", runs.iter().map(|r| r.outbox).collect());
    row("repo.done to the first task on the hub", runs.iter().map(|r| r.first).collect());
    row("repo.done to all tasks on the hub", runs.iter().map(|r| r.all).collect());
    row("processor time of the service", runs.iter().map(|r| r.cpu).collect());
}
