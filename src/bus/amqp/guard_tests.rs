use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes, kind, channel, payload);
    bytes
}

fn name(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text].concat()
}

/// Puts the length in four bytes before the content.
fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn deliver(tag: u64, routing_key: &[u8]) -> Vec<u8> {
    let begin = [&[0, 60, 0, 60], name(b"consumer").as_slice(), &tag.to_be_bytes(), &[0]].concat();
    frame(METHOD, 1, &[begin, name(b"amq.topic"), name(routing_key)].concat())
}

fn header(size: usize, flags: u16, properties: &[u8]) -> Vec<u8> {
    let size = (size as u64).to_be_bytes();
    frame(HEADER, 1, &[&[0, 60, 0, 0], size.as_slice(), &flags.to_be_bytes(), properties].concat())
}

/// A header frame with these bytes as its table of headers.
fn headers(table: &[u8]) -> Vec<u8> {
    header(2, 1 << 13, &sized(table))
}

fn nested(kind: u8, levels: usize) -> Vec<u8> {
    (0..levels).fold(Vec::new(), |inner, level| {
        // The innermost one is an empty table or list.
        let entry = if kind == b'F' { name(b"a") } else { Vec::new() };
        if level == 0 {
            entry.into_iter().chain(*b"t\x01").collect()
        } else {
            [entry, vec![kind], sized(&inner)].concat()
        }
    })
}

/// Returns what the client gets to read.
fn passed(bytes: &[u8]) -> Vec<u8> {
    let (mut guard, mut out, mut used) = (Guard::default(), Vec::new(), 0);
    while used < bytes.len() {
        let taken = guard.pass(&bytes[used..], &mut out).unwrap();
        assert!(taken > 0, "whole frames are taken");
        used += taken;
    }
    out
}

/// Returns the frames in these bytes: type and payload.
fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let size = usize::try_from(u32_at(bytes, 3).unwrap()).unwrap();
        let (frame, rest) = bytes.split_at(size + AROUND);
        assert_eq!(frame.last(), Some(&END));
        found.push((frame[0], frame[7..7 + size].to_vec()));
        bytes = rest;
    }
    found
}

/// Checks whether the client's own parser accepts the properties in all header frames.
fn client_parses(bytes: &[u8]) -> bool {
    let headers = frames(bytes).into_iter().filter(|(kind, _)| *kind == HEADER);
    headers.into_iter().all(|(_, payload)| {
        let parsed = lapin::protocol::basic::parse_properties(&payload[12..]);
        parsed.is_ok_and(|(rest, _)| rest.is_empty())
    })
}

#[test]
fn what_is_fine_passes_unchanged() {
    let table = [
        name(b"sent-at"),
        [b"S".as_slice(), &sized(b"2026-11-20T08:44:11+00:00")].concat(),
        name(b"number"),
        b"I\0\0\0\x07".to_vec(),
        name("ü".as_bytes()),
        b"t\x01".to_vec(),
        name(b"list"),
        [b"A".as_slice(), &sized(b"V")].concat(),
    ]
    .concat();
    let all: u16 = 0b1111_1111_1111_1100;
    let properties = [
        name(b"application/json"),
        name(b"utf-8"),
        sized(&table),
        vec![2, 0],
        name(b""),
        name(b""),
        name(b""),
        name(b"id"),
        7_u64.to_be_bytes().to_vec(),
        name(b"type"),
        name(b"user"),
        name(b"app"),
        name(b"cluster"),
    ]
    .concat();
    let start =
        [b"\0\x0a\0\x0a\0\x09".as_slice(), &sized(&nested(b'F', 3)), &sized(b"PLAIN"), &sized(b"en_US")].concat();
    let bytes = [
        frame(METHOD, 0, &start),
        deliver(1, b"x.buildsys.tag"),
        header(2, all, &properties),
        frame(BODY, 1, b"{}"),
        frame(HEARTBEAT, 0, b""),
        deliver(2, "ü.buildsys.tag".as_bytes()),
        header(0, 0, b""),
    ]
    .concat();
    assert_eq!(passed(&bytes), bytes);
    // In two pieces, cut at every place.
    for cut in 0..bytes.len() {
        let (mut guard, mut out, mut read, mut fed) = (Guard::default(), Vec::new(), Vec::new(), 0);
        for end in [cut, bytes.len()] {
            read.extend_from_slice(&bytes[fed..end]);
            fed = end;
            while let taken @ 1.. = guard.pass(&read, &mut out).unwrap() {
                read.drain(..taken);
            }
        }
        assert_eq!(out, bytes);
    }
}

