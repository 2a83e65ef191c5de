//! Decides when two fault texts are the same. Parts that differ from one rebuild to the next
//! (numbers, hosts, paths, times, checksums) do not count.

/// Words before a number that says what went wrong. Such a number is kept.
const TELLING: [&str; 6] = ["status", "signal", "errno", "code", "error", "http"];
/// Words before the name of a machine.
const BEFORE_HOSTS: [&str; 8] = ["host", "hostname", "builder", "buildhost", "machine", "node", "worker", "server"];
/// Beginnings of the names of build machines, where a number follows.
const HOST_BEGINNINGS: [&str; 9] =
    ["build", "bkernel", "kojid", "kojibuilder", "host", "node", "vm", "worker", "compose-"];
/// Endings of files and packages. A word with such an ending after its last dot is not the name of
/// a machine.
const ENDINGS: [&str; 20] = [
    "rpm", "noarch", "src", "log", "spec", "py", "xml", "txt", "conf", "cfg", "gz", "xz", "bz", "zst", "zip", "tar",
    "patch", "so", "json", "yaml",
];
/// Words that belong to a time or a duration if they stand beside a number.
const OF_TIME: [&str; 56] = [
    "mon",
    "tue",
    "wed",
    "thu",
    "fri",
    "sat",
    "sun",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "jan",
    "feb",
    "mar",
    "apr",
    "may",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct",
    "nov",
    "dec",
    "january",
    "february",
    "march",
    "april",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
    "am",
    "pm",
    "utc",
    "gmt",
    "ms",
    "s",
    "sec",
    "secs",
    "second",
    "seconds",
    "min",
    "mins",
    "minute",
    "minutes",
    "h",
    "hour",
    "hours",
    "day",
    "days",
];

const NUMBER: &str = "#";
const HOST: &str = "<host>";
const PATH: &str = "<path>";

/// Returns the text with every part replaced that does not count. Texts that are the same give
/// equal results. Cost: O(length).
pub fn alike(text: &str) -> String {
    let text = text.to_ascii_lowercase();
    let mut words: Vec<Word> = Vec::new();
    for raw in text.split_whitespace() {
        let before = words.last().map_or("", |w| w.core.as_str());
        words.push(Word::of(raw, before));
    }
    // Go through twice, forwards and backwards, so that the words of a time are found on both sides
    // of its number.
    for i in (0..words.len()).chain((0..words.len()).rev()) {
        let beside = |j: Option<usize>| j.and_then(|j| words.get(j)).is_some_and(|w| w.is_time);
        if OF_TIME.contains(&words[i].core.as_str()) && (beside(i.checked_sub(1)) || beside(Some(i + 1))) {
            words[i] = Word { head: "", core: NUMBER.to_owned(), tail: "", is_time: true };
        }
    }
    let mut out = String::with_capacity(text.len());
    let mut last = "";
    for w in &words {
        // Keep one of several paths, hosts or numbers in a row, because their number is accidental.
        let again = w.core == last && [NUMBER, HOST, PATH].contains(&last);
        if !again {
            if !out.is_empty() {
                out.push(' ');
            }
            out.extend([w.head, &w.core, w.tail]);
        }
        last = &w.core;
    }
    out
}

/// Returns sixteen hex digits, equal for all texts that are the same.
pub fn mark(text: &str) -> String {
    blake3::hash(alike(text).as_bytes()).to_hex().chars().take(16).collect()
}

struct Word<'a> {
    /// Punctuation before the word. `tail` is the punctuation after it.
    head: &'a str,
    core: String,
    tail: &'a str,
    /// Whether the word is a number or part of a time.
    is_time: bool,
}

impl<'a> Word<'a> {
    fn of(raw: &'a str, before: &str) -> Self {
        let sign = |c: char| c.is_ascii_punctuation() && c != '/';
        let rest = raw.trim_start_matches(sign);
        let (head, _) = raw.split_at(raw.len() - rest.len());
        let bare = rest.trim_end_matches(sign);
        let (_, tail) = rest.split_at(bare.len());
        let named = BEFORE_HOSTS.contains(&before) && bare.chars().any(|c| c.is_ascii_digit() || c == '.');
        let core = if bare.contains('/') {
            PATH.to_owned()
        } else if named || is_host(bare) {
            HOST.to_owned()
        } else if is_hex(bare) {
            NUMBER.to_owned()
        } else if TELLING.contains(&before) && bare.len() <= 4 {
            bare.to_owned()
        } else {
            without_numbers(bare)
        };
        let is_time = core == NUMBER;
        let (head, tail) = if is_time || core == PATH { ("", "") } else { (head, tail) };
        Self { head, core, tail, is_time }
    }
}

