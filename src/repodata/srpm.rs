//! What a source package says about how it is built: its header, read from the first bytes of the file.
//!
//! A package file is lead, signature header, header, payload. Only the first three are read: some kilobytes, whatever
//! the payload has, so that a range request is enough for a package that lies on a server ([`SrpmError::TooShort`] says
//! how long a range). Nothing is verified: neither digests nor signatures; who needs them trusted gets the file from
//! where it can be trusted.
//!
//! Tags are taken out by the `rpm` crate. That crate goes by lengths and offsets as they stand in the file; so every
//! one of them is checked here first, as rpm itself does when it imports a header (`hdrblobVerifyInfo`): nothing points
//! outside, strings end, the parts do not overlap, and the whole is bounded.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rpm::{IndexTag, PackageMetadata};
use smol_str::SmolStr;

use super::sense::hub_requirement;
use crate::model::{Class, Classified, Evr, Nvr};

/// Most bytes of one header. The largest real ones, of packages with ten thousand source files, have about 2 MB.
pub const HEADER_BYTES_MAX: u64 = 32 << 20;
/// Most tags of one header: rpm's own bound (`HEADER_TAGS_MAX`).
pub const HEADER_TAGS_MAX: u64 = 0xffff;
/// Most values of one tag.
pub const TAG_VALUES_MAX: u64 = 1 << 20;
/// Most requirements, and conflicts, of one source package; the largest real ones have about 1,500.
pub const REQUIRES_MAX: usize = 20_000;
/// Longest requirement or name, in bytes.
pub const TEXT_BYTES_MAX: usize = 4096;
/// Most architectures in one list; `%{ix86}` and `%{arm}` expand to ten each.
pub const ARCHES_MAX: usize = 1024;

/// The lead: 96 bytes that once described the package and now begin it.
const LEAD: usize = 96;
/// What begins the lead.
const LEAD_MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
/// The beginning of a header: magic, version, four reserved bytes, number of tags, bytes of their values.
const INTRO: usize = 16;
/// What begins a header, its version included.
const HEADER_MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 0x01];
/// One tag: number, type, offset and count of its values.
const TAG: usize = 16;

/// What is needed of a source package.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceHeader {
    /// Name.
    pub name: SmolStr,
    /// Epoch, where there is one; version; release.
    pub evr: Evr,
    /// The architecture it was made on: the ISA in its requirements is that of this one. `noarch` for a package with
    /// `BuildArch: noarch`, whatever it was made on. Source: observed with rpm 4.18; the file's own architecture is
    /// always `src`.
    pub made_on: SmolStr,
    /// BuildRequires in the header's order (rpm sorts by name), in the form of a specification; rpm's own, `rpmlib(…)`,
    /// left out.
    pub requires: Vec<String>,
    /// BuildConflicts, likewise.
    pub conflicts: Vec<String>,
    /// `BuildArch`.
    pub build_archs: Vec<SmolStr>,
    /// `ExclusiveArch`; empty: no limit.
    pub exclusive_arch: Vec<SmolStr>,
    /// `ExcludeArch`.
    pub exclude_arch: Vec<SmolStr>,
}

/// Why a file is not read as a source package. `file` is what the caller calls it: a path, an address, an NVR.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SrpmError {
    /// Opening or reading failed.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The bytes end before the header does: a cut file, or a range that was too short.
    #[error("read source package {file}: it ends after {got} bytes, inside the header, which needs at least {needed}")]
    TooShort {
        /// What was read.
        file: String,
        /// Bytes there were.
        got: u64,
        /// Bytes from the beginning of the file that are needed at least. More than `got`; the next attempt may need
        /// still more, but there are no more than three: lead, signature, header.
        needed: u64,
    },
    /// It is no package file.
    #[error("read source package {file}: it is not an RPM package")]
    NotAPackage {
        /// What was read.
        file: String,
    },
    /// It is a package, but not a source package.
    #[error("read source package {file}: it is a binary package; name the .src.rpm")]
    NotSource {
        /// What was read.
        file: String,
    },
    /// The header is larger than is right.
    #[error("read source package {file}: its header has {found} {what}, more than {limit}")]
    TooLarge {
        /// What was read.
        file: String,
        /// Of which.
        what: &'static str,
        /// How many.
        found: u64,
        /// How many at most.
        limit: u64,
    },
    /// The header contradicts itself or the format.
    #[error("read source package {file}: its header is damaged: {problem}")]
    Damaged {
        /// What was read.
        file: String,
        /// In which way.
        problem: String,
    },
}

