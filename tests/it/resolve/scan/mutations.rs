//! Random changes of real files. The scanner must give the parser's answer or none.

use std::path::Path;

use koschei::repodata::Limits;
use koschei::repodata::pieces::PIECE;

use super::{compare, parse, texts};
use crate::feed::scale;

/// A generator of random numbers (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

/// What may be put anywhere.
const SNIPPETS: [&[u8]; 47] = [
    b"<",
    b">",
    b"&",
    b"\"",
    b"'",
    b"/",
    b"=",
    b" ",
    b"\n",
    b"\r",
    b"\r\n",
    b"\t",
    b"\0",
    b"\x80",
    b"\xc3\xa9",
    b"]]>",
    b"-->",
    b"<!-- x -->",
    b"<!-- </package> -->",
    b"<!-- <package -->",
    b"<!--",
    b"<![CDATA[x]]>",
    b"<![CDATA[</package>]]>",
    b"<?x y?>",
    b"<!DOCTYPE metadata>",
    b"&amp;",
    b"&lt;",
    b"&quot;&apos;&gt;",
    b"&#65;",
    b"&#x0;",
    b"&x;",
    b"<x/>",
    b"<x>y</x>",
    b"<x y='z'>",
    b"<package>",
    b"<package type=\"rpm\">",
    b"</package>",
    b"</package ></package>",
    b"<metadata>",
    b"</metadata>",
    b"<format>",
    b"</format>",
    b"<rpm:requires>",
    b"</rpm:requires>",
    b"<name>z</name>",
    b"<rpm:provides/>",
    b"\xef\xbb\xbf",
];

/// What may stand instead of a value in double quotes.
const VALUES: [&[u8]; 18] = [
    b"",
    b"0",
    b"1",
    b"00",
    b"+1",
    b"x",
    b"4294967296",
    b"EQ",
    b"NE",
    b"/usr/bin/x",
    b"(a or b)",
    b"(a or",
    b"(a &gt;= 1 with a &lt; 2)",
    b"a>b",
    b"a/>b",
    b"a\tb",
    b"a&#10;b",
    b"a\0",
];

/// What may stand instead of one part of the text with another.
const REPLACED: [(&[u8], &[u8]); 22] = [
    (b"rpm:", b""),
    (b"rpm:", b"r:"),
    (b"<rpm:entry", b"<entry"),
    (b"<rpm:entry", b"<rpm:entry  "),
    (b"/>", b" />"),
    (b"/>", b"></rpm:entry>"),
    (b"\"", b"'"),
    (b" flags", b"  flags"),
    (b" flags", b"\nflags"),
    (b"flags", b"Flags"),
    (b"flags=", b"flags ="),
    (b"ver=", b"rel="),
    (b"ver=", b"pre="),
    (b"name=", b"xml:name="),
    (b"<file>", b"<file type=\"dir\">"),
    (b"<name>", b"<name x='y'>"),
    (b"<arch>", b"<arch><x/>"),
    (b"</name>", b"</name >"),
    (b"UTF-8", b"ISO-8859-1"),
    (b"UTF-8", b"utf-8"),
    (b"requires>", b"supplements>"),
    (b"<location ", b"<location xml:base=\"x\" "),
];

/// Returns the places where `what` begins.
fn places(text: &[u8], what: &[u8]) -> Vec<usize> {
    (0..text.len().saturating_sub(what.len())).filter(|&at| text[at..].starts_with(what)).collect()
}

