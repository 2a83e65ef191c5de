//! Loads a repository from a directory. Apart from [`super::SourceHeader::load`], only this part of
//! the repository reader opens files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use smol_str::SmolStr;

use super::checksum::{Checksum, ChecksumKind};
use super::compression::{self, Compression};
use super::comps::Groups;
use super::content::RepoContent;
use super::error::RepodataError;
use super::known::KnownPackages;
use super::koji::{self, RepoInfo};
use super::limits::Limits;
use super::modules::Modules;
use super::repomd::{Metadata, Repomd};
use super::{filelists, pieces, primary};
use crate::model::{BuildId, Nvr};

/// A repository in a directory that contains `repodata/repomd.xml`.
#[derive(Clone, Debug)]
pub struct RepoDir {
    path: PathBuf,
    repomd: Repomd,
    limits: Limits,
    groups: bool,
    module_hotfixes: bool,
}

impl RepoDir {
    /// Reads `repodata/repomd.xml` below `path`.
    ///
    /// # Errors
    /// Rejected if the file does not exist or is not a `repomd.xml`. Unavailable if it cannot be
    /// read.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, RepodataError> {
        Self::open_with(path, Limits::default())
    }

    /// Like [`RepoDir::open`], but with the given bounds.
    pub fn open_with(path: impl Into<PathBuf>, limits: Limits) -> Result<Self, RepodataError> {
        let path = path.into();
        let file = path.join("repodata/repomd.xml");
        let bytes = match read_bounded(&file, limits.small_file_bytes) {
            Err(RepodataError::Read { source, .. })
                if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                return Err(RepodataError::NoRepomd { path: file });
            }
            other => other?,
        };
        let repomd = Repomd::parse(bytes.as_slice(), &file.display().to_string(), &limits)?;
        Ok(Self { path, repomd, limits, groups: true, module_hotfixes: false })
    }

    /// Returns the parsed `repomd.xml`.
    pub fn repomd(&self) -> &Repomd {
        &self.repomd
    }

    /// Makes loading skip the repository's own groups. The caller has other groups, so the state of
    /// these does not matter.
    #[must_use]
    pub fn without_groups(mut self) -> Self {
        self.groups = false;
        self
    }

    /// Returns an identity of the package content: the checksum of primary in `repomd.xml`, or else
    /// the digest of the file. It is equal for two generations of a Koji repository with the same
    /// packages. Returns `None` if there is no primary, or if its digest is needed and the file
    /// cannot be read.
    pub fn primary_checksum(&self) -> Option<String> {
        self.checksum("primary")
    }

    /// Returns an identity of the repository's modules, like [`RepoDir::primary_checksum`]. Returns
    /// `None` if there are no modules, or if modules do not apply to its packages
    /// ([`RepoDir::with_module_hotfixes`]).
    pub fn modules_checksum(&self) -> Option<String> {
        if self.module_hotfixes { None } else { self.checksum("modules") }
    }

    fn checksum(&self, kind: &str) -> Option<String> {
        let entry = self.repomd.find(kind)?;
        match &entry.checksum {
            Some(checksum) => Some(checksum.hex.clone()),
            None => self.fetch(entry).ok().map(|(packed, _)| ChecksumKind::Sha256.digest(&packed)),
        }
    }

    /// Reads packages and groups. Verifies every file first.
    ///
    /// `paths` are file paths that the caller will look up itself (BuildRequires such as
    /// `/usr/share/x`). The full file lists are read only if primary cannot answer one of these
    /// paths or one in the repository's own dependencies. Afterwards a path has no owner if it is
    /// neither in `paths` nor in primary nor in a dependency.
    ///
    /// # Errors
    /// Returns the [`RepodataError`] of the first file that cannot be used. Cost: memory of the
    /// packed files, one at a time, and of the result.
    pub fn load<'a>(&self, paths: impl IntoIterator<Item = &'a str>) -> Result<RepoContent, RepodataError> {
        self.complete(self.packages()?, paths)
    }

    /// Reads only the packages that primary lists. This is the first part of [`RepoDir::load`], for
    /// callers that learn only later which paths they need. A large primary is parsed on several
    /// threads.
    ///
    /// # Errors
    /// See [`RepoDir::load`].
    pub fn packages(&self) -> Result<RepoContent, RepodataError> {
        let entry = self.find("primary")?;
        let (packed, file) = self.fetch(entry)?;
        match pieces::scan(self.unpack(entry, &packed, &file)?, &self.limits, pieces::PIECE) {
            Ok(scanned) => Ok(scanned.content),
            Err(pieces::NotScanned) => {
                let mut content = RepoContent::default();
                let reader = self.unpack(entry, &packed, &file)?;
                primary::parse(reader, &file, &self.limits, &mut content)?;
                Ok(content)
            }
        }
    }

    /// Like [`RepoDir::packages`], but takes packages from `known` that were read before, from
    /// whatever repository. It remembers the others. The result is the same.
    ///
    /// # Errors
    /// See [`RepoDir::load`].
    pub fn packages_with(&self, known: &KnownPackages) -> Result<RepoContent, RepodataError> {
        let content = self.read_into(known)?.and_then(|identity| known.content(&identity));
        content.map_or_else(|| self.packages(), Ok)
    }

    /// Checks whether a dependency of the packages names a path that primary never lists. The full
    /// file lists are then needed. [`RepoDir::packages_with`] costs little afterwards.
    ///
    /// # Errors
    /// See [`RepoDir::load`].
    pub fn needs_filelists(&self, known: &KnownPackages) -> Result<bool, RepodataError> {
        let needed = self.read_into(known)?.and_then(|identity| known.names_beyond_primary(&identity));
        needed.map_or_else(|| Ok(!beyond_primary(&[self.packages()?], []).is_empty()), Ok)
    }

    /// Makes `known` have the packages. Returns what they are remembered as, or `None` if the parser
    /// must read them.
    fn read_into(&self, known: &KnownPackages) -> Result<Option<String>, RepodataError> {
        let entry = self.find("primary")?;
        let Some(checksum) = &entry.checksum else { return Ok(None) };
        if self.limits != *known.limits() {
            return Ok(None);
        }
        let identity = format!("{} {}", checksum.kind, checksum.hex);
        if !known.has(&identity) {
            let (packed, file) = self.fetch(entry)?;
            if known.read(self.unpack(entry, &packed, &file)?, pieces::PIECE, &identity).is_err() {
                return Ok(None);
            }
        }
        Ok(Some(identity))
    }

    /// Completes packages that [`RepoDir::packages`] read: adds the groups and the wanted paths of
    /// the file lists.
    ///
    /// # Errors
    /// See [`RepoDir::load`].
    pub fn complete<'a>(
        &self,
        content: RepoContent,
        paths: impl IntoIterator<Item = &'a str>,
    ) -> Result<RepoContent, RepodataError> {
        complete_merged(std::slice::from_ref(self), vec![content], paths)
    }

    fn add_files(&self, wanted: &BTreeSet<SmolStr>, content: &mut RepoContent) -> Result<(), RepodataError> {
        let Some(entry) = self.repomd.find("filelists") else { return Ok(()) };
        let (packed, file) = self.fetch(entry)?;
        let reader = self.unpack(entry, &packed, &file)?;
        filelists::parse(reader, &file, &self.limits, wanted, content)
    }

    /// Reads the repository's own groups. Returns `None` if `repomd.xml` names no groups.
    pub fn groups(&self) -> Result<Option<Groups>, RepodataError> {
        let Some(entry) = self.repomd.groups() else { return Ok(None) };
        let (packed, file) = self.fetch(entry)?;
        let reader = self.unpack_to(self.limits.small_file_bytes, entry, &packed, &file)?;
        let bytes = compression::read_all(reader, &file)?;
        Groups::parse(bytes.as_slice(), &file, &self.limits).map(Some)
    }

    /// Makes all packages of this repository count, regardless of modules (dnf's
    /// `module_hotfixes`).
    #[must_use]
    pub fn with_module_hotfixes(mut self, hotfixes: bool) -> Self {
        self.module_hotfixes = hotfixes;
        self
    }

    /// Reads the modules of the repository. There are none if `repomd.xml` names no such file.
    fn modules(&self) -> Result<Modules, RepodataError> {
        let Some(entry) = self.repomd.find("modules") else { return Ok(Modules::default()) };
        let (packed, file) = self.fetch(entry)?;
        let reader = self.unpack_to(self.limits.small_file_bytes, entry, &packed, &file)?;
        let bytes = compression::read_all(reader, &file)?;
        Ok(Modules::parse(&String::from_utf8_lossy(&bytes), &file))
    }

    fn find(&self, kind: &'static str) -> Result<&Metadata, RepodataError> {
        let file = self.path.join("repodata/repomd.xml").display().to_string();
        self.repomd.find(kind).ok_or(RepodataError::Missing { file, kind })
    }

    /// Reads and verifies a metadata file. Returns its packed bytes and its name for errors.
    fn fetch(&self, entry: &Metadata) -> Result<(Vec<u8>, String), RepodataError> {
        let href = Path::new(&entry.href);
        if !href.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir)) {
            return Err(RepodataError::Outside {
                file: self.path.join("repodata/repomd.xml").display().to_string(),
                kind: entry.kind.clone(),
                href: entry.href.clone(),
            });
        }
        let path = self.path.join(href);
        let file = path.display().to_string();
        let algorithm = |checksum: &Checksum| {
            let unknown = || RepodataError::ChecksumKind { file: file.clone(), kind: checksum.kind.clone() };
            ChecksumKind::parse(&checksum.kind).ok_or_else(unknown)
        };
        let kind = entry.checksum.as_ref().map(algorithm).transpose()?;
        let bytes = read_bounded(&path, self.limits.file_bytes)?;
        if let (Some(kind), Some(checksum)) = (kind, &entry.checksum) {
            let found = kind.digest(&bytes);
            if found != checksum.hex {
                let expected = checksum.hex.clone();
                return Err(RepodataError::Checksum { file, kind: kind.as_str(), expected, found });
            }
        }
        Ok((bytes, file))
    }

    fn unpack<'a>(
        &self,
        entry: &Metadata,
        packed: &'a [u8],
        file: &str,
    ) -> Result<compression::Unpacked<'a>, RepodataError> {
        self.unpack_to(self.limits.unpacked_bytes, entry, packed, file)
    }

    /// Unpacks at most `limit` bytes. Ignores the size in `repomd.xml`: the checksum already shows
    /// that the file is the right one.
    fn unpack_to<'a>(
        &self,
        limit: u64,
        entry: &Metadata,
        packed: &'a [u8],
        file: &str,
    ) -> Result<compression::Unpacked<'a>, RepodataError> {
        let compression = Compression::of(&entry.href).map_err(|extension| RepodataError::Compression {
            file: file.to_owned(),
            extension: extension.to_owned(),
        })?;
        compression.reader(packed, limit, file)
    }
}

