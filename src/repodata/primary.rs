//! Parses `primary.xml`, the list of packages.

use std::borrow::Cow;
use std::io::BufRead;

use smol_str::SmolStr;

use super::content::{DepId, Package, RepoContent, Requirement};
use super::dependency::{DepEvr, Dependency, DependencyError, Op, Relation};
use super::error::RepodataError;
use super::limits::Limits;
use super::oddity::Oddity;
use super::rich::Rich;
use super::xml::{Node, Tag, Xml};
use crate::model::Evr;

/// Parses packages into `content` and keeps their order. `file` names the input in errors. An error
/// in a single package is skipped and noted in [`RepoContent::oddities`].
///
/// # Errors
/// Rejected if the input is not XML, has another root element, or exceeds a bound of [`Limits`].
/// `content` is then incomplete and must not be used.
pub fn parse(input: impl BufRead, file: &str, limits: &Limits, content: &mut RepoContent) -> Result<(), RepodataError> {
    let mut xml = Xml::new(input, file, limits);
    xml.root("metadata")?;
    loop {
        match xml.next()? {
            Node::Open(tag) if tag.name() == "package" => {
                if content.packages().len() >= limits.packages {
                    let problem = format!("it has more than {} packages", limits.packages);
                    return Err(RepodataError::Format { file: file.to_owned(), problem });
                }
                if let Some(package) = package(&mut xml, file, content)? {
                    content.push(package);
                }
            }
            Node::Open(_) => xml.skip()?,
            Node::End => return Ok(()),
            Node::Close | Node::Text(_) | Node::Other => {}
        }
    }
}

/// A package while it is being read.
#[derive(Default)]
struct Draft {
    name: Option<SmolStr>,
    arch: Option<SmolStr>,
    evr: Option<Evr>,
    /// Why the package is left out, if it is.
    odd: Option<(Oddity, String)>,
    pkgid: SmolStr,
    provides: Vec<DepId>,
    requires: Vec<Requirement>,
    conflicts: Vec<DepId>,
    obsoletes: Vec<DepId>,
    recommends: Vec<DepId>,
    suggests: Vec<DepId>,
    supplements: Vec<DepId>,
    enhances: Vec<DepId>,
    files: Vec<SmolStr>,
    sourcerpm: Option<SmolStr>,
    /// Only named if the package has no name.
    location: SmolStr,
    base: Option<SmolStr>,
}

fn package<R: BufRead>(
    xml: &mut Xml<'_, R>,
    file: &str,
    content: &mut RepoContent,
) -> Result<Option<Package>, RepodataError> {
    let depth = xml.depth();
    let mut draft = Draft::default();
    loop {
        let here = xml.depth();
        match xml.next()? {
            Node::Open(tag) => match tag.name() {
                "name" => draft.name = Some(content.share(&xml.text()?)),
                "arch" => draft.arch = Some(content.share(&xml.text()?)),
                "version" => {
                    match version(&tag).map_err(|e| wrong(file, &draft, e))? {
                        Ok(evr) => draft.evr = Some(evr),
                        Err(epoch) => draft.odd = Some((Oddity::PackageEpoch, format!("epoch `{epoch}`"))),
                    }
                    xml.skip()?;
                }
                "checksum" => draft.pkgid = content.share(&xml.text()?),
                "location" => {
                    let found = (tag.attribute("href"), tag.attribute("xml:base"));
                    let (Ok(href), Ok(base)) = found else { return Err(xml.error("a broken attribute")) };
                    draft.location = href.unwrap_or_default().into();
                    draft.base = base.map(|b| content.share(&b));
                    xml.skip()?;
                }
                "format" => format_element(xml, file, content, &mut draft)?,
                _ => xml.skip()?,
            },
            Node::Close if here == depth => return Ok(finish(draft, content)),
            Node::End => return Err(xml.error("it ends inside <package>")),
            Node::Close | Node::Text(_) | Node::Other => {}
        }
    }
}

