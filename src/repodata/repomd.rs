//! `repomd.xml`: which metadata files there are, where, and with which checksums.

use std::io::BufRead;

use super::checksum::Checksum;
use super::error::RepodataError;
use super::limits::Limits;
use super::xml::{Node, Xml};

/// One `<data>` element.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// `primary`, `filelists`, `group`, `group_gz`, …
    pub kind: String,
    /// Path relative to the directory that holds `repodata/`.
    pub href: String,
    /// Of the file as it lies there, where given. Without it nothing tells a damaged file, as for dnf.
    pub checksum: Option<Checksum>,
    /// Bytes of the file as it lies there, where a number above 0 is given. A hint: it is often wrong, and no reason to
    /// refuse a file that has the right checksum. How large a file may be, packed and unpacked, is our own bound.
    pub size: Option<u64>,
}

/// The index of a repository.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Repomd {
    /// As the repository was told; usually a time.
    pub revision: Option<String>,
    /// In file order.
    pub data: Vec<Metadata>,
}

impl Repomd {
    /// Parses. `file` names the input in errors.
    ///
    /// # Errors
    /// Rejected: not XML, another root element, an entry without location.
    pub fn parse(input: impl BufRead, file: &str, limits: &Limits) -> Result<Self, RepodataError> {
        let mut xml = Xml::new(input, file, limits);
        xml.root("repomd")?;
        let mut repomd = Self::default();
        loop {
            match xml.next()? {
                Node::Open(tag) if tag.name() == "revision" => repomd.revision = Some(xml.text()?),
                Node::Open(tag) if tag.name() == "data" => {
                    let kind = tag.attribute("type");
                    let kind = kind.map_err(|e| xml.error(e))?.unwrap_or_default();
                    let entry = data(&mut xml, kind, file)?;
                    repomd.data.push(entry);
                }
                Node::Open(_) => xml.skip()?,
                Node::End => return Ok(repomd),
                Node::Close | Node::Text(_) | Node::Other => {}
            }
        }
    }

    /// The first entry of a type.
    pub fn find(&self, kind: &str) -> Option<&Metadata> {
        self.data.iter().find(|d| d.kind == kind)
    }

    /// The entry groups are read from: `createrepo_c` writes both a plain `group` and a packed `group_gz`; some
    /// repositories have only the latter.
    pub fn groups(&self) -> Option<&Metadata> {
        ["group", "group_gz", "group_xz", "group_zst"].iter().find_map(|kind| self.find(kind))
    }
}

fn data<R: BufRead>(xml: &mut Xml<'_, R>, kind: String, file: &str) -> Result<Metadata, RepodataError> {
    let depth = xml.depth();
    let (mut href, mut checksum, mut size) = (None, None, None);
    let format = |problem: String| RepodataError::Format { file: file.to_owned(), problem };
    loop {
        let here = xml.depth();
        match xml.next()? {
            Node::Open(tag) => match tag.name() {
                "checksum" => {
                    let algorithm = tag.attribute("type");
                    let algorithm = algorithm.map_err(|e| xml.error(e))?.unwrap_or_default();
                    let hex = xml.text()?.trim().to_ascii_lowercase();
                    checksum = (!hex.is_empty()).then_some(Checksum { kind: algorithm, hex });
                }
                "location" => {
                    let value = tag.attribute("href");
                    href = value.map_err(|e| xml.error(e))?;
                    xml.skip()?;
                }
                "size" => size = hint(&xml.text()?),
                _ => xml.skip()?,
            },
            Node::Close if here == depth => break,
            Node::End => return Err(xml.error("it ends inside <data>")),
            Node::Close | Node::Text(_) | Node::Other => {}
        }
    }
    let href = href.ok_or_else(|| format(format!("`{kind}` has no location")))?;
    Ok(Metadata { kind, href, checksum, size })
}

/// A size as it is written: some write it with a decimal point, or leave it empty, or write 0 or -1 where they do not
/// know it.
fn hint(text: &str) -> Option<u64> {
    let whole = text.trim().split_once('.').map_or(text.trim(), |(whole, _)| whole);
    whole.parse().ok().filter(|&size| size > 0)
}