#[rstest]
#[case::tables(b'F')]
#[case::lists(b'A')]
fn deep_headers_are_left_out_and_shallow_ones_kept(#[case] kind: u8) {
    let wrap = |inner: Vec<u8>| if kind == b'A' { [name(b"l"), b"A".to_vec(), sized(&inner)].concat() } else { inner };
    let shallow = headers(&wrap(nested(kind, DEPTH_MAX - 1)));
    assert_eq!(passed(&shallow), shallow);
    for levels in [DEPTH_MAX + 1, 300, 5000] {
        let deep = headers(&wrap(nested(kind, levels)));
        assert_eq!(passed(&deep), headers(b""), "{levels}");
    }
}

#[rstest]
#[case::type_nobody_knows(b"\x01aZ")]
#[case::cut_key(b"\x09a")]
#[case::cut_number(b"\x01aI\0\0")]
#[case::longer_than_its_table(b"\x01aS\0\0\0\x09a")]
fn headers_that_make_no_sense_are_left_out(#[case] table: &[u8]) {
    assert_eq!(passed(&headers(table)), headers(b""));
}

#[rstest]
#[case::more_flags(1, b"")]
#[case::bit_nobody_knows(2, b"")]
#[case::cut(1 << 7, b"\x09i")]
#[case::too_much(1 << 7, b"\x01ix")]
#[case::table_too_long(1 << 13, b"\0\0\0\x09")]
fn properties_that_make_no_sense_are_left_out(#[case] flags: u16, #[case] properties: &[u8]) {
    assert_eq!(passed(&header(2, flags, properties)), header(2, 0, b""));
}

#[test]
fn names_are_made_text() {
    let table = |key: &[u8]| [name(key), b"t\x01".to_vec()].concat();
    let bytes =
        [deliver(1, b"\xe4.buildsys.tag"), header(2, 1 << 7, &name(b"i\xff")), headers(&table(b"k\xe4y"))].concat();
    let expected = [deliver(1, b"?.buildsys.tag"), header(2, 1 << 7, &name(b"i?")), headers(&table(b"k?y"))].concat();
    assert_eq!(passed(&bytes), expected);
    let close =
        |text: &[u8]| frame(METHOD, 1, &[b"\0\x14\0\x28\x01\x94".as_slice(), &name(text), b"\0\0\0\0"].concat());
    assert_eq!(passed(&close(b"no queue '\xff'")), close(b"no queue '?'"));
}

#[test]
fn a_long_body_is_hashed_and_cut() {
    let body: Vec<u8> = (0..=MAX_MESSAGE).map(|n| n.to_le_bytes()[0]).collect();
    let mut bytes = [deliver(7, b"t"), header(body.len(), 1 << 7, &name(b"id"))].concat();
    for (at, part) in body.chunks(100_000).enumerate() {
        if at == 3 {
            // Other frames may come in between.
            bytes.extend(frame(HEARTBEAT, 0, b""));
        }
        bytes.extend(frame(BODY, 1, part));
    }
    bytes.extend([deliver(8, b"t"), header(MAX_MESSAGE, 0, b"")].concat());
    let (mut guard, mut out, mut used) = (Guard::default(), Vec::new(), 0);
    while used < bytes.len() {
        used += guard.pass(&bytes[used..], &mut out).unwrap();
    }
    let kept = &body[..KEPT_OF_OVERLONG];
    let expected = [
        deliver(7, b"t"),
        frame(HEARTBEAT, 0, b""),
        header(kept.len(), 1 << 7, &name(b"id")),
        frame(BODY, 1, kept),
        deliver(8, b"t"),
        header(MAX_MESSAGE, 0, b""),
    ];
    assert_eq!(out, expected.concat());
    let cut = Cut { length: body.len() as u64, digest: blake3::hash(&body) };
    assert_eq!((guard.cuts().take(7), guard.cuts().take(7), guard.cuts().take(8)), (Some(cut), None, None));
}

