//! Groups of packages, as written in the file, and what the writer makes of them.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::event::{
    GROUP_MAINTAINERS_MAX, GROUPS_MAX, check_group_name, check_group_package, check_group_packages, check_maintainer,
};
use crate::model::Name;

/// Most bytes of a file with names of packages.
pub const PACKAGES_FILE_BYTES_MAX: u64 = 16 << 20;

/// A group, as written in the file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GroupConfig {
    /// Name of the group.
    pub name: String,
    /// Its source packages. Once the configuration is read, also those of `packages_file`, sorted.
    pub packages: Vec<String>,
    /// A file with further names, one a line. What follows `#` is a comment. A relative path begins
    /// at the directory of the configuration file.
    pub packages_file: Option<PathBuf>,
    /// Names of the persons who look after it. The log gets stand-ins.
    pub maintainers: Vec<String>,
}

/// A group that is to be as the configuration says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantedGroup {
    /// Name of the group.
    pub name: Name,
    /// Its source packages.
    pub packages: BTreeSet<Name>,
    /// Names of its maintainers.
    pub maintainers: Vec<String>,
}

impl GroupConfig {
    /// Reads the file with names of packages, and sorts all names.
    ///
    /// # Errors
    /// Returns a [`ConfigError`] that names the file.
    pub(super) fn complete(&mut self, directory: &Path) -> Result<(), ConfigError> {
        let mut all: BTreeSet<String> = std::mem::take(&mut self.packages).into_iter().collect();
        if let Some(file) = &self.packages_file {
            let path = directory.join(file);
            all.extend(names_of_file(&path)?);
        }
        self.packages = all.into_iter().collect();
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        check_group_name(&self.name).map_err(|e| format!("`[[group]]`: {e}"))?;
        let at = format!("group `{}`", self.name);
        let packages: Vec<Name> = self.packages.iter().map(Name::from).collect();
        check_group_packages(&packages).map_err(|e| format!("{at}: {e}"))?;
        if self.maintainers.len() > GROUP_MAINTAINERS_MAX {
            return Err(format!("{at}: it has at most {GROUP_MAINTAINERS_MAX} maintainers"));
        }
        self.maintainers.iter().try_for_each(|name| check_maintainer(name)).map_err(|e| format!("{at}: {e}"))
    }
}

/// Checks all groups.
///
/// # Errors
/// Returns a text that says what is wrong.
pub(super) fn check(groups: &[GroupConfig]) -> Result<(), String> {
    if groups.len() > GROUPS_MAX {
        return Err(format!("there are {} groups; at most {GROUPS_MAX} are possible", groups.len()));
    }
    let mut names = BTreeSet::new();
    for group in groups {
        group.check()?;
        if !names.insert(&group.name) {
            return Err(format!("group `{}` is defined twice", group.name));
        }
    }
    Ok(())
}

/// Returns the groups that the configuration wants.
pub(crate) fn wanted(groups: &[GroupConfig]) -> Vec<WantedGroup> {
    let wanted = |g: &GroupConfig| WantedGroup {
        name: g.name.as_str().into(),
        packages: g.packages.iter().map(Name::from).collect(),
        maintainers: g.maintainers.clone(),
    };
    groups.iter().map(wanted).collect()
}

fn names_of_file(path: &Path) -> Result<Vec<String>, ConfigError> {
    let value = |what: String| ConfigError::Value { path: path.to_owned(), what };
    let read = |source| ConfigError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(read)?;
    file.take(PACKAGES_FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(read)?;
    names(&text).map_err(value)
}

/// Reads names of packages, one a line. Empty lines and what follows `#` say nothing.
///
/// # Errors
/// Returns a text that names the line.
pub fn names(text: &str) -> Result<Vec<String>, String> {
    if text.len() as u64 > PACKAGES_FILE_BYTES_MAX {
        return Err(format!("a list of packages has at most {PACKAGES_FILE_BYTES_MAX} bytes"));
    }
    let name = |(at, line): (usize, &str)| {
        let name = line.split('#').next().unwrap_or_default().trim();
        let checked = || check_group_package(name).map_err(|e| format!("line {}: {e}", at + 1));
        (!name.is_empty()).then(|| checked().map(|()| name.to_owned()))
    };
    text.lines().enumerate().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn load(dir: &tempfile::TempDir, text: &str) -> Result<Config, ConfigError> {
        let file = dir.path().join("koschei.toml");
        std::fs::write(&file, text).unwrap();
        Config::load(&file)
    }

    #[test]
    fn names_come_from_both_places() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("list"), "# all of them\nzlib # compresses\n\n  curl\r\ncurl\n").unwrap();
        let text = "[[group]]\nname='net'\npackages=['wget']\npackages_file='list'\nmaintainers=['alice']\n";
        let config = load(&dir, text).unwrap();
        assert_eq!(config.groups[0].packages, ["curl", "wget", "zlib"]);
        let wanted = wanted(&config.groups);
        assert_eq!((wanted[0].name.as_str(), wanted[0].packages.len()), ("net", 3));
        // What `check-config` prints is a configuration again, and says the same.
        let again = load(&dir, &toml::to_string(&config).unwrap()).unwrap();
        assert_eq!(again.groups[0].packages, config.groups[0].packages);
    }

    #[test]
    fn what_is_no_group_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("bad"), "curl\na b\n").unwrap();
        std::fs::write(dir.path().join("empty"), "# nothing\n").unwrap();
        let one = |rest: &str| format!("[[group]]\nname='a'\n{rest}\n");
        for (text, why) in [
            (one(""), "at least one package"),
            (one("packages_file='empty'"), "at least one package"),
            (one("packages_file='bad'"), "line 2: `a b` cannot be"),
            (one("packages_file='none'"), "read configuration"),
            (one("packages=['x/y']"), "`x/y` cannot be"),
            (one("packages=['x']\nmaintainers=['a b']"), "cannot be the name of a person"),
            (one("packages=['x']\nnamespace='alice'"), "unknown"),
            (one("packages=['x']") + &one("packages=['x']"), "defined twice"),
            ("[[group]]\nname='../x'\npackages=['x']\n".to_owned(), "no name for a group"),
        ] {
            let error = load(&dir, &text).unwrap_err();
            assert!(error.to_string().contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_list_has_a_bound() {
        let long = "#".repeat(usize::try_from(PACKAGES_FILE_BYTES_MAX).unwrap());
        names(&long).unwrap();
        assert!(names(&(long + "#")).is_err());
    }
}
