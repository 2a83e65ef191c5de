//! `primary.xml`: the packages.

use std::io::BufRead;

use smol_str::SmolStr;

use super::content::{DepId, Package, RepoContent, Requirement};
use super::dependency::{DepEvr, Dependency, DependencyError, Op, Relation};
use super::error::RepodataError;
use super::limits::Limits;
use super::xml::{Node, Tag, Xml};
use crate::model::Evr;

/// Parses packages into `content`, keeping their order. `file` names the input in errors.
///
/// # Errors
/// Rejected: not XML, another root element, a package without name, architecture or version, an epoch that is not a
/// number, an unknown comparison, or a bound of [`Limits`]. `content` is then incomplete and must not be used.
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
                let package = package(&mut xml, file, content)?;
                content.push(package);
            }
            Node::Open(_) => xml.skip()?,
            Node::End => return Ok(()),
            Node::Close | Node::Text(_) | Node::Other => {}
        }
    }
}

/// The package just opened, while it is read.
#[derive(Default)]
struct Draft {
    name: Option<SmolStr>,
    arch: Option<SmolStr>,
    evr: Option<Evr>,
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
    location: SmolStr,
    base: Option<SmolStr>,
}

fn package<R: BufRead>(xml: &mut Xml<'_, R>, file: &str, content: &mut RepoContent) -> Result<Package, RepodataError> {
    let depth = xml.depth();
    let mut draft = Draft::default();
    loop {
        let here = xml.depth();
        match xml.next()? {
            Node::Open(tag) => match tag.name() {
                "name" => draft.name = Some(content.share(&xml.text()?)),
                "arch" => draft.arch = Some(content.share(&xml.text()?)),
                "version" => {
                    let evr = version(&tag);
                    draft.evr = Some(evr.map_err(|e| wrong(file, &draft, e))?);
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
            Node::Close if here == depth => return finish(file, draft),
            Node::End => return Err(xml.error("it ends inside <package>")),
            Node::Close | Node::Text(_) | Node::Other => {}
        }
    }
}

fn finish(file: &str, draft: Draft) -> Result<Package, RepodataError> {
    if draft.name.as_deref().is_none_or(str::is_empty) {
        return Err(wrong(file, &draft, "a package without name".to_owned()));
    }
    let (Some(name), Some(arch), Some(evr)) = (draft.name.clone(), draft.arch.clone(), draft.evr.clone()) else {
        return Err(wrong(file, &draft, "it lacks <arch> or <version>".to_owned()));
    };
    Ok(Package {
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
        location: draft.location,
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
                let (dependency, pre) = entry(&tag, content).map_err(|e| wrong(file, draft, e))?;
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

/// One `<rpm:entry>`. A comparison without a version counts as none, as rpm has no such thing.
fn entry(tag: &Tag<'_>, content: &mut RepoContent) -> Result<(Dependency, bool), String> {
    let (mut name, mut op, mut pre) = (None, None, false);
    let (mut epoch, mut version, mut release) = (None, None, None);
    for attribute in tag.attributes() {
        let (key, value) = attribute?;
        match key {
            "name" => name = Some(content.share(&value)),
            "flags" => op = Some(Op::parse_rpmmd(&value).ok_or_else(|| format!("comparison `{value}` is not known"))?),
            "epoch" => epoch = Some(value),
            "ver" => version = Some(value),
            "rel" => release = Some(value),
            "pre" => pre = value.starts_with('1'),
            _ => {}
        }
    }
    let name = name.ok_or("a dependency without name")?;
    let relation = match (op, version) {
        (Some(op), Some(version)) => {
            let version = content.share(&version);
            let mut evr =
                DepEvr::new(epoch.as_deref(), "", release.as_deref()).map_err(|e| dependency_error(&name, &e))?;
            evr.version = version;
            Some(Relation { op, evr })
        }
        _ => None,
    };
    Ok((Dependency { name, relation }, pre))
}

fn dependency_error(name: &str, error: &DependencyError) -> String {
    format!("dependency `{name}`: {error}")
}

fn version(tag: &Tag<'_>) -> Result<Evr, String> {
    let mut evr = Evr { epoch: None, version: SmolStr::default(), release: SmolStr::default() };
    for attribute in tag.attributes() {
        let (key, value) = attribute?;
        match key {
            "epoch" if value.is_empty() => {}
            "epoch" => {
                let number = value.parse::<u32>().map_err(|_| format!("epoch `{value}` is not a number"))?;
                evr.epoch = (number != 0).then_some(number);
            }
            "ver" => evr.version = value.as_ref().into(),
            "rel" => evr.release = value.as_ref().into(),
            _ => {}
        }
    }
    Ok(evr)
}

fn wrong(file: &str, draft: &Draft, problem: String) -> RepodataError {
    let problem = match &draft.name {
        Some(name) => format!("package {name}: {problem}"),
        None => problem,
    };
    RepodataError::Format { file: file.to_owned(), problem }
}
