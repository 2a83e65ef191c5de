//! The search: libsolv's order of decisions, for the case that no conflict forces it to take a
//! decision back.

use super::base::Base;
use super::clauses::positive;
use super::graph::Graph;
use super::policy::{Chooser, Wishes};
use super::state::{Job, State, Stop, rule_at};
use super::trace::{Compared, Trace};
use super::{Handover, Node, index32};

/// How a search ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum SearchResult {
    /// The packages that are installed at the end, ascending.
    Closure(Vec<Node>),
    /// There is no solution.
    Unsolvable,
    /// libsolv has to answer.
    Handover(Handover),
}

/// A choice among several candidates.
struct Branch {
    level: i32,
    /// The candidates, and whether each has been tried.
    candidates: Vec<(Node, bool)>,
}

/// Runs searches one after the other. It is bound to a thread only because it is mutable.
pub(super) struct Search<'g> {
    graph: &'g Graph,
    base: Option<&'g Base>,
    state: State,
    wishes: Wishes,
    branches: Vec<Branch>,
    /// Buffer for the candidates of the current rule.
    queue: Vec<Node>,
    /// The candidates that the policy compared, if the search is recorded.
    compared: Option<Compared>,
    /// What the last search read, if it was recorded and not handed over.
    trace: Option<Trace>,
}

impl<'g> Search<'g> {
    pub(super) fn new(graph: &'g Graph, base: Option<&'g Base>) -> Self {
        Self {
            graph,
            base,
            state: State::new(graph),
            wishes: Wishes::new(graph),
            branches: Vec::new(),
            queue: Vec::new(),
            compared: None,
            trace: None,
        }
    }

    /// Records from now on what each search reads.
    pub(super) fn record(&mut self) {
        self.compared = Some(Compared::new(self.graph));
    }

    /// Returns what the last search read. `None` if it was not recorded or handed over.
    pub(super) fn take_trace(&mut self) -> Option<Trace> {
        self.trace.take()
    }

    /// Solves the jobs.
    pub(super) fn run(&mut self, jobs: &[Job]) -> SearchResult {
        let result = self.solve(jobs);
        let outcome = match result {
            Ok(()) => {
                let there = self.state.trail.iter().filter(|l| **l > 0);
                let mut closure: Vec<Node> = there.map(|l| l.unsigned_abs()).collect();
                closure.sort_unstable();
                SearchResult::Closure(closure)
            }
            Err(End::Unsolvable) => SearchResult::Unsolvable,
            Err(End::Stop(Stop::Conflict)) => SearchResult::Handover(Handover::Conflict),
            Err(End::Stop(Stop::Handover(reason))) => SearchResult::Handover(reason),
        };
        if let Some(compared) = &mut self.compared {
            let compared = compared.take();
            let decided = !matches!(outcome, SearchResult::Handover(_));
            self.trace = decided.then(|| Trace::of(&self.state, self.base, compared));
        }
        self.state.clear(self.graph, self.base, !matches!(outcome, SearchResult::Closure(_)));
        self.wishes.forget();
        self.branches.clear();
        outcome
    }

    fn solve(&mut self, jobs: &[Job]) -> Result<(), End> {
        self.assertions(jobs)?;
        let (mut level, mut system_level) = (1, 2);
        loop {
            if level < system_level {
                level = self.jobs(jobs, level)?;
                system_level = level + 1;
                if self.base.is_some() {
                    level = self.keep_base(jobs, level)?;
                    system_level = level + 1;
                }
            }
            system_level = system_level.min(level);
            self.open_jobs(jobs);
            self.dependencies(jobs, level)?;
            match self.improvement() {
                Some((branch, candidate)) => level = self.take(jobs, branch, candidate)?,
                None => return Ok(()),
            }
        }
    }

