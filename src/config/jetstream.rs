//! Reads `[jetstream]`: whether and where the log's events are published on NATS JetStream, and where
//! outside executors get their commands.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// NATS JetStream, as written in the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JetStreamConfig {
    /// Addresses of NATS servers, separated by commas. Without, NATS is not used.
    pub url: Option<String>,
    /// User to log in as.
    pub user: Option<String>,
    /// File whose first line is the user's password.
    pub password_file: Option<PathBuf>,
    /// File whose first line is a token for the login.
    pub token_file: Option<PathBuf>,
    /// File with credentials for the login (`.creds`).
    pub credentials: Option<PathBuf>,
    /// Certificates to trust (PEM), in addition to the system's.
    pub ca_cert: Option<PathBuf>,
    /// Our client certificate (PEM).
    pub cert: Option<PathBuf>,
    /// Key of our client certificate (PEM).
    pub key: Option<PathBuf>,
    /// Whether the log's events are published.
    pub events: bool,
    /// Stream for events.
    pub events_stream: String,
    /// What the subjects of events begin with.
    pub events_subject: String,
    /// Whether an empty stream gets all events of the log. Else it gets those from now on.
    pub from_start: bool,
    /// Work queue for commands of hubs with an outside executor.
    pub commands_stream: String,
    /// What the subjects of commands begin with.
    pub commands_subject: String,
    /// Stream for the results of commands.
    pub results_stream: String,
    /// Subject of the results.
    pub results_subject: String,
}

impl Default for JetStreamConfig {
    fn default() -> Self {
        Self {
            url: None,
            user: None,
            password_file: None,
            token_file: None,
            credentials: None,
            ca_cert: None,
            cert: None,
            key: None,
            events: true,
            events_stream: "KOSCHEI_EVENTS".to_owned(),
            events_subject: "koschei.events".to_owned(),
            from_start: false,
            commands_stream: "KOSCHEI_COMMANDS".to_owned(),
            commands_subject: "koschei.commands".to_owned(),
            results_stream: "KOSCHEI_RESULTS".to_owned(),
            results_subject: "koschei.results".to_owned(),
        }
    }
}

impl JetStreamConfig {
    /// Returns what is wrong with the settings, and what they should be.
    pub(super) fn check(&self) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("[jetstream]: {what}"));
        let words = |text: &str| {
            text.split('.')
                .all(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_graphic() && !"*>".contains(c)))
        };
        let [events, commands, results] = [
            ("events", &self.events_stream, &self.events_subject),
            ("commands", &self.commands_stream, &self.commands_subject),
            ("results", &self.results_stream, &self.results_subject),
        ];
        for (of, stream, subject) in [events, commands, results] {
            if !words(subject) {
                return wrong(&format!("`{of}_subject` must be words with dots between them, without `*` and `>`"));
            }
            if !words(stream) || stream.contains('.') {
                return wrong(&format!("`{of}_stream` must be one word without dots, `*` and `>`"));
            }
        }
        // NATS lets no two streams have the same subject.
        for ((of, stream, subject), (other, their_stream, theirs)) in
            [(events, commands), (commands, results), (results, events)]
        {
            let within =
                |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
            if stream == their_stream {
                return wrong(&format!("`{of}_stream` and `{other}_stream` must be different"));
            }
            if within(subject, theirs) || within(theirs, subject) {
                return wrong(&format!("`{of}_subject` and `{other}_subject`: neither may begin with the other"));
            }
        }
        if self.user.is_some() != self.password_file.is_some() {
            return wrong("`user` and `password_file` go together; give both or none");
        }
        if self.cert.is_some() != self.key.is_some() {
            return wrong("`cert` and `key` go together; give both or none");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("events_subject = 'koschei.>'", "`events_subject`")]
    #[case("events_subject = ''", "`events_subject`")]
    #[case("events_stream = 'A.B'", "`events_stream`")]
    #[case("results_subject = ''", "`results_subject`")]
    #[case("commands_stream = 'A B'", "`commands_stream`")]
    #[case("commands_stream = 'KOSCHEI_EVENTS'", "must be different")]
    #[case("results_subject = 'koschei.commands.x'", "neither may begin with the other")]
    #[case("events_subject = 'koschei'", "neither may begin with the other")]
    #[case("user = 'a'", "`password_file` go together")]
    #[case("cert = 'a'", "`key` go together")]
    fn what_cannot_be_is_said(#[case] text: &str, #[case] said: &str) {
        let error = toml::from_str::<JetStreamConfig>(text).unwrap().check().unwrap_err();
        assert!(error.contains(said), "{error}");
    }

    #[test]
    fn the_defaults_are_fine() {
        assert_eq!(JetStreamConfig::default().check(), Ok(()));
    }
}
