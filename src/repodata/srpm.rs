//! Reads what a source package says about how it is built: its header, from the first bytes of the
//! file.
//!
//! A package file consists of lead, signature header, header, and payload. We read only the first
//! three: some kilobytes, regardless of the payload. For a package on a server, a range request is
//! therefore enough; [`SrpmError::TooShort`] says how long the range must be. We verify neither
//! digests nor signatures. A caller that needs a trusted package must get the file from a trusted
//! place.
//!
//! The `rpm` crate extracts the tags. It relies on the lengths and offsets in the file, so we check
//! all of them first, as rpm does when it imports a header (`hdrblobVerifyInfo`). The check proves
//! that nothing points outside, strings end, the parts do not overlap, and the whole is bounded.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rpm::{IndexTag, PackageMetadata};
use smol_str::SmolStr;

use super::sense::hub_requirement;
use crate::model::{Class, Classified, Evr, Nvr};

/// Most bytes of one header. The largest real ones have about 2 MB, in packages with ten thousand
/// source files.
pub const HEADER_BYTES_MAX: u64 = 32 << 20;
/// Most tags of one header. This is rpm's own bound (`HEADER_TAGS_MAX`).
pub const HEADER_TAGS_MAX: u64 = 0xffff;
/// Most values of one tag.
pub const TAG_VALUES_MAX: u64 = 1 << 20;
/// Most requirements, and most conflicts, of one source package. The largest real ones have about
/// 1,500.
pub const REQUIRES_MAX: usize = 20_000;
/// Longest requirement or name, in bytes.
pub const TEXT_BYTES_MAX: usize = 4096;
/// Most architectures in one list. `%{ix86}` and `%{arm}` expand to ten each.
pub const ARCHES_MAX: usize = 1024;

/// Length of the lead: 96 bytes that once described the package and now only mark its beginning.
const LEAD: usize = 96;
/// The first bytes of the lead.
const LEAD_MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
/// Length of a header's introduction: magic, version, four reserved bytes, number of tags, bytes of
/// their values.
const INTRO: usize = 16;
/// The first bytes of a header, with its version.
const HEADER_MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 0x01];
/// Length of one index entry: number, type, offset and count of the tag's values.
const TAG: usize = 16;

/// The parts of a source package's header that we need.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceHeader {
    /// Name.
    pub name: SmolStr,
    /// Epoch (if there is one), version, release.
    pub evr: Evr,
    /// The architecture the package was made on. Requirements with an ISA have the ISA of this
    /// architecture. A package with `BuildArch: noarch` has `noarch` here, whatever machine made
    /// it. Source: observed with rpm 4.18. The file's own architecture is always `src`.
    pub made_on: SmolStr,
    /// BuildRequires in the form of a spec file, without rpm's own (`rpmlib(…)`). They are in the
    /// header's order; rpm sorts them by name.
    pub requires: Vec<String>,
    /// BuildConflicts, in the same form.
    pub conflicts: Vec<String>,
    /// `BuildArch`.
    pub build_archs: Vec<SmolStr>,
    /// `ExclusiveArch`. Empty means no limit.
    pub exclusive_arch: Vec<SmolStr>,
    /// `ExcludeArch`.
    pub exclude_arch: Vec<SmolStr>,
}