impl Classified for SrpmError {
    fn class(&self) -> Class {
        match self {
            Self::Read { source, .. } if source.kind() != io::ErrorKind::NotFound => Class::Unavailable,
            _ => Class::Rejected,
        }
    }
}

impl SrpmError {
    /// How many bytes from the beginning are needed at least, when there were too few.
    pub fn needed(&self) -> Option<u64> {
        match self {
            Self::TooShort { needed, .. } => Some(*needed),
            _ => None,
        }
    }
}

impl SourceHeader {
    /// Reads a file up to the end of its header.
    ///
    /// # Errors
    /// As [`SourceHeader::read`]; there is no such file: rejected.
    pub fn load(path: &Path) -> Result<Self, SrpmError> {
        let file = File::open(path).map_err(|source| SrpmError::Read { path: path.to_owned(), source })?;
        // Not buffered: there are four reads, and none goes further than the header.
        Self::read(file, &path.display().to_string())
    }

    /// Reads from the beginning of a file, no further than the header goes. `file` is what errors call it.
    ///
    /// # Errors
    /// [`SrpmError::TooShort`] when the bytes end too early; unavailable when reading fails; else rejected.
    pub fn read(input: impl Read, file: &str) -> Result<Self, SrpmError> {
        let bytes = Reader { input, file, bytes: Vec::new() }.package()?;
        let metadata = PackageMetadata::parse(&mut bytes.as_slice()).map_err(|e| damaged(file, e.to_string()))?;
        if !metadata.is_source_package() {
            return Err(SrpmError::NotSource { file: file.to_owned() });
        }
        Self::take(&metadata, file)
    }

    fn take(metadata: &PackageMetadata, file: &str) -> Result<Self, SrpmError> {
        let header = Tags { metadata, file };
        let epoch = match header.present(IndexTag::RPMTAG_EPOCH) {
            true => Some(metadata.get_epoch().map_err(|e| damaged(file, format!("the epoch: {e}")))?),
            false => None,
        };
        Ok(Self {
            name: header.text(IndexTag::RPMTAG_NAME, "name")?,
            evr: Evr {
                epoch,
                version: header.text(IndexTag::RPMTAG_VERSION, "version")?,
                release: header.text(IndexTag::RPMTAG_RELEASE, "release")?,
            },
            made_on: header.text(IndexTag::RPMTAG_ARCH, "architecture")?,
            requires: header.dependencies("requirements", REQUIRES)?,
            conflicts: header.dependencies("conflicts", CONFLICTS)?,
            build_archs: header.arches(IndexTag::RPMTAG_BUILDARCHS)?,
            exclusive_arch: header.arches(IndexTag::RPMTAG_EXCLUSIVEARCH)?,
            exclude_arch: header.arches(IndexTag::RPMTAG_EXCLUDEARCH)?,
        })
    }

    /// Name, version and release.
    pub fn nvr(&self) -> Nvr {
        Nvr { name: self.name.clone(), version: self.evr.version.clone(), release: self.evr.release.clone() }
    }
}

/// Name, flags and version of requirements.
const REQUIRES: [IndexTag; 3] =
    [IndexTag::RPMTAG_REQUIRENAME, IndexTag::RPMTAG_REQUIREFLAGS, IndexTag::RPMTAG_REQUIREVERSION];
/// Of conflicts.
const CONFLICTS: [IndexTag; 3] =
    [IndexTag::RPMTAG_CONFLICTNAME, IndexTag::RPMTAG_CONFLICTFLAGS, IndexTag::RPMTAG_CONFLICTVERSION];

/// The tags of a checked header.
struct Tags<'a> {
    metadata: &'a PackageMetadata,
    file: &'a str,
}

