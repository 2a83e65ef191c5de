//! `--repo DIR[,priority=N][,module_hotfixes=1]` of `koschei resolve`.

use std::path::PathBuf;
use std::str::FromStr;

use crate::resolve::Priority;

/// Separators between the directory and the options.
const PRIORITY: &str = ",priority=";
const HOTFIXES: &str = ",module_hotfixes=";

/// `--repo DIR[,priority=N][,module_hotfixes=1]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RepoArg {
    /// The directory that holds `repodata/`.
    pub path: PathBuf,
    /// Priority of its packages.
    pub priority: Priority,
    /// Whether modules leave its packages visible.
    pub module_hotfixes: bool,
}

impl FromStr for RepoArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mut path, mut priority, mut module_hotfixes) = (text, None, None);
        loop {
            let (at_priority, at_hotfixes) = (path.rsplit_once(PRIORITY), path.rsplit_once(HOTFIXES));
            match (at_priority, at_hotfixes) {
                (Some((rest, number)), _) if !number.contains(HOTFIXES) && priority.is_none() => {
                    let wrong =
                        |_| format!("priority `{number}` is not a number; the lower one wins, the default is 99");
                    priority = Some(Priority(number.parse().map_err(wrong)?));
                    path = rest;
                }
                (_, Some((rest, value))) if !value.contains(PRIORITY) && module_hotfixes.is_none() => {
                    module_hotfixes = Some(match value {
                        "1" | "true" => true,
                        "0" | "false" => false,
                        _ => return Err(format!("module_hotfixes is 1 or 0, not `{value}`")),
                    });
                    path = rest;
                }
                _ => break,
            }
        }
        let (priority, module_hotfixes) = (priority.unwrap_or_default(), module_hotfixes.unwrap_or(false));
        if path.is_empty() {
            return Err("a directory is missing".to_owned());
        }
        Ok(Self { path: path.into(), priority, module_hotfixes })
    }
}
