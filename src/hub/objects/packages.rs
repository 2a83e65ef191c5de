//! Package lists of tags: how to ask for one, and what is news in it.

use std::collections::BTreeMap;

use super::{Reading, listing};
use crate::event::{PackageListAction, PackageListChanged};
use crate::hub::diff::Compare;
use crate::hub::snapshot::Seen;
use crate::koji::Batch;
use crate::koji::calls::list_packages;
use crate::model::Name;

pub(super) fn ask(tag: Name, package: Option<Name>, batch: &mut Batch) -> Reading {
    let listed = batch.add(list_packages(&tag, package.as_ref()));
    Box::new(move |answers| {
        let listed = listing(answers.take(listed))?.into_iter().map(|p| (p.package_name, p.blocked)).collect();
        Ok(Seen::TagPackages { tag, package, listed }.into())
    })
}

impl Compare<'_> {
    pub(in crate::hub) fn tag_packages(&mut self, tag: &Name, package: Option<&Name>, listed: &[(Name, bool)]) {
        let there: BTreeMap<&Name, bool> = listed.iter().map(|(n, b)| (n, *b)).collect();
        for (name, blocked) in &there {
            let known = self.hub.tags.get(tag).and_then(|t| t.packages.get(*name)).and_then(|p| p.blocked);
            if known == Some(*blocked) {
                continue;
            }
            let action = match (known, *blocked) {
                (None, false) => PackageListAction::Add,
                (_, true) => PackageListAction::Block,
                (Some(_), false) => PackageListAction::Unblock,
            };
            self.list_changed(tag, name, action, Some(*blocked));
        }
        let names: Vec<Name> = match package {
            Some(name) => vec![name.clone()],
            None => {
                let packages = self.hub.tags.get(tag).map(|t| &t.packages);
                packages.into_iter().flatten().filter(|(_, p)| p.blocked.is_some()).map(|(n, _)| n.clone()).collect()
            }
        };
        for name in names {
            let known = self.hub.tags.get(tag).and_then(|t| t.packages.get(&name)).and_then(|p| p.blocked);
            if known.is_some() && !there.contains_key(&name) {
                self.list_changed(tag, &name, PackageListAction::Remove, None);
                self.takes_back();
            }
        }
    }

    fn list_changed(&mut self, tag: &Name, package: &Name, action: PackageListAction, blocked: Option<bool>) {
        let fact = PackageListChanged {
            hub: self.hub(),
            tag: tag.clone(),
            package: package.clone(),
            action,
            blocked,
            by: None,
        };
        self.fact(fact, None, Some(self.look.event), None);
    }
}