    /// Draws the conclusions that hold before anything is chosen. A contradiction here is a proof,
    /// whatever is installed: no package of the base is decided yet, and deciding against one ends
    /// the search.
    fn assertions(&mut self, jobs: &[Job]) -> Result<(), End> {
        let at_level_1 = |stop| match stop {
            Stop::Conflict => End::Unsolvable,
            other => End::Stop(other),
        };
        for job in jobs {
            match job.literals[..] {
                [] => return Err(End::Unsolvable),
                [only] if !job.base => self.state.assert(only, 1).map_err(at_level_1)?,
                _ => {}
            }
        }
        self.state.propagate(1, jobs, self.graph, self.base).map_err(at_level_1)
    }

    fn jobs(&mut self, jobs: &[Job], mut level: i32) -> Result<i32, End> {
        for job in jobs {
            let mut queue = std::mem::take(&mut self.queue);
            let due = self.state.job_candidates(job, &mut queue);
            if due.is_some()
                && let Some(base) = self.base
                && queue.iter().any(|&p| base.is_base[p as usize])
            {
                queue.retain(|&p| base.is_base[p as usize]);
            }
            let result = if due.is_some() { self.select(&mut queue, jobs, level, true) } else { Ok(level) };
            self.queue = queue;
            level = result?;
        }
        Ok(level)
    }

    /// Decides for all packages of the base. libsolv keeps one installed package after the other,
    /// each at a level of its own. One level is enough here, because only their order relative to
    /// the other levels counts.
    fn keep_base(&mut self, jobs: &[Job], level: i32) -> Result<i32, End> {
        let Some(base) = self.base else { return Ok(level) };
        let mut kept = false;
        for &p in &base.packages {
            match self.state.value(p) {
                0 => {
                    self.state.decide(positive(p), level + 1);
                    kept = true;
                }
                value if value < 0 => return Err(End::Stop(Stop::Handover(Handover::BaseChanged))),
                _ => {}
            }
        }
        if !kept {
            return Ok(level);
        }
        self.state.propagate(level + 1, jobs, self.graph, self.base)?;
        Ok(level + 1)
    }

    /// Adds unfulfilled jobs to the pending rules. Jobs come last in the order of rules. All jobs
    /// are fulfilled, unless a choice among the candidates of one was taken back.
    fn open_jobs(&mut self, jobs: &[Job]) {
        let first = self.first_job();
        self.state.jobs_open = false;
        for (i, job) in jobs.iter().enumerate() {
            if self.state.job_candidates(job, &mut self.queue).is_some() {
                self.state.jobs_open = true;
                self.state.pending.insert(first + index32(i));
            }
        }
    }

    /// Returns the position of the first job among the rules.
    fn first_job(&self) -> u32 {
        index32(self.graph.rules.len() + self.base.map_or(0, |b| b.first.len()))
    }

    /// Cycles over the rules until a whole cycle changes nothing. At first it only decides rules
    /// for which the policy leaves one candidate. Then it starts at the first rule for which the
    /// policy left several, and decides every rule.
    fn dependencies(&mut self, jobs: &[Job], mut level: i32) -> Result<(), End> {
        let mut postponed: Option<u32> = None;
        let mut second_round = false;
        // Position of the last decision, or where the cycle began. The cycle ends after it.
        let mut start: Option<u32> = None;
        let mut at: Option<u32> = None;
        let mut wrapped = false;
        let mut queue = std::mem::take(&mut self.queue);
        let result = loop {
            let Some(place) = self.next_place(at, start, &mut wrapped) else {
                match postponed {
                    Some(first) if !second_round => {
                        second_round = true;
                        // The cycle begins with that rule itself.
                        at = first.checked_sub(1);
                        start = at;
                        wrapped = false;
                        continue;
                    }
                    _ => break Ok(()),
                }
            };
            at = Some(place);
            let due = match place.checked_sub(self.first_job()) {
                Some(job) => self.state.job_candidates(&jobs[job as usize], &mut queue),
                None => self.state.candidates(rule_at(place, self.base), self.graph, &mut queue),
            };
            if due.is_none() {
                self.state.pending.remove(place);
                continue;
            }
            if queue.len() > 1 && !second_round {
                self.note(&queue);
                if let Err(handover) = self.chooser().filter(&mut queue, false) {
                    break Err(End::Stop(Stop::Handover(handover)));
                }
                if queue.len() > 1 {
                    postponed = postponed.or(Some(place));
                    continue;
                }
            }
            match self.select(&mut queue, jobs, level, false) {
                Ok(next) => level = next,
                Err(end) => break Err(end),
            }
            start = Some(place);
            wrapped = false;
        };
        self.queue = queue;
        result
    }

