//! Reads `[announce]`: whether, where and how changes of state are announced.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::announce::Telling;
use crate::model::weburl;

/// Longest time for which a change may be held back: a day.
const HOLD_BACK_MAX: u32 = 86_400;

/// What becomes of an announcement that no queue takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoQueue {
    /// It counts as sent, because nobody listens. A metric counts it.
    #[default]
    Skip,
    /// It waits until a queue takes it, and those behind it of the same package or collection wait,
    /// too.
    Wait,
}

/// Announcing, as written in the file. Missing settings of the broker are those of `[bus]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnnounceConfig {
    /// Whether anything is announced.
    pub enabled: bool,
    /// Whether the original's messages are sent: one for each change of state.
    pub koschei_messages: bool,
    /// Whether our own messages are sent: causes, packages, rebuilds, buildroots.
    pub richer: bool,
    /// How long a state must stand before it is told, in seconds. 0: it is told at once.
    pub hold_back_secs: u32,
    /// Address of our own pages, to which messages link.
    pub web_url: Option<String>,
    /// How long announcements are kept after the broker has them, in days.
    pub keep_days: u32,
    /// Exchange to publish to.
    pub exchange: Option<String>,
    /// What comes before the topics.
    pub topic_prefix: Option<String>,
    /// What becomes of an announcement that no queue takes.
    pub no_queue: NoQueue,
    /// Address of the broker: `amqp://` or `amqps://`.
    pub amqp_url: Option<String>,
    /// Certificates to trust (PEM).
    pub ca_cert: Option<PathBuf>,
    /// Our client certificate (PEM).
    pub cert: Option<PathBuf>,
    /// Key of our client certificate (PEM).
    pub key: Option<PathBuf>,
}

impl Default for AnnounceConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            koschei_messages: true,
            richer: true,
            hold_back_secs: 600,
            web_url: None,
            keep_days: 30,
            exchange: None,
            topic_prefix: None,
            no_queue: NoQueue::default(),
            amqp_url: None,
            ca_cert: None,
            cert: None,
            key: None,
        }
    }
}

impl AnnounceConfig {
    /// Returns what is wrong with the settings, and what they should be.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.hold_back_secs > HOLD_BACK_MAX {
            let said = self.hold_back_secs;
            return Err(format!("[announce]: `hold_back_secs` is {said}, but must be at most {HOLD_BACK_MAX} (a day)"));
        }
        if self.keep_days > super::RAW_DAYS_MAX {
            let (said, most) = (self.keep_days, super::RAW_DAYS_MAX);
            return Err(format!("[announce]: `keep_days` is {said}, but must be at most {most} (a hundred years)"));
        }
        if self.enabled && !self.koschei_messages && !self.richer {
            return Err(
                "[announce]: both `koschei_messages` and `richer` are false; set one of them, or `enabled = false`"
                    .to_owned(),
            );
        }
        self.web_url
            .as_ref()
            .map_or(Ok(()), |url| weburl::check(url).map_err(|e| format!("[announce]: `web_url`: {e}")))
    }

    /// Returns what is told, and how soon.
    pub fn telling(&self) -> Telling {
        Telling {
            theirs: self.koschei_messages,
            richer: self.richer,
            hold_back: i64::from(self.hold_back_secs),
            site: self.web_url.as_ref().map(|url| url.trim_end_matches('/').to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_said() {
        let said = |text: &str| toml::from_str::<AnnounceConfig>(text).unwrap().check().unwrap_err();
        assert!(said("hold_back_secs = 86401").contains("at most 86400 (a day)"));
        assert!(said("keep_days = 36501").contains("at most 36500"));
        assert!(said("web_url = 'koschei.example.org'").contains("must be http:// or https://"));
        assert!(said("enabled = true\nricher = false\nkoschei_messages = false").contains("set one of them"));
        let fine = toml::from_str::<AnnounceConfig>("web_url = 'https://koschei.example.org/'").unwrap();
        assert_eq!((fine.check(), fine.telling().site.as_deref()), (Ok(()), Some("https://koschei.example.org")));
    }
}
