//! Checks that each announcement belongs to an event. That it says what follows from the event is
//! derived again by `koschei log audit`.

use std::collections::VecDeque;

use super::{Damage, VerifyError};
use crate::event::{CommandId, Record};
use crate::log::announcements::id_of;
use crate::log::{Announcement, EventLog, PAGE_MAX};
use crate::model::Seq;

/// Follows the announcements along the events. One page of them is in memory.
pub(super) struct AnnouncedCheck {
    log_id: String,
    page: VecDeque<(u64, Announcement)>,
    /// Event and number of the last row read.
    read: Option<(Seq, u64)>,
    at_end: bool,
    /// Number of announcements that belong to their events.
    pub(super) announcements: u64,
}

impl AnnouncedCheck {
    pub(super) fn new(log_id: String) -> Self {
        Self { log_id, page: VecDeque::new(), read: None, at_end: false, announcements: 0 }
    }

    /// Checks the announcements of the next event of the log.
    pub(super) async fn step(&mut self, log: &impl EventLog, record: &Record) -> Result<(), VerifyError> {
        loop {
            self.fill(log).await?;
            let Some((_, mine)) = self.page.pop_front_if(|(_, a)| a.seq <= record.seq) else { return Ok(()) };
            let wrong = match mine.seq < record.seq {
                true => Some("announces an event before the first"),
                false => self.misfit(record, &mine),
            };
            if let Some(what) = wrong {
                return Err(bad(mine.seq, format!("its announcement `{}` {what}", mine.id)));
            }
            self.announcements += 1;
        }
    }

    /// Checks that no announcement is left, and returns their number.
    pub(super) async fn finish(mut self, log: &impl EventLog) -> Result<u64, VerifyError> {
        self.fill(log).await?;
        match self.page.front() {
            Some((_, left)) => Err(bad(left.seq, format!("`{}` announces it, but the log ends before it", left.id))),
            None => Ok(self.announcements),
        }
    }

    async fn fill(&mut self, log: &impl EventLog) -> Result<(), VerifyError> {
        if self.page.is_empty() && !self.at_end {
            let page = log.announcements(self.read, PAGE_MAX).await.map_err(VerifyError::Read)?;
            self.at_end = page.is_empty();
            self.read = page.last().map_or(self.read, |(number, a)| Some((a.seq, *number)));
            self.page.extend(page);
        }
        Ok(())
    }

    /// Returns what is wrong with an event's announcement, or `None`.
    fn misfit(&self, record: &Record, announcement: &Announcement) -> Option<&'static str> {
        let event = CommandId { log: self.log_id.clone(), seq: record.seq, hash: record.hash };
        // What is said at a tick is about something else.
        let about = (record.kind == "tick").then_some(announcement.subject.as_str());
        if announcement.id != id_of(&event, &announcement.topic, about) {
            return Some("has the id of another event");
        }
        if (about.is_none() && announcement.subject != record.subject) || announcement.made_at != record.recorded_at {
            return Some("has another subject or time");
        }
        let is_object = |text: &str| serde_json::from_str::<serde_json::Map<_, _>>(text).is_ok();
        (!is_object(&announcement.headers) || !is_object(&announcement.body)).then_some("is not JSON")
    }
}

fn bad(seq: Seq, what: String) -> VerifyError {
    VerifyError::Damaged { seq, damage: Damage::Command(what) }
}