/// Reads several repositories as one, in their order ([`RepoContent::merge`]). `paths` are the same
/// as in [`RepoDir::load`].
///
/// # Errors
/// See [`RepoDir::load`] and [`complete_merged`].
pub fn load_merged<'a>(
    dirs: &[RepoDir],
    paths: impl IntoIterator<Item = &'a str>,
) -> Result<RepoContent, RepodataError> {
    let parts = dirs.iter().map(RepoDir::packages).collect::<Result<Vec<_>, _>>()?;
    complete_merged(dirs, parts, paths)
}

/// Completes and merges several repositories. `parts` are the results of [`RepoDir::packages`], one
/// for each directory. A dependency of one repository may name a file of another. If one repository
/// needs its full file lists, those of all are therefore read.
///
/// # Errors
/// See [`RepoDir::load`]. Unusable groups are not an error; they are noted in
/// [`RepoContent::group_problems`]. Rejected if there are more repositories, or more packages in
/// all of them together, than the [`Limits`] of the first repository allow.
pub fn complete_merged<'a>(
    dirs: &[RepoDir],
    mut parts: Vec<RepoContent>,
    paths: impl IntoIterator<Item = &'a str>,
) -> Result<RepoContent, RepodataError> {
    let wanted = beyond_primary(&parts, paths);
    for (dir, content) in dirs.iter().zip(&mut parts) {
        if !wanted.is_empty() {
            dir.add_files(&wanted, content)?;
        }
        match if dir.groups { dir.groups() } else { Ok(None) } {
            Ok(groups) => content.groups = groups,
            Err(error) => content.group_problems.push(error.whole()),
        }
        content.finish();
    }
    let mut modules = Modules::default();
    for dir in dirs {
        match dir.modules() {
            Ok(own) => modules.join(own),
            Err(error) => modules.problems.push(error.whole()),
        }
    }
    if let Some(filter) = modules.filter() {
        let subject = dirs.iter().zip(&mut parts).filter(|(dir, _)| !dir.module_hotfixes);
        subject.for_each(|(_, content)| content.filter(&filter));
    }
    if let Some(first) = parts.first_mut() {
        first.module_problems = modules.problems;
    }
    let names = dirs.iter().map(|dir| dir.path.display().to_string());
    RepoContent::merge(names.zip(parts), &dirs.first().map_or_else(Limits::default, |dir| dir.limits))
}

