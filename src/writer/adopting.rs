//! Takes policy and configuration into the log before the writer handles anything else.
//!
//! It also closes the requests that an import left without a command.

use std::collections::BTreeSet;

use super::Writer;
use crate::config::WantedGroup;
use crate::event::{
    CollectionEdited, Event, FactId, GROUPS_MAX, GroupChanged, GroupMade, PolicyAdopted, RebuildNotSubmitted, Source,
    findings, hub_facts, package_settings,
};
use crate::fold::{Collection, State};
use crate::log::LogError;
use crate::model::{Name, PROGRAM, PersonId, RebuildId, Seq};

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
        self.adopt_groups();
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

    /// Makes and changes the groups that the configuration names. Others stay: what an operator made is
    /// none of its business, and of what left it the journal says so.
    fn adopt_groups(&mut self) {
        let wanted = std::mem::take(&mut self.settings.groups);
        for group in &wanted {
            let (state, persons) = (&self.state, &mut self.persons);
            let stand_in = |name: &String| persons.stand_in(name, &mut self.commit);
            let maintainers: BTreeSet<PersonId> = group.maintainers.iter().map(stand_in).collect();
            let Some(known) = state.groups.get(&group.name) else {
                if state.groups.len() >= GROUPS_MAX {
                    tracing::warn!(group = %group.name, "the configured group was not made: there are {GROUPS_MAX} \
                        groups already");
                    continue;
                }
                let made = GroupMade {
                    group: group.name.clone(),
                    packages: group.packages.iter().cloned().collect(),
                    maintainers: maintainers.into_iter().collect(),
                    configured: true,
                    reason: String::new(),
                    by: None,
                };
                self.push(made.into(), Source::Operator, None, None);
                continue;
            };
            let change = known.change_to(&group.name, &group.packages, &maintainers);
            if !change.is_empty() || !known.configured {
                self.push(GroupChanged { configured: true, ..change }.into(), Source::Operator, None, None);
            }
        }
        for name in left(&self.state, &wanted) {
            tracing::info!(group = %name, "the group is not in the configuration any more, and stays as it is; \
                `koschei admin group {name} --delete` deletes it");
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

/// Returns the groups of the configuration that it does not name any more.
fn left<'a>(state: &'a State, wanted: &[WantedGroup]) -> Vec<&'a Name> {
    let is_wanted = |name: &Name| wanted.iter().any(|group| group.name == *name);
    state.groups.iter().filter(|(name, g)| g.configured && !is_wanted(name)).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::Group;

    #[test]
    fn only_groups_of_the_configuration_leave_it() {
        let group = |configured| Group { configured, ..Group::default() };
        let groups = [("a", true), ("b", false), ("c", true)].map(|(name, c)| (Name::from(name), group(c)));
        let mut state = State::default();
        state.groups = groups.into();
        let wanted = |name: &str| WantedGroup { name: name.into(), packages: BTreeSet::new(), maintainers: Vec::new() };
        assert_eq!(left(&state, &[wanted("a"), wanted("d")]), ["c"]);
        assert_eq!(left(&state, &[]), ["a", "c"]);
    }
}