#[test]
fn a_broker_of_another_version_is_heard() {
    let said = b"AMQP\0\0\x08\0";
    assert_eq!(passed(said), said);
    assert_eq!(Guard::default().pass(&said[..5], &mut Vec::new()).unwrap(), 0);
}

#[rstest]
#[case(b"HTTP/1.1 400 Bad Request")]
#[case(b"\x15\x03\x03\0\x02\x02\x46")]
#[case(b"\x01\0\0\x00\x02\x00\x01")]
#[case(b"\x08\0\0\0\0\0\0\x00")]
#[case(b"\x01\0\0\0\0\0\x04\0\x0a\0\x0a\xce")]
fn other_protocols_are_refused(#[case] bytes: &[u8]) {
    assert!(Guard::default().pass(bytes, &mut Vec::new()).is_err(), "{bytes:?}");
}

proptest! {
    /// Any input gives no panic, and only whole frames come out.
    #[test]
    fn anything_is_survived(
        kind in prop_oneof![Just(METHOD), Just(HEADER), Just(BODY), Just(HEARTBEAT)],
        class in prop_oneof![Just(10_u8), Just(20), Just(60), any::<u8>()],
        method in prop_oneof![Just(10_u8), Just(50), Just(40), Just(60), any::<u8>()],
        rest in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let payload = [&[0, class, 0, method], rest.as_slice()].concat();
        let bytes = [deliver(1, b"t"), frame(kind, 1, &payload)].concat();
        let (mut guard, mut out, mut used) = (Guard::default(), Vec::new(), 0);
        while used < bytes.len() {
            match guard.pass(&bytes[used..], &mut out) {
                Ok(taken) => used += taken,
                Err(_) => break,
            }
        }
        prop_assert!(frames(&out).len() <= 2);
    }

    /// The client's own parser accepts the properties that come out, whatever went in.
    #[test]
    fn what_passes_can_be_parsed(flags in any::<u16>(), properties in proptest::collection::vec(any::<u8>(), 0..80)) {
        prop_assert!(client_parses(&passed(&header(2, flags, &properties))));
    }

    /// Like the test above, with input that resembles headers. Headers that the parser accepts pass
    /// unchanged.
    #[test]
    fn headers_that_pass_can_be_parsed(
        entries in proptest::collection::vec(
            (
                proptest::collection::vec(prop_oneof![9 => 97_u8..123, 1 => any::<u8>()], 0..4),
                proptest::sample::select(b"tbBsUuIiLlfdDSATFxVZq".as_slice()),
                proptest::collection::vec(any::<u8>(), 0..12),
            ),
            0..6,
        ),
    ) {
        let table = entries.into_iter().flat_map(|(key, kind, rest)| [name(&key), vec![kind], match kind {
            b'S' | b'x' => sized(&rest),
            b'A' => sized(&rest.iter().flat_map(|b| [b't', *b]).collect::<Vec<_>>()),
            b'F' => sized(&rest.iter().flat_map(|b| [1, b'k', b'B', *b]).collect::<Vec<_>>()),
            b't' | b'b' | b'B' => vec![1],
            b's' | b'U' | b'u' => vec![0, 1],
            b'I' | b'i' | b'f' => vec![0; 4],
            b'D' => vec![0; 5],
            b'V' => Vec::new(),
            _ => vec![0; 8],
        }].concat()).collect::<Vec<u8>>();
        let bytes = headers(&table);
        let out = passed(&bytes);
        prop_assert!(client_parses(&out));
        if client_parses(&bytes) {
            prop_assert_eq!(out, bytes);
        }
    }
}
