//! What recorded answers of a hub say about tags and targets.
//!
//! An exchange is judged by its request: method and arguments. Answers about the past (with an `event`), answers in another
//! shape than the plain one, faults and nil are passed over. Of several answers to the same question the last one counts.

use std::collections::{BTreeMap, BTreeSet};

use super::xmlrpc::{Call, Fault, Value, fault};
use crate::event::{Event, ExternalRepo, GroupDefinition, Inheritance, TagObserved, TargetObserved};
use crate::model::{Hub, Name, TagId};

/// Longest name that is taken from an answer, in bytes; Koji's own limit is 256.
const MAX_NAME: usize = 256;

/// How deep group requirements are followed; comps files have two levels at most.
const MAX_GROUP_DEPTH: usize = 16;

/// Methods that are used, with the names of their parameters (`kojihub.RootExports`) and those among them that may be given
/// without changing the shape of the answer. The first parameter is what the question is about.
const METHODS: [(&str, &[&str], &[&str]); 8] = [
    ("getTag", &["tagInfo", "strict", "event", "blocked"], &["tagInfo", "strict"]),
    ("getBuildConfig", &["tag", "event"], &["tag"]),
    ("getInheritanceData", &["tag", "event"], &["tag"]),
    ("getFullInheritance", &["tag", "event", "reverse", "stops", "jumps"], &["tag"]),
    ("getTagGroups", &["tag", "event", "inherit", "incl_pkgs", "incl_reqs", "incl_blocked"], &["tag"]),
    ("getExternalRepoList", &["tag_info", "event"], &["tag_info"]),
    ("getTagExternalRepos", &["tag_info", "repo_info", "event"], &["tag_info"]),
    ("getBuildTarget", &["info", "event", "strict"], &["info", "strict"]),
];

/// As [`METHODS`]; apart because no parameter is what it is about.
const TARGETS: (&str, &[&str], &[&str]) = (
    "getBuildTargets",
    &["info", "event", "buildTagID", "destTagID", "queryOpts"],
    &["info", "buildTagID", "destTagID"],
);

/// Whether answers to a call of this method are of use, so that others need not be read.
pub fn is_used(method: &str) -> bool {
    method == "multiCall" || method == TARGETS.0 || METHODS.iter().any(|(name, ..)| *name == method)
}

/// How a tag is called in a question or answer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum TagKey {
    Name(Name),
    Id(i64),
}

/// What is known of one tag.
#[derive(Clone, Default, Debug)]
struct Known {
    arches: Option<Vec<Name>>,
    own_arches: Option<Vec<Name>>,
    inheritance: Option<Vec<Inheritance>>,
    groups: Option<Vec<GroupDefinition>>,
    external: Option<Vec<ExternalRepo>>,
    own_external: Option<Vec<ExternalRepo>>,
}

/// Collects answers.
#[derive(Clone, Default, Debug)]
pub struct Answers {
    tags: BTreeMap<TagKey, Known>,
    tag_ids: BTreeMap<i64, Name>,
    targets: BTreeMap<Name, (Option<Name>, Option<Name>)>,
}

impl Answers {
    /// Takes one exchange into account; says whether it was of use.
    pub fn take(&mut self, call: Call, answer: Result<Value, Fault>) -> bool {
        let Ok(answer) = answer else { return false };
        if call.method == "multiCall" {
            return self.take_many(call, answer);
        }
        if let Some((_, parameters, allowed)) = METHODS.iter().chain([&TARGETS]).find(|(name, ..)| *name == call.method)
            && answer != Value::Nil
            && let Some(about) = bind(&call, parameters, allowed)
        {
            return self.take_one(&call.method, about, &answer).is_some();
        }
        false
    }

    /// Elements of the answer are one-element arrays, or structs with a fault.
    fn take_many(&mut self, call: Call, answer: Value) -> bool {
        let (Some(Value::Array(calls)), Value::Array(answers)) = (call.args.into_iter().next(), answer) else {
            return false;
        };
        let mut used = false;
        for (call, answer) in calls.into_iter().zip(answers) {
            let Some(method) = call.get("methodName").and_then(Value::as_str) else { continue };
            let parameters = call.get("params").and_then(Value::as_array).unwrap_or_default().to_vec();
            let call = Call::new(method.to_owned(), parameters);
            let answer = match answer {
                Value::Array(mut one) if one.len() == 1 => Ok(one.remove(0)),
                other => match fault(&other) {
                    Some(fault) => Err(fault),
                    None => continue,
                },
            };
            // A `multiCall` inside a `multiCall` is refused by Koji.
            used |= call.method != "multiCall" && self.take(call, answer);
        }
        used
    }

