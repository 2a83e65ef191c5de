//! Checks that the outbox matches the log: each command belongs to the event that decided it, and
//! none is missing.

use std::collections::VecDeque;

use super::{Damage, VerifyError};
use crate::event::{CommandId, Event, RebuildNotSubmitted, Record};
use crate::log::{EventLog, OutboxCommand, PAGE_MAX};
use crate::model::Seq;

/// Follows the outbox along the events. One page of it is in memory.
pub(super) struct OutboxCheck {
    log_id: String,
    page: VecDeque<(u64, OutboxCommand)>,
    /// Number of the last row read.
    read: u64,
    at_end: bool,
    /// Number of commands that belong to their events.
    pub(super) commands: u64,
    /// A request without a command. Only the next event can explain it.
    bare: Option<Seq>,
}

impl OutboxCheck {
    pub(super) fn new(log_id: String) -> Self {
        Self { log_id, page: VecDeque::new(), read: 0, at_end: false, commands: 0, bare: None }
    }

    /// Checks the next event of the log, and its command if it has one.
    pub(super) async fn step(&mut self, log: &impl EventLog, record: &Record) -> Result<(), VerifyError> {
        let bad = |seq: Seq, what: String| Err(VerifyError::Damaged { seq, damage: Damage::Command(what) });
        if let Some(request) = self.bare.take() {
            let passive = |e| match e {
                Event::RebuildNotSubmitted(e) => {
                    e.rebuild.0 == request.get() && e.reason == RebuildNotSubmitted::PASSIVE
                }
                _ => false,
            };
            if !decoded(record).is_some_and(passive) {
                return bad(request, "it was decided, but the outbox has no command for it".to_owned());
            }
        }
        self.fill(log).await?;
        let mine = self.page.pop_front_if(|(_, c)| c.seq <= record.seq);
        if let Some((_, command)) = mine {
            if command.seq < record.seq {
                return bad(command.seq, format!("its command `{}` comes after those of later events", command.id));
            }
            self.commands += 1;
            return match self.belongs(record, &command) {
                Some(what) => bad(record.seq, format!("the command `{}` {what}", command.id)),
                None => Ok(()),
            };
        }
        // An imported log has commands only for decisions after the import.
        if self.commands > 0 && record.kind == "rebuild_requested" {
            self.bare = Some(record.seq);
        }
        Ok(())
    }

    /// Checks that no command is left, and returns their number.
    pub(super) async fn finish(mut self, log: &impl EventLog) -> Result<u64, VerifyError> {
        self.fill(log).await?;
        let bad = |seq: Seq, what: &str| Err(VerifyError::Damaged { seq, damage: Damage::Command(what.to_owned()) });
        match (self.page.front(), self.bare) {
            (Some((_, command)), _) => bad(command.seq, "the outbox has a command for it, but the log ends before it"),
            (None, Some(request)) => bad(request, "it was decided, but the outbox has no command for it"),
            (None, None) => Ok(self.commands),
        }
    }

    async fn fill(&mut self, log: &impl EventLog) -> Result<(), VerifyError> {
        if self.page.is_empty() && !self.at_end {
            let page = log.outbox(self.read, PAGE_MAX).await.map_err(VerifyError::Read)?;
            self.at_end = page.is_empty();
            self.read = page.last().map_or(self.read, |(number, _)| *number);
            self.page.extend(page);
        }
        Ok(())
    }

    /// Returns what is wrong with an event's command, or `None`.
    fn belongs(&self, record: &Record, command: &OutboxCommand) -> Option<&'static str> {
        let id = CommandId { log: self.log_id.clone(), seq: record.seq, hash: record.hash };
        // Early ids had these forms, before they contained the log and the hash. They are no longer
        // written.
        let early = [format!("r{}", record.seq), format!("c{}", record.seq)];
        if command.id != id.to_string() && !early.contains(&command.id) {
            return Some("has the id of another event");
        }
        let Ok(said) = serde_json::from_str::<serde_json::Value>(&command.payload) else {
            return Some("is not JSON");
        };
        let same = |name: &str, expected: &str| said.get(name).and_then(|v| v.as_str()) == Some(expected);
        let right = match decoded(record) {
            Some(Event::RebuildRequested(e)) if command.kind == "rebuild" => {
                same("collection", &e.collection)
                    && same("nvr", &e.nvr.to_string())
                    && same("target", &e.target)
                    && same("hub", e.hub.as_str())
            }
            Some(Event::RebuildCancelRequested(e)) if command.kind == "cancel" => {
                same("collection", &e.collection) && same("package", &e.package) && same("hub", e.hub.as_str())
            }
            _ => return Some("names an event that decides no such command"),
        };
        (!(right && same("id", &command.id))).then_some("differs from what the event decided")
    }
}

fn decoded(record: &Record) -> Option<Event> {
    record.decode().ok().map(|e| e.event)
}
