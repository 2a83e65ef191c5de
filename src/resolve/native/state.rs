//! The decisions of a search and their consequences.

use super::base::{Base, SetState};
use super::clauses::Literal;
use super::graph::{Flags, Graph, Rule};
use super::pending::Pending;
use super::sets::SetId;
use super::{Handover, Node};

/// Most jobs of one question. libsolv has to answer larger ones.
pub(super) const JOBS_MAX: usize = 1 << 16;

/// Why propagation stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    /// The rules contradict the decisions.
    Conflict,
    /// libsolv has to answer.
    Handover(Handover),
}

/// One thing to install: its literals without dead packages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Job {
    pub(super) literals: Vec<Literal>,
    /// Whether a package of the base is among them.
    pub(super) base: bool,
}

/// The decisions of one search. There is one state per thread, cleared after every search.
pub(super) struct State {
    /// For each package, the level at which it was decided; negative if it was decided against, 0
    /// if undecided. Dead packages are at -1.
    values: Vec<i32>,
    pub(super) trail: Vec<Literal>,
    /// Length of the trail that has been propagated.
    head: usize,
    /// Rules that may be unfulfilled, by their position in libsolv's order.
    pub(super) pending: Pending,
    /// For each set, how many installed packages require it.
    active: Vec<u32>,
    /// Whether jobs may still be unfulfilled.
    pub(super) jobs_open: bool,
    /// Decisions of this search that were taken back.
    pub(super) undone: Vec<Literal>,
    /// Packages that were decided against because a set that they require ran empty.
    pub(super) emptied: Vec<Node>,
}

impl State {
    pub(super) fn new(graph: &Graph) -> Self {
        let dead = |p: usize| graph.traits[p].flags.has(Flags::DEAD);
        Self {
            values: (0..graph.nodes()).map(|p| if dead(p) { -1 } else { 0 }).collect(),
            trail: Vec::new(),
            head: 0,
            pending: Pending::new(graph.rules.len() * 2 + JOBS_MAX),
            active: vec![0; graph.live.len()],
            jobs_open: true,
            undone: Vec::new(),
            emptied: Vec::new(),
        }
    }

    pub(super) fn value(&self, p: Node) -> i32 {
        self.values[p as usize]
    }

    pub(super) fn is_true(&self, p: Node) -> bool {
        self.values[p as usize] > 0
    }

    fn literal(&self, l: Literal) -> i32 {
        let value = self.values[l.unsigned_abs() as usize];
        if l < 0 { -value } else { value }
    }

    /// Decides an undecided literal.
    pub(super) fn decide(&mut self, l: Literal, level: i32) {
        debug_assert!(self.literal(l) == 0, "decided twice");
        self.values[l.unsigned_abs() as usize] = if l > 0 { level } else { -level };
        self.trail.push(l);
    }

    /// Decides a literal unless it is already decided. A contradiction is a conflict.
    pub(super) fn assert(&mut self, l: Literal, level: i32) -> Result<(), Stop> {
        match self.literal(l) {
            0 => self.decide(l, level),
            known if known < 0 => return Err(Stop::Conflict),
            _ => {}
        }
        Ok(())
    }

    /// Takes back all decisions. After a [`Stop`], the counts of the package being processed may be
    /// wrong, so all counts are cleared.
    pub(super) fn clear(&mut self, graph: &Graph, base: Option<&Base>, stopped: bool) {
        if stopped {
            self.active.fill(0);
            self.head = 0;
        }
        while let Some(l) = self.trail.pop() {
            self.undo(l, graph, base);
        }
        self.head = 0;
        self.pending.clear();
        self.jobs_open = true;
        self.undone.clear();
        self.emptied.clear();
    }

    fn undo(&mut self, l: Literal, graph: &Graph, base: Option<&Base>) {
        let p = l.unsigned_abs();
        self.values[p as usize] = 0;
        if l > 0 && self.trail.len() < self.head {
            for &(_, set) in open_rules(p, graph, base) {
                self.active[set as usize] -= 1;
            }
        }
    }

    /// Takes back all decisions above a level.
    pub(super) fn revert(&mut self, level: i32, graph: &Graph, base: Option<&Base>) {
        while let Some(&l) = self.trail.last() {
            if self.values[l.unsigned_abs() as usize].abs() <= level {
                break;
            }
            self.trail.pop();
            self.undone.push(l);
            self.undo(l, graph, base);
        }
        self.head = self.head.min(self.trail.len());
        self.jobs_open = true;
        self.pending.clear();
        for i in 0..self.trail.len() {
            let l = self.trail[i];
            if l > 0 {
                self.collect_pending(l.unsigned_abs(), graph, base);
            }
        }
    }

