//! comps: package groups. A build installs the group `build` before anything else.

use std::collections::BTreeMap;
use std::io::BufRead;

use super::error::RepodataError;
use super::limits::Limits;
use super::xml::{Node, Xml};

/// How strongly a group wants a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberKind {
    /// Always; also what a missing or unknown `type` means.
    Mandatory,
    /// Unless deselected.
    Default,
    /// On request.
    Optional,
    /// If another package is there.
    Conditional,
}

/// One `<packagereq>`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// A package name; Koji also lets it be a capability or a path.
    pub name: String,
    /// How strongly.
    pub kind: MemberKind,
}

/// The groups of a comps file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Groups {
    groups: BTreeMap<String, Vec<Member>>,
}

impl Groups {
    /// Parses. `file` names the input in errors. Groups with the same id are joined.
    ///
    /// # Errors
    /// Rejected: not XML, another root element, or a bound of [`Limits`].
    pub fn parse(input: impl BufRead, file: &str, limits: &Limits) -> Result<Self, RepodataError> {
        let mut xml = Xml::new(input, file, limits);
        xml.root("comps")?;
        let mut groups: BTreeMap<String, Vec<Member>> = BTreeMap::new();
        loop {
            match xml.next()? {
                Node::Open(tag) if tag.name() == "group" => {
                    let (id, mut members) = group(&mut xml)?;
                    groups.entry(id).or_default().append(&mut members);
                }
                Node::Open(_) => xml.skip()?,
                Node::End => return Ok(Self { groups }),
                Node::Close | Node::Text(_) | Node::Other => {}
            }
        }
    }

    /// What a builder installs of a group: its mandatory and default members, in file order. `None`: no such group.
    /// Source: mock's `@build`; Koschei takes the same two kinds.
    pub fn installed(&self, id: &str) -> Option<Vec<String>> {
        let members = self.groups.get(id)?;
        let wanted = members.iter().filter(|m| matches!(m.kind, MemberKind::Mandatory | MemberKind::Default));
        Some(wanted.map(|m| m.name.clone()).collect())
    }

    /// Adds the groups of another file. Groups with the same id are joined, as inside one file (and as by dnf).
    pub(super) fn join(&mut self, other: Self) {
        for (id, mut members) in other.groups {
            self.groups.entry(id).or_default().append(&mut members);
        }
    }

    /// Ids of all groups, sorted.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }
}

fn group<R: BufRead>(xml: &mut Xml<'_, R>) -> Result<(String, Vec<Member>), RepodataError> {
    let depth = xml.depth();
    let mut id = String::new();
    let mut members = Vec::new();
    loop {
        let here = xml.depth();
        match xml.next()? {
            Node::Open(tag) => match tag.name() {
                "id" => id = xml.text()?.trim().to_owned(),
                "packagelist" => {}
                "packagereq" => {
                    let kind = tag.attribute("type");
                    let kind = match kind.map_err(|e| xml.error(e))?.as_deref() {
                        Some("default") => MemberKind::Default,
                        Some("optional") => MemberKind::Optional,
                        Some("conditional") => MemberKind::Conditional,
                        _ => MemberKind::Mandatory,
                    };
                    let name = xml.text()?.trim().to_owned();
                    if !name.is_empty() {
                        members.push(Member { name, kind });
                    }
                }
                _ => xml.skip()?,
            },
            Node::Close if here == depth => return Ok((id, members)),
            Node::End => return Err(xml.error("it ends inside <group>")),
            Node::Close | Node::Text(_) | Node::Other => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPS: &str = r#"<?xml version="1.0"?>
        <!DOCTYPE comps PUBLIC "-//Red Hat, Inc.//DTD Comps info//EN" "comps.dtd">
        <comps><category><id>x</id></category>
        <group><id>build</id><name xml:lang="de">B&amp;au</name><packagelist>
        <packagereq type="mandatory">bash</packagereq><packagereq type="default">sed</packagereq>
        <packagereq type="optional">vi</packagereq><packagereq type="conditional" requires="x">y</packagereq>
        <packagereq>tar</packagereq></packagelist></group>
        <group><id>empty</id></group></comps>"#;

    #[test]
    fn mandatory_and_default_members_are_installed() {
        let groups = Groups::parse(COMPS.as_bytes(), "comps.xml", &Limits::default()).unwrap();
        assert_eq!(groups.installed("build").unwrap(), ["bash", "sed", "tar"]);
        assert_eq!(groups.installed("empty").unwrap(), [""; 0]);
        assert_eq!(groups.installed("srpm-build"), None);
        assert_eq!(groups.ids().collect::<Vec<_>>(), ["build", "empty"]);
    }

    #[test]
    fn another_document_is_refused() {
        let error = Groups::parse(&b"<metadata/>"[..], "comps.xml", &Limits::default()).unwrap_err().to_string();
        assert!(error.contains("comps.xml") && error.contains("not <comps>"), "{error}");
    }
}
