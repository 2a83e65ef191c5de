use std::path::Path;

use proptest::prelude::*;
use rstest::rstest;

use super::*;

const STRING: u32 = 6;
const STRINGS: u32 = 8;
const INT32: u32 = 4;

/// Builds a header from tags: number, type, count, and the bytes of the values.
fn header(tags: &[(u32, u32, u32, Vec<u8>)]) -> Vec<u8> {
    let (mut index, mut data) = (Vec::new(), Vec::new());
    for (tag, kind, count, values) in tags {
        while *kind == INT32 && data.len() % 4 != 0 {
            data.push(0);
        }
        for number in [*tag, *kind, u32::try_from(data.len()).unwrap(), *count] {
            index.extend(number.to_be_bytes());
        }
        data.extend(values);
    }
    let mut bytes = vec![0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
    bytes.extend(u32::try_from(tags.len()).unwrap().to_be_bytes());
    bytes.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
    bytes.extend(index);
    bytes.extend(data);
    bytes
}

/// Builds a package: lead, a signature header of an odd length, padding, header. It has no payload,
/// as nothing should read one.
fn package(header: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xed, 0xab, 0xee, 0xdb, 3, 0, 0, 1];
    bytes.resize(96, 0);
    bytes.extend(self::header(&[(269, STRING, 1, b"0123\0".to_vec())]));
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend(header);
    bytes
}

fn string(tag: u32, text: &str) -> (u32, u32, u32, Vec<u8>) {
    (tag, STRING, 1, format!("{text}\0").into_bytes())
}

fn strings(tag: u32, texts: &[&str]) -> (u32, u32, u32, Vec<u8>) {
    let bytes = texts.iter().flat_map(|t| format!("{t}\0").into_bytes()).collect();
    (tag, STRINGS, u32::try_from(texts.len()).unwrap(), bytes)
}

fn numbers(tag: u32, numbers: &[u32]) -> (u32, u32, u32, Vec<u8>) {
    let bytes = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
    (tag, INT32, u32::try_from(numbers.len()).unwrap(), bytes)
}

const NAME: u32 = 1000;
const EPOCH: u32 = 1003;
const SOURCE: u32 = 1106;

/// The tags of the smallest source package. Tests change them.
fn tags() -> Vec<(u32, u32, u32, Vec<u8>)> {
    vec![
        string(NAME, "foo"),
        string(1001, "1.2"),
        string(1002, "3.fc99"),
        numbers(EPOCH, &[7]),
        string(1022, "x86_64"),
        numbers(1048, &[12, 16_777_226, 0, 1 << 14, 1 << 9]),
        strings(1049, &["make", "rpmlib(FileDigests)", "(a if b)", "python3dist(x)", "/bin/sh"]),
        strings(1050, &["4", "4.6.0-1", "", "", ""]),
        strings(1059, &["s390x", "i686"]),
        numbers(SOURCE, &[1]),
    ]
}

fn read(bytes: &[u8]) -> Result<SourceHeader, SrpmError> {
    SourceHeader::read(bytes, "foo.src.rpm")
}

fn with(change: impl FnOnce(&mut Vec<(u32, u32, u32, Vec<u8>)>)) -> Result<SourceHeader, SrpmError> {
    let mut tags = tags();
    change(&mut tags);
    read(&package(&header(&tags)))
}

#[test]
fn a_package_made_by_hand() {
    let foo = with(|_| ()).unwrap();
    assert_eq!(foo.nvr().to_string(), "foo-1.2-3.fc99");
    assert_eq!((foo.evr.epoch, foo.made_on.as_str()), (Some(7), "x86_64"));
    assert_eq!(foo.requires, ["make >= 4", "(a if b)", "python3dist(x)"]);
    assert_eq!(foo.exclude_arch, ["s390x", "i686"]);
    assert!(foo.exclusive_arch.is_empty() && foo.build_archs.is_empty());
    let bare = with(|tags| tags.retain(|t| ![EPOCH, 1048, 1049, 1050, 1059].contains(&t.0))).unwrap();
    assert_eq!((bare.evr.epoch, bare.requires.len(), bare.exclude_arch.len()), (None, 0, 0));
}

