//! Events about groups of source packages, and what a group may be (docs/decisions/063-groups.md).
//!
//! A group has packages of all collections, by name. A package need not be known yet.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Name, PersonId, counted};

/// Most groups.
pub const GROUPS_MAX: usize = 1_000;
/// Most packages of a group.
pub const GROUP_PACKAGES_MAX: usize = 50_000;
/// Most maintainers of a group.
pub const GROUP_MAINTAINERS_MAX: usize = 1_000;
/// Longest name of a group.
pub const GROUP_NAME_MAX: usize = 100;
/// Longest name of a package in a group. A group that is replaced as a whole thus still fits into one
/// event.
pub const GROUP_PACKAGE_NAME_MAX: usize = 128;
/// Longest name of a maintainer, in bytes.
const MAINTAINER_BYTES_MAX: usize = 255;
/// Longest reason, in bytes.
pub const GROUP_REASON_MAX: usize = 2_000;

fn is_false(value: &bool) -> bool {
    !*value
}

/// A group of source packages was made.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GroupMade {
    /// Name of the group.
    pub group: Name,
    /// Its source packages, sorted, at least one.
    pub packages: Vec<Name>,
    /// The persons who look after it, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maintainers: Vec<PersonId>,
    /// Whether the configuration says so, and not a person.
    #[serde(default, skip_serializing_if = "is_false")]
    pub configured: bool,
    /// Reason in words. Empty if the configuration says so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The person who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}

/// A group of source packages was changed. What is not named stays.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GroupChanged {
    /// Name of the group.
    pub group: Name,
    /// Source packages that are new in it, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<Name>,
    /// Source packages that left it, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<Name>,
    /// Persons who look after it from now on, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maintainers_added: Vec<PersonId>,
    /// Persons who do not look after it any more, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maintainers_removed: Vec<PersonId>,
    /// Whether the configuration says so, and not a person.
    #[serde(default, skip_serializing_if = "is_false")]
    pub configured: bool,
    /// Reason in words. Empty if the configuration says so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The person who changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}

/// A group of source packages was deleted. Its packages stay what they are.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GroupDeleted {
    /// Name of the group.
    pub group: Name,
    /// Reason in words.
    pub reason: String,
    /// The person who deleted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}

impl GroupChanged {
    /// Says in a few words what changed, such as `2 packages added, 1 maintainer removed`.
    pub fn what(&self) -> String {
        let part =
            |n, one: &str, many: &str, done: &str| (n > 0).then(|| format!("{} {done}", counted::count(n, one, many)));
        let parts: Vec<String> = [
            part(self.added.len(), "package", "packages", "added"),
            part(self.removed.len(), "package", "packages", "removed"),
            part(self.maintainers_added.len(), "maintainer", "maintainers", "added"),
            part(self.maintainers_removed.len(), "maintainer", "maintainers", "removed"),
        ]
        .into_iter()
        .flatten()
        .collect();
        if parts.is_empty() { "nothing added or removed".to_owned() } else { parts.join(", ") }
    }

    /// Returns whether nothing was added or removed.
    pub const fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.removed.is_empty()
            && self.maintainers_added.is_empty()
            && self.maintainers_removed.is_empty()
    }
}

/// Whether all letters may stand in the name of a group or a package.
fn is_word(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b".+_-".contains(&b))
}

/// Checks the name of a group. It begins with a letter or a digit, so it is neither an option of a
/// command nor a step in a path.
///
/// # Errors
/// Returns a text that says what is wrong.
pub fn check_group_name(name: &str) -> Result<(), String> {
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && is_word(name) && name.len() <= GROUP_NAME_MAX {
        return Ok(());
    }
    Err(format!(
        "`{}` is no name for a group: it has letters, digits and `.+_-`, begins with a letter or a digit, and has \
            at most {GROUP_NAME_MAX} characters",
        shown(name)
    ))
}

