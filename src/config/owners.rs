//! Reads `[owners]`: who owns packages besides their owners in Koji.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Owners of packages, as written in the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OwnersConfig {
    /// A file in the form of pagure's `pagure_owner_alias.json`.
    pub file: Option<PathBuf>,
    /// Address of such a file. If both are given, both count.
    pub url: Option<String>,
    /// How often it is read again, in seconds.
    pub refresh_secs: u32,
}

impl Default for OwnersConfig {
    fn default() -> Self {
        Self { file: None, url: None, refresh_secs: 3_600 }
    }
}

impl OwnersConfig {
    /// Returns what is wrong with the settings, and what they should be.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(url) = &self.url {
            crate::model::weburl::check(url).map_err(|e| format!("[owners]: `url`: {e}"))?;
        }
        match self.refresh_secs {
            60..=86_400 => Ok(()),
            n => Err(format!("[owners]: `refresh_secs` is {n}, but must be from 60 to 86400 (a day)")),
        }
    }
}