/// Why a file could not be read as a source package. `file` is the caller's name for it: a path, an
/// address, or an NVR.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SrpmError {
    /// Opening or reading failed.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// The bytes end before the header does: the file is cut short, or the range was too short.
    #[error("read source package {file}: it ends after {got} bytes, inside the header, which needs at least {needed}")]
    TooShort {
        /// The file.
        file: String,
        /// Number of bytes read.
        got: u64,
        /// Number of bytes, from the beginning of the file, that are needed at least. It is more
        /// than `got`. The next attempt may need still more, but there are at most three more such
        /// steps: signature, introduction of the header, header.
        needed: u64,
    },
    /// The file is not a package.
    #[error("read source package {file}: it is not an RPM package")]
    NotAPackage {
        /// The file.
        file: String,
    },
    /// The file is a package, but not a source package.
    #[error("read source package {file}: it is a binary package; name the .src.rpm")]
    NotSource {
        /// The file.
        file: String,
    },
    /// The header exceeds a bound.
    #[error("read source package {file}: its header has {found} {what}, more than {limit}")]
    TooLarge {
        /// The file.
        file: String,
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        found: u64,
        /// The bound.
        limit: u64,
    },
    /// The header contradicts itself or the format.
    #[error("read source package {file}: its header is damaged: {problem}")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong.
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
    /// Returns how many bytes from the beginning of the file are needed at least, if there were too
    /// few.
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
    /// See [`SourceHeader::read`]. Rejected if the file does not exist.
    pub fn load(path: &Path) -> Result<Self, SrpmError> {
        let file = File::open(path).map_err(|source| SrpmError::Read { path: path.to_owned(), source })?;
        // The file is not buffered: there are only four reads, and none goes beyond the header.
        Self::read(file, &path.display().to_string())
    }

    /// Reads from the beginning of a file up to the end of its header. `file` names the input in
    /// errors.
    ///
    /// # Errors
    /// Returns [`SrpmError::TooShort`] if the bytes end too early. Unavailable if reading fails.
    /// All other errors are rejections.
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

    /// Returns name, version and release.
    pub fn nvr(&self) -> Nvr {
        Nvr { name: self.name.clone(), version: self.evr.version.clone(), release: self.evr.release.clone() }
    }
}

/// The tags of requirements: name, flags and version.
const REQUIRES: [IndexTag; 3] =
    [IndexTag::RPMTAG_REQUIRENAME, IndexTag::RPMTAG_REQUIREFLAGS, IndexTag::RPMTAG_REQUIREVERSION];
/// The tags of conflicts: name, flags and version.
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

    /// Returns one text that must be there.
    fn text(&self, tag: IndexTag, what: &'static str) -> Result<SmolStr, SrpmError> {
        let text = self.metadata.header.get_entry_data_as_string(tag);
        let text = text.map_err(|e| damaged(self.file, format!("the {what}: {e}")))?;
        self.bounded("bytes in a name", text.len(), TEXT_BYTES_MAX)?;
        if text.is_empty() || text.contains(['\n', '/']) {
            return Err(damaged(self.file, format!("the {what} is `{}`", text.escape_debug())));
        }
        Ok(text.into())
    }

    /// Returns the dependencies of one kind. Their names, flags and versions are in three lists.
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

    /// Returns a list of architectures. A missing list is empty.
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
    // The crate's error texts may contain data of the file, so shorten them.
    SrpmError::Damaged { file: file.to_owned(), problem: problem.chars().take(200).collect() }
}

/// Reads a file part by part. Each part says how long the next read is.
struct Reader<'a, R> {
    input: R,
    file: &'a str,
    bytes: Vec<u8>,
}

impl<R: Read> Reader<'_, R> {
    /// Reads and checks lead, signature and header.
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

    /// Reads until `length` bytes are there.
    fn upto(&mut self, length: usize) -> Result<(), SrpmError> {
        let missing = length.saturating_sub(self.bytes.len());
        let read = (&mut self.input).take(missing as u64).read_to_end(&mut self.bytes);
        read.map_err(|source| SrpmError::Read { path: self.file.into(), source })?;
        if self.bytes.len() < length {
            // Input that does not begin like a package is not a package that is too short.
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

    /// Reads and checks the header at `at`. The caller has already read its introduction. Returns
    /// the position of its end.
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

/// Reads a number of four bytes, most significant first.
fn number(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 4).map_or(0, |four| four.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)))
}

/// Checks that the values of every tag lie in `data`, and that together they are no longer than it.
/// Code that follows the tags then neither leaves `data` nor reads any of it twice. O(data).
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
            // Characters, bytes and binary data. Then numbers of two, four and eight bytes.
            1 | 2 | 7 => count,
            3 => count * 2,
            4 => count * 4,
            5 => count * 8,
            6 if count != 1 => return Err(wrong("is one text and has another number of values")),
            6 | 8 | 9 => {
                // Search only the bytes that are left, so that overlapping texts cost nothing.
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

/// Returns the length of the first `count` texts, each ended by a zero byte. Returns `None` if
/// there are fewer.
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