    fn take_one(&mut self, method: &str, about: Value, answer: &Value) -> Option<()> {
        match method {
            "getBuildTargets" => {
                for target in answer.as_array()? {
                    self.target(target);
                }
            }
            "getBuildTarget" => self.target(answer)?,
            "getTag" | "getBuildConfig" => {
                let name = self.named(answer)?;
                let arches = words(answer.get("arches"));
                let known = self.tags.entry(TagKey::Name(name)).or_default();
                if method == "getBuildConfig" {
                    known.arches = Some(arches);
                } else if !arches.is_empty() {
                    // A tag with architectures of its own inherits none.
                    known.own_arches = Some(arches);
                }
            }
            "getInheritanceData" | "getFullInheritance" => {
                let direct = |parent: &&Value| parent.get("currdepth").is_none_or(|d| d.as_int() == Some(1));
                let parents = answer.as_array()?.iter().filter(direct).filter_map(inheritance).collect();
                self.tag(&about)?.inheritance = Some(parents);
            }
            "getTagGroups" => {
                let groups = groups(answer.as_array()?);
                self.tag(&about)?.groups = Some(groups);
            }
            "getExternalRepoList" => {
                let repos = answer.as_array()?.iter().filter_map(external).collect();
                self.tag(&about)?.external = Some(repos);
            }
            "getTagExternalRepos" => self.own_external(&about, answer.as_array()?)?,
            _ => return None,
        }
        Some(())
    }

    /// Without a tag in the question, the answer speaks of all tags that have some, each entry with its tag.
    fn own_external(&mut self, about: &Value, entries: &[Value]) -> Option<()> {
        let mut by_tag: BTreeMap<Name, Vec<ExternalRepo>> = BTreeMap::new();
        for entry in entries {
            let tag = name(entry.get("tag_name"))?;
            by_tag.entry(tag).or_default().extend(external(entry));
        }
        if *about != Value::Nil {
            let repos = by_tag.into_values().flatten().collect();
            self.tag(about)?.own_external = Some(repos);
            return Some(());
        }
        for (tag, repos) in by_tag {
            self.tags.entry(TagKey::Name(tag)).or_default().own_external = Some(repos);
        }
        Some(())
    }

    fn target(&mut self, target: &Value) -> Option<()> {
        for (id, tag) in [("build_tag", "build_tag_name"), ("dest_tag", "dest_tag_name")] {
            if let (Some(id), Some(tag)) = (target.get(id).and_then(Value::as_int), name(target.get(tag))) {
                self.tag_ids.insert(id, tag);
            }
        }
        let tags = (name(target.get("build_tag_name")), name(target.get("dest_tag_name")));
        self.targets.insert(name(target.get("name"))?, tags);
        Some(())
    }

    /// Name of a tag record, which also tells its number.
    fn named(&mut self, record: &Value) -> Option<Name> {
        let name = name(record.get("name"))?;
        if let Some(id) = record.get("id").and_then(Value::as_int) {
            self.tag_ids.insert(id, name.clone());
        }
        Some(name)
    }

    fn tag(&mut self, about: &Value) -> Option<&mut Known> {
        let key = match about {
            Value::Int(id) => TagKey::Id(*id),
            // A tag can also be asked for by a struct with its name or number.
            Value::Struct(_) => match name(about.get("name")) {
                Some(name) => TagKey::Name(name),
                None => TagKey::Id(about.get("id")?.as_int()?),
            },
            about => TagKey::Name(name(Some(about))?),
        };
        Some(self.tags.entry(key).or_default())
    }