impl Tags<'_> {
    fn present(&self, tag: IndexTag) -> bool {
        self.metadata.header.entry_is_present(tag)
    }

    fn bounded(&self, what: &'static str, found: usize, limit: usize) -> Result<(), SrpmError> {
        if found <= limit {
            return Ok(());
        }
        Err(SrpmError::TooLarge { file: self.file.to_owned(), what, found: found as u64, limit: limit as u64 })
    }

    /// One text that must be there.
    fn text(&self, tag: IndexTag, what: &'static str) -> Result<SmolStr, SrpmError> {
        let text = self.metadata.header.get_entry_data_as_string(tag);
        let text = text.map_err(|e| damaged(self.file, format!("the {what}: {e}")))?;
        self.bounded("bytes in a name", text.len(), TEXT_BYTES_MAX)?;
        if text.is_empty() || text.contains(['\n', '/']) {
            return Err(damaged(self.file, format!("the {what} is `{}`", text.escape_debug())));
        }
        Ok(text.into())
    }

    /// Dependencies of one kind, of which each has a name, flags and a version, in three lists.
    fn dependencies(&self, what: &'static str, tags: [IndexTag; 3]) -> Result<Vec<String>, SrpmError> {
        let [names, flags, versions] = tags;
        if !self.present(names) {
            return Ok(Vec::new());
        }
        let header = &self.metadata.header;
        let wrong = |e: rpm::Error| damaged(self.file, format!("the {what}: {e}"));
        let names = header.get_entry_data_as_string_array(names).map_err(wrong)?;
        let flags = header.get_entry_data_as_u32_array(flags).map_err(wrong)?;
        let versions = header.get_entry_data_as_string_array(versions).map_err(wrong)?;
        self.bounded(what, names.len(), REQUIRES_MAX)?;
        if (names.len(), names.len()) != (flags.len(), versions.len()) {
            let counts = format!("{} names, {} flags, {} versions", names.len(), flags.len(), versions.len());
            return Err(damaged(self.file, format!("the {what}: {counts}")));
        }
        let mut texts = Vec::with_capacity(names.len());
        for ((name, version), flags) in names.into_iter().zip(versions).zip(flags) {
            let Some(text) = hub_requirement(name, version, u64::from(flags)) else { continue };
            self.bounded("bytes in one requirement", text.len(), TEXT_BYTES_MAX)?;
            texts.push(text);
        }
        Ok(texts)
    }

    /// A list that may be missing.
    fn arches(&self, tag: IndexTag) -> Result<Vec<SmolStr>, SrpmError> {
        if !self.present(tag) {
            return Ok(Vec::new());
        }
        let list = self.metadata.header.get_entry_data_as_string_array(tag);
        let list = list.map_err(|e| damaged(self.file, format!("a list of architectures: {e}")))?;
        self.bounded("architectures in a list", list.len(), ARCHES_MAX)?;
        Ok(list.into_iter().map(SmolStr::new).collect())
    }
}

fn damaged(file: &str, problem: String) -> SrpmError {
    // The crate's texts may hold what was read.
    SrpmError::Damaged { file: file.to_owned(), problem: problem.chars().take(200).collect() }
}

/// Reads part after part, each no further than the one before says.
struct Reader<'a, R> {
    input: R,
    file: &'a str,
    bytes: Vec<u8>,
}