    /// Returns the next pending rule after `at`, wrapping round once. Returns `None` when the cycle
    /// has come back to `start`.
    fn next_place(&self, at: Option<u32>, start: Option<u32>, wrapped: &mut bool) -> Option<u32> {
        let pending = &self.state.pending;
        if !*wrapped {
            if let Some(place) = pending.next(at.map_or(0, |place| place + 1)) {
                return Some(place);
            }
            *wrapped = true;
            return pending.next(0).filter(|&place| start.is_some_and(|end| place <= end));
        }
        pending.next(at? + 1).filter(|&place| start.is_some_and(|end| place <= end))
    }

    fn chooser(&mut self) -> Chooser<'_> {
        Chooser { graph: self.graph, base: self.base, state: &self.state, wishes: &mut self.wishes }
    }

    fn note(&mut self, candidates: &[Node]) {
        if let Some(compared) = &mut self.compared {
            compared.add(candidates);
        }
    }

    /// Chooses one of the candidates, remembers the others, and propagates.
    fn select(&mut self, candidates: &mut Vec<Node>, jobs: &[Job], level: i32, for_job: bool) -> Result<i32, End> {
        if candidates.len() > 1 {
            self.note(candidates);
            let mut chooser = self.chooser();
            chooser.filter(candidates, true).map_err(|h| End::Stop(Stop::Handover(h)))?;
            if candidates.len() > 1 && for_job {
                chooser.reorder_for_base(candidates);
            }
        }
        if candidates.len() > 1 {
            let candidates = candidates.iter().enumerate().map(|(i, &p)| (p, i == 0)).collect();
            self.branches.push(Branch { level, candidates });
        }
        self.state.decide(positive(candidates[0]), level + 1);
        self.state.propagate(level + 1, jobs, self.graph, self.base)?;
        Ok(level + 1)
    }

    /// Finds a branch where another candidate would have been better. It is better if it was
    /// installed later anyway, or if it is recommended and the chosen one is not. The first such
    /// branch counts.
    fn improvement(&mut self) -> Option<(usize, usize)> {
        let branches = std::mem::take(&mut self.branches);
        let mut found = None;
        for (index, branch) in branches.iter().enumerate().rev() {
            let mut recommended = None;
            let mut installed = None;
            for (i, &(p, tried)) in branch.candidates.iter().enumerate() {
                if tried {
                    continue;
                }
                if self.state.value(p) > branch.level {
                    installed = Some(i);
                    break;
                }
                if recommended.is_none() && self.chooser().recommended(p) {
                    recommended = Some(i);
                }
            }
            if let Some(i) = installed {
                found = Some((index, i));
            } else if let Some(i) = recommended {
                let chosen = branch.candidates.iter().any(|&(p, tried)| {
                    tried && self.state.value(p) == branch.level + 1 && !self.chooser().recommended(p)
                });
                if chosen {
                    found = Some((index, i));
                }
            }
        }
        self.branches = branches;
        found
    }

    fn take(&mut self, jobs: &[Job], branch: usize, candidate: usize) -> Result<i32, End> {
        self.branches.truncate(branch + 1);
        let branch = &mut self.branches[branch];
        branch.candidates[candidate].1 = true;
        let (level, p) = (branch.level, branch.candidates[candidate].0);
        self.state.revert(level, self.graph, self.base);
        self.wishes.forget();
        self.state.assert(positive(p), level + 1)?;
        self.state.propagate(level + 1, jobs, self.graph, self.base)?;
        Ok(level + 1)
    }
}

enum End {
    Unsolvable,
    Stop(Stop),
}

impl From<Stop> for End {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}
