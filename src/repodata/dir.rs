//! Reading a repository from a directory: the only part of this room that opens files.

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
use super::koji::{self, RepoInfo};
use super::limits::Limits;
use super::modules::Modules;
use super::repomd::{Metadata, Repomd};
use super::rich::Rich;
use super::{chunks, filelists, primary};
use crate::model::{BuildId, Nvr};

/// A directory with `repodata/repomd.xml` in it.
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
    /// Rejected: there is none, or it is not one. Unavailable: it cannot be read.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, RepodataError> {
        Self::open_with(path, Limits::default())
    }

    /// The same, with other bounds.
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

    /// The index.
    pub fn repomd(&self) -> &Repomd {
        &self.repomd
    }

    /// Leaves the repository's own groups unread: others are given, and these may be in any state.
    #[must_use]
    pub fn without_groups(mut self) -> Self {
        self.groups = false;
        self
    }

    /// Identity of the package content: the checksum `repomd.xml` gives for primary, else that of the file. Equal for
    /// two generations of a Koji repository whose packages are the same. `None`: there is no primary.
    pub fn primary_checksum(&self) -> Option<String> {
        self.checksum("primary")
    }

    /// Identity of what the repository says about modules, as [`RepoDir::primary_checksum`]. `None`: nothing, or it
    /// does not count for its packages ([`RepoDir::with_module_hotfixes`]).
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

    /// Reads packages and groups, every file verified first.
    ///
    /// `paths` are file paths that will be asked for from outside (BuildRequires such as `/usr/share/x`). The full file
    /// lists are read only when one of these, or of the repository's own dependencies, cannot be answered from primary;
    /// a path that was not named here and is not in primary has no owner afterwards.
    ///
    /// # Errors
    /// As [`RepodataError`] says. Cost: memory of the packed files, one after the other, and of what is kept.
    pub fn load<'a>(&self, paths: impl IntoIterator<Item = &'a str>) -> Result<RepoContent, RepodataError> {
        self.complete(self.packages()?, paths)
    }

    /// Reads the packages alone, as primary lists them: the first part of [`RepoDir::load`], for who learns only later
    /// which paths will be asked for. A large primary is parsed on several threads.
    ///
    /// # Errors
    /// As [`RepoDir::load`].
    pub fn packages(&self) -> Result<RepoContent, RepodataError> {
        let entry = self.find("primary")?;
        let (packed, file) = self.fetch(entry)?;
        match chunks::parse(self.unpack(entry, &packed, &file)?, &file, &self.limits) {
            Ok(content) => Ok(content),
            Err(chunks::NotInPieces) => {
                let mut content = RepoContent::default();
                let reader = self.unpack(entry, &packed, &file)?;
                primary::parse(reader, &file, &self.limits, &mut content)?;
                Ok(content)
            }
        }
    }

    /// Adds to packages read by [`RepoDir::packages`] what else there is: groups, and the wanted paths of the file
    /// lists.
    ///
    /// # Errors
    /// As [`RepoDir::load`].
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

    /// The groups of the repository itself, `None` when `repomd.xml` names none.
    pub fn groups(&self) -> Result<Option<Groups>, RepodataError> {
        let Some(entry) = self.repomd.groups() else { return Ok(None) };
        let (packed, file) = self.fetch(entry)?;
        let reader = self.unpack_to(self.limits.small_file_bytes, entry, &packed, &file)?;
        let bytes = compression::read_all(reader, &file)?;
        Groups::parse(bytes.as_slice(), &file, &self.limits).map(Some)
    }

    /// Its packages count whatever modules say (dnf's `module_hotfixes`).
    #[must_use]
    pub fn with_module_hotfixes(mut self, hotfixes: bool) -> Self {
        self.module_hotfixes = hotfixes;
        self
    }

    /// The modules of the repository, none when `repomd.xml` names no such file.
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

    /// The packed bytes of a metadata file, verified, and its name for errors.
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

    /// Never more than `limit`. What `repomd.xml` says about the size is not looked at: the checksum says that the file
    /// is the right one.
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

/// Reads several repositories as one, in their order ([`RepoContent::merge`]); `paths` as in [`RepoDir::load`].
///
/// # Errors
/// As [`RepoDir::load`], and as [`complete_merged`].
pub fn load_merged<'a>(
    dirs: &[RepoDir],
    paths: impl IntoIterator<Item = &'a str>,
) -> Result<RepoContent, RepodataError> {
    let parts = dirs.iter().map(RepoDir::packages).collect::<Result<Vec<_>, _>>()?;
    complete_merged(dirs, parts, paths)
}

