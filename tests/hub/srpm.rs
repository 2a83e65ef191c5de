//! Files of source packages: lead, signature and header in rpm's format, with a payload that cannot
//! be unpacked.

use super::rows::Rpm;

const INT32: u32 = 4;
const STRING: u32 = 6;
const BIN: u32 = 7;
const STRINGS: u32 = 8;

struct Header(Vec<(u32, u32, u32, Vec<u8>)>);

impl Header {
    fn string(&mut self, tag: u32, text: &str) {
        self.0.push((tag, STRING, 1, [text.as_bytes(), b"\0"].concat()));
    }

    fn strings<'a>(&mut self, tag: u32, texts: impl IntoIterator<Item = &'a str>) {
        let (mut count, mut bytes) = (0, Vec::new());
        for text in texts {
            count += 1;
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(0);
        }
        if count > 0 {
            self.0.push((tag, STRINGS, count, bytes));
        }
    }

    fn numbers(&mut self, tag: u32, numbers: &[i64]) {
        let bytes = numbers.iter().flat_map(|n| u32::try_from(*n).unwrap().to_be_bytes()).collect();
        if !numbers.is_empty() {
            self.0.push((tag, INT32, u32::try_from(numbers.len()).unwrap(), bytes));
        }
    }

    /// Writes the header: the index sorted by tag after the region tag, the values aligned.
    fn bytes(mut self, region: u32) -> Vec<u8> {
        self.0.sort_by_key(|entry| entry.0);
        let (mut index, mut data) = (Vec::new(), Vec::new());
        for (tag, kind, count, values) in &self.0 {
            while *kind == INT32 && data.len() % 4 != 0 {
                data.push(0);
            }
            for number in [*tag, *kind, u32::try_from(data.len()).unwrap(), *count] {
                index.extend(number.to_be_bytes());
            }
            data.extend(values);
        }
        let count = u32::try_from(self.0.len()).unwrap() + 1;
        let mut entry = Vec::new();
        for number in [region, BIN, u32::try_from(data.len()).unwrap(), 16] {
            entry.extend(number.to_be_bytes());
        }
        // The trailer says where the region begins: as many bytes back as the index has.
        for number in [region, BIN, (count * 16).wrapping_neg(), 16] {
            data.extend(number.to_be_bytes());
        }
        let mut bytes = vec![0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
        bytes.extend(count.to_be_bytes());
        bytes.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        bytes.extend(entry);
        bytes.extend(index);
        bytes.extend(data);
        bytes
    }
}

/// Returns the file of a source package: `size` bytes long, or at least as long as lead, signature
/// and header.
pub fn file(rpm: &Rpm) -> Vec<u8> {
    let requires: Vec<_> = rpm.deps.iter().filter(|d| d.kind == 0).collect();
    let conflicts: Vec<_> = rpm.deps.iter().filter(|d| d.kind == 3).collect();
    let [buildarchs, exclusive, exclude] = &*rpm.arches;
    let mut header = Header(Vec::new());
    header.string(1000, &rpm.name);
    header.string(1001, &rpm.version);
    header.string(1002, &rpm.release);
    header.numbers(1003, &rpm.epoch.into_iter().collect::<Vec<_>>());
    header.string(1004, &rpm.name);
    header.string(1005, &rpm.name);
    header.numbers(1006, &[rpm.buildtime]);
    header.numbers(1009, &[rpm.size]);
    header.string(1014, "MIT");
    header.string(1021, "linux");
    header.string(1022, if buildarchs.iter().any(|a| a == "noarch") { "noarch" } else { "x86_64" });
    header.numbers(1048, &requires.iter().map(|d| d.flags).collect::<Vec<_>>());
    header.strings(1049, requires.iter().map(|d| d.name.as_str()));
    header.strings(1050, requires.iter().map(|d| d.version.as_str()));
    header.numbers(1053, &conflicts.iter().map(|d| d.flags).collect::<Vec<_>>());
    header.strings(1054, conflicts.iter().map(|d| d.name.as_str()));
    header.strings(1055, conflicts.iter().map(|d| d.version.as_str()));
    header.strings(1059, exclude.iter().map(String::as_str));
    header.strings(1061, exclusive.iter().map(String::as_str));
    header.strings(1089, buildarchs.iter().map(String::as_str));
    header.numbers(1106, &[1]);
    let header = header.bytes(63);
    let payload = vec![0x55; 512];

    let mut lead = vec![0xed, 0xab, 0xee, 0xdb, 3, 0, 0, 1, 0, 1];
    lead.extend(rpm.nvr().bytes().take(65));
    lead.resize(76, 0);
    lead.extend([0, 1, 0, 5]);
    lead.resize(96, 0);
    let mut signature = Header(Vec::new());
    signature.numbers(1000, &[i64::try_from(header.len() + payload.len()).unwrap()]);
    let mut bytes = [lead, signature.bytes(62)].concat();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    [bytes, header, payload].concat()
}
