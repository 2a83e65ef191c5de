//! Describes errors in a TOML file without quoting its lines, because they may contain a password.

/// Returns what is wrong with a TOML file, and in which line. The TOML reader's own message quotes
/// the line, which may contain a password.
pub(crate) fn toml_error(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.as_bytes().get(..span.start));
    let line = before.map_or(0, |bytes| bytes.iter().filter(|b| **b == b'\n').count()) + 1;
    format!("line {line}: {}", without_texts(error.message()))
}

/// Replaces the texts that a message quotes as found. Serde says `invalid type: string "…",
/// expected …`.
fn without_texts(message: &str) -> String {
    let mut out = String::new();
    let mut rest = message;
    while let Some((before, after)) = rest.split_once("string \"") {
        out.push_str(before);
        out.push_str("a text");
        // Searches for the closing quote. Quotes within the text have a backslash.
        let mut escaped = false;
        let end = after.char_indices().find(|(_, c)| {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        rest = end.and_then(|(at, _)| after.get(at + 1..)).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a = 1\namqp_url = 'amqps://k:s3cret@mq", "line 2")]
    #[case("url = 'amqps://k:s3cret@mq'\n[bus\n", "line 2")]
    #[case("number = \"a\\\"s3cret\"\n", "line 1: invalid type: a text, expected i64")]
    fn no_line_is_repeated(#[case] text: &str, #[case] begin: &str) {
        #[derive(Debug, serde::Deserialize)]
        struct File {
            #[expect(dead_code, reason = "only read")]
            number: Option<i64>,
        }
        let said = toml_error(text, &toml::from_str::<File>(text).unwrap_err());
        assert!(said.starts_with(begin) && !said.contains("s3cret"), "{said}");
    }
}