/// Returns the paths for which the full file lists must be read. Of `paths` and the paths in the
/// dependencies of `parts`, these are the ones that primary never lists. If the result is empty,
/// [`RepoDir::complete`] and [`complete_merged`] do not read file lists.
pub fn beyond_primary<'a>(parts: &[RepoContent], paths: impl IntoIterator<Item = &'a str>) -> BTreeSet<SmolStr> {
    let mut wanted: BTreeSet<SmolStr> = paths.into_iter().filter(|p| p.starts_with('/')).map(SmolStr::new).collect();
    parts.iter().for_each(|content| wanted_paths(content, &mut wanted));
    wanted.retain(|path| !filelists::is_in_primary(path));
    wanted
}

/// Reads a separate comps file, packed or not (in a Koji repository: `groups/comps.xml`).
///
/// # Errors
/// Unavailable if the file cannot be read. Rejected if it is not comps.
pub fn load_groups(path: &Path) -> Result<Groups, RepodataError> {
    let limits = Limits::default();
    let file = path.display().to_string();
    let bytes = read_bounded(path, limits.small_file_bytes)?;
    let compression = Compression::of(&file)
        .map_err(|extension| RepodataError::Compression { file: file.clone(), extension: extension.to_owned() })?;
    let bytes = compression::read_all(compression.reader(&bytes, limits.small_file_bytes, &file)?, &file)?;
    Groups::parse(bytes.as_slice(), &file, &limits)
}

