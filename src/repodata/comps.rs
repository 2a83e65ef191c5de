//! Reads comps: package groups. A build installs the group `build` before anything else.

use std::collections::BTreeMap;
use std::io::BufRead;

use super::error::RepodataError;
use super::limits::Limits;
use super::xml::{Node, Tag, Xml};

/// How strongly a group wants a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberKind {
    /// Always wanted. A missing or unknown `type` also means this.
    Mandatory,
    /// Wanted unless the user deselects it.
    Default,
    /// Wanted only if the user asks for it.
    Optional,
    /// Wanted if another package is installed.
    Conditional,
}

/// One member of a group: a `<packagereq>` element.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// A package name. Koschei also accepts a capability or a path here.
    pub name: String,
    /// How strongly the group wants this member.
    pub kind: MemberKind,
    /// The package that must be installed for this member to count (`requires`). dnf applies this
    /// attribute to every kind of member.
    pub requires: Option<String>,
    /// Whether only packages of the base architecture count (`basearchonly`).
    pub base_arch_only: bool,
}

impl From<&str> for Member {
    /// Makes a mandatory member without conditions.
    fn from(name: &str) -> Self {
        Self { name: name.to_owned(), kind: MemberKind::Mandatory, requires: None, base_arch_only: false }
    }
}

impl From<String> for Member {
    fn from(name: String) -> Self {
        Self::from(name.as_str())
    }
}

/// The groups of a comps file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Groups {
    groups: BTreeMap<String, Vec<Member>>,
}

impl Groups {
    /// Parses a comps file. `file` names the input in errors. Groups with the same id are joined.
    ///
    /// # Errors
    /// Rejected if the input is not XML, has another root element, or exceeds a bound of
    /// [`Limits`].
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

    /// Returns the members of a group that a builder may install: all but the optional ones, in
    /// file order. Returns `None` if there is no such group. Source: dnf's default of
    /// `group_package_types` (mandatory, default, conditional). Koschei leaves out the conditional
    /// ones.
    pub fn installed(&self, id: &str) -> Option<Vec<Member>> {
        let members = self.groups.get(id)?;
        Some(members.iter().filter(|m| m.kind != MemberKind::Optional).cloned().collect())
    }

    /// Adds the groups of another file. Groups with the same id are joined, as they are within one
    /// file. dnf does the same.
    pub(super) fn join(&mut self, other: Self) {
        for (id, mut members) in other.groups {
            self.groups.entry(id).or_default().append(&mut members);
        }
    }

    /// Returns the ids of all groups, sorted.
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
                    let member = member(&tag);
                    let member = member.map_err(|e| xml.error(e))?;
                    let name = xml.text()?.trim().to_owned();
                    if !name.is_empty() {
                        members.push(Member { name, ..member });
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

/// Reads the attributes of a `<packagereq>`.
fn member(tag: &Tag<'_>) -> Result<Member, String> {
    let attribute = |name| Ok::<_, String>(tag.attribute(name)?.unwrap_or_default().trim().to_owned());
    let kind = match attribute("type")?.as_str() {
        "default" => MemberKind::Default,
        "optional" => MemberKind::Optional,
        "conditional" => MemberKind::Conditional,
        _ => MemberKind::Mandatory,
    };
    let requires = Some(attribute("requires")?).filter(|r| !r.is_empty());
    let base_arch_only = attribute("basearchonly")?.eq_ignore_ascii_case("true");
    Ok(Member { name: String::new(), kind, requires, base_arch_only })
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
        <packagereq basearchonly="true" requires="">tar</packagereq></packagelist></group>
        <group><id>empty</id></group></comps>"#;

    #[test]
    fn all_but_optional_members_are_installed() {
        let groups = Groups::parse(COMPS.as_bytes(), "comps.xml", &Limits::default()).unwrap();
        let mut sed = Member::from("sed");
        sed.kind = MemberKind::Default;
        let mut y = Member::from("y");
        (y.kind, y.requires) = (MemberKind::Conditional, Some("x".to_owned()));
        let mut tar = Member::from("tar");
        tar.base_arch_only = true;
        assert_eq!(groups.installed("build").unwrap(), ["bash".into(), sed, y, tar]);
        assert_eq!(groups.installed("empty").unwrap(), []);
        assert_eq!(groups.installed("srpm-build"), None);
        assert_eq!(groups.ids().collect::<Vec<_>>(), ["build", "empty"]);
    }

    #[test]
    fn another_document_is_refused() {
        let error = Groups::parse(&b"<metadata/>"[..], "comps.xml", &Limits::default()).unwrap_err().to_string();
        assert!(error.contains("comps.xml") && error.contains("not <comps>"), "{error}");
    }
}