/// [`RepoDir::complete`] for several repositories, `parts` being what [`RepoDir::packages`] read of each; then merges
/// them. A dependency of one may name a file of another, so the full file lists of all are read when one of them needs
/// any.
///
/// # Errors
/// As [`RepoDir::load`]. Groups that cannot be used are no error, but noted ([`RepoContent::group_problems`]).
/// Rejected: more repositories, or packages in all of them, than the first one's [`Limits`] let through.
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

/// The paths for which the full file lists have to be read: those of `paths` and of the dependencies of `parts` that
/// primary does not have even where a package does. Empty: [`RepoDir::complete`] and [`complete_merged`] do not read
/// file lists.
pub fn beyond_primary<'a>(parts: &[RepoContent], paths: impl IntoIterator<Item = &'a str>) -> BTreeSet<SmolStr> {
    let mut wanted: BTreeSet<SmolStr> = paths.into_iter().filter(|p| p.starts_with('/')).map(SmolStr::new).collect();
    parts.iter().for_each(|content| wanted_paths(content, &mut wanted));
    wanted.retain(|path| !filelists::is_in_primary(path));
    wanted
}

/// Reads a comps file that lies by itself (Koji: `groups/comps.xml` of a repository), packed or not.
///
/// # Errors
/// Unavailable: it cannot be read. Rejected: it is not comps.
pub fn load_groups(path: &Path) -> Result<Groups, RepodataError> {
    let limits = Limits::default();
    let file = path.display().to_string();
    let bytes = read_bounded(path, limits.small_file_bytes)?;
    let compression = Compression::of(&file)
        .map_err(|extension| RepodataError::Compression { file: file.clone(), extension: extension.to_owned() })?;
    let bytes = compression::read_all(compression.reader(&bytes, limits.small_file_bytes, &file)?, &file)?;
    Groups::parse(bytes.as_slice(), &file, &limits)
}

/// Reads `repo.json` of a Koji repository; `path` is the directory that holds it.
///
/// # Errors
/// Unavailable: it cannot be read. Rejected: it is not what Koji writes.
pub fn load_repo_info(path: &Path) -> Result<RepoInfo, RepodataError> {
    let limits = Limits::default();
    let path = path.join("repo.json");
    let bytes = read_bounded(&path, limits.small_file_bytes)?;
    RepoInfo::parse(bytes.as_slice(), &path.display().to_string(), &limits)
}

/// The architectures of a Koji repository that have metadata, sorted. `path` is the directory that holds `repo.json`. A
/// repository of a tag without architectures is READY and has none.
///
/// # Errors
/// Unavailable: the directory cannot be read.
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

/// The builds of a Koji repository, from `pkglist` and `rpmlist.jsonl` in the directory of one architecture. Without
/// `rpmlist.jsonl` (older hubs) they have no numbers.
///
/// # Errors
/// Unavailable: a file cannot be read. Rejected: a line is not understood.
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

/// The same without numbers, from `pkglist` alone: a tenth of the bytes, and no JSON.
///
/// # Errors
/// As [`load_builds`].
pub fn load_build_names(arch_dir: &Path) -> Result<BTreeSet<Nvr>, RepodataError> {
    let pkglist = load_pkglist(arch_dir, &Limits::default())?;
    Ok(pkglist.into_iter().map(|entry| entry.build).collect())
}

fn load_pkglist(arch_dir: &Path, limits: &Limits) -> Result<Vec<koji::PkglistEntry>, RepodataError> {
    let path = arch_dir.join("pkglist");
    let bytes = read_bounded(&path, limits.file_bytes)?;
    koji::parse_pkglist(bytes.as_slice(), &path.display().to_string(), limits)
}

/// All file paths the dependencies name, rich ones included.
fn wanted_paths(content: &RepoContent, wanted: &mut BTreeSet<SmolStr>) {
    for dependency in content.dependencies() {
        if dependency.is_rich() {
            if let Ok(rich) = Rich::parse(&dependency.name) {
                rich.for_each_plain(&mut |plain| wanted.extend(plain.file().map(SmolStr::new)));
            }
        } else {
            wanted.extend(dependency.file().map(SmolStr::new));
        }
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
