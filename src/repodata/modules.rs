//! Reads `modules.yaml`: which packages of a repository belong to modules, and which modules are
//! active by default.
//!
//! From each stream (`modulemd` version 1 and 2, `modulemd-stream`) we keep its name, version,
//! context, artifacts, demodularized names, and its requirements of other modules. From
//! `modulemd-defaults` we keep the default stream.
//!
//! The rule is dnf's (`setModuleExcludes` of libdnf, run against dnf 4.14). A buildroot enables no
//! streams, so only default streams are active. Two kinds of packages are hidden:
//! * artifacts of other streams;
//! * packages that are not an artifact of an active stream, but have or provide the name of one.
//!
//! A document with an error is skipped and noted, and the other documents count, as in dnf. If the
//! file stops being YAML at some place, everything after that place is lost.

use std::collections::{BTreeMap, BTreeSet};

use saphyr_parser::{Event, Parser};

/// Depth of nested values. modulemd needs 6.
const DEPTH_MAX: usize = 32;
/// Values in one document. The largest streams of RHEL list a few thousand artifacts.
const VALUES_MAX: usize = 1_000_000;
/// Most problems that are noted.
const PROBLEMS_MAX: usize = 20;

/// The modules of one repository, or of several joined ones.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Modules {
    streams: Vec<Stream>,
    defaults: Vec<ModuleDefault>,
    /// Why documents were skipped.
    pub problems: Vec<String>,
}

/// One build of a stream.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Stream {
    module: String,
    stream: String,
    version: u64,
    context: String,
    /// Packages of the stream, as `name-epoch:version-release.arch`.
    artifacts: Vec<String>,
    demodularized: Vec<String>,
    /// Alternative requirements; one of them must hold. Each lists, for every required module, the
    /// acceptable streams. `-x` means any stream but `x`. An empty list means any stream.
    requires: Vec<Vec<(String, Vec<String>)>>,
}

/// The default stream of a module.
#[derive(Clone, PartialEq, Eq, Debug)]
struct ModuleDefault {
    module: String,
    stream: Option<String>,
    modified: u64,
}

/// Decides which packages of a repository with modules are visible.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ModuleFilter {
    active: BTreeSet<String>,
    inactive: BTreeSet<String>,
    names: BTreeSet<String>,
}

impl Modules {
    /// Parses all documents. `file` names the input in problems.
    pub fn parse(text: &str, file: &str) -> Self {
        let mut modules = Self::default();
        let mut parser = Parser::new_from_str(text);
        let mut number = 0;
        loop {
            let document = match document(&mut parser) {
                Ok(None) => return modules,
                Ok(Some(document)) => document,
                Err(problem) => {
                    modules.note(format!("read {file}: {problem}; what follows is passed over"));
                    return modules;
                }
            };
            number += 1;
            if let Err(problem) = document.and_then(|d| modules.add(&d)) {
                modules.note(format!("read document {number} of {file}: {problem}"));
            }
        }
    }

    fn note(&mut self, problem: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }

    fn add(&mut self, document: &Value) -> Result<(), String> {
        let data = document.get("data").unwrap_or(&Value::Nothing);
        match document.text("document").unwrap_or_default() {
            "modulemd" | "modulemd-stream" => self.streams.push(stream(data)?),
            "modulemd-defaults" => self.defaults.push(ModuleDefault {
                module: data.text("module").filter(|m| !m.is_empty()).ok_or("it names no module")?.to_owned(),
                stream: data.text("stream").filter(|s| !s.is_empty()).map(str::to_owned),
                modified: data.text("modified").and_then(|m| m.parse().ok()).unwrap_or(0),
            }),
            // Translations, packagers' documents and obsoletes do not affect which streams are
            // active.
            _ => {}
        }
        Ok(())
    }

    /// Adds the modules of another repository.
    pub fn join(&mut self, other: Self) {
        self.streams.extend(other.streams);
        self.defaults.extend(other.defaults);
        other.problems.into_iter().for_each(|problem| self.note(problem));
    }

    /// Returns the default stream of each module. Of several documents about one module, the last
    /// modified one counts. If two of the same age contradict each other, the module has no default
    /// stream.
    fn default_streams(&self) -> BTreeMap<&str, &str> {
        let mut newest: BTreeMap<&str, (u64, Option<&str>)> = BTreeMap::new();
        for default in &self.defaults {
            let said = (default.modified, default.stream.as_deref());
            let known = newest.entry(&default.module).or_insert(said);
            match known.0.cmp(&said.0) {
                std::cmp::Ordering::Less => *known = said,
                std::cmp::Ordering::Equal if known.1 != said.1 => known.1 = None,
                _ => {}
            }
        }
        newest.into_iter().filter_map(|(module, (_, stream))| Some((module, stream?))).collect()
    }

