//! Tiny repositories, written in the test itself.

use std::fmt::Write as _;
use std::path::Path;

use koschei::repodata::{ChecksumKind, Dependency, Limits, Op, RepoContent, primary};

/// A package of a tiny repository.
#[derive(Clone, Default, Debug)]
pub(crate) struct Pkg {
    nevra: String,
    lists: Vec<(&'static str, Vec<String>)>,
    files: Vec<String>,
    source: Option<String>,
}

/// Makes a package from `name-[epoch:]version-release.arch`.
pub(crate) fn pkg(nevra: &str) -> Pkg {
    Pkg { nevra: nevra.to_owned(), ..Pkg::default() }
}

macro_rules! lists {
    ($($name:ident)*) => {$(
        pub(crate) fn $name(mut self, deps: &[&str]) -> Self {
            self.lists.push((stringify!($name), deps.iter().map(|d| d.to_string()).collect()));
            self
        }
    )*};
}

impl Pkg {
    lists! { provides requires conflicts obsoletes recommends suggests supplements enhances }

    pub(crate) fn files(mut self, files: &[&str]) -> Self {
        self.files = files.iter().map(|f| f.to_string()).collect();
        self
    }

    /// Says which source package it was built from, as `name-version-release`.
    pub(crate) fn built_from(mut self, source: &str) -> Self {
        self.source = Some(source.to_owned());
        self
    }

    fn xml(&self, index: usize) -> String {
        let (rest, arch) = self.nevra.rsplit_once('.').unwrap();
        let (rest, release) = rest.rsplit_once('-').unwrap();
        let (name, version) = rest.rsplit_once('-').unwrap();
        let (epoch, version) = version.split_once(':').unwrap_or(("0", version));
        let mut xml = format!(
            "<package type=\"rpm\"><name>{name}</name><arch>{arch}</arch>\
             <version epoch=\"{epoch}\" ver=\"{version}\" rel=\"{release}\"/>\
             <checksum type=\"sha256\" pkgid=\"YES\">{index:064x}</checksum><location href=\"{name}.rpm\"/><format>"
        );
        if let Some(source) = &self.source {
            write!(xml, "<rpm:sourcerpm>{source}.src.rpm</rpm:sourcerpm>").unwrap();
        }
        for (list, deps) in &self.lists {
            write!(xml, "<rpm:{list}>").unwrap();
            deps.iter().for_each(|dep| xml.push_str(&entry(dep)));
            write!(xml, "</rpm:{list}>").unwrap();
        }
        self.files.iter().for_each(|file| write!(xml, "<file>{file}</file>").unwrap());
        xml + "</format></package>\n"
    }
}

fn entry(text: &str) -> String {
    let dep = Dependency::parse(text).unwrap();
    let name = dep.name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let Some(relation) = dep.relation else { return format!("<rpm:entry name=\"{name}\"/>") };
    let flags = match relation.op {
        Op::Lt => "LT",
        Op::Le => "LE",
        Op::Eq => "EQ",
        Op::Ge => "GE",
        Op::Gt => "GT",
    };
    let epoch = relation.evr.epoch.unwrap_or(0);
    let release = relation.evr.release.map_or(String::new(), |r| format!(" rel=\"{r}\""));
    format!(
        "<rpm:entry name=\"{name}\" flags=\"{flags}\" epoch=\"{epoch}\" ver=\"{}\"{release}/>",
        relation.evr.version
    )
}

/// Returns the `primary.xml` of these packages, in this order.
pub(crate) fn primary_xml(packages: &[Pkg]) -> String {
    let packages: String = packages.iter().enumerate().map(|(index, p)| p.xml(index)).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metadata xmlns=\"http://linux.duke.edu/metadata/common\" \
         xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\">\n{packages}</metadata>\n"
    )
}

/// Returns the packages, parsed.
pub(crate) fn content(packages: &[Pkg]) -> RepoContent {
    let mut content = RepoContent::default();
    primary::parse(primary_xml(packages).as_bytes(), "primary.xml", &Limits::default(), &mut content).unwrap();
    content
}

/// A metadata file of a repository on disk.
pub(crate) struct MetaFile<'a> {
    pub(crate) kind: &'a str,
    pub(crate) name: &'a str,
    pub(crate) bytes: &'a [u8],
    pub(crate) open_size: Option<u64>,
}

/// Writes a repository with right checksums.
pub(crate) fn write_repo(dir: &Path, files: &[MetaFile<'_>]) {
    std::fs::create_dir_all(dir.join("repodata")).unwrap();
    let mut repomd = "<repomd xmlns=\"http://linux.duke.edu/metadata/repo\">\n".to_owned();
    for file in files {
        std::fs::write(dir.join("repodata").join(file.name), file.bytes).unwrap();
        let sum = ChecksumKind::Sha256.digest(file.bytes);
        let open = file.open_size.map_or(String::new(), |size| format!("<open-size>{size}</open-size>"));
        writeln!(
            repomd,
            "<data type=\"{}\"><checksum type=\"sha256\">{sum}</checksum><location href=\"repodata/{}\"/>{open}</data>",
            file.kind, file.name
        )
        .unwrap();
    }
    std::fs::write(dir.join("repodata/repomd.xml"), repomd + "</repomd>\n").unwrap();
}
