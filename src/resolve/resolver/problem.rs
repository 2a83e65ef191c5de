//! Says why a rich BuildRequires is not fulfilled. libsolv has only one text for all such problems,
//! "conflicting requests", which names nothing.

use super::Prepared;
use crate::repodata::{Dependency, Rich, RichOp};
use crate::resolve::said::CONFLICTING;

/// What a part of a BuildRequires lacks.
#[derive(Default)]
struct Lack {
    /// What is missing.
    missing: Vec<String>,
    /// Why it is required, or why it is not allowed.
    because: Vec<String>,
}

impl Lack {
    fn and(mut self, other: Self) -> Self {
        self.missing.extend(other.missing);
        self.because.extend(other.because);
        self
    }

    fn because(mut self, why: String) -> Self {
        self.because.insert(0, why);
        self
    }
}

/// Returns rich BuildRequires with a text about what each lacks. It leaves out those for which this
/// cannot be determined. `asked` are all dependencies the solver was given, as text and parsed. The
/// check considers only what must be installed in any case: the build group and the plain
/// BuildRequires. Cost: the providers of the names in them.
pub(super) fn of_rich(asked: &[(&str, &Dependency)], prepared: &Prepared<'_>) -> Vec<(String, String)> {
    let lookup = Lookup { asked, prepared };
    let rich = asked.iter().filter(|(_, dependency)| dependency.is_rich());
    let text = |(text, dependency): &(&str, &Dependency)| {
        let lack = lookup.lack(&Rich::parse(&dependency.name).ok()?)?;
        let mut problem = match lack.missing.is_empty() {
            true => format!("build requirement {text} cannot be fulfilled"),
            false => format!("{}, asked for by build requirement {text}", lack.missing.join(" and ")),
        };
        for why in &lack.because {
            problem.push_str("; ");
            problem.push_str(why);
        }
        Some((dependency.to_string(), problem))
    };
    rich.filter_map(text).collect()
}

/// Checks whether a problem says no more than the texts in `named`. Such a problem names neither a
/// package that lacks something nor what it lacks, or it only says that one of these BuildRequires
/// is not provided.
pub(super) fn says_nothing(problem: &str, named: &[(String, String)]) -> bool {
    let requested = problem.strip_prefix("nothing provides requested ");
    if requested.is_some_and(|requested| named.iter().any(|(text, _)| text == requested)) {
        return true;
    }
    problem
        .split("\n - ")
        .all(|line| line.starts_with(CONFLICTING) || line.starts_with("problem with installed package "))
}

struct Lookup<'a> {
    asked: &'a [(&'a str, &'a Dependency)],
    prepared: &'a Prepared<'a>,
}

impl Lookup<'_> {
    /// Returns what a requirement lacks. `None` means that it can be fulfilled, as far as this
    /// check sees.
    fn lack(&self, rich: &Rich) -> Option<Lack> {
        let Rich::Node(op, left, right) = rich else { return self.lack_one(rich) };
        match op {
            RichOp::With | RichOp::Without => self.lack_one(rich),
            RichOp::And => match (self.lack(left), self.lack(right)) {
                (Some(left), Some(right)) => Some(left.and(right)),
                (left, right) => left.or(right),
            },
            RichOp::Or => Some(self.lack(left)?.and(self.lack(right)?)),
            RichOp::Else => self.lack_one(rich),
            RichOp::If => {
                let (condition, otherwise) = condition(right);
                match (self.there(condition), otherwise) {
                    (Some(why), _) => Some(self.lack(left)?.because(why)),
                    (None, Some(otherwise)) => {
                        let absent = self.lack(condition)?.missing.join(" and ");
                        Some(self.lack(otherwise)?.because(absent))
                    }
                    (None, None) => None,
                }
            }
            RichOp::Unless => {
                let (condition, otherwise) = condition(right);
                match (self.there(condition), otherwise) {
                    (Some(why), Some(otherwise)) => Some(self.lack(otherwise)?.because(why)),
                    (Some(why), None) => Some(Lack::default().because(why)),
                    (None, None) => self.lack(left),
                    (None, Some(_)) => None,
                }
            }
        }
    }

    fn lack_one(&self, one: &Rich) -> Option<Lack> {
        let native = self.prepared.native();
        let providers = native.providers(one)?;
        let problem = if providers.is_empty() {
            format!("nothing provides {}", shown(one))
        } else if providers.iter().all(|&id| native.is_dead(id)) {
            format!("nothing that provides {} can be installed", shown(one))
        } else {
            return None;
        };
        let hidden = match one {
            Rich::Plain(dependency) => self.prepared.universe().hidden(dependency),
            // The text of a dependency with parts has the form of a rich dependency.
            Rich::Node(..) => self.prepared.universe().hidden(&Dependency { name: shown(one).into(), relation: None }),
        };
        let problem = hidden.map_or_else(|| problem.clone(), |hidden| format!("{problem} ({hidden})"));
        Some(Lack { missing: vec![problem], because: Vec::new() })
    }

    /// Returns why a dependency is fulfilled in any case, whatever the solver chooses. Returns
    /// `None` if it need not be.
    fn there(&self, rich: &Rich) -> Option<String> {
        match rich {
            Rich::Node(RichOp::And, left, right) => Some(format!("{}; {}", self.there(left)?, self.there(right)?)),
            Rich::Node(RichOp::Or, left, right) => self.there(left).or_else(|| self.there(right)),
            Rich::Node(RichOp::If | RichOp::Unless | RichOp::Else, ..) => None,
            one => {
                let native = self.prepared.native();
                let providers = native.providers(one)?;
                let group = &self.prepared.group().closure;
                if let Some(&id) = providers.iter().find(|id| group.binary_search(id).is_ok()) {
                    let (text, package) = (shown(one), self.prepared.universe().package(id));
                    let by = if package.name == text { String::new() } else { format!(" (by {})", package.name) };
                    return Some(format!("{text} is in the build group{by}"));
                }
                let brings = |(_, dependency): &&(&str, &Dependency)| {
                    let all = |found: Vec<_>| !found.is_empty() && found.iter().all(|id| providers.contains(id));
                    !dependency.is_rich() && native.providers(&Rich::Plain((*dependency).clone())).is_some_and(all)
                };
                let (text, _) = self.asked.iter().find(brings)?;
                Some(format!("{} comes with build requirement {text}", shown(one)))
            }
        }
    }
}

/// Splits the right side of `if` or `unless` into its condition and what holds otherwise.
fn condition(right: &Rich) -> (&Rich, Option<&Rich>) {
    match right {
        Rich::Node(RichOp::Else, condition, otherwise) => (condition, Some(otherwise)),
        condition => (condition, None),
    }
}

fn shown(one: &Rich) -> String {
    match one {
        Rich::Plain(dependency) => dependency.to_string(),
        Rich::Node(op, left, right) => {
            let word = match op {
                RichOp::With => "with",
                RichOp::Without => "without",
                _ => "else",
            };
            format!("({} {word} {})", shown(left), shown(right))
        }
    }
}