    /// Returns the active builds, one for each default stream. Only builds whose requirements other
    /// default streams fulfil are eligible. The choice is the newest eligible build of the first
    /// context that has one. A default stream without an eligible build is not active.
    fn active(&self) -> Vec<&Stream> {
        let mut defaults = self.default_streams();
        loop {
            let mut chosen = Vec::new();
            let mut broken = Vec::new();
            for (&module, &name) in &defaults {
                let builds = self.streams.iter().filter(|s| s.module == module && s.stream == name);
                let mut newest: BTreeMap<&str, &Stream> = BTreeMap::new();
                for build in builds.filter(|s| s.fulfilled(&defaults)) {
                    let best = newest.entry(&build.context).or_insert(build);
                    if best.version < build.version {
                        *best = build;
                    }
                }
                match newest.values().next() {
                    Some(build) => chosen.push(*build),
                    None => broken.push(module),
                }
            }
            if broken.is_empty() {
                return chosen;
            }
            // Builds that require one of the removed modules may now drop out, too.
            defaults.retain(|module, _| !broken.contains(module));
        }
    }

    /// Works out what is active and what that hides. Returns `None` if there are no modules.
    pub fn filter(&self) -> Option<ModuleFilter> {
        if self.streams.is_empty() {
            return None;
        }
        let active = self.active();
        let mut filter = ModuleFilter::default();
        for build in &active {
            filter.active.extend(build.artifacts.iter().cloned());
            let names = build.artifacts.iter().filter_map(|artifact| name_and_arch(artifact));
            let names = names.filter(|(_, arch)| !matches!(*arch, "src" | "nosrc")).map(|(name, _)| name.to_owned());
            filter.names.extend(names.filter(|name| !build.demodularized.contains(name)));
        }
        for build in &self.streams {
            let others = build.artifacts.iter().filter(|artifact| !filter.active.contains(*artifact));
            filter.inactive.extend(others.cloned());
        }
        Some(filter)
    }
}

impl ModuleFilter {
    /// Checks whether a package is hidden. `nevra` must contain its epoch, even if that is 0.
    /// `provides` are the names that the package provides.
    pub fn hides<'a>(&self, nevra: &str, name: &str, provides: impl IntoIterator<Item = &'a str>) -> bool {
        if self.active.contains(nevra) {
            return false;
        }
        self.inactive.contains(nevra)
            || self.names.contains(name)
            || provides.into_iter().any(|provide| self.names.contains(provide))
    }
}

impl Stream {
    fn fulfilled(&self, defaults: &BTreeMap<&str, &str>) -> bool {
        let one = |(module, streams): &(String, Vec<String>)| {
            // The platform module stands for the buildroot itself, so it is always there.
            if module == "platform" {
                return true;
            }
            let Some(&active) = defaults.get(module.as_str()) else { return false };
            let (without, with): (Vec<&str>, Vec<&str>) =
                streams.iter().map(String::as_str).partition(|s| s.starts_with('-'));
            let excluded = without.iter().any(|s| s.trim_start_matches('-') == active);
            !excluded && (with.is_empty() || with.contains(&active))
        };
        self.requires.is_empty() || self.requires.iter().any(|all| all.iter().all(one))
    }
}

fn stream(data: &Value) -> Result<Stream, String> {
    let text = |key| data.text(key).unwrap_or_default().to_owned();
    let (module, stream) = (text("name"), text("stream"));
    if module.is_empty() || stream.is_empty() {
        return Err("a stream has no name".to_owned());
    }
    let version = data.text("version").map_or(Ok(0), |v| v.parse().map_err(|_| format!("`{v}` is no version")))?;
    let list = |key| data.get(key).and_then(|v| v.get("rpms")).map(Value::texts).unwrap_or_default();
    let requires = match data.get("dependencies") {
        // Version 2 has alternatives, each with a list of streams per module. Version 1 has one
        // stream per module.
        Some(Value::List(alternatives)) => alternatives.iter().map(|one| requirements(one.get("requires"))).collect(),
        Some(one) => vec![requirements(one.get("requires"))],
        None => Vec::new(),
    };
    Ok(Stream {
        module,
        stream,
        version,
        context: text("context"),
        artifacts: list("artifacts").iter().filter_map(|artifact| with_epoch(artifact)).collect(),
        demodularized: list("demodularized"),
        requires,
    })
}

