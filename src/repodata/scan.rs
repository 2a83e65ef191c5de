//! Scans the packages of `primary.xml` byte by byte, several times faster than an XML parser.
//!
//! The scanner knows only the form in which `createrepo_c` and its kin write: plain tags with
//! double quotes, the usual prefixes, the five entities that XML defines. It takes each distinct
//! `<rpm:entry …/>` once: a map from the bytes of the tag to the dependency answers the other ninety
//! percent. It hands a package that looks different to [`primary::parse`], which decides what the
//! package means. Whatever is outside of packages and looks different, or is not XML, is an [`Odd`]
//! file. The caller then has [`primary::parse`] read the whole file.
//!
//! Why the results are equal: XML is read from left to right, and the scanner goes on only while
//! each byte can mean just one thing. A package that it hands over reaches to the next `</package>`.
//! If those bytes between `<metadata>` and `</metadata>` are a document, they are also whole elements
//! of the file. If they are not, because a comment or a quote ends later, the file is odd.

use std::borrow::Cow;
use std::io::Read;

use memchr::{memchr, memmem};
use smol_str::SmolStr;

use super::content::{DepId, Package, RepoContent, Requirement};
use super::cursor::{Attributes, Cursor, Odd, Scan, Tag};
use super::entries::{Entries, Hash};
use super::limits::Limits;
use super::primary::{self, EntryText};
use crate::model::Evr;

/// The end of every package.
pub(super) const END_OF_PACKAGE: &[u8] = b"</package>";
/// The XML declarations that the scanner knows. A document without any is UTF-8, too.
const DECLARATIONS: [&[u8]; 2] =
    [b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>", b"<?xml version=\"1.0\" encoding=\"utf-8\"?>"];
/// Open elements at an `<rpm:entry>`.
const DEPTH: usize = 5;
/// Lists of dependencies other than the requirements, in the order of [`Lists::others`].
const OTHERS: [&str; 7] = ["provides", "conflicts", "obsoletes", "recommends", "suggests", "supplements", "enhances"];

enum Place {
    Start,
    Inside,
    After,
}

/// Returns the text of the package that begins at `start`, up to the next `</package>`. `None` if no
/// package begins there, or none ends.
pub(super) fn element_at(text: &str, start: usize) -> Option<&str> {
    let rest = text.get(start..)?;
    if !rest.starts_with("<package") {
        return None;
    }
    let end = memmem::find(rest.as_bytes(), END_OF_PACKAGE)?;
    rest.get(..end + END_OF_PACKAGE.len())
}

/// The lists of a package while it is scanned.
#[derive(Default, Debug)]
struct Lists {
    requires: Vec<Requirement>,
    others: [Vec<DepId>; OTHERS.len()],
    files: Vec<SmolStr>,
}

/// What is around the packages of one file, which comes piece by piece.
pub(super) struct Frame<'l> {
    limits: &'l Limits,
    place: Place,
}

impl<'l> Frame<'l> {
    pub(super) fn new(limits: &'l Limits) -> Self {
        Self { limits, place: Place::Start }
    }

    /// Scans the next piece of the file. It ends after a `</package>`, or is the `last`. `element`
    /// gets the piece and where a package begins. It returns where the package ends.
    pub(super) fn piece(
        &mut self,
        text: &str,
        last: bool,
        mut element: impl FnMut(&str, usize) -> Scan<usize>,
    ) -> Scan<()> {
        let mut cursor = Cursor::new(text);
        if let Place::Start = self.place {
            self.start(&mut cursor)?;
        }
        loop {
            let before = cursor.at;
            cursor.space();
            if cursor.at - before > self.limits.xml_token {
                return Err(Odd);
            }
            if cursor.is_at_end() {
                return if matches!(self.place, Place::After) || !last { Ok(()) } else { Err(Odd) };
            }
            match self.place {
                Place::Inside if cursor.take(b"</metadata>") => self.place = Place::After,
                Place::Inside => cursor.at = element(text, cursor.at)?,
                Place::Start | Place::After => return Err(Odd),
            }
        }
    }

    /// Scans up to the start tag of the root element.
    fn start(&mut self, cursor: &mut Cursor<'_>) -> Scan<()> {
        if self.limits.xml_depth < DEPTH {
            return Err(Odd);
        }
        let _ = DECLARATIONS.iter().any(|declaration| cursor.take(declaration));
        cursor.space();
        let tag = cursor.tag()?;
        if tag.name != "metadata" || cursor.at > self.limits.xml_token {
            return Err(Odd);
        }
        self.place = if tag.empty { Place::After } else { Place::Inside };
        Ok(())
    }
}