fn mutate(text: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(text.len());
    let place = |text: &[u8], what: &[u8], random: &mut Random| {
        let places = places(text, what);
        if places.is_empty() { at } else { places[random.below(places.len())] }
    };
    let line = |text: &[u8], at: usize| {
        let start = text[..at].iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        start..text[at..].iter().position(|b| *b == b'\n').map_or(text.len(), |i| at + i + 1)
    };
    match random.below(10) {
        0 => text[at] ^= 1 << random.below(8),
        1 => text[at] = random.one(&[b"<>&\"'/ =\n\r\t\0!?-:".as_slice()])[random.below(15)],
        2 => drop(text.drain(at..(at + 1 + random.below(30)).min(text.len()))),
        3 => {
            let at = if random.below(2) == 0 { at } else { place(text, random.one(&[b"<", b">", b"\""]), random) + 1 };
            let at = at.min(text.len());
            text.splice(at..at, random.one(&SNIPPETS).iter().copied());
        }
        4 => {
            let line = line(text, at);
            let copy = text[line.clone()].to_vec();
            text.splice(line.start..line.start, copy);
        }
        5 => drop(text.drain(line(text, at))),
        6 => {
            let line = line(text, at);
            let copy: Vec<u8> = text.drain(line).collect();
            let to = random.below(text.len() + 1);
            let to = text[..to].iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
            text.splice(to..to, copy);
        }
        7 => {
            let start = place(text, b"=\"", random) + 2;
            let rest = text.get(start..).unwrap_or_default();
            let end = start + rest.iter().position(|b| *b == b'"').unwrap_or(0);
            text.splice(start.min(text.len())..end.min(text.len()), random.one(&VALUES).iter().copied());
        }
        8 => {
            let (from, to) = REPLACED[random.below(REPLACED.len())];
            let all = random.below(3) == 0;
            let mut found = places(text, from);
            if !all && !found.is_empty() {
                found = vec![found[random.below(found.len())]];
            }
            for start in found.into_iter().rev() {
                text.splice(start..start + from.len(), to.iter().copied());
            }
        }
        // Two attributes of a tag change places.
        _ => {
            let start = place(text, b"<", random);
            let end = text[start..].iter().position(|b| *b == b'>').map_or(text.len(), |i| start + i);
            let spaces: Vec<usize> = (start..end).filter(|&i| text[i] == b' ').collect();
            if let [.., first, second] = spaces.as_slice() {
                let end = end - usize::from(text[end - 1] == b'/');
                text[*first..end].rotate_left(second - first);
            }
        }
    }
}

/// Returns a file of a few packages of a real one.
fn excerpt(text: &[u8], random: &mut Random) -> Vec<u8> {
    let starts = places(text, b"<package ");
    let end = text.len() - b"</metadata>\n".len();
    let mut file = text[..starts[0]].to_vec();
    for _ in 0..1 + random.below(3) {
        let package = random.below(starts.len());
        file.extend_from_slice(&text[starts[package]..starts.get(package + 1).copied().unwrap_or(end)]);
    }
    file.extend_from_slice(b"</metadata>\n");
    file
}

/// Thousands of changed files, each in whole and in pieces. Most are no XML any more or have a
/// package that the scanner does not know, so the test also checks that a share is scanned.
#[test]
fn random_changes() {
    let random = &mut Random(scale(20_261_129, 7));
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let dirs = ["koji/repos", "koji-external/repos", "distro/small"];
    let mut files: Vec<Vec<u8>> = dirs.iter().flat_map(|dir| texts(&data.join(dir))).map(|(_, text)| text).collect();
    files.retain_mut(|text| {
        text.truncate(text.len().min(200_000));
        !places(text, b"<package ").is_empty()
    });
    let (cases, mut scanned, mut handed, mut valid) = (scale(3_000, 1_000_000), 0u64, 0u64, 0u64);
    for _ in 0..cases {
        let mut file = excerpt(&files[random.below(files.len())], random);
        for _ in 0..1 + random.below(3) {
            if file.len() > 1 {
                mutate(&mut file, random);
            }
        }
        let limits = match random.below(8) {
            0 => Limits { xml_token: random.below(5000), packages: random.below(4), ..Limits::default() },
            _ => Limits::default(),
        };
        let piece = if random.below(2) == 0 { PIECE } else { 500 + random.below(5000) };
        if let Ok(result) = compare(&file, &limits, piece) {
            handed += u64::from(result.handed_over > 0);
            scanned += u64::from(result.handed_over == 0);
        } else if parse(&file, &limits).is_ok() {
            valid += 1;
        }
    }
    println!("{cases} files: {scanned} scanned, {handed} with packages that the parser read, {valid} read as a whole");
    assert!(scanned > cases / 8 && handed > cases / 20 && valid > cases / 100, "{scanned} {handed} {valid} of {cases}");
}
