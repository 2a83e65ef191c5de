//! Changes are measured again only for packages whose buildroot or base changed. What the writer
//! remembers for that does not show: a writer that forgets everything before each repository writes
//! the same log.

use std::collections::BTreeMap;

use koschei::event::Envelope;
use koschei::model::Seq;

use super::suspects::generate::Random;
use crate::feed::scale;
use crate::story::{Src, World, broken, ok, unknown};

const SOURCES: usize = 6;
const PACKAGES: usize = 7;

/// A buildroot: version and distance of each package.
type Buildroot = BTreeMap<usize, (usize, usize)>;

/// What a hub has. It changes at random.
struct Hub {
    random: Random,
    versions: [usize; SOURCES],
    buildroots: Vec<Buildroot>,
}

impl Hub {
    fn below(&mut self, n: usize) -> usize {
        self.random.below(u32::try_from(n).unwrap()) as usize
    }

    /// Changes some packages in all buildroots that have them, and some buildroots alone.
    fn changes(&mut self) {
        for _ in 0..self.below(3) {
            let (package, version) = (self.below(PACKAGES), 1 + self.below(3));
            let with = self.buildroots.iter_mut().filter_map(|b| b.get_mut(&package));
            with.for_each(|of| of.0 = version);
        }
        for _ in 0..self.below(3) {
            let (source, package, near) = (self.below(SOURCES), self.below(PACKAGES), self.below(3));
            match self.below(3) {
                0 => drop(self.buildroots[source].remove(&package)),
                1 => drop(self.buildroots[source].insert(package, (1 + package % 3, near))),
                _ => self.buildroots[source].values_mut().for_each(|of| of.1 = near),
            }
        }
    }

    fn source(&mut self, at: usize) -> Src {
        let nvr = format!("s{at}-{}-1", self.versions[at]);
        let package = |(p, (version, near)): (&usize, &(usize, usize))| format!("p{p}-0:{version}-1.x86_64/{near}");
        match self.below(12) {
            0 => broken(&nvr, "nothing provides q"),
            1 => unknown(&nvr),
            _ => ok(&nvr, &self.buildroots[at].iter().map(package).collect::<Vec<_>>().join(" ")),
        }
    }
}

/// Returns the events of a story. `restarts`: the writer forgets before each repository.
fn story(seed: u64, restarts: bool) -> Vec<(Seq, String)> {
    let mut w = World::new();
    let buildroots = vec![(0..PACKAGES).map(|p| (p, (1, p % 3))).collect(); SOURCES];
    let mut hub = Hub { random: Random::new(seed), versions: [1; SOURCES], buildroots };
    for at in 0..SOURCES {
        w.real("f99", &format!("s{at}-1-1"));
    }
    let mut task = 100;
    for repo in 1..=12 {
        hub.changes();
        if restarts {
            w.restart();
        }
        let sources: Vec<Src> = (0..SOURCES).map(|at| hub.source(at)).collect();
        w.repo(repo, &sources);
        for _ in 0..hub.below(3) {
            let at = hub.below(SOURCES);
            let nvr = format!("s{at}-{}-1", hub.versions[at]);
            match hub.below(4) {
                0 => {
                    hub.versions[at] += 1;
                    w.real("f99", &format!("s{at}-{}-1", hub.versions[at]));
                }
                1 => {
                    let task = w.task_of_build(&nvr);
                    let list = format!("p1-0:{}-1.x86_64 +p2-0:2-1.x86_64", 1 + hub.below(3));
                    w.buildroot(task, &nvr, "x86_64", repo, &list, true);
                }
                end => {
                    task += 1;
                    w.rebuild(task, &nvr, if end == 2 { "CLOSED" } else { "FAILED" }, repo);
                }
            }
        }
    }
    w.sound();
    let text = |e: &Envelope| {
        // Names of people differ between logs.
        let text = format!("{:?} {:?}", e.causation, e.event);
        let mut parts = text.split("\"p-");
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| text + part.split_once('"').unwrap_or_default().1)
    };
    w.events().iter().map(|e| (e.seq, text(e))).collect()
}

#[test]
fn what_is_remembered_does_not_show() {
    let mut measured = 0;
    for seed in 0..scale(12, 3000) {
        let (kept, forgot) = (story(seed, false), story(seed, true));
        for (kept, forgot) in kept.iter().zip(&forgot) {
            assert_eq!(kept, forgot, "seed {seed}");
        }
        assert_eq!(kept.len(), forgot.len(), "seed {seed}");
        measured += kept.iter().filter(|(_, text)| text.contains("RepoResolved")).count();
    }
    assert!(measured > 100, "{measured}");
}