/// Checks for the name of a machine: a full name, an address with a user, or a short name as build
/// machines have.
fn is_host(word: &str) -> bool {
    let name = word.rsplit('@').next().unwrap_or(word);
    let name = name.split(':').next().unwrap_or(name);
    let plain = |label: &str| !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let (dots, top) = (name.matches('.').count(), name.rsplit('.').next().unwrap_or_default());
    let is_top = top.len() >= 2 && top.chars().all(|c| c.is_ascii_alphabetic()) && !ENDINGS.contains(&top);
    let full = dots >= 2 && is_top && name.split('.').all(plain);
    let numbered = name.ends_with(|c: char| c.is_ascii_digit());
    let short = dots == 0 && numbered && HOST_BEGINNINGS.iter().any(|b| name.starts_with(b));
    full || short || name == "localhost" || (word.contains('@') && dots >= 1)
}

/// Checks for a checksum, an address, a number, a date or an IPv6 address.
fn is_hex(word: &str) -> bool {
    let digits = word.strip_prefix("0x").unwrap_or(word);
    digits.len() >= 6
        && digits.chars().any(|c| c.is_ascii_digit())
        && digits.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, '-' | ':' | '.'))
}

/// Returns the word with each number in it replaced by a sign. A time or a version counts as one
/// number.
fn without_numbers(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, number) = rest.split_at(at);
        out.push_str(before);
        out.push_str(NUMBER);
        let end = number
            .find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ':' | ',' | '-' | '+'))
            .unwrap_or(number.len());
        // Signs that join numbers do not belong to the number if they stand at its end.
        let (number, _) = number.split_at(end);
        let number = number.trim_end_matches(|c: char| !c.is_ascii_digit());
        rest = rest.get(at + number.len()..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::task("Task 4711 went astray", "Task 99 went astray")]
    #[case::task_in_a_word("task4711 (pid=12): lost its way", "task8 (pid=4444): lost its way")]
    #[case::full_host("buildvm-x86-01.iad2.fedoraproject.org said no", "buildvm-a64-17.rdu3.fedoraproject.org said no")]
    #[case::short_host("builder buildvm-x86-01: said no", "builder buildhw-a64-20: said no")]
    #[case::named_host("host kojid7 said no", "host kojid12 said no")]
    #[case::address("10.3.169.7:443 said no", "192.168.0.12:8443 said no")]
    #[case::address6("2620:52:3:1:dead:beef:cafe:1 said no", "::1:2:3 said no")]
    #[case::user("kojibuilder@host1.example said no", "kojibuilder@host2.example said no")]
    #[case::path("cannot read /var/lib/mock/f42-build-1-2/root/x", "cannot read '/mnt/koji/work/tasks/1/2'.")]
    #[case::paths("left over: ['/a/1', '/b/2']", "left over: ['/a/1', '/b/2', '/c/3']")]
    #[case::url("no answer from https://koji.example/kojihub", "no answer from http://other.example:8080/a?b=1")]
    #[case::time("stuck since 2027-01-15T08:00:00Z, gave up", "stuck since 2026-12-31T23:59:59.25Z, gave up")]
    #[case::time_in_words(
        "stuck since Fri Jan 15 08:00:00 2027, gave up",
        "stuck since Mon Dec 1 23:00:01 UTC 2026, gave up"
    )]
    #[case::length("gave up after 0:10:33", "gave up after 2 hours 3 minutes")]
    #[case::seconds("gave up after 12.5 seconds", "gave up after 1 second")]
    #[case::checksum("wants d41d8cd98f00b204e9800998ecf8427e", "wants 0cc175b9c0f1b6a831c399e269772661")]
    #[case::memory("object at 0x7f12ab34cd56 is odd", "object at 0x55e0c0ffee12 is odd")]
    #[case::spaces("two  words\n", " Two words")]
    fn the_same(#[case] one: &str, #[case] other: &str) {
        assert_eq!(alike(one), alike(other));
        assert_eq!(mark(one), mark(other));
    }

    #[rstest]
    #[case("frobnication failed", "defrobnication failed")]
    #[case("tool exited with status 3", "tool exited with status 4")]
    #[case("[Errno 5] odd", "[Errno 6] odd")]
    #[case("cannot read foo.spec", "cannot read foo.log")]
    #[case("the sun went down", "the moon went down")]
    #[case("tool a, not tool b", "tool b, not tool a")]
    fn not_the_same(#[case] one: &str, #[case] other: &str) {
        assert_ne!(alike(one), alike(other));
    }

    /// Marks are stored with sightings, and later versions compare them with theirs.
    #[test]
    fn marks_are_for_ever() {
        let text = "Task 17 on buildvm-01 found /a/b at 08:00, exit status 3";
        assert_eq!(alike(text), "task # on <host> found <path> at # exit status 3");
        assert_eq!(mark(text), "811397fa2d9f651c");
    }

    proptest! {
        #[test]
        fn numbers_never_matter(words in prop::collection::vec("q[a-z]{3,9}", 1..6), one in 0_u32.., other in 0_u32..) {
            let text = |n: u32| words.iter().map(|w| format!("{w} {n} {w}-{n}")).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(alike(&text(one)), alike(&text(other)));
        }

        #[test]
        fn any_text_is_taken(text in "\\PC{0,200}") {
            prop_assert_eq!(mark(&text).len(), 16);
        }
    }
}
