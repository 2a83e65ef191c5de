//! Takes policy and configuration into the log before the writer handles anything else.
//!
//! It also closes the requests that an import left without a command.

use super::Writer;
use crate::event::{
    CollectionEdited, Event, FactId, PolicyAdopted, RebuildNotSubmitted, Source, findings, hub_facts, package_settings,
};
use crate::fold::Collection;
use crate::log::LogError;
use crate::model::{PROGRAM, RebuildId, Seq};

impl Writer {
    /// Adopts policy and configuration if no message has caused that yet, and appends the resulting
    /// events. Does nothing to an empty log: its time begins with its first message.
    ///
    /// # Errors
    /// Fails like [`Writer::flush`].
    pub async fn adopt(&mut self) -> Result<(), LogError> {
        if self.state.seq.is_some() {
            self.begin();
            self.follow_tracking().await?;
        }
        self.flush().await
    }

    /// Returns the requests that have no task yet.
    pub fn without_task(&self) -> Vec<Seq> {
        let waiting = self.state.rebuilds.iter().filter(|(_, open)| open.task.is_none());
        waiting.filter_map(|(id, _)| Seq::new(id.0)).collect()
    }

    /// Tells the writer which requests have no command in the outbox. The log was imported, and an
    /// export carries no commands.
    ///
    /// Nobody would ever submit these requests. The writer closes them before it appends anything
    /// else. Their packages are considered again by the rules.
    pub fn never_asked(&mut self, requests: impl Iterator<Item = Seq>) {
        self.without_command = requests.map(|seq| RebuildId(seq.get())).collect();
    }

    /// Adopts policy and configuration as far as the log does not have them yet. Runs once, before
    /// the writer handles anything else.
    pub(crate) fn begin(&mut self) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let digest = self.settings.policy.digest();
        if self.state.policy.as_ref().is_none_or(|p| p.digest != digest) {
            let policy = serde_json::to_value(&self.settings.policy).expect("a policy holds only what JSON can say");
            let event = PolicyAdopted { digest, policy, program: PROGRAM.to_owned() };
            self.push(event.into(), Source::Operator, None, None);
        }
        for rebuild in std::mem::take(&mut self.without_command) {
            let Some(open) = self.state.rebuilds.get(&rebuild) else { continue };
            let (collection, package) = (open.collection.clone(), open.package.clone());
            let closed = RebuildNotSubmitted {
                rebuild,
                collection,
                package,
                reason: RebuildNotSubmitted::NOT_EXPORTED.to_owned(),
            };
            self.push(closed.into(), Source::Engine, None, None);
        }
        for mut event in std::mem::take(&mut self.settings.wanted) {
            if self.already(&event) {
                continue;
            }
            if let Event::CollectionCreated(c) = &event
                && self.state.collections.contains_key(&c.collection)
            {
                event = CollectionEdited { collection: c.collection.clone(), settings: c.settings.clone() }.into();
            }
            self.push(event, Source::Operator, None, None);
        }
        // Observations come after the collections: a collection must learn whether its target
        // exists.
        for event in self.resolver.observations() {
            if !self.already(&event) {
                let text = format!("archive/{}/{}", event.kind(), event.payload());
                let mut new = self.new_event(event, Source::Archive);
                new.fact = Some(FactId::of(&format!("{text}/{}", Seq::after(self.state.seq))));
                self.append(new);
            }
        }
    }

    /// Checks whether folding an observation or a setting would change nothing.
    fn already(&self, event: &Event) -> bool {
        match event {
            Event::TagObserved(t) => {
                let Some(tag) = self.state.hubs.get(&t.hub).and_then(|h| h.tags.get(&t.tag)) else { return false };
                (t.arches.is_none() || t.arches == tag.arches)
                    && (t.inheritance.is_none() || t.inheritance == tag.inheritance)
                    && (t.groups.is_none() || t.groups == tag.groups)
                    && (t.external_repos.is_none() || t.external_repos == tag.external_repos)
            }
            Event::TargetObserved(t) => {
                let known = self.state.hubs.get(&t.hub).and_then(|h| h.targets.get(&t.target));
                if t.build_tag.is_none() || t.dest_tag.is_none() {
                    // The target does not exist and was never seen. That is already known only if
                    // all collections that submit to it know.
                    let theirs = |c: &&Collection| c.settings.building() == (&t.hub, &t.target);
                    return known.is_none() && self.state.collections.values().filter(theirs).all(|c| c.target_gone);
                }
                known.map(|(b, d)| (Some(b), Some(d))).unwrap_or_default()
                    == (t.build_tag.as_ref(), t.dest_tag.as_ref())
            }
            Event::CollectionCreated(c) => {
                self.state.collections.get(&c.collection).is_some_and(|x| x.settings == c.settings)
            }
            package_settings!() => event.setting_of().is_some_and(|(collection, package)| {
                self.state.package(collection, package).is_some_and(|p| p.has(event))
            }),
            Event::CollectionEdited(_)
            | Event::SubmissionsPaused(_)
            | Event::SubmissionsResumed(_)
            | Event::RebuildCancelRequested(_)
            | Event::MessageDismissed(_)
            | Event::GroupMade(_)
            | Event::GroupChanged(_)
            | Event::GroupDeleted(_)
            | hub_facts!()
            | findings!() => false,
        }
    }
}
