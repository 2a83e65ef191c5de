//! Parses `repomd.xml`, the index of metadata files with their locations and checksums.

use std::io::BufRead;

use super::checksum::Checksum;
use super::error::RepodataError;
use super::limits::Limits;
use super::xml::{Node, Xml};

/// One metadata file: a `<data>` element.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// `primary`, `filelists`, `group`, `group_gz`, …
    pub kind: String,
    /// Path relative to the directory that holds `repodata/`.
    pub href: String,
    /// Checksum of the packed file, if given. Without it we cannot detect a damaged file. Neither
    /// can dnf.
    pub checksum: Option<Checksum>,
    /// Bytes of the packed file, if the index has a number above 0. This is only a hint: it is
    /// often wrong, and a file with the right checksum is good whatever its size. Our own bounds
    /// limit the packed and the unpacked size.
    pub size: Option<u64>,
}

/// The content of `repomd.xml`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Repomd {
    /// The revision given when the repository was made; usually a time.
    pub revision: Option<String>,
    /// The metadata files, in the order of `repomd.xml`.
    pub data: Vec<Metadata>,
}

impl Repomd {
    /// Parses `repomd.xml`. `file` names the input in errors.
    ///
    /// # Errors
    /// Rejected if the input is not XML, has another root element, or has an entry without
    /// location.
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

    /// Returns the first entry of a type.
    pub fn find(&self, kind: &str) -> Option<&Metadata> {
        self.data.iter().find(|d| d.kind == kind)
    }

    /// Returns the entry to read groups from. `createrepo_c` writes both a plain `group` and a
    /// packed `group_gz`; some repositories have only the latter.
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

/// Parses a size leniently. Some tools write a decimal point. Tools that do not know the size leave
/// it empty or write 0 or -1.
fn hint(text: &str) -> Option<u64> {
    let whole = text.trim().split_once('.').map_or(text.trim(), |(whole, _)| whole);
    whole.parse().ok().filter(|&size| size > 0)
}