/// Makes the package. Returns `None` and notes an oddity if the package is left out.
fn finish(mut draft: Draft, content: &mut RepoContent) -> Option<Package> {
    let name = draft.name.take().unwrap_or_default();
    let arch = draft.arch.take().filter(|arch| !arch.is_empty()).unwrap_or_else(|| {
        content.oddities.add(Oddity::PackageWithoutArch, || format!("package {name}: it has no <arch>"));
        SmolStr::new_static("noarch")
    });
    let evr = draft.evr.take().unwrap_or_else(|| {
        if draft.odd.is_none() {
            content.oddities.add(Oddity::PackageWithoutVersion, || format!("package {name}: it has no <version>"));
        }
        Evr { epoch: None, version: SmolStr::default(), release: SmolStr::default() }
    });
    let nul = |text: &SmolStr| text.as_bytes().contains(&0);
    if name.is_empty() {
        draft.odd = Some((Oddity::PackageWithoutName, format!("location `{}`", draft.location)));
    } else if [&name, &arch, &evr.version, &evr.release].into_iter().any(nul) {
        draft.odd = Some((Oddity::PackageNul, "a zero byte".to_owned()));
    }
    if let Some((oddity, what)) = draft.odd {
        content.oddities.add(oddity, || format!("package {name}: {what}"));
        return None;
    }
    Some(Package {
        name,
        evr,
        arch,
        pkgid: draft.pkgid,
        provides: draft.provides.into(),
        requires: draft.requires.into(),
        conflicts: draft.conflicts.into(),
        obsoletes: draft.obsoletes.into(),
        recommends: draft.recommends.into(),
        suggests: draft.suggests.into(),
        supplements: draft.supplements.into(),
        enhances: draft.enhances.into(),
        files: draft.files,
        sourcerpm: draft.sourcerpm,
        base: draft.base,
    })
}

fn format_element<R: BufRead>(
    xml: &mut Xml<'_, R>,
    file: &str,
    content: &mut RepoContent,
    draft: &mut Draft,
) -> Result<(), RepodataError> {
    let depth = xml.depth();
    loop {
        let here = xml.depth();
        match xml.next()? {
            Node::Open(tag) => match tag.name() {
                "sourcerpm" => {
                    let text = xml.text()?;
                    draft.sourcerpm = (!text.is_empty()).then(|| content.share(&text));
                }
                "file" => draft.files.push(content.share(&xml.text()?)),
                "requires" => {
                    entries(xml, file, content, draft, |draft, dep, pre| {
                        draft.requires.push(Requirement { dep, pre })
                    })?;
                }
                "provides" => entries(xml, file, content, draft, |draft, dep, _| draft.provides.push(dep))?,
                "conflicts" => entries(xml, file, content, draft, |draft, dep, _| draft.conflicts.push(dep))?,
                "obsoletes" => entries(xml, file, content, draft, |draft, dep, _| draft.obsoletes.push(dep))?,
                "recommends" => entries(xml, file, content, draft, |draft, dep, _| draft.recommends.push(dep))?,
                "suggests" => entries(xml, file, content, draft, |draft, dep, _| draft.suggests.push(dep))?,
                "supplements" => entries(xml, file, content, draft, |draft, dep, _| draft.supplements.push(dep))?,
                "enhances" => entries(xml, file, content, draft, |draft, dep, _| draft.enhances.push(dep))?,
                _ => xml.skip()?,
            },
            Node::Close if here == depth => return Ok(()),
            Node::End => return Err(xml.error("it ends inside <format>")),
            Node::Close | Node::Text(_) | Node::Other => {}
        }
    }
}

fn entries<R: BufRead>(
    xml: &mut Xml<'_, R>,
    file: &str,
    content: &mut RepoContent,
    draft: &mut Draft,
    mut put: impl FnMut(&mut Draft, DepId, bool),
) -> Result<(), RepodataError> {
    let depth = xml.depth();
    loop {
        let here = xml.depth();
        match xml.next()? {
            Node::Open(tag) if tag.name() == "entry" => {
                let (dependency, pre) = match entry(&tag, content).map_err(|e| wrong(file, draft, e))? {
                    Ok(entry) => entry,
                    Err((oddity, what)) => {
                        let name = draft.name.as_deref().unwrap_or("?");
                        content.oddities.add(oddity, || format!("package {name}: {what}"));
                        continue;
                    }
                };
                if let Some(what) = too_large(&dependency) {
                    let name = draft.name.as_deref().unwrap_or("?");
                    content.oddities.add(Oddity::DependencyTooLarge, || format!("package {name}: {what}"));
                }
                let dep = content.intern(dependency);
                let dep = dep.ok_or_else(|| wrong(file, draft, "too many different dependencies".to_owned()))?;
                put(draft, dep, pre);
            }
            Node::Open(_) => xml.skip()?,
            Node::Close if here == depth => return Ok(()),
            Node::End => return Err(xml.error("it ends inside a list of dependencies")),
            Node::Close | Node::Text(_) | Node::Other => {}
        }
    }
}