/// Scans packages.
#[derive(Default, Debug)]
pub(super) struct Scanner {
    /// The packages so far.
    pub(super) content: RepoContent,
    limits: Limits,
    entries: Entries,
    lists: Lists,
    handed_over: usize,
}

impl Scanner {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { limits: *limits, ..Self::default() }
    }

    /// Returns the packages, and how many of them the parser read instead.
    pub(super) fn finish(self) -> (RepoContent, usize) {
        (self.content, self.handed_over)
    }

    /// Drops what makes the next packages faster to scan.
    pub(super) fn forget(&mut self) {
        self.entries = Entries::default();
        self.content.forget_texts();
    }

    /// Adds the package that begins at `start`. Returns where it ends. The parser reads what the
    /// scanner does not know.
    pub(super) fn element(&mut self, text: &str, start: usize) -> Scan<usize> {
        let mut cursor = Cursor::new(text);
        cursor.at = start;
        match self.package(&mut cursor) {
            Ok(package) if cursor.at - start <= self.limits.xml_token => {
                self.content.push(package);
                Ok(cursor.at)
            }
            Ok(_) | Err(Odd) => self.hand_over(text, start),
        }
    }

    /// Has the parser read the package that begins at `start`. Returns where it ends.
    fn hand_over(&mut self, text: &str, start: usize) -> Scan<usize> {
        let package = element_at(text, start).ok_or(Odd)?;
        let document = b"<metadata>".chain(package.as_bytes()).chain(b"</metadata>".as_slice());
        let mut read = RepoContent::default();
        primary::parse(document, "", &self.limits, &mut read).map_err(|_| Odd)?;
        self.content.append(read).ok_or(Odd)?;
        self.handed_over += 1;
        Ok(start + package.len())
    }

    fn package(&mut self, cursor: &mut Cursor<'_>) -> Scan<Package> {
        let tag = cursor.tag()?;
        if tag.name != "package" || tag.empty {
            return Err(Odd);
        }
        self.lists.requires.clear();
        self.lists.others.iter_mut().for_each(Vec::clear);
        self.lists.files.clear();
        let (mut name, mut arch, mut evr) = (None, None, None);
        let (mut pkgid, mut base) = (SmolStr::default(), None);
        let mut sourcerpm = None;
        loop {
            cursor.space();
            if cursor.take(END_OF_PACKAGE) {
                break;
            }
            let tag = cursor.tag()?;
            match tag.name {
                "name" => name = Some(self.content.share(&cursor.text(&tag)?)),
                "arch" => arch = Some(self.content.share(&cursor.text(&tag)?)),
                "version" => {
                    evr = Some(version(&tag)?);
                    cursor.ignore(&tag)?;
                }
                // No two packages share it, so it is not worth a look among the shared texts.
                "checksum" => pkgid = SmolStr::new(cursor.text(&tag)?),
                "location" => {
                    base = self.location_base(&tag)?;
                    cursor.ignore(&tag)?;
                }
                "format" if !tag.empty => self.format(cursor, &mut sourcerpm)?,
                "format" => {}
                // A package in a package would hide where the outer one ends.
                "package" => return Err(Odd),
                other if other.contains(':') => return Err(Odd),
                _ => cursor.ignore(&tag)?,
            }
        }
        let (Some(name), Some(arch), Some(evr)) = (name, arch, evr) else { return Err(Odd) };
        let texts: [&SmolStr; 4] = [&name, &arch, &evr.version, &evr.release];
        if name.is_empty() || arch.is_empty() || texts.into_iter().any(|text| text.as_bytes().contains(&0)) {
            return Err(Odd);
        }
        let [provides, conflicts, obsoletes, recommends, suggests, supplements, enhances] =
            self.lists.others.each_ref().map(|list| list.as_slice().into());
        let requires = self.lists.requires.as_slice().into();
        Ok(Package {
            name,
            evr,
            arch,
            pkgid,
            provides,
            requires,
            conflicts,
            obsoletes,
            recommends,
            suggests,
            supplements,
            enhances,
            files: self.lists.files.drain(..).collect(),
            sourcerpm,
            base,
        })
    }

    /// Returns the base of a package's location. Nothing reads the location itself.
    fn location_base(&mut self, tag: &Tag<'_>) -> Scan<Option<SmolStr>> {
        let (mut href, mut base) = (None, None);
        for attribute in tag.attributes() {
            let (key, value) = attribute?;
            let first = match key {
                "href" => href.replace(value).is_none(),
                "xml:base" => base.replace(self.content.share(&value)).is_none(),
                _ => false,
            };
            if !first {
                return Err(Odd);
            }
        }
        Ok(base)
    }

    fn format(&mut self, cursor: &mut Cursor<'_>, sourcerpm: &mut Option<SmolStr>) -> Scan<()> {
        loop {
            cursor.space();
            if cursor.take(b"</format>") {
                return Ok(());
            }
            let tag = cursor.tag()?;
            match tag.name.strip_prefix("rpm:") {
                Some("requires") => self.entries(cursor, &tag, None)?,
                Some("sourcerpm") => {
                    let text = cursor.text(&tag)?;
                    *sourcerpm = (!text.is_empty()).then(|| self.content.share(&text));
                }
                Some(list) if let Some(list) = OTHERS.iter().position(|other| *other == list) => {
                    self.entries(cursor, &tag, Some(list))?;
                }
                Some(other) if other == "file" || other.contains(':') => return Err(Odd),
                None if tag.name == "file" => {
                    let path = self.content.share(&cursor.text(&tag)?);
                    self.lists.files.push(path);
                }
                None if tag.name == "package" || tag.name == "requires" || tag.name == "sourcerpm" => return Err(Odd),
                None if OTHERS.contains(&tag.name) || tag.name.contains(':') => return Err(Odd),
                Some(_) | None => cursor.ignore(&tag)?,
            }
        }
    }

    /// Scans a list of dependencies, the requirements or one of [`OTHERS`].
    fn entries(&mut self, cursor: &mut Cursor<'_>, list: &Tag<'_>, other: Option<usize>) -> Scan<()> {
        if list.empty {
            return Ok(());
        }
        loop {
            cursor.space();
            if !cursor.take(b"<rpm:entry") {
                return cursor.close(list.name);
            }
            let rest = cursor.rest();
            let raw = rest.get(..memchr(b'>', rest).ok_or(Odd)?).ok_or(Odd)?;
            let start = cursor.at;
            cursor.at += raw.len() + 1;
            let hash = Hash::of(raw);
            let entry = match self.entries.get(hash, raw) {
                Some(entry) => entry,
                None => self.new_entry(cursor.slice(start, start + raw.len())?, hash)?,
            };
            match other.and_then(|other| self.lists.others.get_mut(other)) {
                Some(list) => list.push(entry.dep),
                None => self.lists.requires.push(entry),
            }
        }
    }

    /// Takes an entry for the first time. `raw` is what stands between its name and the next `>`.
    /// It may end inside a quoted value, but then it is not a list of attributes.
    fn new_entry(&mut self, raw: &str, hash: Hash) -> Scan<Requirement> {
        let attributes = raw.strip_suffix('/').ok_or(Odd)?;
        let mut text = EntryText::default();
        let mut pre = None;
        for attribute in Attributes::of(attributes) {
            let (key, value) = attribute?;
            let place = match key {
                "name" => &mut text.name,
                "flags" => &mut text.flags,
                "epoch" => &mut text.epoch,
                "ver" => &mut text.version,
                "rel" => &mut text.release,
                "pre" => &mut pre,
                _ => return Err(Odd),
            };
            if place.replace(value).is_some() {
                return Err(Odd);
            }
        }
        text.pre = pre.is_some_and(|value| value.starts_with('1'));
        // The parser counts what is odd in a dependency, each time it occurs.
        let (dependency, pre) = primary::dependency(text, &mut self.content).map_err(|_| Odd)?;
        if primary::too_large(&dependency).is_some() {
            return Err(Odd);
        }
        let dep = self.content.intern(dependency).ok_or(Odd)?;
        let entry = Requirement { dep, pre };
        self.entries.insert(hash, raw.as_bytes(), entry).ok_or(Odd)?;
        Ok(entry)
    }
}

fn version(tag: &Tag<'_>) -> Scan<Evr> {
    let (mut epoch, mut version, mut release) = (None, None, None);
    for attribute in tag.attributes() {
        let (key, value) = attribute?;
        let place = match key {
            "epoch" => &mut epoch,
            "ver" => &mut version,
            "rel" => &mut release,
            _ => return Err(Odd),
        };
        if place.replace(value).is_some() {
            return Err(Odd);
        }
    }
    let epoch = match epoch.as_deref() {
        None | Some("" | "0") => None,
        Some(text) => Some(text.parse::<u32>().map_err(|_| Odd)?).filter(|&number| number != 0),
    };
    let text = |text: Option<Cow<'_, str>>| SmolStr::new(text.unwrap_or_default());
    Ok(Evr { epoch, version: text(version), release: text(release) })
}