/// Reads `repo.json` of a Koji repository. `path` is the directory that holds it.
///
/// # Errors
/// Unavailable if the file cannot be read. Rejected if it is not what Koji writes.
pub fn load_repo_info(path: &Path) -> Result<RepoInfo, RepodataError> {
    let limits = Limits::default();
    let path = path.join("repo.json");
    let bytes = read_bounded(&path, limits.small_file_bytes)?;
    RepoInfo::parse(bytes.as_slice(), &path.display().to_string(), &limits)
}

/// Returns the architectures of a Koji repository that have metadata, sorted. `path` is the
/// directory that holds `repo.json`. A repository of a tag without architectures is READY and has
/// none.
///
/// # Errors
/// Unavailable if the directory cannot be read.
pub fn load_arches(path: &Path) -> Result<Vec<String>, RepodataError> {
    let failed = |source| RepodataError::Read { path: path.to_owned(), source };
    let mut arches = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if let Ok(name) = entry.file_name().into_string()
            && entry.path().join("repodata/repomd.xml").is_file()
        {
            arches.push(name);
        }
    }
    arches.sort_unstable();
    Ok(arches)
}

/// Returns the builds of a Koji repository, from `pkglist` and `rpmlist.jsonl` in the directory of
/// one architecture. Without `rpmlist.jsonl` (older hubs) the builds have no numbers.
///
/// # Errors
/// Unavailable if a file cannot be read. Rejected if a line cannot be parsed.
pub fn load_builds(arch_dir: &Path) -> Result<BTreeMap<Nvr, Option<BuildId>>, RepodataError> {
    let limits = Limits::default();
    let pkglist = load_pkglist(arch_dir, &limits)?;
    let path = arch_dir.join("rpmlist.jsonl");
    let rpmlist = match read_bounded(&path, limits.file_bytes) {
        Err(RepodataError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Vec::new(),
        bytes => koji::parse_rpmlist(bytes?.as_slice(), &path.display().to_string(), &limits)?,
    };
    Ok(koji::builds(&pkglist, &rpmlist))
}

/// Like [`load_builds`], but without build numbers. It reads only `pkglist`: a tenth of the bytes,
/// and no JSON.
///
/// # Errors
/// See [`load_builds`].
pub fn load_build_names(arch_dir: &Path) -> Result<BTreeSet<Nvr>, RepodataError> {
    let limits = Limits::default();
    let path = arch_dir.join("pkglist");
    let bytes = read_bounded(&path, limits.file_bytes)?;
    koji::parse_build_names(bytes.as_slice(), &path.display().to_string(), &limits)
}

fn load_pkglist(arch_dir: &Path, limits: &Limits) -> Result<Vec<koji::PkglistEntry>, RepodataError> {
    let path = arch_dir.join("pkglist");
    let bytes = read_bounded(&path, limits.file_bytes)?;
    koji::parse_pkglist(bytes.as_slice(), &path.display().to_string(), limits)
}

/// Collects all file paths that the dependencies name, including those inside rich dependencies.
fn wanted_paths(content: &RepoContent, wanted: &mut BTreeSet<SmolStr>) {
    for dependency in content.dependencies() {
        filelists::for_each_path(dependency, &mut |path| {
            wanted.insert(SmolStr::new(path));
        });
    }
}

fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, RepodataError> {
    let failed = |source| RepodataError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(RepodataError::TooLarge { file: path.display().to_string(), limit });
    }
    Ok(bytes)
}
