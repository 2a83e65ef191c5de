//! Package versions as RPM understands them: EVR, NVR, NEVRA (`rpm-version(7)`).

use std::cmp::Ordering;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// Epoch, version, release. Ordered as RPM orders them; a missing epoch equals 0.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Evr {
    /// `None` and 0 are the same version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    /// Upstream's version.
    #[schemars(with = "String")]
    pub version: SmolStr,
    /// The packager's release.
    #[schemars(with = "String")]
    pub release: SmolStr,
}

impl Evr {
    /// Epoch as a number.
    pub fn epoch(&self) -> u32 {
        self.epoch.unwrap_or(0)
    }
}

/// Compares two version or two release strings: digits beat letters, `~` sorts lowest, `^` above the end.
/// Source: `rpmvercmp` in RPM, by way of the `rpm-version` crate.
pub fn rpmvercmp(a: &str, b: &str) -> Ordering {
    rpm_version::Evr::new("", a, "").cmp(&rpm_version::Evr::new("", b, ""))
}

impl Ord for Evr {
    fn cmp(&self, other: &Self) -> Ordering {
        self.epoch()
            .cmp(&other.epoch())
            .then_with(|| rpmvercmp(&self.version, &other.version))
            .then_with(|| rpmvercmp(&self.release, &other.release))
    }
}

impl PartialOrd for Evr {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Equal versions, as RPM compares: `1.01` equals `1.1`.
impl PartialEq for Evr {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Evr {}

impl fmt::Display for Evr {
    /// `version-release`, with `epoch:` in front when it is not 0.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.epoch() != 0 {
            write!(f, "{}:", self.epoch())?;
        }
        write!(f, "{}-{}", self.version, self.release)
    }
}

/// Name, version, release of a source package or build. Koji's builds are unique by it; the epoch does not count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Nvr {
    /// Package name.
    #[schemars(with = "String")]
    pub name: SmolStr,
    /// Version.
    #[schemars(with = "String")]
    pub version: SmolStr,
    /// Release.
    #[schemars(with = "String")]
    pub release: SmolStr,
}

impl Nvr {
    /// Splits `name-version-release` at the last two dashes; `None` when there are not two or a part is empty.
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, release) = text.rsplit_once('-')?;
        let (name, version) = rest.rsplit_once('-')?;
        (!name.is_empty() && !version.is_empty() && !release.is_empty()).then(|| Self {
            name: name.into(),
            version: version.into(),
            release: release.into(),
        })
    }

    /// Splits `name-version-release.src.rpm`, the last component of a scratch build's source.
    pub fn parse_srpm(file: &str) -> Option<Self> {
        let file = file.rsplit('/').next()?;
        Self::parse(file.strip_suffix(".src.rpm").or_else(|| file.strip_suffix(".nosrc.rpm"))?)
    }
}

impl fmt::Display for Nvr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.name, self.version, self.release)
    }
}

/// Name, EVR and architecture of a binary package.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Nevra {
    /// Package name.
    pub name: SmolStr,
    /// Version.
    pub evr: Evr,
    /// Architecture, `noarch` included.
    pub arch: SmolStr,
}

impl fmt::Display for Nevra {
    /// `name-epoch:version-release.arch`, the epoch always written: the form of resolution output.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}:{}-{}.{}", self.name, self.evr.epoch(), self.evr.version, self.evr.release, self.arch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_from_the_right() {
        let nvr = Nvr::parse("python3-foo-bar-1.2~rc1-3.fc99").unwrap();
        assert_eq!(
            (nvr.name.as_str(), nvr.version.as_str(), nvr.release.as_str()),
            ("python3-foo-bar", "1.2~rc1", "3.fc99")
        );
        assert_eq!(
            Nvr::parse_srpm("../packages/m4/1.4.19/1.fc99/src/m4-1.4.19-1.fc99.src.rpm").unwrap().to_string(),
            "m4-1.4.19-1.fc99"
        );
        assert_eq!(Nvr::parse("short-1"), None);
        assert_eq!(Nvr::parse("-1-1"), None);
        assert_eq!(Nvr::parse_srpm("https://example.org/foo.git#abc"), None);
    }
}
