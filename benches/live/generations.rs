//! Generations of a distribution's repository. Each differs from the one before by some rebuilt
//! packages.
//!
//! Works on text: the entries of `primary.xml` are changed in place, so that a generation is as
//! large and as irregular as the original.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::Path;

use koschei::model::Nvr;
use koschei::repodata::{RepoDir, SourcePackage, load_groups};
use sha2::{Digest as _, Sha256};

/// The architecture of the data.
pub const ARCH: &str = "x86_64";
/// Architectures under which the data can be served, that of the data first. Entries of `noarch`
/// packages are the same on all.
pub const ARCHES: [&str; 4] = [ARCH, "aarch64", "ppc64le", "s390x"];

/// A source package of the collection.
pub struct Source {
    pub package: SourcePackage,
    /// Positions of its binary packages among the entries.
    binaries: Vec<usize>,
    /// Source packages of the collection with one of its binary packages in their build
    /// requirements.
    pub needers: BTreeSet<usize>,
    /// How often it was rebuilt.
    rebuilt: u32,
}

impl Source {
    /// Returns its name, version and release after its rebuilds.
    pub fn nvr(&self) -> Nvr {
        let mut nvr = self.package.nvr.clone();
        if self.rebuilt > 0 {
            nvr.release = format!("{}.{}", nvr.release, self.rebuilt).as_str().into();
        }
        nvr
    }
}

/// The entry of one package.
struct Entry {
    text: String,
    name: String,
    arch: String,
    version: String,
    release: String,
    epoch: String,
}

/// A distribution.
pub struct Distribution {
    entries: Vec<Entry>,
    pub sources: Vec<Source>,
    /// Entries that require exactly one version of a package, by its name.
    exact: HashMap<String, Vec<usize>>,
    comps: Vec<u8>,
    /// Names in the build group.
    pub group: Vec<String>,
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

pub fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}

