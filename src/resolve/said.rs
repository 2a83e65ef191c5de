//! Adds to libsolv's problem texts the names they leave out: the requirements that conflict, and
//! the packages that modules hide.

use super::solv::{About, Line};
use super::universe::Universe;
use crate::model::counted::and_more;

/// Most names of one kind in a text.
const NAMES_SHOWN_MAX: usize = 10;

/// libsolv's text for a wish that cannot be fulfilled together with others.
pub(super) const CONFLICTING: &str = "conflicting requests";

/// Where a wish comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asker<'a> {
    /// A member of the build group.
    Member(&'a str),
    /// A build requirement of the source package.
    Requirement(&'a str),
    /// The source package's BuildConflicts.
    Conflicts,
}

/// Returns one text for each problem. Its lines after the first begin with ` - `. `askers` say
/// where each of the solver's wishes came from, in their order.
pub(super) fn texts(problems: Vec<Vec<Line>>, askers: &[Asker<'_>], universe: &Universe) -> Vec<String> {
    problems.into_iter().map(|lines| text(&lines, askers, universe)).collect()
}

fn text(lines: &[Line], askers: &[Asker<'_>], universe: &Universe) -> String {
    let mut wishes: Vec<usize> = lines.iter().filter_map(wish).collect();
    wishes.sort_unstable();
    let asked: Vec<Asker<'_>> = wishes.iter().filter_map(|at| askers.get(*at).copied()).collect();
    let mut said: Vec<String> = Vec::new();
    for line in lines {
        let line = match line.about {
            About::Itself => line.text.clone(),
            About::Wish(_) => format!("{}{}", line.text, named(&asked)),
            About::Missing(dep) => {
                let hidden = universe.hidden(universe.content().dependency(dep));
                hidden.map_or_else(|| line.text.clone(), |hidden| format!("{}; {hidden}", line.text))
            }
        };
        // Each line about a wish names all wishes of the problem, so lines with the same text are
        // equal.
        if !said.contains(&line) {
            said.push(line);
        }
    }
    said.join("\n - ")
}

fn wish(line: &Line) -> Option<usize> {
    match line.about {
        About::Wish(at) => Some(at),
        About::Itself | About::Missing(_) => None,
    }
}

/// Returns the origins of the wishes, in brackets.
fn named(asked: &[Asker<'_>]) -> String {
    let list = |what: &str, names: Vec<&str>| {
        let more = and_more(names.len(), NAMES_SHOWN_MAX);
        let plural = if names.len() == 1 { "" } else { "s" };
        let shown: Vec<&str> = names.iter().take(NAMES_SHOWN_MAX).copied().collect();
        (!names.is_empty()).then(|| format!("{what}{plural} {}{more}", shown.join(", ")))
    };
    let members = asked.iter().filter_map(|a| if let Asker::Member(name) = a { Some(*name) } else { None });
    let requirements = asked.iter().filter_map(|a| if let Asker::Requirement(text) = a { Some(*text) } else { None });
    let parts = [
        list("build requirement", requirements.collect()),
        list("build group member", members.collect()),
        asked.contains(&Asker::Conflicts).then(|| "the source package's BuildConflicts".to_owned()),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_some_names_are_counted() {
        let names: Vec<String> = (0..NAMES_SHOWN_MAX + 2).map(|n| format!("br{n}")).collect();
        let of = |n: usize| named(&names.iter().take(n).map(|name| Asker::Requirement(name)).collect::<Vec<_>>());
        assert_eq!(of(0), "");
        assert_eq!(of(1), " (build requirement br0)");
        assert_eq!(of(NAMES_SHOWN_MAX), format!(" (build requirements {})", names[..NAMES_SHOWN_MAX].join(", ")));
        let cut = format!(" (build requirements {} and 2 more)", names[..NAMES_SHOWN_MAX].join(", "));
        assert_eq!(of(NAMES_SHOWN_MAX + 2), cut);
    }
}
