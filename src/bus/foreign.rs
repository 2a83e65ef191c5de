//! Recognises by its first line what a file is that is not a recording.

/// Describes what a line that is not a message belongs to. `reason` says why it is not a message.
pub(super) fn what_is(line: &[u8], reason: &str) -> String {
    let has = |word: &str| line.windows(word.len()).any(|w| w == word.as_bytes());
    let known = match line {
        _ if line.starts_with(b"SQLite format 3\0") => "an SQLite database; if it is a log, give it with --db",
        _ if has("\"koschei_attachment\"") || (has("\"specversion\"") && has("\"chainhash\"")) => {
            "the output of `koschei log export`; import it with `koschei log import`"
        }
        _ if has("\"specversion\"") => "CloudEvents, as `koschei history --json` prints them",
        _ if has("\"command\"") && has("\"decided_at\"") => "rebuild commands, as `koschei commands` delivers them",
        b"{" => "JSON over several lines; if it holds messages, put each on a line of its own (`jq -c .`)",
        [b'[', ..] => "a JSON list; if it holds messages, put each on a line of its own (`jq -c '.[]'`)",
        [b'<', ..] => "XML or HTML",
        [0x7f, b'E', b'L', b'F', ..] => "a program",
        [b'P', b'K', 3, 4, ..] => "a zip archive",
        [0xfd, b'7', b'z', b'X', b'Z', ..] => {
            "compressed with xz; unpack it first (gzip and zstd are read as they are)"
        }
        [b'B', b'Z', b'h', ..] => "compressed with bzip2; unpack it first (gzip and zstd are read as they are)",
        [0xed, 0xab, 0xee, 0xdb, ..] => "an RPM package",
        _ if line.get(257..262) == Some(b"ustar") => "a tar archive; unpack it first",
        [b'{', ..] => return format!("JSON that is no message ({reason})"),
        _ if line.contains(&0) || std::str::from_utf8(line).is_err() => "binary data",
        _ => "text that is no JSON",
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(b"SQLite format 3\0....", "an SQLite database")]
    #[case(br#"{"specversion":"1.0","chainhash":"00"}"#, "koschei log import")]
    #[case(br#"{"koschei_attachment":"0","content":""}"#, "koschei log import")]
    #[case(b"{", "jq -c .")]
    #[case(b"[{}]", "jq -c '.[]'")]
    #[case(b"<?xml version='1.0'?>", "XML or HTML")]
    #[case(br#"{"a":1}"#, "JSON that is no message (no topic)")]
    #[case(b"Name: curl", "text that is no JSON")]
    #[case(b"\xff\xfe\0x", "binary data")]
    fn kinds(#[case] line: &[u8], #[case] expected: &str) {
        let said = what_is(line, "no topic");
        assert!(said.contains(expected), "{said}");
    }
}
