//! Reads what a source package asks for.

use std::sync::Arc;

use super::{Prepared, Resolution};
use crate::repodata::Dependency;
use crate::resolve::isa::BuildRequires;
use crate::resolve::member::GroupMember;
use crate::resolve::mode::Mode;
use crate::resolve::native::Wish;
use crate::resolve::universe::PkgId;

/// The parsed form of one BuildRequires and its wish, or the problem.
pub(super) type Known = Arc<Result<(Dependency, Wish), String>>;

impl Prepared<'_> {
    /// Returns the wishes of a source package, with those of the group where it is in the same
    /// transaction. Notes in `answer` which BuildRequires nothing provides.
    pub(super) fn wishes<'w>(
        &'w self,
        asked: impl Iterator<Item = (&'w str, &'w Known)>,
        answer: &mut Resolution,
    ) -> Vec<&'w Wish> {
        let mut wishes: Vec<&Wish> = Vec::new();
        if self.mode == Mode::Joint {
            wishes.extend(self.members.iter().map(GroupMember::wish));
        }
        for (text, wish) in asked {
            match &**wish {
                Ok((dependency, wish)) if wish.is_empty() && !dependency.is_rich() => {
                    let hidden = self.universe.hidden(dependency).map_or(String::new(), |h| format!("; {h}"));
                    answer.problems.push(format!("no package found for build requirement {text}{hidden}"));
                }
                Ok((_, wish)) if wish.is_empty() && self.mode == Mode::Joint => {
                    answer.skipped.push(text.to_owned());
                }
                Ok((_, wish)) => wishes.push(wish),
                Err(error) => answer.problems.push(error.clone()),
            }
        }
        wishes
    }

    /// Reads one BuildRequires.
    pub(super) fn read(&self, text: &str) -> Known {
        let wish = Dependency::parse(text)
            .and_then(|dependency| Ok((self.native.wish(&dependency, self.universe)?, dependency)))
            .map(|(wish, dependency)| (dependency, wish))
            .map_err(|error| format!("build requirement not understood: {error}"));
        Arc::new(wish)
    }

    /// Returns the packages that the BuildConflicts of a source package keep out.
    pub(super) fn kept_out(&self, build: &BuildRequires) -> Vec<PkgId> {
        match self.mode {
            Mode::Two => self.kept_out.of(&build.conflicts, self),
            Mode::Joint => Vec::new(),
        }
    }
}