impl Distribution {
    /// Reads `full/binary` and `full/source` below a directory. Takes this many of the source
    /// packages that have binary packages.
    pub fn read(dir: &Path, packages: usize) -> Self {
        let binary = dir.join("full/binary");
        let packed = std::fs::read(binary.join("repodata/primary.xml.zst")).unwrap();
        let text = String::from_utf8(zstd::decode_all(packed.as_slice()).unwrap()).unwrap();
        let mut entries = Vec::new();
        let mut by_source: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut exact: HashMap<String, Vec<usize>> = HashMap::new();
        for part in text.split("<package type=\"rpm\">").skip(1) {
            let body = part.split_once("</package>").unwrap().0;
            let one = |before: &str, after: &str| between(body, before, after).unwrap_or_default().to_owned();
            let at = entries.len();
            let source = one("<rpm:sourcerpm>", "</rpm:sourcerpm>");
            by_source.entry(source).or_default().push(at);
            let (provides, rest) = body.split_once("</rpm:provides>").unwrap_or(("", body));
            assert!(!provides.is_empty(), "a package provides nothing");
            for line in rest.lines().filter(|l| l.contains("flags=\"EQ\"")) {
                exact.entry(between(line, "name=\"", "\"").unwrap().to_owned()).or_default().push(at);
            }
            entries.push(Entry {
                name: one("<name>", "</name>"),
                arch: one("<arch>", "</arch>"),
                epoch: one("epoch=\"", "\""),
                version: one("ver=\"", "\""),
                release: one("rel=\"", "\""),
                text: format!("<package type=\"rpm\">{body}</package>\n"),
            });
        }
        let content = RepoDir::open(dir.join("full/source")).unwrap().packages().unwrap();
        let mut sources = Vec::new();
        for p in content.packages() {
            let nvr = Nvr { name: p.name.clone(), version: p.evr.version.clone(), release: p.evr.release.clone() };
            let Some(binaries) = by_source.get(&format!("{nvr}.src.rpm")) else { continue };
            if sources.len() == packages {
                break;
            }
            let package = SourcePackage {
                conflicts: Some(Vec::new()),
                nvr,
                epoch: p.evr.epoch,
                requires: content.build_requires(p),
                buildarchs: Vec::new(),
                exclusivearch: Vec::new(),
                excludearch: Vec::new(),
                made_on: Some(ARCH.into()),
            };
            sources.push(Source { package, binaries: binaries.clone(), needers: BTreeSet::new(), rebuilt: 0 });
        }
        assert_eq!(sources.len(), packages, "there are not that many source packages");
        let makes: HashMap<&str, usize> = sources
            .iter()
            .enumerate()
            .flat_map(|(at, s)| s.binaries.iter().map(move |b| (*b, at)))
            .map(|(b, at)| (entries[b].name.as_str(), at))
            .collect();
        let mut needers: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); sources.len()];
        for (at, s) in sources.iter().enumerate() {
            let plain = s.package.requires.iter().filter_map(|r| r.split_whitespace().next());
            for made in plain.filter_map(|name| makes.get(name)).filter(|made| **made != at) {
                needers[*made].insert(at);
            }
        }
        sources.iter_mut().zip(needers).for_each(|(s, n)| s.needers = n);
        let comps = binary.join("repodata/comps.xml");
        let group = load_groups(&comps).unwrap().installed("build").unwrap();
        let group = group.into_iter().map(|member| member.name).collect();
        Self { entries, sources, exact, comps: std::fs::read(comps).unwrap(), group }
    }

    /// Returns the elements of all binary packages.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.text.as_str())
    }

    /// Returns the elements of a source package's binary packages.
    pub fn binary_texts(&self, source: usize) -> impl Iterator<Item = &str> {
        self.sources[source].binaries.iter().map(|at| self.entries[*at].text.as_str())
    }

    /// Returns the names of a source package's binary packages.
    pub fn binary_names(&self, source: usize) -> impl Iterator<Item = &str> {
        self.sources[source].binaries.iter().map(|at| self.entries[*at].name.as_str())
    }

    /// Replaces a text in all elements. Returns in how many of them it was.
    pub fn replace_everywhere(&mut self, had: &str, has: &str) -> usize {
        let with = self.entries.iter_mut().filter(|entry| entry.text.contains(had));
        with.map(|entry| entry.text = entry.text.replace(had, has)).count()
    }

    /// Rebuilds a source package: its binary packages get another release, and packages that
    /// require exactly the old one require the new one.
    pub fn rebuild(&mut self, source: usize) {
        let old_source = format!("<rpm:sourcerpm>{}.src.rpm<", self.sources[source].nvr());
        self.sources[source].rebuilt += 1;
        let new_source = format!("<rpm:sourcerpm>{}.src.rpm<", self.sources[source].nvr());
        let rebuilt = self.sources[source].rebuilt;
        for at in self.sources[source].binaries.clone() {
            let entry = &self.entries[at];
            let (name, version, old) = (entry.name.clone(), entry.version.clone(), entry.release.clone());
            let first = old.strip_suffix(&format!(".{}", rebuilt - 1)).unwrap_or(&old).to_owned();
            let new = format!("{first}.{rebuilt}");
            let (had, has) = (format!("ver=\"{version}\" rel=\"{old}\""), format!("ver=\"{version}\" rel=\"{new}\""));
            let entry = &mut self.entries[at];
            entry.release.clone_from(&new);
            // Its own version, its provides with that version, its requirements on packages of the
            // same source, and the source package that it was built from.
            entry.text =
                entry.text.replace(&had, &has).replace(&format!("{version}-{old})"), &format!("{version}-{new})"));
            entry.text = entry.text.replace(&old_source, &new_source);
            let id = sha256(format!("{name}-{version}-{new}").as_bytes());
            let old_id = between(&entry.text, "pkgid=\"YES\">", "<").unwrap().to_owned();
            entry.text = entry.text.replace(&old_id, &id);
            for other in self.exact.get(&name).cloned().unwrap_or_default() {
                let asks =
                    |had: &str| format!("name=\"{name}\" flags=\"EQ\" epoch=\"{}\" {had}", self.entries[at].epoch);
                let (had, has) = (asks(&had), asks(&has));
                let text = &mut self.entries[other].text;
                *text = text.replace(&had, &has);
            }
        }
    }

    /// Writes the output of a newRepo task, except for what the hub writes itself. `id` returns the
    /// number of a build. Each architecture gets the same packages under its name.
    pub fn write(&self, dir: &Path, arches: &[&str], id: impl Fn(&Nvr) -> i64) {
        arches.iter().for_each(|arch| self.write_arch(dir, arch, &id));
        std::fs::create_dir_all(dir.join("groups")).unwrap();
        std::fs::write(dir.join("groups/comps.xml"), &self.comps).unwrap();
    }

    fn write_arch(&self, dir: &Path, name_of_arch: &str, id: impl Fn(&Nvr) -> i64) {
        let named = |text: &str| match name_of_arch {
            ARCH => text.to_owned(),
            other => text.replace("<arch>x86_64</arch>", &format!("<arch>{other}</arch>")),
        };
        let (mut pkglist, mut rpmlist) = (String::new(), String::new());
        for source in &self.sources {
            let nvr = source.nvr();
            let build = id(&nvr);
            for entry in source.binaries.iter().map(|b| &self.entries[*b]) {
                let Entry { name, arch, version, release, .. } = entry;
                let arch = if arch == ARCH { name_of_arch } else { arch };
                let place = format!("toplink/packages/{}/{}/{}/{arch}", nvr.name, nvr.version, nvr.release);
                writeln!(pkglist, "{place}/{name}-{version}-{release}.{arch}.rpm").unwrap();
                writeln!(
                    rpmlist,
                    "{{\"arch\": \"{arch}\", \"build_id\": {build}, \"buildroot_id\": 1, \"buildtime\": 1700000000, \
                     \"draft\": false, \"epoch\": null, \"extra\": null, \"id\": {build}, \"metadata_only\": false, \
                     \"name\": \"{name}\", \"payloadhash\": \"b237195423bfa971df9d4525e630cfa8\", \
                     \"release\": \"{release}\", \"size\": 123456, \"version\": \"{version}\"}}"
                )
                .unwrap();
            }
        }
        let mut primary = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metadata xmlns=\"http://linux.duke.edu/metadata/common\" \
             xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"{}\">\n",
            self.entries.len()
        );
        self.entries.iter().for_each(|e| primary.push_str(&named(&e.text)));
        primary.push_str("</metadata>\n");
        // Every repository of Koji has them. Primary tells whether they must be fetched.
        let filelists = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<filelists \
            xmlns=\"http://linux.duke.edu/metadata/filelists\" packages=\"0\">\n</filelists>\n";
        let mut repomd = String::from(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<repomd xmlns=\"http://linux.duke.edu/metadata/repo\">\n  \
                <revision>1</revision>\n",
        );
        let arch = dir.join(name_of_arch);
        std::fs::create_dir_all(arch.join("repodata")).unwrap();
        let zstd = |text: &[u8]| zstd::encode_all(text, 3).unwrap();
        for (kind, name, open, packed) in [
            ("primary", "primary.xml.zst", primary.as_bytes(), zstd(primary.as_bytes())),
            ("filelists", "filelists.xml.zst", filelists.as_bytes(), zstd(filelists.as_bytes())),
            ("group", "comps.xml", self.comps.as_slice(), self.comps.clone()),
        ] {
            let sum = sha256(&packed);
            write!(
                repomd,
                "  <data type=\"{kind}\">\n    <checksum type=\"sha256\">{sum}</checksum>\n    <open-checksum \
                 type=\"sha256\">{}</open-checksum>\n    <location href=\"repodata/{sum}-{name}\"/>\n    \
                 <size>{}</size>\n    <open-size>{}</open-size>\n  </data>\n",
                sha256(open),
                packed.len(),
                open.len()
            )
            .unwrap();
            std::fs::write(arch.join("repodata").join(format!("{sum}-{name}")), packed).unwrap();
        }
        repomd.push_str("</repomd>\n");
        std::fs::write(arch.join("repodata/repomd.xml"), repomd).unwrap();
        std::fs::write(arch.join("pkglist"), pkglist).unwrap();
        std::fs::write(arch.join("rpmlist.jsonl"), rpmlist).unwrap();
    }
}