/// A dependency and whether it must be installed before the package (`pre`), or what is wrong with
/// the dependency.
pub(super) type Entry = Result<(Dependency, bool), (Oddity, String)>;

/// The attributes of an `<rpm:entry>`, decoded.
#[derive(Default)]
pub(super) struct EntryText<'a> {
    pub(super) name: Option<Cow<'a, str>>,
    pub(super) flags: Option<Cow<'a, str>>,
    pub(super) epoch: Option<Cow<'a, str>>,
    pub(super) version: Option<Cow<'a, str>>,
    pub(super) release: Option<Cow<'a, str>>,
    pub(super) pre: bool,
}

/// Parses one `<rpm:entry>`. Returns an outer `Err` if the tag is not XML.
fn entry(tag: &Tag<'_>, content: &mut RepoContent) -> Result<Entry, String> {
    let mut text = EntryText::default();
    for attribute in tag.attributes() {
        let (key, value) = attribute?;
        match key {
            "name" => text.name = Some(value),
            "flags" => text.flags = Some(value),
            "epoch" => text.epoch = Some(value),
            "ver" => text.version = Some(value),
            "rel" => text.release = Some(value),
            "pre" => text.pre = value.starts_with('1'),
            _ => {}
        }
    }
    Ok(dependency(text, content))
}

/// Makes the dependency of an entry. A comparison without a version counts as no comparison,
/// because rpm has no such thing.
pub(super) fn dependency(text: EntryText<'_>, content: &mut RepoContent) -> Entry {
    let EntryText { name, flags, epoch, version, release, pre } = text;
    let Some(name) = name.filter(|name| !name.is_empty()).map(|name| content.share(&name)) else {
        return Err((Oddity::DependencyWithoutName, "a dependency without name".to_owned()));
    };
    let nul = |text: &str| text.as_bytes().contains(&0);
    if nul(&name) || version.as_deref().is_some_and(nul) || release.as_deref().is_some_and(nul) {
        return Err((Oddity::DependencyNul, format!("dependency `{}`: a zero byte", name.replace('\0', "\\0"))));
    }
    let op = match flags {
        None => None,
        Some(flags) => match Op::parse_rpmmd(&flags) {
            Some(op) => Some(op),
            None => {
                let what = format!("dependency `{name}`: comparison `{flags}` is not known");
                return Err((Oddity::DependencyComparison, what));
            }
        },
    };
    let relation = match (op, version) {
        (Some(op), Some(version)) => {
            let version = content.share(&version);
            let evr = DepEvr::new(epoch.as_deref(), "", release.as_deref());
            let mut evr = match evr {
                Ok(evr) => evr,
                Err(error) => return Err((Oddity::DependencyEpoch, format!("dependency `{name}`: {error}"))),
            };
            evr.version = version;
            Some(Relation { op, evr })
        }
        _ => None,
    };
    if name.starts_with('(')
        && relation.is_none()
        && let Err(error @ DependencyError::Rich { .. }) = Rich::parse(&name)
    {
        return Err((Oddity::DependencyRich, error.to_string()));
    }
    Ok((Dependency { name, relation }, pre))
}

/// Returns the problem if a rich dependency exceeds a bound.
pub(super) fn too_large(dependency: &Dependency) -> Option<String> {
    if !dependency.is_rich() || dependency.relation.is_some() {
        return None;
    }
    Rich::parse(&dependency.name).err().map(|error| error.to_string())
}

/// Parses `<version>`. Returns `Ok(Err)` with the epoch if the epoch is not a number. Returns an
/// outer `Err` if the tag is not XML.
fn version(tag: &Tag<'_>) -> Result<Result<Evr, String>, String> {
    let mut evr = Evr { epoch: None, version: SmolStr::default(), release: SmolStr::default() };
    let mut wrong = None;
    for attribute in tag.attributes() {
        let (key, value) = attribute?;
        match key {
            "epoch" if value.is_empty() => {}
            "epoch" => match value.parse::<u32>() {
                Ok(number) => evr.epoch = (number != 0).then_some(number),
                Err(_) => wrong = Some(value.into_owned()),
            },
            "ver" => evr.version = value.as_ref().into(),
            "rel" => evr.release = value.as_ref().into(),
            _ => {}
        }
    }
    Ok(wrong.map_or(Ok(evr), Err))
}

fn wrong(file: &str, draft: &Draft, problem: String) -> RepodataError {
    let problem = match &draft.name {
        Some(name) => format!("package {name}: {problem}"),
        None => problem,
    };
    RepodataError::Format { file: file.to_owned(), problem }
}
