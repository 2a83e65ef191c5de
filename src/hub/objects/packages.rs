//! Package lists of tags: how to ask for one, and what is news in it.

use std::collections::BTreeMap;

use super::{ListedSeen, Reading, listing};
use crate::event::{PackageListAction, PackageListChanged};
use crate::hub::diff::Compare;
use crate::hub::snapshot::Seen;
use crate::koji::Batch;
use crate::koji::calls::list_packages;
use crate::koji::records::ListedPackage;
use crate::model::{Name, PersonId};

/// Longest name of an owner that is kept, in bytes.
const OWNER_MAX: usize = 255;

pub(super) fn ask(tag: Name, package: Option<Name>, batch: &mut Batch) -> Reading {
    let listed = batch.add(list_packages(&tag, package.as_ref()));
    Box::new(move |answers| {
        let seen = |p: ListedPackage| {
            let owner = p.owner_name.filter(|name| !name.is_empty() && name.len() <= OWNER_MAX);
            ListedSeen { package: p.package_name, blocked: p.blocked, owner }
        };
        let listed = listing(answers.take(listed))?.into_iter().map(seen).collect();
        Ok(Seen::TagPackages { tag, package, listed }.into())
    })
}

impl Compare<'_> {
    pub(in crate::hub) fn tag_packages(&mut self, tag: &Name, package: Option<&Name>, listed: &[ListedSeen]) {
        let there: BTreeMap<&Name, &ListedSeen> = listed.iter().map(|seen| (&seen.package, seen)).collect();
        for (name, seen) in &there {
            let owner = seen.owner.as_deref().map(|owner| self.person(owner));
            let known = self.hub.tags.get(tag).and_then(|t| t.packages.get(*name)).and_then(|p| p.entry.as_ref());
            let changed = match (known.map(|entry| entry.blocked), seen.blocked) {
                (Some(known), blocked) if known == blocked => None,
                (None, false) => Some(PackageListAction::Add),
                (_, true) => Some(PackageListAction::Block),
                (Some(_), false) => Some(PackageListAction::Unblock),
            };
            let before = known.and_then(|entry| entry.owner.as_ref());
            let is_new_owner = owner.is_some() && owner.as_ref() != before;
            match changed {
                Some(action) => self.list_changed(tag, name, action, Some(seen.blocked), owner),
                // Earlier versions of this program did not read owners, so no message is missing.
                None if is_new_owner => self.quietly(before.is_none(), |compare| {
                    compare.list_changed(tag, name, PackageListAction::Update, Some(seen.blocked), owner);
                }),
                None => {}
            }
        }
        let names: Vec<Name> = match package {
            Some(name) => vec![name.clone()],
            None => {
                let packages = self.hub.tags.get(tag).map(|t| &t.packages);
                packages.into_iter().flatten().filter(|(_, p)| p.entry.is_some()).map(|(n, _)| n.clone()).collect()
            }
        };
        for name in names {
            let known = self.hub.tags.get(tag).and_then(|t| t.packages.get(&name)).and_then(|p| p.entry.as_ref());
            if known.is_some() && !there.contains_key(&name) {
                self.list_changed(tag, &name, PackageListAction::Remove, None, None);
                self.takes_back();
            }
        }
    }

    fn list_changed(
        &mut self,
        tag: &Name,
        package: &Name,
        action: PackageListAction,
        blocked: Option<bool>,
        by: Option<PersonId>,
    ) {
        let (tag, package) = (tag.clone(), package.clone());
        let fact = PackageListChanged { hub: self.hub(), tag, package, action, blocked, by };
        self.fact(fact, None, Some(self.look.event), None);
    }
}
