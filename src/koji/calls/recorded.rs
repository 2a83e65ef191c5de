//! Recorded exchanges: finds out from a call and its answer what the answer says about tags and
//! targets.

use super::super::records::{ExternalRepo, Group, InheritanceLink, Tag, Target};
use super::super::shape::FromValue;
use super::super::xmlrpc::{Call, Fault, Value, multi};
use crate::model::{Name, TagId};

/// What a recorded answer says.
#[derive(Clone, PartialEq, Debug)]
pub enum Recorded {
    /// A tag with its own settings.
    Tag(Tag),
    /// A tag with inherited settings.
    Config(Tag),
    /// The tags that a tag inherits from.
    Parents(TagRef, Vec<InheritanceLink>),
    /// Groups of a tag, including inherited ones.
    Groups(TagRef, Vec<Group>),
    /// External repositories of a tag, including inherited ones.
    ExternalRepos(TagRef, Vec<ExternalRepo>),
    /// A tag's own external repositories. `None`: those of all tags that have some.
    OwnExternalRepos(Option<TagRef>, Vec<ExternalRepo>),
    /// Build targets.
    Targets(Vec<Target>),
}

/// How a call names a tag.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TagRef {
    /// By its name.
    Name(Name),
    /// By its number.
    Id(TagId),
}

impl TagRef {
    /// Reads the tag of a call. A call can also name a tag by a struct with its name or number.
    fn of(about: &Value) -> Option<Self> {
        match about {
            Value::Nil => None,
            Value::Int(id) => Some(Self::Id(TagId(*id))),
            Value::Struct(members) => members.get("name").or_else(|| members.get("id")).and_then(Self::of),
            text => Name::from_value(text).ok().map(Self::Name),
        }
    }
}

/// A method that we use: its name, the names of its parameters (`kojihub.RootExports`), those
/// parameters that do not change the shape of the answer, and how to read the answer.
type Method = (&'static str, &'static [&'static str], &'static [&'static str], Read);
type Read = fn(Option<TagRef>, &Value) -> Option<Recorded>;

/// The methods we use. The first parameter of each is what the call is about.
const METHODS: [Method; 9] = [
    ("getTag", &["tagInfo", "strict", "event", "blocked"], &["tagInfo", "strict"], |_, v| read(v).map(Recorded::Tag)),
    ("getBuildConfig", &["tag", "event"], &["tag"], |_, v| read(v).map(Recorded::Config)),
    ("getInheritanceData", &["tag", "event"], &["tag"], |tag, v| Some(Recorded::Parents(tag?, read(v)?))),
    ("getFullInheritance", &["tag", "event", "reverse", "stops", "jumps"], &["tag"], |tag, v| {
        Some(Recorded::Parents(tag?, read(v)?))
    }),
    ("getTagGroups", &["tag", "event", "inherit", "incl_pkgs", "incl_reqs", "incl_blocked"], &["tag"], |tag, v| {
        Some(Recorded::Groups(tag?, read(v)?))
    }),
    ("getExternalRepoList", &["tag_info", "event"], &["tag_info"], |tag, v| {
        Some(Recorded::ExternalRepos(tag?, read(v)?))
    }),
    ("getTagExternalRepos", &["tag_info", "repo_info", "event"], &["tag_info"], |tag, v| {
        Some(Recorded::OwnExternalRepos(tag, read(v)?))
    }),
    ("getBuildTarget", &["info", "event", "strict"], &["info", "strict"], |_, v| {
        Some(Recorded::Targets(vec![read(v)?]))
    }),
    (
        "getBuildTargets",
        &["info", "event", "buildTagID", "destTagID", "queryOpts"],
        &["info", "buildTagID", "destTagID"],
        |_, v| read(v).map(Recorded::Targets),
    ),
];

fn read<T: FromValue>(answer: &Value) -> Option<T> {
    T::from_value(answer).ok()
}

impl Recorded {
    /// Checks whether answers of a method are of use. Other answers need not be read.
    pub fn is_used(method: &str) -> bool {
        method == multi::METHOD || METHODS.iter().any(|(name, ..)| *name == method)
    }

    /// Returns what one exchange says. It says nothing if the answer is about the past (with an
    /// `event`), has another shape than the plain one, is a fault, or is nil.
    pub fn of(call: &Call, answer: Result<Value, Fault>) -> Vec<Self> {
        let Ok(answer) = answer else { return Vec::new() };
        let Some(calls) = multi::split(call) else { return Self::one(call, &answer).into_iter().collect() };
        let answers = multi::split_answers(answer).unwrap_or_default();
        calls.iter().zip(answers).filter_map(|(call, answer)| Self::one(call, &answer.ok()?)).collect()
    }

    fn one(call: &Call, answer: &Value) -> Option<Self> {
        let (_, parameters, allowed, read) = METHODS.iter().find(|(name, ..)| *name == call.method)?;
        let about = about(call, parameters, allowed)?;
        read(TagRef::of(&about), answer)
    }
}

/// Returns what the call is about, if its arguments ask for the plain shape and the present.
fn about(call: &Call, parameters: &[&str], allowed: &[&str]) -> Option<Value> {
    if call.args.len() > parameters.len() {
        return None;
    }
    let positional = parameters.iter().copied().zip(&call.args);
    let keywords = call.kwargs.iter().map(|(name, value)| (name.as_str(), value));
    let mut about = Value::Nil;
    for (name, value) in positional.chain(keywords) {
        if *value == Value::Nil {
            continue;
        }
        if !allowed.contains(&name) {
            return None;
        }
        if Some(&name) == parameters.first() {
            about = value.clone();
        }
    }
    Some(about)
}
