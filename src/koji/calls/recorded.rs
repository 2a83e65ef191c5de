//! Recorded exchanges: what an answer says of tags and targets, judged by its question.

use super::super::records::{ExternalRepo, Group, InheritanceLink, Tag, Target};
use super::super::shape::FromValue;
use super::super::xmlrpc::{Call, Fault, Value, multi};
use crate::model::{Name, TagId};

/// What a recorded answer says.
#[derive(Clone, PartialEq, Debug)]
pub enum Recorded {
    /// A tag with what is its own.
    Tag(Tag),
    /// A tag with what it inherits.
    Config(Tag),
    /// From which tags one inherits.
    Parents(TagRef, Vec<InheritanceLink>),
    /// Groups of a tag, inherited ones included.
    Groups(TagRef, Vec<Group>),
    /// External repositories of a tag, inherited ones included.
    ExternalRepos(TagRef, Vec<ExternalRepo>),
    /// A tag's own external repositories, or those of all tags that have some.
    OwnExternalRepos(Option<TagRef>, Vec<ExternalRepo>),
    /// Targets.
    Targets(Vec<Target>),
}

/// How a tag is called in a question.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TagRef {
    /// By its name.
    Name(Name),
    /// By its number.
    Id(TagId),
}

impl TagRef {
    /// A tag can also be asked for by a struct with its name or number.
    fn of(about: &Value) -> Option<Self> {
        match about {
            Value::Nil => None,
            Value::Int(id) => Some(Self::Id(TagId(*id))),
            Value::Struct(members) => members.get("name").or_else(|| members.get("id")).and_then(Self::of),
            text => Name::from_value(text).ok().map(Self::Name),
        }
    }
}

/// A method that is used, with the names of its parameters (`kojihub.RootExports`), those among them that may be given
/// without changing the shape of the answer, and how that is read.
type Method = (&'static str, &'static [&'static str], &'static [&'static str], Read);
type Read = fn(Option<TagRef>, &Value) -> Option<Recorded>;

/// The first parameter is what the question is about.
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
    /// Whether answers to a call of this method are of use, so that others need not be read.
    pub fn is_used(method: &str) -> bool {
        method == multi::METHOD || METHODS.iter().any(|(name, ..)| *name == method)
    }

    /// What one exchange says. Answers about the past (with an `event`), answers in another shape than the plain one,
    /// faults and nil say nothing.
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

/// What the call is about, when its arguments leave the answer in its plain shape and in the present.
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