    fn collect_pending(&mut self, p: Node, graph: &Graph, base: Option<&Base>) {
        for &(rule, set) in open_rules(p, graph, base) {
            if graph.live.row(set).len() > 1 {
                self.pending.insert(place(rule, base));
            }
        }
        for &clause in graph.negative_in.row(p) {
            if let Some(rule) = clause_rule(clause, graph, base) {
                self.pending.insert(rule);
            }
        }
    }

    /// Draws all consequences of the decisions since the last call.
    pub(super) fn propagate(
        &mut self,
        level: i32,
        jobs: &[Job],
        graph: &Graph,
        base: Option<&Base>,
    ) -> Result<(), Stop> {
        loop {
            let mut against = false;
            while let Some(&l) = self.trail.get(self.head) {
                self.head += 1;
                let p = l.unsigned_abs();
                if l > 0 {
                    self.there(p, level, graph, base)?;
                } else {
                    against = true;
                    self.not_there(p, level, graph, base)?;
                }
            }
            if !against || !self.jobs_open || !self.unit_jobs(level, jobs)? {
                return Ok(());
            }
        }
    }

    /// Decides jobs that have one literal left, as for any rule. Returns whether there was one.
    fn unit_jobs(&mut self, level: i32, jobs: &[Job]) -> Result<bool, Stop> {
        let mut found = false;
        // Skip jobs with a package of the base: for libsolv they have it twice, installed and in
        // the repository.
        for job in jobs.iter().filter(|job| !job.base) {
            let mut open = None;
            let mut more = false;
            for &l in &job.literals {
                match self.literal(l) {
                    0 if open.is_none() => open = Some(l),
                    0 => more = true,
                    value if value > 0 => {
                        more = true;
                        break;
                    }
                    _ => {}
                }
            }
            match open {
                _ if more => {}
                None => return Err(Stop::Conflict),
                Some(l) => {
                    self.decide(l, level);
                    found = true;
                }
            }
        }
        Ok(found)
    }

    fn there(&mut self, p: Node, level: i32, graph: &Graph, base: Option<&Base>) -> Result<(), Stop> {
        let rules = open_rules(p, graph, base);
        for &(_, set) in rules {
            self.active[set as usize] += 1;
        }
        if graph.traits[p as usize].flags.has(Flags::UNMODELLED) {
            return Err(Stop::Handover(Handover::Unmodelled));
        }
        for &(rule, set) in rules {
            match base.map_or(SetState::Open, |b| b.sets[set as usize]) {
                SetState::Update => return Err(Stop::Handover(Handover::Update)),
                SetState::Unclear if !matches!(self.look(set, graph), Look::Fulfilled) => {
                    return Err(Stop::Handover(Handover::Update));
                }
                SetState::Open | SetState::Kept | SetState::Unclear => {}
            }
            match self.look(set, graph) {
                Look::Fulfilled => {}
                _ if graph.unclear[set as usize] => return Err(Stop::Handover(Handover::Unmodelled)),
                Look::None => return Err(Stop::Conflict),
                Look::One(m) => self.decide(super::clauses::positive(m), level),
                Look::Several => {
                    self.pending.insert(place(rule, base));
                }
            }
        }
        for &clause in graph.negative_in.row(p) {
            self.evaluate(clause, level, graph, base)?;
        }
        for &q in graph.conflicts.row(p) {
            self.assert(-super::clauses::positive(q), level)?;
        }
        Ok(())
    }

    fn not_there(&mut self, p: Node, level: i32, graph: &Graph, base: Option<&Base>) -> Result<(), Stop> {
        if base.is_some_and(|b| b.is_base[p as usize]) {
            return Err(Stop::Handover(Handover::BaseChanged));
        }
        for &set in base.map_or(&graph.sets_of, |b| &b.open_sets_of).row(p) {
            match self.look(set, graph) {
                Look::Fulfilled | Look::Several => {}
                Look::One(m) => {
                    if self.active[set as usize] > 0 {
                        self.decide(super::clauses::positive(m), level);
                    }
                }
                Look::None => {
                    for &r in graph.requirers.row(set) {
                        if self.values[r as usize] == 0 {
                            self.emptied.push(r);
                        }
                        self.assert(-super::clauses::positive(r), level)?;
                    }
                }
            }
        }
        for &clause in graph.positive_in.row(p) {
            self.evaluate(clause, level, graph, base)?;
        }
        Ok(())
    }

