//! What an operation of the API is: an address, what it takes and answers, who may use it, and the
//! function that answers. The description for programs is made from the same.

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Response, Uri, header};
use axum::routing::MethodRouter;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::answer::{Answered, answered, refused};
use crate::web::parts::AsOf;
use crate::web::people::Owned;
use crate::web::refusal::Refusal;
use crate::web::view::View;
use crate::web::{KojiLinks, Site, page};

/// Name of the parameter that says as of when.
const AS_OF: &str = "as_of";
/// Longest query of an address, in bytes.
const QUERY_BYTES_MAX: usize = 2_000;

/// Who may use an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::web) enum Permission {
    /// Everybody, without login.
    Anyone,
}

impl Permission {
    /// Returns the word for it in descriptions.
    pub(in crate::web) const fn as_str(self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
        }
    }
}

/// What operations are about. Descriptions group them by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::web) enum Topic {
    Packages,
    Collections,
    Groups,
    Causes,
    Rebuilds,
    Events,
    Service,
}

impl Topic {
    /// All topics, in the order of descriptions.
    pub(in crate::web) const ALL: [Self; 7] =
        [Self::Packages, Self::Collections, Self::Groups, Self::Causes, Self::Rebuilds, Self::Events, Self::Service];

    /// Returns its name in descriptions.
    pub(in crate::web) const fn as_str(self) -> &'static str {
        match self {
            Self::Packages => "Packages",
            Self::Collections => "Collections",
            Self::Groups => "Groups",
            Self::Causes => "Causes",
            Self::Rebuilds => "Rebuilds",
            Self::Events => "Events",
            Self::Service => "Service",
        }
    }
}

/// An operation that only reads.
pub(super) trait Operation: Send + Sync + 'static {
    /// Its name in generated clients.
    const ID: &'static str;
    /// Its address, with the members of [`Operation::Path`] in braces.
    const ADDRESS: &'static str;
    const TOPIC: Topic;
    /// What it answers, in a few words.
    const SUMMARY: &'static str;
    /// What else one has to know, in sentences.
    const ABOUT: &'static str;
    const PERMISSION: Permission = Permission::Anyone;
    /// The variable parts of the address.
    type Path: DeserializeOwned + JsonSchema + Send + 'static;
    /// The parameters after `?`. Others are refused.
    type Query: DeserializeOwned + JsonSchema + Send + 'static;
    /// The answer, without the moment that it is about.
    type Answer<'a>: Serialize + JsonSchema;
}

/// What an answer about a state is made from.
pub(super) struct Seen<'a> {
    pub(super) view: &'a View,
    /// The packages of the person that the parameters name ([`Shows::owner`]).
    pub(super) owned: Option<&'a Owned>,
    pub(super) koji: &'a KojiLinks,
}

/// An operation that shows a state. It takes `as_of`, too.
pub(super) trait Shows: Operation {
    /// Returns the person whose packages are wanted.
    fn owner(_: &Self::Query) -> Option<&str> {
        None
    }

    fn answer<'a>(seen: &Seen<'a>, path: Self::Path, query: Self::Query) -> Result<Self::Answer<'a>, Refusal>;
}

/// An operation that reads the log.
pub(super) trait Reads: Operation {
    fn answer(
        site: &Site,
        path: Self::Path,
        query: Self::Query,
    ) -> impl Future<Output = Result<Self::Answer<'static>, Refusal>> + Send;
}

/// The parameter that says as of when.
#[derive(serde::Deserialize, JsonSchema)]
pub(super) struct AsOfQuery {
    /// As of when: an event's number, a time, a day (its end) or a span. Default: now. The first
    /// answer about a moment may take seconds.
    #[serde(default)]
    #[schemars(extend("examples" = ["1", "2026-11-20T08:45:00Z", "2026-11-20", "1 hour ago"]))]
    as_of: Option<String>,
}

/// No variable parts of an address, or no parameters.
#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// An operation in the form of a table.
#[derive(Clone, Copy)]
pub(in crate::web) struct Described {
    pub(in crate::web) id: &'static str,
    pub(in crate::web) address: &'static str,
    pub(in crate::web) topic: Topic,
    pub(in crate::web) summary: &'static str,
    pub(in crate::web) about: &'static str,
    pub(in crate::web) permission: Permission,
    pub(super) path: fn(&mut SchemaGenerator) -> Schema,
    pub(super) query: fn(&mut SchemaGenerator) -> Schema,
    pub(super) answer: fn(&mut SchemaGenerator) -> Schema,
    /// Whether it takes `as_of`.
    pub(super) as_of: bool,
    /// What else it answers, besides JSON.
    pub(super) kinds: &'static [&'static str],
    pub(in crate::web) made: fn(&Site) -> MethodRouter<Site>,
}