/// rpmbuild 4.18 made these packages from the spec files in the directory's README.
#[test]
fn packages_made_by_rpmbuild() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/srpm");
    let specimen = SourceHeader::load(&data.join("specimen-1.0~rc1-2.fc99.src.rpm")).unwrap();
    assert_eq!(specimen.nvr().to_string(), "specimen-1.0~rc1-2.fc99");
    assert_eq!((specimen.evr.epoch, specimen.made_on.as_str()), (Some(3), "x86_64"));
    let expected = [
        "(libbar-devel(x86-64) >= 2 or libbaz-devel)",
        "/usr/bin/perl",
        "gcc",
        "glibc-devel(x86-32)",
        "libfoo-devel(x86-64) >= 1:2.0",
        "pkgconfig(x) < 4",
    ];
    assert_eq!(specimen.requires, expected);
    let excluded = ["s390x", "i386", "i486", "i586", "i686", "pentium3", "pentium4", "athlon", "geode"];
    assert_eq!(specimen.exclude_arch, excluded);

    let plain = SourceHeader::load(&data.join("plain-7-1.src.rpm")).unwrap();
    assert_eq!((plain.made_on.as_str(), plain.build_archs.as_slice()), ("noarch", &["noarch".into()][..]));
    assert_eq!(plain.exclusive_arch, ["x86_64", "aarch64", "noarch"]);
    assert_eq!(
        plain.requires,
        ["make(x86-64)"],
        "the macro has the ISA of the machine, the header does not say which it was"
    );
}

/// Every prefix says how much more it needs. Following that number reads the package in at most
/// three steps after the first.
#[test]
fn every_prefix() {
    let header = header(&tags());
    let whole = package(&header);
    for length in 4..whole.len() {
        let error = read(&whole[..length]).unwrap_err();
        assert_eq!(error.class(), Class::Rejected);
        let needed = usize::try_from(error.needed().unwrap_or_else(|| panic!("{length}: {error}"))).unwrap();
        assert!(needed > length && needed <= whole.len(), "{length}: {error}");
    }
    for length in 0..4 {
        assert_eq!(read(&whole[..length]).unwrap_err().needed(), Some(112), "might still become one");
    }
    let (mut length, mut steps) = (0, 0);
    while let Err(error) = read(&whole[..length]) {
        (length, steps) = (usize::try_from(error.needed().unwrap()).unwrap(), steps + 1);
    }
    assert_eq!((length, steps), (whole.len(), 4));
}

/// The reader does not touch the payload, however long it is.
#[test]
fn reads_no_further_than_the_header() {
    struct Counting(std::io::Chain<std::io::Cursor<Vec<u8>>, std::io::Repeat>, u64);
    impl Read for Counting {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = self.0.read(buffer)?;
            self.1 += read as u64;
            Ok(read)
        }
    }
    let whole = package(&header(&tags()));
    let length = whole.len() as u64;
    let mut endless = Counting(std::io::Cursor::new(whole).chain(io::repeat(7)), 0);
    SourceHeader::read(&mut endless, "endless").unwrap();
    assert_eq!(endless.1, length);
}

fn tag(tags: &mut [(u32, u32, u32, Vec<u8>)], number: u32) -> &mut (u32, u32, u32, Vec<u8>) {
    tags.iter_mut().find(|t| t.0 == number).unwrap()
}

