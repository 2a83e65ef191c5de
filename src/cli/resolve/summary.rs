//! Summary of a run for people: where the time went, which solver answered, what resolved.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use super::ResolveArgs;
use crate::base::clock::Stopwatch;
use crate::cli::out::visible;
use crate::cli::repos;
use crate::cli::sources::Source;
use crate::repodata::{Oddities, RepoContent};
use crate::resolve::{GroupVerdict, Handover, Mode, PkgId, Resolution, Universe};

/// Largest number of source packages that are named for an erased package of the build group.
const LABELS_SHOWN: usize = 5;

/// Where the time went, and which solver answered.
pub(super) struct Stats {
    watch: Stopwatch,
    laps: Vec<(&'static str, Duration)>,
    native: usize,
    handovers: BTreeMap<Handover, (usize, usize)>,
    oddities: Oddities,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            watch: Stopwatch::start(),
            laps: Vec::new(),
            native: 0,
            handovers: BTreeMap::new(),
            oddities: Oddities::default(),
        }
    }
}

impl Stats {
    pub(super) fn lap(&mut self, name: &'static str) {
        let before: Duration = self.laps.iter().map(|(_, time)| *time).sum();
        self.laps.push((name, self.watch.elapsed().saturating_sub(before)));
    }

    /// Notes what was skipped when the repositories were read.
    pub(super) fn read(&mut self, content: &RepoContent) {
        self.lap("read");
        self.oddities = content.oddities.clone();
    }

    pub(super) fn add(&mut self, answer: &Resolution) {
        match answer.handover {
            None => self.native += 1,
            Some(reason) => {
                let counts = self.handovers.entry(reason).or_default();
                *if answer.ok { &mut counts.0 } else { &mut counts.1 } += 1;
            }
        }
    }

    pub(super) fn print(&self, json: bool) {
        if json {
            let seconds: BTreeMap<_, _> = self.laps.iter().map(|(name, time)| (*name, time.as_secs_f64())).collect();
            let handovers: BTreeMap<_, _> = self.handovers.iter().map(|(r, c)| (r.as_str(), c)).collect();
            let odd: BTreeMap<_, _> = self.oddities.counts().map(|(oddity, n)| (oddity.as_str(), n)).collect();
            eprintln!(
                "{}",
                serde_json::json!({
                    "seconds": seconds,
                    "native": self.native,
                    "handovers": handovers,
                    "passed_over": odd,
                    "passed_over_first": self.oddities.examples(),
                })
            );
            return;
        }
        for (name, time) in &self.laps {
            eprintln!("{name:<20} {:>8.3} s", time.as_secs_f64());
        }
        eprintln!("{:<20} {:>8} source packages", "own solver", self.native);
        for (reason, (ok, failed)) in &self.handovers {
            eprintln!("{:<20} {ok:>8} resolved, {failed} not: {reason}", "libsolv");
        }
        for (oddity, n) in self.oddities.counts() {
            eprintln!("{:<20} {n:>8} {oddity}", "passed over");
        }
        for example in self.oddities.examples() {
            eprintln!("  {}", visible(&example.to_string()));
        }
    }
}

/// What resolved, and what did not.
#[derive(Default)]
pub(super) struct Summary {
    resolved: usize,
    packages: usize,
    largest: usize,
    failed: Vec<(String, Vec<String>)>,
    /// Rich BuildRequires that were skipped, by source package.
    skipped: Vec<(String, Vec<String>)>,
    /// For each package of the build group, the source packages for which it is erased.
    erased: BTreeMap<PkgId, Vec<String>>,
    elsewhere: Vec<(String, &'static str)>,
}

impl Summary {
    pub(super) fn add(&mut self, source: &Source, answer: Option<&Resolution>) {
        let Some(answer) = answer else {
            return self.elsewhere.push((source.label.clone(), source.excluded.unwrap_or_default()));
        };
        if !answer.skipped.is_empty() {
            self.skipped.push((source.label.clone(), answer.skipped.clone()));
        }
        if answer.ok {
            self.resolved += 1;
            self.packages += answer.closure.len();
            self.largest = self.largest.max(answer.closure.len());
            for &id in &answer.erased {
                self.erased.entry(id).or_default().push(source.label.clone());
            }
        } else {
            self.failed.push((source.label.clone(), answer.problems.clone()));
        }
    }

    /// Checks that everything resolves.
    pub(super) fn all_resolve(&self) -> bool {
        self.failed.is_empty()
    }

    pub(super) fn print(
        &self,
        out: &mut impl Write,
        universe: &Universe,
        args: &ResolveArgs,
        group: &GroupVerdict,
    ) -> io::Result<()> {
        let mode = Mode::from(args.mode).as_str();
        writeln!(
            out,
            "Repository   {} ({}, {} packages), mode {mode}",
            repos::shown(&args.repo),
            universe.arch(),
            universe.len()
        )?;
        match group.ok {
            true => writeln!(out, "Build group  {}: {} packages", args.group, group.closure.len())?,
            false => writeln!(out, "Build group  {}: cannot be installed", args.group)?,
        }
        for member in &group.skipped {
            writeln!(out, "             {member} is skipped: nothing provides it")?;
        }
        for problem in &group.problems {
            writeln!(out, "             {}", problem.replace('\n', "\n             "))?;
        }
        let mean = self.packages.checked_div(self.resolved).unwrap_or(0);
        writeln!(
            out,
            "Resolved     {} source packages, with {mean} packages on average, {} at most",
            self.resolved, self.largest
        )?;
        for (&id, labels) in &self.erased {
            let shown = labels.iter().take(LABELS_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = match labels.len().saturating_sub(LABELS_SHOWN) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            writeln!(out, "Erased       {} of the build group, for {shown}{more}", universe.nevra(id))?;
        }
        if !self.skipped.is_empty() {
            writeln!(
                out,
                "Skipped      rich build requirements of {} source packages: nothing provides any part of them",
                self.skipped.len()
            )?;
        }
        for (label, skipped) in &self.skipped {
            writeln!(out, "  {label}: {}", skipped.join(", "))?;
        }
        writeln!(out, "Unresolved   {} source packages", self.failed.len())?;
        for (label, problems) in &self.failed {
            writeln!(out, "  {label}")?;
            for problem in problems {
                writeln!(out, "    {}", problem.replace('\n', "\n    "))?;
            }
        }
        if !self.elsewhere.is_empty() {
            writeln!(out, "Not for {}   {} source packages", universe.arch(), self.elsewhere.len())?;
            for (label, reason) in &self.elsewhere {
                writeln!(out, "  {label}: {} {reason}", universe.arch())?;
            }
        }
        Ok(())
    }
}