    /// One [`TagObserved`] per tag with what its answers say, then one [`TargetObserved`] per target, each in the order of
    /// names. A tag that was only asked for by a number nobody gave a name for is left out.
    pub fn observations(&self, hub: &Hub) -> Vec<Event> {
        let mut tags: BTreeMap<Name, Known> = BTreeMap::new();
        for (key, known) in &self.tags {
            let name = match key {
                TagKey::Name(name) => name,
                TagKey::Id(id) => match self.tag_ids.get(id) {
                    Some(name) => name,
                    None => continue,
                },
            };
            tags.entry(name.clone()).or_default().fill(known.clone());
        }
        let id_of = |tag: &Name| self.tag_ids.iter().find(|(_, name)| *name == tag).map(|(id, _)| TagId(*id));
        let tags = tags.into_iter().map(|(tag, known)| {
            TagObserved {
                hub: hub.clone(),
                tag_id: id_of(&tag),
                tag,
                arches: known.arches.or(known.own_arches),
                inheritance: known.inheritance,
                groups: known.groups,
                external_repos: known.external.or(known.own_external),
                gone: false,
            }
            .into()
        });
        let targets = self.targets.iter().map(|(target, (build_tag, dest_tag))| {
            TargetObserved {
                hub: hub.clone(),
                target: target.clone(),
                build_tag: build_tag.clone(),
                dest_tag: dest_tag.clone(),
            }
            .into()
        });
        tags.chain(targets).collect()
    }
}

impl Known {
    fn fill(&mut self, other: Self) {
        self.arches = self.arches.take().or(other.arches);
        self.own_arches = self.own_arches.take().or(other.own_arches);
        self.inheritance = self.inheritance.take().or(other.inheritance);
        self.groups = self.groups.take().or(other.groups);
        self.external = self.external.take().or(other.external);
        self.own_external = self.own_external.take().or(other.own_external);
    }
}

/// What the call is about, when its arguments leave the answer in its plain shape and in the present.
fn bind(call: &Call, parameters: &[&str], allowed: &[&str]) -> Option<Value> {
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

fn name(value: Option<&Value>) -> Option<Name> {
    let text = value?.as_str()?;
    (!text.is_empty() && text.len() <= MAX_NAME && !text.contains(char::is_control)).then(|| text.into())
}

fn words(value: Option<&Value>) -> Vec<Name> {
    let text = value.and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().filter(|word| word.len() <= MAX_NAME).map(Name::from).collect()
}

fn small(value: Option<&Value>) -> Option<i32> {
    value?.as_int().and_then(|n| i32::try_from(n).ok())
}

fn inheritance(parent: &Value) -> Option<Inheritance> {
    Some(Inheritance {
        tag: name(parent.get("name"))?,
        priority: small(parent.get("priority")).unwrap_or(0),
        max_depth: small(parent.get("maxdepth")),
        intransitive: parent.get("intransitive").is_some_and(Value::truth),
        no_config: parent.get("noconfig").is_some_and(Value::truth),
    })
}

fn external(entry: &Value) -> Option<ExternalRepo> {
    Some(ExternalRepo {
        name: name(entry.get("external_repo_name"))?,
        url: entry.get("url")?.as_str()?.to_owned(),
        priority: small(entry.get("priority")).unwrap_or(0),
        // Koji's default when the tag says nothing (`kojihub.add_external_repo_to_tag`).
        merge_mode: name(entry.get("merge_mode")).unwrap_or_else(|| "koji".into()),
        arches: entry.get("arches").map(|a| words(Some(a))).filter(|a| !a.is_empty()),
    })
}

/// Members of each group, groups it requires included, as `comps.xml` of a repository has them.
fn groups(list: &[Value]) -> Vec<GroupDefinition> {
    let not_blocked = |v: &&Value| !v.get("blocked").is_some_and(Value::truth);
    let by_name: BTreeMap<Name, &Value> =
        list.iter().filter(not_blocked).filter_map(|g| Some((name(g.get("name"))?, g))).collect();
    let definition = |wanted: &Name| {
        let (mut packages, mut seen) = (BTreeSet::new(), BTreeSet::from([wanted.clone()]));
        let mut todo = vec![(wanted.clone(), 0)];
        while let Some((group, depth)) = todo.pop() {
            let Some(group) = by_name.get(&group) else { continue };
            let listed =
                |key: &str| group.get(key).and_then(Value::as_array).unwrap_or_default().iter().filter(not_blocked);
            let installed =
                |p: &&Value| matches!(p.get("type").and_then(Value::as_str), None | Some("mandatory" | "default"));
            packages.extend(listed("packagelist").filter(installed).filter_map(|p| name(p.get("package"))));
            for required in listed("grouplist").filter_map(|g| name(g.get("name"))) {
                if depth < MAX_GROUP_DEPTH && seen.insert(required.clone()) {
                    todo.push((required, depth + 1));
                }
            }
        }
        GroupDefinition { name: wanted.clone(), packages: packages.into_iter().collect() }
    };
    by_name.keys().map(definition).collect()
}
