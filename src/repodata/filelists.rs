//! Reads `filelists.xml`, the full file lists. They are many times larger than primary, so the
//! reader keeps only wanted paths.

use std::collections::BTreeSet;
use std::io::BufRead;

use rustc_hash::FxHashMap;
use smol_str::SmolStr;

use super::content::RepoContent;
use super::dependency::Dependency;
use super::error::RepodataError;
use super::limits::Limits;
use super::rich::Rich;
use super::xml::{Node, Xml};

/// Checks whether primary lists this path for the packages that own it. This is the rule of
/// `createrepo_c`: paths below `/etc/`, paths that contain `bin/`, and sendmail.
pub fn is_in_primary(path: &str) -> bool {
    path.starts_with("/etc/") || path.contains("bin/") || path == "/usr/lib/sendmail"
}

/// Checks whether a dependency names a path that primary never lists.
pub(super) fn names_beyond_primary(dependency: &Dependency) -> bool {
    let mut found = false;
    for_each_path(dependency, &mut |path| found |= !is_in_primary(path));
    found
}

/// Calls `work` with every file path that a dependency names, including those inside a rich one.
pub(super) fn for_each_path(dependency: &Dependency, work: &mut impl FnMut(&str)) {
    if dependency.is_rich() {
        if let Ok(rich) = Rich::parse(&dependency.name) {
            rich.for_each_plain(&mut |plain| {
                if let Some(path) = plain.file() {
                    work(path);
                }
            });
        }
    } else if let Some(path) = dependency.file() {
        work(path);
    }
}

/// Adds the `wanted` paths to the packages of `content` that own them. Finds a package by its
/// checksum in primary.
///
/// # Errors
/// Rejected if the input is not XML, has another root element, or exceeds a bound of [`Limits`].
pub fn parse(
    input: impl BufRead,
    file: &str,
    limits: &Limits,
    wanted: &BTreeSet<SmolStr>,
    content: &mut RepoContent,
) -> Result<(), RepodataError> {
    let mut by_id: FxHashMap<SmolStr, Vec<usize>> = FxHashMap::default();
    for (index, package) in content.packages().iter().enumerate() {
        by_id.entry(package.pkgid.clone()).or_default().push(index);
    }
    let mut xml = Xml::new(input, file, limits);
    xml.root("filelists")?;
    let mut owners: Vec<usize> = Vec::new();
    loop {
        match xml.next()? {
            Node::Open(tag) => match tag.name() {
                "package" => {
                    let id = tag.attribute("pkgid");
                    let id = id.map_err(|e| xml.error(e))?.unwrap_or_default();
                    owners = by_id.get(id.as_str()).cloned().unwrap_or_default();
                }
                "file" => {
                    let path = xml.text()?;
                    if let Some(path) = wanted.get(path.as_str()) {
                        add(content, &owners, path);
                    }
                }
                _ => xml.skip()?,
            },
            Node::End => return Ok(()),
            Node::Close | Node::Text(_) | Node::Other => {}
        }
    }
}

fn add(content: &mut RepoContent, owners: &[usize], path: &SmolStr) {
    for &owner in owners {
        let files = &mut content.packages_mut()[owner].files;
        if !files.contains(path) {
            files.push(path.clone());
        }
    }
}