impl Described {
    /// Checks whether the operation shows a state, and so takes `as_of`.
    #[cfg(test)]
    pub(in crate::web) fn shows_state(&self) -> bool {
        self.as_of
    }

    pub(super) const fn of<O: Operation>(made: fn(&Site) -> MethodRouter<Site>) -> Self {
        Self {
            id: O::ID,
            address: O::ADDRESS,
            topic: O::TOPIC,
            summary: O::SUMMARY,
            about: O::ABOUT,
            permission: O::PERMISSION,
            path: |types| types.root_schema_for::<O::Path>(),
            query: |types| types.root_schema_for::<O::Query>(),
            answer: |types| types.subschema_for::<O::Answer<'static>>(),
            as_of: false,
            kinds: &[],
            made,
        }
    }

    /// Describes an operation that shows a state.
    pub(super) const fn shows<O: Shows>() -> Self {
        Self { as_of: true, ..Self::of::<O>(|site| page(O::ADDRESS, site, show::<O>)) }
    }

    /// Describes an operation that reads the log.
    pub(super) const fn reads<O: Reads>() -> Self {
        Self::of::<O>(|site| page(O::ADDRESS, site, read::<O>))
    }
}

async fn show<O: Shows>(
    State(site): State<Site>,
    path: Result<Path<O::Path>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Response<Body> {
    let made = async {
        let (as_of, query) = split(&uri)?;
        let (path, query) = (path?.0, parameters::<O::Query>(&query)?);
        let moment = site.moment(as_of.as_deref()).await?;
        let koji = site.koji.clone();
        let owned = match O::owner(&query) {
            Some(name) => Some(Owned::by(&site, name).await?),
            None => None,
        };
        site.look_at(moment, move |view| {
            let answer = O::answer(&Seen { view, owned: owned.as_ref(), koji: &koji }, path, query)?;
            Ok(Answered::of(AsOf::of(view), &answer))
        })
        .await
    };
    finish(&site, &headers, made).await
}

async fn read<O: Reads>(
    State(site): State<Site>,
    path: Result<Path<O::Path>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Response<Body> {
    let made = async {
        let (path, query) = (path?.0, query_of::<O::Query>(&uri)?);
        let answer = O::answer(&site, path, query).await?;
        let status = site.follower.status();
        Ok(Answered::of(AsOf { seq: status.seq, at: status.recorded_at }, &answer))
    };
    finish(&site, &headers, made).await
}

async fn finish(
    site: &Site,
    headers: &HeaderMap,
    made: impl Future<Output = Result<Answered, Refusal>>,
) -> Response<Body> {
    let made = if site.follower.status().caught_up { made.await } else { Err(Refusal::NotYet) };
    match made {
        Ok(answer) => {
            let known = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
            answered(answer, known)
        }
        Err(refusal) => refused(&site.follower.status(), refusal),
    }
}

/// Reads all parameters of an address.
pub(super) fn query_of<Q: DeserializeOwned>(uri: &Uri) -> Result<Q, Refusal> {
    let query = uri.query().unwrap_or_default();
    within(query)?;
    parameters(query)
}

fn within(query: &str) -> Result<(), Refusal> {
    match query.len() > QUERY_BYTES_MAX {
        true => Err(Refusal::BadRequest(format!("the parameters have more than {QUERY_BYTES_MAX} bytes"))),
        false => Ok(()),
    }
}

/// Takes `as_of` out of the parameters of an address.
fn split(uri: &Uri) -> Result<(Option<String>, String), Refusal> {
    let query = uri.query().unwrap_or_default();
    within(query)?;
    let is_as_of = |part: &&str| part.split('=').next() == Some(AS_OF);
    let (mine, others): (Vec<&str>, Vec<&str>) = query.split('&').filter(|p| !p.is_empty()).partition(is_as_of);
    let as_of = match mine[..] {
        [] => None,
        [one] => parameters::<AsOfQuery>(one)?.as_of,
        _ => return Err(Refusal::BadRequest(format!("`{AS_OF}` is given twice"))),
    };
    Ok((as_of, others.join("&")))
}

fn parameters<Q: DeserializeOwned>(query: &str) -> Result<Q, Refusal> {
    let uri: Uri = format!("/?{query}").parse().map_err(|_| Refusal::BadRequest("the address is odd".to_owned()))?;
    let read: Result<Query<Q>, QueryRejection> = Query::try_from_uri(&uri);
    Ok(read?.0)
}