#[rstest]
#[case::epoch_is_text(with(|t| *tag(t, EPOCH) = string(EPOCH, "one")), "the epoch")]
#[case::epoch_without_number(with(|t| *tag(t, EPOCH) = numbers(EPOCH, &[])), "the epoch")]
#[case::no_name(with(|t| t.retain(|t| t.0 != NAME)), "the name")]
#[case::empty_name(with(|t| *tag(t, NAME) = string(NAME, "")), "the name is ``")]
#[case::name_is_a_path(with(|t| *tag(t, NAME) = string(NAME, "../x")), "the name is `../x`")]
#[case::long_name(with(|t| *tag(t, NAME) = string(NAME, &"x".repeat(5000))), "5000 bytes in a name, more than 4096")]
#[case::binary(with(|t| *tag(t, SOURCE) = string(1044, "foo-1-1.src.rpm")), "binary package")]
#[case::fewer_flags(with(|t| *tag(t, 1048) = numbers(1048, &[0])), "5 names, 1 flags, 5 versions")]
#[case::no_flags(with(|t| t.retain(|t| t.0 != 1048)), "the requirements")]
#[case::long_requirement(
    with(|t| *tag(t, 1050) = strings(1050, &[&"1".repeat(9000), "", "", "", ""])), "in one requirement"
)]
#[case::text_without_end(with(|t| *t.last_mut().unwrap() = (SOURCE, STRINGS, 1, vec![b'x'])), "texts without an end")]
#[case::too_many_texts(with(|t| tag(t, 1059).2 = 40), "texts without an end")]
#[case::two_in_one_text(with(|t| tag(t, NAME).2 = 2), "is one text")]
#[case::values_outside(with(|t| t.last_mut().unwrap().2 = 1000), "values outside")]
#[case::millions_of_values(with(|t| t.last_mut().unwrap().2 = u32::MAX), "too many values")]
#[case::unknown_type(with(|t| t.last_mut().unwrap().1 = 10), "type that is not known")]
#[case::not_a_package(read(&[b'x'; 5000]), "not an RPM package")]
#[case::short_and_not_a_package(read(b"PK"), "not an RPM package")]
fn refused(#[case] result: Result<SourceHeader, SrpmError>, #[case] expected: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.class(), Class::Rejected);
    assert!(error.to_string().contains(expected) && error.to_string().contains("foo.src.rpm"), "{error}");
    assert_eq!(error.needed(), None);
}

/// The introduction and the index claim numbers that are too large. The reader refuses them before
/// it reads or reserves anything for them.
#[rstest]
#[case::tags(8, u32::MAX, "tags, more than 65535")]
#[case::bytes(12, 0xffff_fff0, "bytes, more than 33554432")]
#[case::magic(0, 0, "does not begin as one")]
#[case::version(3, 0x0200_0000, "does not begin as one")]
#[case::offset(16 + 8, 0xffff_fff0, "lies outside")]
#[case::offset_just_outside(16 + 8, 5000, "lies outside")]
fn oversized(#[case] at: usize, #[case] value: u32, #[case] expected: &str, #[values(false, true)] signature: bool) {
    let mut bytes = package(&header(&tags()));
    // The signature header has one tag and five bytes of values.
    let start = if signature { 96 } else { (96 + 16 + 16 + 5_usize).next_multiple_of(8) };
    bytes[start + at..start + at + 4].copy_from_slice(&value.to_be_bytes());
    let error = read(&bytes).unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
}

/// Sixty thousand tags all name the same long text. The reader refuses them in time that does not
/// grow with their number.
#[test]
fn tags_that_share_their_values() {
    let text = "x".repeat(1 << 20);
    let mut bytes = header(&[string(1, &text)]);
    let (index, data) = (bytes[16..32].to_vec(), bytes.split_off(32));
    for _ in 1..60_000 {
        bytes.extend(&index);
    }
    bytes[8..12].copy_from_slice(&60_000_u32.to_be_bytes());
    bytes.extend(data);
    let error = read(&package(&bytes)).unwrap_err().to_string();
    assert!(error.contains("shares its values") || error.contains("without an end"), "{error}");
}

#[test]
fn no_such_file() {
    let error = SourceHeader::load(Path::new("/nonexistent/foo.src.rpm")).unwrap_err();
    assert!(
        matches!(error.class(), Class::Rejected) && error.to_string().contains("/nonexistent/foo.src.rpm"),
        "{error}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// Any changed bytes get an answer without a panic.
    #[test]
    fn damaged_anywhere(changes in prop::collection::vec((0_usize..1000, any::<u8>()), 1..6)) {
        let mut bytes = package(&header(&tags()));
        let length = bytes.len();
        for (at, byte) in changes {
            bytes[96 + at % (length - 96)] = byte;
        }
        if let Ok(header) = read(&bytes) {
            prop_assert!(header.requires.len() <= 5);
        }
    }
}