/// Checks the name of a package in a group.
///
/// # Errors
/// Returns a text that says what is wrong.
pub fn check_group_package(name: &str) -> Result<(), String> {
    if !name.is_empty() && is_word(name) && name.len() <= GROUP_PACKAGE_NAME_MAX {
        return Ok(());
    }
    Err(format!(
        "`{}` cannot be a source package: a name has letters, digits and `.+_-`, and at most \
            {GROUP_PACKAGE_NAME_MAX} characters",
        shown(name)
    ))
}

/// Checks the packages of a group: at least one, sorted, each once.
///
/// # Errors
/// Returns a text that says what is wrong.
pub fn check_group_packages(packages: &[Name]) -> Result<(), String> {
    if packages.is_empty() {
        return Err("a group has at least one package".to_owned());
    }
    check_some_packages(packages)
}

/// Checks packages to add or remove: sorted, each once.
///
/// # Errors
/// Returns a text that says what is wrong.
pub fn check_some_packages(packages: &[Name]) -> Result<(), String> {
    if packages.len() > GROUP_PACKAGES_MAX {
        return Err(format!("a group has at most {GROUP_PACKAGES_MAX} packages, not {}", packages.len()));
    }
    packages.iter().try_for_each(|name| check_group_package(name))?;
    match packages.windows(2).find(|two| two[0] >= two[1]) {
        Some(two) => Err(format!("the packages of a group are sorted, each once: `{}` is not", two[1])),
        None => Ok(()),
    }
}

/// Checks the name of a maintainer. Events have a stand-in for it.
///
/// # Errors
/// Returns a text that says what is wrong.
pub fn check_maintainer(name: &str) -> Result<(), String> {
    let is_odd = |c: char| c.is_whitespace() || c.is_control();
    match name.is_empty() || name.len() > MAINTAINER_BYTES_MAX || name.contains(is_odd) {
        true => Err(format!(
            "`{}` cannot be the name of a person: no spaces, and from 1 to {MAINTAINER_BYTES_MAX} bytes",
            shown(name)
        )),
        false => Ok(()),
    }
}

/// Returns a name that may be anything, cut and without control characters.
fn shown(name: &str) -> String {
    name.chars().take(GROUP_PACKAGE_NAME_MAX).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_at_their_limits() {
        for good in ["a", "0ad", "python3.14", "c++", "A_b-c", &"x".repeat(GROUP_NAME_MAX)] {
            check_group_name(good).unwrap();
            check_group_package(good).unwrap();
        }
        let hostile =
            ["", ".", "..", "-x", "+", "a/b", "a b", "a\nb", "<b>", "é", "a\0", &"x".repeat(GROUP_NAME_MAX + 1)];
        for bad in hostile {
            let why = check_group_name(bad).unwrap_err();
            assert!(!why.contains(['\n', '\0']), "{why}");
        }
        for bad in ["", "a/b", "a b", "<b>", "é", &"x".repeat(GROUP_PACKAGE_NAME_MAX + 1)] {
            assert!(check_group_package(bad).is_err(), "{bad}");
        }
        check_group_package(&"x".repeat(GROUP_PACKAGE_NAME_MAX)).unwrap();
    }

    #[test]
    fn names_of_persons_at_their_limits() {
        check_maintainer("Élodie@example.org").unwrap();
        check_maintainer(&"x".repeat(MAINTAINER_BYTES_MAX)).unwrap();
        for bad in ["", "a b", "a\u{85}b", &"x".repeat(MAINTAINER_BYTES_MAX + 1)] {
            assert!(check_maintainer(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_at_their_limits() {
        let names = |n: usize| (0..n).map(|i| format!("p{i:05}").into()).collect::<Vec<Name>>();
        check_group_packages(&names(GROUP_PACKAGES_MAX)).unwrap();
        assert!(check_group_packages(&names(GROUP_PACKAGES_MAX + 1)).is_err());
        assert!(check_group_packages(&[]).is_err());
        check_some_packages(&[]).unwrap();
        assert!(check_some_packages(&["b".into(), "a".into()]).is_err());
        assert!(check_some_packages(&["a".into(), "a".into()]).is_err());
    }
}