fn requirements(requires: Option<&Value>) -> Vec<(String, Vec<String>)> {
    let Some(Value::Map(entries)) = requires else { return Vec::new() };
    entries.iter().map(|(module, streams)| (module.clone(), streams.texts())).collect()
}

fn name_and_arch(artifact: &str) -> Option<(&str, &str)> {
    let (rest, arch) = artifact.rsplit_once('.')?;
    let (rest, _) = rest.rsplit_once('-')?;
    let (name, _) = rest.rsplit_once('-')?;
    Some((name, arch))
}

/// Adds the epoch 0 to an artifact without epoch, because our package names always have one.
/// Returns `None` if the text is not a package.
fn with_epoch(artifact: &str) -> Option<String> {
    let (name, _) = name_and_arch(artifact)?;
    let rest = artifact.strip_prefix(name)?.strip_prefix('-')?;
    Some(if rest.contains(':') { artifact.to_owned() } else { format!("{name}-0:{rest}") })
}

/// A YAML value. Scalars stay text, because a stream `1.10` is not a number.
enum Value {
    Nothing,
    Text(String),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

impl Value {
    fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(entries) = self else { return None };
        entries.iter().find(|(k, _)| k == key).map(|(_, value)| value)
    }

    fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the texts of a list, or a single text as a list of one.
    fn texts(&self) -> Vec<String> {
        match self {
            Self::Text(text) => vec![text.clone()],
            Self::List(values) => values.iter().flat_map(Self::texts).collect(),
            Self::Nothing | Self::Map(_) => Vec::new(),
        }
    }
}

/// A list or map that the parser is still inside of. For a map, with the key that awaits its value.
enum Open {
    List(Vec<Value>),
    Map(Vec<(String, Value)>, Option<String>),
}

