//! The parameters of addresses, and their bounds.

use serde::Deserialize;

use super::people::Owned;
use super::refusal::{Refusal, short};
use crate::model::{PackageState, Seq};
use crate::view::package::STATES;

/// Longest search, in characters.
pub(super) const SEARCH_CHARS_MAX: usize = 100;
/// Default number of rows of a page of packages.
pub(super) const ROWS: usize = 100;
/// Largest number of rows that can be requested.
pub(super) const ROWS_MAX: usize = 1_000;

/// `/packages`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PackagesQuery {
    pub(super) collection: Option<String>,
    group: Option<String>,
    owner: Option<String>,
    state: String,
    q: String,
    order: String,
    page: String,
    rows: String,
}

/// `/package/NAME`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PackageQuery {
    pub(super) collection: Option<String>,
    before: String,
    changes: String,
}

/// `/causes`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CausesQuery {
    pub(super) collection: Option<String>,
}

/// `/collection/NAME`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TrailQuery {
    before: String,
}

/// `/event/SEQ`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct EventQuery {
    after: String,
    content: String,
}

impl EventQuery {
    /// Returns the event after which to search for consequences.
    pub(super) fn after(&self) -> Result<Option<Seq>, Refusal> {
        before(&self.after)
    }

    /// Checks whether the whole content was requested.
    pub(super) fn content(&self) -> Result<bool, Refusal> {
        match self.content.as_str() {
            "" => Ok(false),
            "all" => Ok(true),
            other => Err(Refusal::BadRequest(format!("`content` must be `all` or absent, not `{}`", short(other)))),
        }
    }
}

/// What packages are sorted by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SortKey {
    Name,
    State,
    Priority,
    Built,
    Running,
}

impl SortKey {
    const ALL: [(&'static str, Self); 5] = [
        ("name", Self::Name),
        ("state", Self::State),
        ("priority", Self::Priority),
        ("built", Self::Built),
        ("running", Self::Running),
    ];

    pub(super) fn word(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, k)| *k == self).map_or("", |(w, _)| w)
    }
}

/// An order: the key, and whether it is reversed. Without reversal, names begin with A, states with
/// those that need attention, priorities with the highest, builds with the newest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Order {
    pub(super) key: SortKey,
    pub(super) reversed: bool,
}

impl Order {
    /// Number of different orders.
    pub(super) const COUNT: usize = 2 * SortKey::ALL.len();

    /// Returns the place of this order among all.
    pub(super) fn index(self) -> usize {
        2 * (self.key as usize) + usize::from(self.reversed)
    }

    pub(super) fn word(self) -> String {
        format!("{}{}", if self.reversed { "-" } else { "" }, self.key.word())
    }
}

/// The checked parameters of `/packages`.
#[derive(Clone, Debug)]
pub(super) struct PackagesRequest {
    pub(super) collection: Option<String>,
    pub(super) group: Option<String>,
    /// Only of this owner.
    pub(super) owner: Option<String>,
    /// The packages of that owner.
    pub(super) owned: Option<Owned>,
    /// Empty means all packages that are tracked and not blocked.
    pub(super) states: Vec<PackageState>,
    pub(super) search: String,
    pub(super) order: Order,
    /// Number of the page, from 1.
    pub(super) page: usize,
    pub(super) rows: usize,
}

impl PackagesQuery {
    pub(super) fn check(self) -> Result<PackagesRequest, Refusal> {
        Ok(PackagesRequest {
            collection: self.collection.filter(|c| !c.is_empty()),
            group: self.group.filter(|g| !g.is_empty()),
            owner: self.owner.filter(|o| !o.is_empty()),
            owned: None,
            states: states(&self.state)?,
            search: search(&self.q)?,
            order: order(&self.order)?,
            page: number("page", &self.page, 1, 1, 1_000_000)?,
            rows: number("rows", &self.rows, ROWS, 1, ROWS_MAX)?,
        })
    }
}

/// Parses states with commas between them.
pub(super) fn states(text: &str) -> Result<Vec<PackageState>, Refusal> {
    let mut states = Vec::new();
    for word in text.split(',').map(str::trim).filter(|w| !w.is_empty()) {
        let known = STATES.into_iter().find(|s| s.as_str() == word);
        let state = known.ok_or_else(|| {
            let words = STATES.map(|s| s.as_str()).join(", ");
            Refusal::BadRequest(format!("there is no state `{}`; the states are {words}", short(word)))
        })?;
        if !states.contains(&state) {
            states.push(state);
        }
    }
    Ok(states)
}

/// Checks what was typed as a search.
pub(super) fn search(text: &str) -> Result<String, Refusal> {
    let search = text.trim().to_owned();
    if search.chars().count() > SEARCH_CHARS_MAX {
        return Err(Refusal::BadRequest(format!("a search has at most {SEARCH_CHARS_MAX} characters")));
    }
    Ok(search)
}

