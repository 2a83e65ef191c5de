//! What is logged on standard error: our own messages at the given level, and those of libraries
//! only if they are named.

/// The default level.
const LEVEL: &str = "warn";
/// Targets of our own messages begin with this.
const OURS: &str = "koschei";

/// Returns the filter for `KOSCHEI_LOG`. It holds a level (`info`), or directives such as
/// `koschei::stage=debug`, separated by commas.
///
/// A level alone applies only to our own messages. Messages of libraries (about connections,
/// statements, handshakes) are nothing an operator can act on. Their failures reach us as errors,
/// which are logged once where they are handled. A directive such as `sqlx=debug` shows a library.
pub fn filter(said: Option<&str>) -> String {
    let said = said.map(str::trim).filter(|s| !s.is_empty()).unwrap_or(LEVEL);
    let mut level = None;
    let mut named = Vec::new();
    for directive in said.split(',').map(str::trim).filter(|d| !d.is_empty()) {
        match is_level(directive) {
            true => level = Some(directive),
            false => named.push(bounded(directive)),
        }
    }
    let ours = format!("{OURS}={}", level.unwrap_or(LEVEL));
    ["off".to_owned(), ours].into_iter().chain(named).collect::<Vec<_>>().join(",")
}

/// Limits the directive for a library to `debug`. At `trace`, libraries log what they send,
/// including passwords.
fn bounded(directive: &str) -> String {
    let (target, level) = directive.rsplit_once('=').unwrap_or((directive, ""));
    let ours = target == OURS || target.starts_with("koschei::") || target.starts_with("koschei[");
    let fine = ["off", "error", "warn", "info", "debug", "0", "1", "2", "3", "4"];
    match ours || fine.iter().any(|l| level.eq_ignore_ascii_case(l)) {
        true => directive.to_owned(),
        false => format!("{target}=debug"),
    }
}

fn is_level(text: &str) -> bool {
    ["off", "error", "warn", "info", "debug", "trace"].iter().any(|l| text.eq_ignore_ascii_case(l))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nothing(None, "off,koschei=warn")]
    #[case::empty(Some(" "), "off,koschei=warn")]
    #[case::unit(Some("info"), "off,koschei=info")]
    #[case::capitals(Some("DEBUG"), "off,koschei=DEBUG")]
    #[case::library(Some("info,sqlx=debug"), "off,koschei=info,sqlx=debug")]
    #[case::all_a_library_has(
        Some("async_nats=trace,lapin,hyper=5"),
        "off,koschei=warn,async_nats=debug,lapin=debug,hyper=debug"
    )]
    #[case::ours(Some("koschei=trace,koschei::bus=trace"), "off,koschei=warn,koschei=trace,koschei::bus=trace")]
    #[case::stage(Some("warn,lapin=off,koschei::stage=debug"), "off,koschei=warn,lapin=off,koschei::stage=debug")]
    #[case::only_a_part(Some("koschei::hub=debug"), "off,koschei=warn,koschei::hub=debug")]
    fn libraries_are_silent_unless_named(#[case] said: Option<&str>, #[case] expected: &str) {
        assert_eq!(filter(said), expected);
    }
}