/// Reads the next document. Returns `Ok(None)` at the end. An inner error means that this document
/// is skipped.
fn document(parser: &mut Parser<'_, saphyr_parser::StrInput<'_>>) -> Result<Option<Result<Value, String>>, String> {
    let mut open: Vec<Open> = Vec::new();
    let mut done = Value::Nothing;
    let (mut values, mut wrong) = (0_usize, None);
    loop {
        let Some(event) = parser.next_event() else { return Ok(None) };
        let (event, span) = event.map_err(|error| error.to_string())?;
        let value = match event {
            Event::StreamEnd => return Ok(None),
            Event::DocumentEnd => return Ok(Some(wrong.map_or(Ok(done), Err))),
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => continue,
            Event::Scalar(text, ..) => Value::Text(text.into_owned()),
            // modulemd has no aliases, and expanding them has no bound.
            Event::Alias(_) => {
                wrong.get_or_insert_with(|| format!("line {}: an alias", span.start.line()));
                Value::Nothing
            }
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                if open.len() >= DEPTH_MAX {
                    return Err(format!("line {}: more than {DEPTH_MAX} values inside each other", span.start.line()));
                }
                let list = matches!(event, Event::SequenceStart(..));
                open.push(if list { Open::List(Vec::new()) } else { Open::Map(Vec::new(), None) });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(values)) => Value::List(values),
                Some(Open::Map(entries, _)) => Value::Map(entries),
                None => Value::Nothing,
            },
        };
        values += 1;
        if values > VALUES_MAX {
            return Err(format!("line {}: more than {VALUES_MAX} values in one document", span.start.line()));
        }
        match open.last_mut() {
            None => done = value,
            Some(Open::List(values)) => values.push(value),
            Some(Open::Map(entries, key)) => match key.take() {
                Some(key) => entries.push((key, value)),
                None => match value {
                    Value::Text(text) => *key = Some(text),
                    _ => {
                        wrong.get_or_insert_with(|| format!("line {}: a key is no text", span.start.line()));
                        *key = Some(String::new());
                    }
                },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(modules: &Modules, all: &[(&str, &[&str])]) -> Vec<String> {
        let filter = modules.filter().unwrap();
        let hides = |nevra: &str, provides: &[&str]| {
            filter.hides(nevra, name_and_arch(nevra).unwrap().0, provides.iter().copied())
        };
        all.iter().filter(|(nevra, provides)| hides(nevra, provides)).map(|(nevra, _)| (*nevra).to_owned()).collect()
    }

    fn doc(name: &str, stream: &str, version: u64, context: &str, requires: &str, rpms: &str) -> String {
        format!(
            "---\ndocument: modulemd\nversion: 2\ndata:\n  name: {name}\n  stream: \"{stream}\"\n  \
             version: {version}\n  context: {context}\n  dependencies:\n  - requires: {{{requires}}}\n  \
             artifacts:\n    rpms: [{rpms}]\n...\n"
        )
    }

    fn default(module: &str, stream: &str) -> String {
        format!("---\ndocument: modulemd-defaults\nversion: 1\ndata: {{module: {module}, stream: {stream}}}\n...\n")
    }

    #[test]
    fn an_active_stream_hides_what_has_or_provides_a_name_of_it() {
        let text = doc("web", "1.10", 2, "c0", "platform: [f99]", "webd-0:2-1.x86_64, webd-0:2-1.src, tool-2-1.noarch")
            + &doc("web", "1.10", 1, "c0", "", "webd-0:1-1.x86_64")
            + &default("web", "1.10");
        let modules = Modules::parse(&text, "modules.yaml");
        assert_eq!(modules.problems, [""; 0]);
        let all: &[(&str, &[&str])] = &[
            ("webd-0:2-1.x86_64", &["webd"]),
            ("webd-0:1-1.x86_64", &[]),
            ("webd-0:9-1.x86_64", &[]),
            ("tool-0:2-1.noarch", &[]),
            ("other-0:1-1.noarch", &["tool"]),
            ("free-0:1-1.noarch", &["web"]),
        ];
        assert_eq!(hidden(&modules, all), ["webd-0:1-1.x86_64", "webd-0:9-1.x86_64", "other-0:1-1.noarch"]);
    }

    #[test]
    fn what_requires_an_inactive_stream_is_inactive() {
        let text = doc("a", "1", 1, "c1", "b: [2]", "a-0:1-1.noarch")
            + &doc("a", "1", 1, "c2", "b: [-2]", "a-0:2-1.noarch")
            + &doc("b", "1", 1, "c", "", "b-0:1-1.noarch")
            + &doc("c", "1", 1, "c", "d: []", "c-0:1-1.noarch")
            + &doc("e", "1", 1, "c", "c: [1]", "e-0:1-1.noarch")
            + &["a", "b", "c", "e"].map(|module| default(module, "1")).concat();
        let modules = Modules::parse(&text, "modules.yaml");
        let all = ["a-0:1-1.noarch", "a-0:2-1.noarch", "b-0:1-1.noarch", "c-0:1-1.noarch", "e-0:1-1.noarch"];
        let all: Vec<(&str, &[&str])> = all.iter().map(|nevra| (*nevra, [].as_slice())).collect();
        assert_eq!(hidden(&modules, &all), ["a-0:1-1.noarch", "c-0:1-1.noarch", "e-0:1-1.noarch"]);
    }

    #[test]
    fn what_is_wrong_is_passed_over_and_noted() {
        let good = doc("web", "1", 1, "c", "", "webd-0:1-1.noarch");
        let text = format!("---\ndocument: modulemd\ndata: {{name: x}}\n...\n{good}---\na: *b\n...\n");
        let modules = Modules::parse(&text, "modules.yaml");
        assert_eq!(modules.streams.len(), 1);
        assert!(modules.problems[0].contains("document 1 of modules.yaml"), "{:?}", modules.problems);
        let broken = Modules::parse(&format!("{good}---\n\"open: [\n"), "modules.yaml");
        assert_eq!((broken.streams.len(), broken.problems.len()), (1, 1), "{:?}", broken.problems);
        let deep = Modules::parse(&"[".repeat(100), "modules.yaml");
        assert!(deep.problems[0].contains("inside each other"), "{:?}", deep.problems);
        assert_eq!(Modules::parse(&"[".repeat(100_000), "modules.yaml").problems.len(), 1);
    }

    #[test]
    fn contradicting_defaults_are_none_and_the_last_modified_counts() {
        let said = |modified: u64, stream: &str| ModuleDefault {
            module: "m".to_owned(),
            stream: Some(stream.to_owned()),
            modified,
        };
        let of = |defaults: Vec<ModuleDefault>| {
            let modules = Modules { defaults, ..Modules::default() };
            modules.default_streams().get("m").map(|s| (*s).to_owned())
        };
        assert_eq!(of(vec![said(1, "a"), said(1, "b")]), None);
        assert_eq!(of(vec![said(1, "a"), said(2, "b")]).as_deref(), Some("b"));
        assert_eq!(of(vec![said(1, "a"), said(1, "a")]).as_deref(), Some("a"));
    }
}