/// Parses an order of packages. Without a word, it is that of states.
pub(super) fn order(text: &str) -> Result<Order, Refusal> {
    let (reversed, word) = match text.trim().strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.trim()),
    };
    let word = if word.is_empty() { "state" } else { word };
    let key = SortKey::ALL.into_iter().find(|(w, _)| *w == word).ok_or_else(|| {
        let words = SortKey::ALL.map(|(w, _)| w).join(", ");
        Refusal::BadRequest(format!(
            "packages cannot be ordered by `{}`; the orders are {words}, each also with a leading -",
            short(word)
        ))
    })?;
    Ok(Order { key: key.1, reversed })
}

impl PackageQuery {
    pub(super) fn before(&self) -> Result<Option<Seq>, Refusal> {
        before(&self.before)
    }

    pub(super) fn check(&self) -> Result<(), Refusal> {
        match self.changes.as_str() {
            "" | "all" => Ok(()),
            other => Err(Refusal::BadRequest(format!("`changes` must be `all` or absent, not `{}`", short(other)))),
        }
    }

    /// Checks whether all dependency changes were requested.
    pub(super) fn all_changes(&self) -> bool {
        self.changes == "all"
    }
}

impl TrailQuery {
    pub(super) fn before(&self) -> Result<Option<Seq>, Refusal> {
        before(&self.before)
    }
}

fn before(text: &str) -> Result<Option<Seq>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    Ok(Some(sequence(text)?))
}

/// Parses the number of an event.
pub(super) fn sequence(text: &str) -> Result<Seq, Refusal> {
    text.parse().ok().and_then(Seq::new).ok_or_else(|| {
        Refusal::BadRequest(format!("`{}` is not the number of an event; the first event is 1", short(text)))
    })
}

fn number(name: &str, text: &str, absent: usize, least: usize, most: usize) -> Result<usize, Refusal> {
    match text.trim() {
        "" => Ok(absent),
        text => text.parse().ok().filter(|n| (least..=most).contains(n)).ok_or_else(|| {
            Refusal::BadRequest(format!("`{name}` must be a number from {least} to {most}, not `{}`", short(text)))
        }),
    }
}

/// A search for names, ignoring case. Without a `*`, the search may be anywhere in the name. With a
/// `*`, it is the whole name, and each `*` stands for any text.
pub(super) struct Search {
    /// The texts between two `*`, in lower case.
    pieces: Vec<String>,
}

impl Search {
    /// Reads what was typed. Returns `None` if nothing was.
    pub(super) fn new(typed: &str) -> Option<Self> {
        let pieces = typed.to_lowercase().split('*').map(str::to_owned).collect();
        (!typed.is_empty()).then_some(Self { pieces })
    }

    /// Checks whether a name fits, which must be in lower case.
    pub(super) fn fits(&self, name: &str) -> bool {
        let [first, middle @ .., last] = &self.pieces[..] else {
            return self.pieces.iter().all(|piece| name.contains(piece.as_str()));
        };
        let Some(mut rest) = name.strip_prefix(first.as_str()) else { return false };
        for piece in middle.iter().filter(|p| !p.is_empty()) {
            match rest.split_once(piece.as_str()) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(last.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches() {
        let fits = |typed: &str, name: &str| Search::new(typed).is_none_or(|s| s.fits(&name.to_lowercase()));
        assert!(fits("", "x") && fits("idn", "python-idna") && fits("IDN", "python-idna") && fits("i", "Idna"));
        assert!(fits("python*", "python-idna") && !fits("python*", "mypython"));
        assert!(fits("*idna", "python-idna") && !fits("*idn", "python-idna"));
        assert!(fits("p*-*a", "python-idna") && fits("*", "x") && fits("**", "x") && fits("a*a", "aa"));
        assert!(!fits("a*a", "a"), "one letter cannot be both ends");
        assert!(fits("perl(%", "perl(%x"), "nothing else is special");
    }

    #[test]
    fn wishes_have_bounds() {
        let ask = |q: PackagesQuery| q.check();
        let refused = |q: PackagesQuery| matches!(ask(q), Err(Refusal::BadRequest(_)));
        let with = |f: fn(&mut PackagesQuery)| {
            let mut q = PackagesQuery::default();
            f(&mut q);
            q
        };
        assert!(refused(with(|q| q.page = "0".into())));
        assert!(refused(with(|q| q.page = "-1".into())));
        assert!(refused(with(|q| q.page = "x".into())));
        assert!(refused(with(|q| q.rows = "1001".into())));
        assert!(refused(with(|q| q.state = "ok,broken".into())));
        assert!(refused(with(|q| q.order = "colour".into())));
        assert!(refused(with(|q| q.q = "x".repeat(101))));
        let wanted = ask(with(|q| {
            q.state = "ok, failing,ok".into();
            q.order = "-priority".into();
        }));
        let wanted = wanted.unwrap();
        assert_eq!(wanted.states, [PackageState::Ok, PackageState::Failing]);
        assert_eq!(wanted.order, Order { key: SortKey::Priority, reversed: true });
        assert_eq!((wanted.page, wanted.rows), (1, ROWS));
        assert!(sequence("0").is_err() && sequence("99999999999999999999").is_err() && sequence("7").is_ok());
    }
}