    fn look(&self, set: SetId, graph: &Graph) -> Look {
        let mut one = None;
        let mut several = false;
        for &m in graph.live.row(set) {
            match self.values[m as usize] {
                0 if one.is_none() => one = Some(m),
                0 => several = true,
                value if value > 0 => return Look::Fulfilled,
                _ => {}
            }
        }
        match one {
            None => Look::None,
            Some(_) if several => Look::Several,
            Some(m) => Look::One(m),
        }
    }

    fn evaluate(&mut self, clause: u32, level: i32, graph: &Graph, base: Option<&Base>) -> Result<(), Stop> {
        if base.is_some_and(|b| b.kept_clauses[clause as usize]) {
            return Ok(());
        }
        let mut open = 0;
        let mut last = 0;
        let mut negative_open = false;
        for &l in graph.clauses.row(clause) {
            match self.literal(l) {
                0 => {
                    open += 1;
                    last = l;
                    negative_open |= l < 0;
                }
                value if value > 0 => return Ok(()),
                _ => {}
            }
        }
        if base.is_some_and(|b| b.unclear_clauses[clause as usize]) {
            return Err(Stop::Handover(Handover::Update));
        }
        match open {
            0 => Err(Stop::Conflict),
            1 => {
                self.decide(last, level);
                Ok(())
            }
            _ => {
                if !negative_open && let Some(rule) = clause_rule(clause, graph, base) {
                    self.pending.insert(rule);
                }
                Ok(())
            }
        }
    }

    /// Collects the candidates of a pending rule. Returns `None` if the rule is fulfilled, or if it
    /// does not apply because one of its packages is not installed.
    pub(super) fn candidates(&self, rule: u32, graph: &Graph, out: &mut Vec<Node>) -> Option<()> {
        out.clear();
        match graph.rules[rule as usize] {
            Rule::Set(set) => {
                if !self.is_true(graph.owners[rule as usize]) {
                    return None;
                }
                for &m in graph.live.row(set) {
                    match self.values[m as usize] {
                        0 => out.push(m),
                        value if value > 0 => return None,
                        _ => {}
                    }
                }
            }
            Rule::Clause(clause) => {
                for &l in graph.clauses.row(clause) {
                    let p = l.unsigned_abs();
                    match self.values[p as usize] {
                        value if l < 0 && value <= 0 => return None,
                        0 => out.push(p),
                        value if l > 0 && value > 0 => return None,
                        _ => {}
                    }
                }
            }
            Rule::Nothing => return None,
        }
        (!out.is_empty()).then_some(())
    }

    /// Collects the undecided positive literals of a job. Returns `None` if the job is fulfilled or
    /// does not apply.
    pub(super) fn job_candidates(&self, job: &Job, out: &mut Vec<Node>) -> Option<()> {
        out.clear();
        for &l in &job.literals {
            let p = l.unsigned_abs();
            match self.values[p as usize] {
                value if l < 0 && value <= 0 => return None,
                0 => out.push(p),
                value if l > 0 && value > 0 => return None,
                _ => {}
            }
        }
        (!out.is_empty()).then_some(())
    }
}

enum Look {
    Fulfilled,
    None,
    One(Node),
    Several,
}

/// Returns the rules of a package that are sets, without those that the base fulfils. The base
/// fulfils all rules of its own packages.
fn open_rules<'g>(p: Node, graph: &'g Graph, base: Option<&'g Base>) -> &'g [(u32, SetId)] {
    base.map_or(&graph.set_rules, |b| &b.open_rules).row(p)
}

/// Returns the position of a rule in the order in which rules are visited.
pub(super) fn place(rule: u32, base: Option<&Base>) -> u32 {
    let Some(base) = base else { return rule };
    match base.moved.get(&rule) {
        Some(&place) => place,
        None => rule + super::index32(base.first.len()),
    }
}

/// Returns the rule at a position.
pub(super) fn rule_at(place: u32, base: Option<&Base>) -> u32 {
    let Some(base) = base else { return place };
    match base.first.get(place as usize) {
        Some(&rule) => rule,
        None => place - super::index32(base.first.len()),
    }
}

fn clause_rule(clause: u32, graph: &Graph, base: Option<&Base>) -> Option<u32> {
    if base.is_some_and(|b| b.kept_clauses[clause as usize]) {
        return None;
    }
    Some(place(graph.clause_rules[clause as usize], base))
}
