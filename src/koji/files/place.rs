//! Where a hub's files are, and paths below that place.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use reqwest::Url;

use super::error::FetchError;
use crate::model::{Nvr, RepoId};

/// The place of a hub's files: `topurl` of Koji's configuration, or its `topdir` on a mounted disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// Over HTTP. The path has no trailing slash.
    Http(Url),
    /// A directory.
    Dir(PathBuf),
}

impl Place {
    /// Reads `http://…`, `https://…`, `file:///…` or an absolute path.
    ///
    /// # Errors
    /// Returns [`FetchError::Address`] (rejected) for anything else, and for an address with a
    /// password, query or fragment.
    pub fn parse(address: &str) -> Result<Self, FetchError> {
        let wrong = |problem: &str| FetchError::Address { address: address.to_owned(), problem: problem.to_owned() };
        if address.starts_with('/') {
            return Ok(Self::Dir(address.into()));
        }
        let mut url = Url::parse(address).map_err(|error| wrong(&error.to_string()))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("it has a part behind the path"));
        }
        match url.scheme() {
            "file" => url.to_file_path().map(Self::Dir).map_err(|()| wrong("it is on another machine")),
            "http" | "https" => {
                if !url.username().is_empty() || url.password().is_some() {
                    return Err(FetchError::Address {
                        address: format!("{}://…@{}", url.scheme(), url.host_str().unwrap_or_default()),
                        problem: "it has a user name in it".to_owned(),
                    });
                }
                let path = url.path().trim_end_matches('/').to_owned();
                url.set_path(&path);
                Ok(Self::Http(url))
            }
            _ => Err(wrong("it is neither HTTP nor a file")),
        }
    }

    /// Returns the name of a file for error messages.
    pub(super) fn name(&self, path: &HubPath) -> String {
        match self {
            Self::Http(top) => path.url(top).to_string(),
            Self::Dir(top) => path.below(top).display().to_string(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => f.write_str(url.as_str().trim_end_matches('/')),
            Self::Dir(path) => path.display().fmt(f),
        }
    }
}

/// A path below a hub's place. All its components are plain names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct HubPath(Vec<String>);

impl HubPath {
    /// Returns `repos/TAG/ID`.
    pub(super) fn repo(tag: &str, id: RepoId) -> Result<Self, FetchError> {
        Self(vec!["repos".to_owned()]).with(&[("the tag", tag), ("the repository", &id.to_string())])
    }

    /// Returns `packages/NAME/VERSION/RELEASE/ARCH/NVR.ARCH.rpm`. `arch` is `src` or `nosrc`.
    /// Builds on another volume have a link there.
    pub(super) fn source_package(nvr: &Nvr, arch: &str) -> Result<Self, FetchError> {
        Self(vec!["packages".to_owned()]).with(&[
            ("the package", &nvr.name),
            ("the version", &nvr.version),
            ("the release", &nvr.release),
            ("the architecture", arch),
            ("the file", &format!("{}.{arch}.rpm", nvr.file_stem())),
        ])
    }

    fn with(mut self, names: &[(&'static str, &str)]) -> Result<Self, FetchError> {
        for (what, name) in names {
            let mut components = Path::new(name).components();
            let plain = matches!(components.next(), Some(Component::Normal(c)) if c == *name);
            if !plain || components.next().is_some() || name.contains('\0') {
                return Err(FetchError::NotAName { what, text: (*name).to_owned() });
            }
            self.0.push((*name).to_owned());
        }
        Ok(self)
    }

    /// Appends one name.
    pub(super) fn join(&self, what: &'static str, name: &str) -> Result<Self, FetchError> {
        self.clone().with(&[(what, name)])
    }

    /// Appends the relative path of a file, with `/` between its names.
    pub(super) fn file(&self, path: &str) -> Result<Self, FetchError> {
        let names: Vec<_> = path.split('/').filter(|name| *name != ".").map(|name| ("the file", name)).collect();
        self.clone().with(&names)
    }

    pub(super) fn below(&self, top: &Path) -> PathBuf {
        self.0.iter().fold(top.to_owned(), |path, name| path.join(name))
    }

    pub(super) fn url(&self, top: &Url) -> Url {
        let mut url = top.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(&self.0);
        }
        url
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("http://h/kojifiles", "http://h/kojifiles")]
    #[case("https://h:8443/kojifiles//", "https://h:8443/kojifiles")]
    #[case("http://h", "http://h")]
    #[case("file:///mnt/koji", "/mnt/koji")]
    #[case("/mnt/koji", "/mnt/koji")]
    fn places(#[case] address: &str, #[case] shown: &str) {
        assert_eq!(Place::parse(address).unwrap().to_string(), shown);
    }

    #[rstest]
    #[case("ftp://h/x", "neither")]
    #[case("kojifiles", "relative")]
    #[case("http://h/x?y", "behind the path")]
    #[case("http://me:secret@h/x", "user name")]
    #[case("file://host/x", "another machine")]
    fn no_places(#[case] address: &str, #[case] why: &str) {
        let error = Place::parse(address).unwrap_err().to_string();
        assert!(error.contains(why) && !error.contains("secret"), "{error}");
    }

    #[test]
    fn odd_names_stay_in_their_place() {
        let nvr = Nvr::parse("a+b-1.0~rc1^git%2f-1.fc99").unwrap();
        let path = HubPath::source_package(&nvr, "src").unwrap();
        let top = Url::parse("http://h/top").unwrap();
        let url = path.url(&top);
        let expected = "/top/packages/a+b/1.0~rc1^git%252f/1.fc99/src/a+b-1.0~rc1^git%252f-1.fc99.src.rpm";
        assert_eq!(url.path().replace("%5E", "^"), expected);
        let expected = "/top/packages/a+b/1.0~rc1^git%2f/1.fc99/src/a+b-1.0~rc1^git%2f-1.fc99.src.rpm";
        assert_eq!(path.below(Path::new("/top")), Path::new(expected));
        let repo = HubPath::repo("f99-build", RepoId(7)).unwrap();
        assert_eq!(repo.url(&Url::parse("http://h").unwrap()).as_str(), "http://h/repos/f99-build/7");
        let file = repo.file("./repodata/x.xml").unwrap();
        assert_eq!(file.below(Path::new("/t")), Path::new("/t/repos/f99-build/7/repodata/x.xml"));
    }

    #[rstest]
    #[case("..")]
    #[case(".")]
    #[case("")]
    #[case("a/b")]
    #[case("/etc")]
    #[case("a/")]
    #[case("a\0b")]
    fn no_names(#[case] tag: &str) {
        assert!(matches!(HubPath::repo(tag, RepoId(1)), Err(FetchError::NotAName { what: "the tag", .. })));
        let repo = HubPath::repo("t", RepoId(1)).unwrap();
        assert!(repo.file("../x").is_err() && repo.file("repodata//x").is_err() && repo.file("/etc/x").is_err());
    }
}
