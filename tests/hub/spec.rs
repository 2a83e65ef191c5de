//! Description of a build for a test: its source package and its binary packages.

use std::sync::Arc;

use super::rows::Dep;

/// A build to be imported, or the result of a real build.
#[derive(Clone, Debug)]
pub struct NewBuild {
    pub name: String,
    pub version: String,
    pub release: String,
    pub epoch: Option<i64>,
    /// The owner. By default the importing user.
    pub owner: Option<String>,
    /// BuildRequires as text (`make >= 4`; rich ones as a whole).
    pub requires: Vec<String>,
    pub buildarchs: Vec<String>,
    pub exclusivearch: Vec<String>,
    pub excludearch: Vec<String>,
    pub build_conflicts: Vec<String>,
    pub rpms: Vec<NewRpm>,
}

/// A binary package of a build.
#[derive(Clone, Debug)]
pub struct NewRpm {
    pub name: String,
    pub arch: String,
    /// Provides besides its own name with and without architecture.
    pub provides: Vec<String>,
    pub requires: Vec<String>,
    pub conflicts: Vec<String>,
    pub obsoletes: Vec<String>,
    pub files: Vec<String>,
}

impl NewBuild {
    /// Makes a build of this name, version and release, without any binary package.
    pub fn new(nvr: &str) -> Self {
        let (rest, release) = nvr.rsplit_once('-').unwrap();
        let (name, version) = rest.rsplit_once('-').unwrap();
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            release: release.to_owned(),
            epoch: None,
            owner: None,
            requires: Vec::new(),
            buildarchs: Vec::new(),
            exclusivearch: Vec::new(),
            excludearch: Vec::new(),
            build_conflicts: Vec::new(),
            rpms: Vec::new(),
        }
    }

    pub fn epoch(mut self, epoch: i64) -> Self {
        self.epoch = Some(epoch);
        self
    }

    pub fn owner(mut self, owner: &str) -> Self {
        self.owner = Some(owner.to_owned());
        self
    }

    pub fn build_requires(mut self, requires: &[&str]) -> Self {
        self.requires.extend(requires.iter().map(|r| (*r).to_owned()));
        self
    }

    pub fn build_conflicts(mut self, conflicts: &[&str]) -> Self {
        self.build_conflicts.extend(conflicts.iter().map(|c| (*c).to_owned()));
        self
    }

    pub fn exclusive_arch(mut self, arches: &[&str]) -> Self {
        self.exclusivearch = arches.iter().map(|a| (*a).to_owned()).collect();
        self
    }

    pub fn exclude_arch(mut self, arches: &[&str]) -> Self {
        self.excludearch = arches.iter().map(|a| (*a).to_owned()).collect();
        self
    }

    /// Sets `BuildArch: noarch`.
    pub fn build_noarch(mut self) -> Self {
        self.buildarchs = vec!["noarch".to_owned()];
        self
    }

    /// Adds a binary package with these requirements for each architecture.
    pub fn binary(self, name: &str, arches: &[&str], requires: &[&str]) -> Self {
        self.binary_with(name, arches, &[], requires)
    }

    /// Like [`NewBuild::binary`], with further provides.
    pub fn binary_with(mut self, name: &str, arches: &[&str], provides: &[&str], requires: &[&str]) -> Self {
        let owned = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        for arch in arches {
            self.rpms.push(NewRpm {
                name: name.to_owned(),
                arch: (*arch).to_owned(),
                provides: owned(provides),
                requires: owned(requires),
                conflicts: Vec::new(),
                obsoletes: Vec::new(),
                files: Vec::new(),
            });
        }
        self
    }

    pub fn nvr(&self) -> String {
        format!("{}-{}-{}", self.name, self.version, self.release)
    }

    /// Returns the path of the source package, as a task names it: relative to the hub's `work` directory.
    pub fn source(&self) -> String {
        let Self { name, version, release, .. } = self;
        format!("../packages/{name}/{version}/{release}/src/{}.src.rpm", self.nvr())
    }

    /// Returns `[e:]v-r`.
    pub fn evr(&self) -> String {
        let epoch = self.epoch.map(|e| format!("{e}:")).unwrap_or_default();
        format!("{epoch}{}-{}", self.version, self.release)
    }

    /// Returns the source package's requirements and conflicts, sorted by name like in a header.
    pub fn source_deps(&self) -> Arc<Vec<Dep>> {
        let mut deps: Vec<Dep> = self.requires.iter().map(|r| dep(r, 0)).collect();
        deps.push(Dep {
            name: "rpmlib(CompressedFileNames)".into(),
            version: "3.0.4-1".into(),
            flags: 16_777_226,
            kind: 0,
        });
        deps.push(Dep { name: "rpmlib(FileDigests)".into(), version: "4.6.0-1".into(), flags: 16_777_226, kind: 0 });
        deps.extend(self.build_conflicts.iter().map(|c| dep(c, 3)));
        deps.sort_by(|a, b| a.name.cmp(&b.name));
        Arc::new(deps)
    }
}

/// Returns rpm's name of an architecture in a dependency: `(x86-64)`.
pub fn isa(arch: &str) -> Option<&'static str> {
    Some(match arch {
        "x86_64" => "(x86-64)",
        "aarch64" => "(aarch-64)",
        "ppc64le" => "(ppc-64)",
        "s390x" => "(s390-64)",
        "i686" => "(x86-32)",
        "riscv64" => "(riscv-64)",
        _ => return None,
    })
}

/// Parses a dependency: `name`, `name OP [e:]v[-r]`, or a rich one.
pub fn dep(text: &str, kind: i64) -> Dep {
    let plain = |name: &str| Dep { name: name.to_owned(), version: String::new(), flags: 0, kind };
    if text.starts_with('(') {
        return plain(text);
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let [name, op, version] = words.as_slice() else { return plain(text) };
    let flags = match *op {
        "<" => 2,
        ">" => 4,
        "=" => 8,
        "<=" => 10,
        ">=" => 12,
        other => panic!("operator {other} in {text}"),
    };
    Dep { name: (*name).to_owned(), version: (*version).to_owned(), flags, kind }
}

impl NewRpm {
    pub fn deps(&self, build: &NewBuild) -> Arc<Vec<Dep>> {
        let own = format!("{} = {}", self.name, build.evr());
        let with_isa = isa(&self.arch).map(|isa| format!("{}{isa} = {}", self.name, build.evr()));
        let provides = std::iter::once(&own).chain(&with_isa).chain(&self.provides).map(|p| dep(p, 1));
        let requires = self.requires.iter().map(|r| dep(r, 0));
        let obsoletes = self.obsoletes.iter().map(|r| dep(r, 2));
        let conflicts = self.conflicts.iter().map(|r| dep(r, 3));
        let mut deps: Vec<Dep> = requires.chain(provides).chain(obsoletes).chain(conflicts).collect();
        deps.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        Arc::new(deps)
    }
}
