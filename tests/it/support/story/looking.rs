//! What is asked of a story: states, reasons, plans, events, commands.

use koschei::decide::load::ArchLoads;
use koschei::decide::{Hold, Policy, Why};
use koschei::event::{Envelope, Event, RebuildRequested};
use koschei::fold::{Package, State};
use koschei::log::{EventLog, PAGE_MAX};
use koschei::model::{Hub, PackageState, RebuildId, TaskId};
use serde_json::Value;

use super::World;

impl World {
    // ---- looking ----

    pub(crate) fn state(&self) -> &State {
        self.writer.state()
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.settings.policy
    }

    pub(crate) fn package(&self, name: &str) -> &Package {
        self.state().package("f99", name).unwrap()
    }

    pub(crate) fn is(&self, name: &str) -> PackageState {
        self.is_in("f99", name)
    }

    pub(crate) fn is_in(&self, collection: &str, name: &str) -> PackageState {
        let c = &self.state().collections[collection];
        let p = &c.packages[name];
        let state = p.state(c.settings.track_all);
        assert_eq!(p.announced_state(), Some(state), "{name}: every change of state is in the log");
        state
    }

    pub(crate) fn why(&self, name: &str) -> Why {
        self.why_in("f99", name)
    }

    pub(crate) fn why_in(&self, collection: &str, name: &str) -> Why {
        koschei::decide::why(self.state(), collection, name, self.now(), self.policy(), None).unwrap()
    }

    /// Returns the keys of what holds a package back now. If empty, the package would be chosen.
    pub(crate) fn held(&self, name: &str) -> Vec<&'static str> {
        self.why(name).deciding.iter().map(Hold::key).collect()
    }

    /// Returns the current priority, in thousandths.
    pub(crate) fn priority(&self, name: &str) -> Option<i64> {
        self.why(name).priority.map(|p| p.current)
    }

    /// Returns the current dependency points, in thousandths.
    pub(crate) fn dependency_points(&self, name: &str) -> i64 {
        self.why(name).priority.unwrap().dependency
    }

    /// Returns the packages that the rules would choose now, most urgent first.
    pub(crate) fn plan(&self, load: Option<&[(&str, u32)]>) -> Vec<String> {
        let loads = load.map(|l| ArchLoads(l.iter().map(|&(a, n)| (a.into(), n)).collect()));
        let plan = koschei::decide::plan(self.state(), self.now(), self.policy(), loads.as_ref());
        plan.chosen_names(self.state()).into_iter().map(|c| c.package.to_string()).collect()
    }

    /// Returns a package's dependency changes, sorted: `name old>new /distance`.
    pub(crate) fn changes(&self, name: &str) -> Vec<String> {
        let c = &self.state().collections["f99"];
        let mut rows: Vec<String> = c.packages[name]
            .verdicts
            .iter()
            .flat_map(|v| v.changes.iter())
            .map(|(index, distance)| {
                let m = c.moves.get_index(*index as usize).unwrap();
                let side = |s: &Option<smol_str::SmolStr>| s.as_ref().map_or("-".to_owned(), ToString::to_string);
                format!("{} {}>{} /{distance}", m.name, side(&m.old), side(&m.new))
            })
            .collect();
        rows.sort();
        rows
    }

    /// Returns the whole log.
    pub(crate) fn events(&self) -> Vec<Envelope> {
        let mut all = Vec::new();
        loop {
            let after = all.last().map(|e: &Envelope| e.seq);
            let page = self.rt.block_on(self.log.read(after, PAGE_MAX)).unwrap();
            if page.is_empty() {
                return all;
            }
            all.extend(page.iter().map(|r| r.decode().unwrap()));
        }
    }

    /// Returns what `pick` selects from all events.
    pub(crate) fn all<T>(&self, mut pick: impl FnMut(Event) -> Option<T>) -> Vec<T> {
        self.events().into_iter().filter_map(|e| pick(e.event)).collect()
    }

    /// Returns a package's changes of state: `old>new`, `-` for none.
    pub(crate) fn states(&self, name: &str) -> Vec<String> {
        self.all(|e| match e {
            Event::PackageStateChanged(c) if c.package == name => {
                Some(format!("{}>{}", c.old.map_or("-", |o| o.as_str()), c.new))
            }
            _ => None,
        })
    }

    /// Returns the reasons that changed while the package's state stayed the same.
    pub(crate) fn reasons(&self, name: &str) -> Vec<String> {
        self.all(|e| match e {
            Event::PackageReasonChanged(c) if c.package == name => Some(c.reason),
            _ => None,
        })
    }

    /// Returns why a package is in its state, as it is shown.
    pub(crate) fn reason(&self, name: &str) -> String {
        let (c, p) = (&self.state().collections["f99"], self.package(name));
        koschei::decide::state_reason::state_reason(c, p, p.state(c.settings.track_all), |_, _| None)
    }

    /// Returns the outcomes of a package's rebuilds, in order.
    pub(crate) fn outcomes(&self, name: &str) -> Vec<String> {
        self.all(|e| match e {
            Event::RebuildFinished(f) if f.package == name => Some(f.outcome.to_string()),
            _ => None,
        })
    }

    /// Returns the rebuilds requested since the last call.
    pub(crate) fn requests(&mut self) -> Vec<RebuildRequested> {
        let all = self.all(|e| match e {
            Event::RebuildRequested(r) => Some(r),
            _ => None,
        });
        let new = all[self.requests_seen..].to_vec();
        self.requests_seen = all.len();
        new
    }

    /// Returns the packages of the rebuilds requested since the last call, in order.
    pub(crate) fn requested(&mut self) -> Vec<String> {
        self.requests().into_iter().map(|r| r.nvr.name.to_string()).collect()
    }

    /// Returns the commands in the outbox.
    pub(crate) fn commands(&self) -> Vec<Value> {
        let pending = self.rt.block_on(self.log.pending_commands(PAGE_MAX)).unwrap();
        pending.iter().map(|c| serde_json::from_str(&c.payload).unwrap()).collect()
    }

    /// Returns the outcome of a task, as long as the state keeps the task.
    pub(crate) fn task_outcome(&self, id: i64) -> Option<koschei::model::Outcome> {
        self.state().hubs[&Hub::new("primary")].tasks.get(&TaskId(id))?.outcome
    }

    /// Audits the log.
    pub(crate) fn audit(&self) -> koschei::tools::audit::Audit {
        self.rt.block_on(koschei::tools::audit::audit(&self.log, &mut |_| {})).unwrap()
    }

    /// Returns the command id of a decided rebuild.
    pub(crate) fn command_of(&self, rebuild: RebuildId) -> String {
        let record = self.rt.block_on(self.log.read(koschei::model::Seq::new(rebuild.0 - 1), 1)).unwrap().remove(0);
        let log = self.rt.block_on(self.log.info()).unwrap().log_id;
        koschei::event::CommandId { log, seq: record.seq, hash: record.hash }.to_string()
    }

    /// Audits the log: every decision must follow from it.
    pub(crate) fn audited(&self) {
        assert_eq!(self.audit().findings, Vec::new());
    }

    /// Like [`World::audited`], and no event in the log may be contradictory.
    pub(crate) fn sound(&self) {
        self.audited();
        assert!(self.state().anomalies.is_empty(), "{:?}", self.state().anomalies);
    }
}
