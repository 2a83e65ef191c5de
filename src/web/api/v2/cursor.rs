//! Marks of the place where a list goes on. Programs give them back as they are.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::web::refusal::Refusal;

/// Default number of items on a page.
pub(super) const ITEMS: u16 = 100;
/// Largest number of items that can be asked for.
pub(super) const ITEMS_MAX: u16 = 1_000;

/// One page of a list.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub(super) struct List<T> {
    /// The items of this page.
    pub(super) items: Vec<T>,
    /// Give this as `cursor` to get the next page. Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
    /// Number of items on all pages, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) matching: Option<usize>,
}

impl<T> List<T> {
    /// Makes a list that has only one page.
    pub(super) fn whole(items: Vec<T>) -> Self {
        Self { matching: Some(items.len()), items, next: None }
    }
}

impl<T> List<T> {
    /// Makes a page of what comes after the page before, in order. `place` says where an item stands,
    /// for the next page.
    pub(super) fn cut<I, P: Serialize>(
        rest: impl IntoIterator<Item = I>,
        (limit, matching): (usize, usize),
        place: impl FnOnce(&I) -> P,
        item: impl FnMut(I) -> T,
    ) -> Self {
        let mut rest = rest.into_iter();
        let shown: Vec<I> = rest.by_ref().take(limit).collect();
        let next = rest.next().and_then(|_| shown.last()).map(|last| mark(&place(last)));
        Self { items: shown.into_iter().map(item).collect(), next, matching: Some(matching) }
    }
}

/// Which page of a list is wanted.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    /// Number of items on a page.
    #[serde(default)]
    pub(super) limit: Limit,
    /// Where to go on: the `next` of the page before.
    #[serde(default)]
    pub(super) cursor: Option<String>,
}

/// Of which collection, and which page of the list is wanted.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OfCollectionQuery {
    /// Only of this collection.
    #[serde(default)]
    pub(super) collection: Option<String>,
    /// Number of items on a page.
    #[serde(default)]
    pub(super) limit: Limit,
    /// Where to go on: the `next` of the page before.
    #[serde(default)]
    pub(super) cursor: Option<String>,
}

/// Writes a place as a mark.
pub(super) fn mark(place: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(place).expect("a place is valid JSON"))
}

/// Reads a mark that [`mark`] wrote.
///
/// # Errors
/// Refuses anything else.
pub(super) fn place<T: DeserializeOwned>(mark: &str) -> Result<T, Refusal> {
    let text = URL_SAFE_NO_PAD.decode(mark).ok();
    let place = text.and_then(|text| serde_json::from_slice(&text).ok());
    place.ok_or_else(|| {
        Refusal::BadRequest("`cursor` must be the `next` of a page of the same list, as it was given".to_owned())
    })
}

/// How many items a request wants.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(super) struct Limit(#[schemars(range(min = 1, max = ITEMS_MAX))] u16);

impl Default for Limit {
    fn default() -> Self {
        Self(ITEMS)
    }
}

impl Limit {
    /// Returns the number.
    ///
    /// # Errors
    /// Refuses 0 and more than [`ITEMS_MAX`].
    pub(super) fn get(self) -> Result<usize, Refusal> {
        match self.0 {
            1..=ITEMS_MAX => Ok(usize::from(self.0)),
            n => Err(Refusal::BadRequest(format!("`limit` must be from 1 to {ITEMS_MAX}, not {n}"))),
        }
    }
}
