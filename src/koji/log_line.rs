//! Chooses the line at the end of a build's log that says most about why it failed.
//!
//! `mock` writes what rpmbuild says into `build.log`, and what it does itself, such as installing
//! dependencies, into `root.log`. Many failures end in the same lines about exit codes. These say
//! nothing and are passed over.

/// Longest line that is kept, in characters.
const LINE_CHARS_MAX: usize = 300;

/// What begins the part of a log that only repeats that it failed, the earliest first.
const ENDINGS: [&str; 3] = ["RPM build errors:", "Child return code was:", "EXCEPTION:"];
/// Parts of lines that name a failure, in lower case.
const TELLING: [&str; 16] = [
    "error:",
    "error ",
    "undefined reference",
    "cannot find",
    "could not find",
    "not found",
    "no such file",
    "no rule to make target",
    "nothing provides",
    "no match for argument",
    "conflicts with",
    "exception",
    "failed",
    "failure",
    "fatal",
    "undefined symbol",
];
/// Parts of lines that say no more than that something failed, in lower case.
const EMPTY: [&str; 8] = [
    "bad exit status",
    "build stopped",
    "subcommand failed",
    "recursive make",
    "] error ",
    "exit status",
    "exit code",
    "returned non-zero",
];

/// Returns the telling line of the end of a log. `None` if there is no text.
pub(crate) fn telling_line(log: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(log);
    let lines: Vec<&str> = text.lines().map(bare).filter(|line| !line.is_empty()).collect();
    let end = ENDINGS.iter().find_map(|ending| lines.iter().rposition(|line| line.starts_with(ending)));
    let end = end.unwrap_or(lines.len());
    let said = if end == 0 { &lines[..] } else { &lines[..end] };
    let has = |line: &str, words: &[&str]| {
        let lower = line.to_lowercase();
        words.iter().any(|word| lower.contains(word))
    };
    let telling = said.iter().rfind(|line| has(line, &TELLING) && !has(line, &EMPTY));
    let speaking = || said.iter().rfind(|line| !has(line, &EMPTY));
    let line = telling.or_else(speaking).or(said.last())?;
    Some(line.chars().take(LINE_CHARS_MAX).collect())
}

/// Returns a line without what `mock` puts before it in `root.log`, and without control characters
/// at its ends.
fn bare(line: &str) -> &str {
    let line = line.trim_matches(|c: char| c.is_whitespace() || c.is_control());
    let Some((head, rest)) = line.split_once(": ") else { return line };
    let is_prefix = head
        .split_once(' ')
        .is_some_and(|(level, place)| ["DEBUG", "INFO", "ERROR", "WARNING"].contains(&level) && place.contains(".py:"));
    if is_prefix { rest.trim() } else { line }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::compiler(
        "gcc -c x.c\nx.c:7:10: fatal error: foo.h: No such file or directory\nmake: *** [Makefile:3: x.o] Error 1\n\
         error: Bad exit status from /var/tmp/rpm-tmp.Ab3 (%build)\n\n\nRPM build errors:\n    Bad exit status from \
         /var/tmp/rpm-tmp.Ab3 (%build)\nChild return code was: 1\nEXCEPTION: [Error('Command failed: …')]\n",
        "x.c:7:10: fatal error: foo.h: No such file or directory"
    )]
    #[case::linker(
        "/usr/bin/ld: a.o: undefined reference to `foo_open'\ncollect2: error: ld returned 1 exit status\n",
        "/usr/bin/ld: a.o: undefined reference to `foo_open'"
    )]
    #[case::dnf(
        "DEBUG util.py:461:  Error: \nDEBUG util.py:461:   Problem: nothing provides libfoo.so.1 needed by bar-1-1\n\
         DEBUG util.py:610:  Child return code was: 1\n",
        "Problem: nothing provides libfoo.so.1 needed by bar-1-1"
    )]
    #[case::nothing_known("checking for x... yes\nsomething odd\nmake: *** [all] Error 2\n", "something odd")]
    #[case::only_codes("make: *** [all] Error 2\n", "make: *** [all] Error 2")]
    #[case::only_the_ending("RPM build errors:\n    Bad exit status\n", "RPM build errors:")]
    fn the_line_that_says_why(#[case] log: &str, #[case] line: &str) {
        assert_eq!(telling_line(log.as_bytes()).as_deref(), Some(line));
    }

    #[test]
    fn lines_are_bounded_and_may_be_no_text() {
        assert_eq!(telling_line(b"\n \n\x1b\n"), None);
        let long = telling_line(&[b'x'; 100_000]).unwrap();
        assert_eq!(long.chars().count(), LINE_CHARS_MAX);
        assert!(telling_line(b"error: \xff\xfe broken").unwrap().starts_with("error: "));
    }
}