impl<R: Read> Reader<'_, R> {
    /// Lead, signature and header, checked.
    fn package(mut self) -> Result<Vec<u8>, SrpmError> {
        self.upto(LEAD + INTRO)?;
        if !self.bytes.starts_with(&LEAD_MAGIC) {
            return Err(SrpmError::NotAPackage { file: self.file.to_owned() });
        }
        let signature = self.header(LEAD, "signature")?;
        // The header begins at a multiple of eight.
        let header = signature.next_multiple_of(8);
        self.upto(header + INTRO)?;
        self.header(header, "header")?;
        Ok(self.bytes)
    }

    /// Reads until there are `length` bytes.
    fn upto(&mut self, length: usize) -> Result<(), SrpmError> {
        let missing = length.saturating_sub(self.bytes.len());
        let read = (&mut self.input).take(missing as u64).read_to_end(&mut self.bytes);
        read.map_err(|source| SrpmError::Read { path: self.file.into(), source })?;
        if self.bytes.len() < length {
            // Something else shall not be called too short for a package.
            let begins = self.bytes.iter().zip(LEAD_MAGIC).all(|(a, b)| *a == b);
            return Err(match begins {
                true => SrpmError::TooShort {
                    file: self.file.to_owned(),
                    got: self.bytes.len() as u64,
                    needed: length as u64,
                },
                false => SrpmError::NotAPackage { file: self.file.to_owned() },
            });
        }
        Ok(())
    }

    /// Reads and checks the header at `at`, of which the intro is there. Gives its end.
    fn header(&mut self, at: usize, what: &str) -> Result<usize, SrpmError> {
        let intro = &self.bytes[at..at + INTRO];
        if !intro.starts_with(&HEADER_MAGIC) {
            return Err(damaged(self.file, format!("the {what} does not begin as one")));
        }
        let (tags, data) = (number(intro, 8), number(intro, 12));
        let too_large = |what, found, limit| SrpmError::TooLarge { file: self.file.to_owned(), what, found, limit };
        if tags > HEADER_TAGS_MAX {
            return Err(too_large("tags", tags, HEADER_TAGS_MAX));
        }
        let length = tags * TAG as u64 + data;
        if length > HEADER_BYTES_MAX {
            return Err(too_large("bytes", length, HEADER_BYTES_MAX));
        }
        let end = at + INTRO + usize::try_from(length).expect("32 MiB fit into any usize");
        self.upto(end)?;
        let index = usize::try_from(tags).expect("65,535 fit into any usize") * TAG;
        let (index, data) = self.bytes[at + INTRO..end].split_at(index);
        check(index, data).map_err(|problem| damaged(self.file, format!("{what}: {problem}")))?;
        Ok(end)
    }
}

/// A number of four bytes, most significant first.
fn number(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 4).map_or(0, |four| four.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)))
}

/// Checks that every tag's values lie in `data` and that together they are no longer than it, so that whoever goes by
/// them neither leaves it nor reads it more than once. O(data).
fn check(index: &[u8], data: &[u8]) -> Result<(), String> {
    let mut left = data.len();
    for tag in index.chunks_exact(TAG) {
        let [name, kind, offset, count] = [0, 4, 8, 12].map(|at| number(tag, at));
        let wrong = |problem: &str| format!("tag {name} {problem}");
        let values = usize::try_from(offset).ok().and_then(|offset| data.get(offset..));
        let values = values.ok_or_else(|| wrong("lies outside"))?;
        if count > TAG_VALUES_MAX {
            return Err(wrong("has too many values"));
        }
        let count = usize::try_from(count).map_err(|_| wrong("has too many values"))?;
        let length = match kind {
            0 => 0,
            // Characters, bytes and binary data; then numbers of two, four and eight bytes.
            1 | 2 | 7 => count,
            3 => count * 2,
            4 => count * 4,
            5 => count * 8,
            6 if count != 1 => return Err(wrong("is one text and has another number of values")),
            6 | 8 | 9 => {
                // Never further than may be left, so that overlapping texts cost nothing.
                let within = values.get(..left.min(values.len())).unwrap_or_default();
                texts(within, count).ok_or_else(|| wrong("has texts without an end"))?
            }
            _ => return Err(wrong("has a type that is not known")),
        };
        if length > values.len() {
            return Err(wrong("has values outside"));
        }
        left = left.checked_sub(length).ok_or_else(|| wrong("shares its values with others"))?;
    }
    Ok(())
}

/// Bytes of the first `count` texts, each ended by a zero; `None` when there are fewer.
fn texts(data: &[u8], count: usize) -> Option<usize> {
    let mut length = 0;
    for _ in 0..count {
        length += data.get(length..)?.iter().position(|byte| *byte == 0)? + 1;
    }
    Some(length)
}

#[cfg(test)]
#[path = "srpm_tests.rs"]
mod tests;
