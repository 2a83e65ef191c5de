//! Defines the ids of commands.

use std::fmt;

use super::envelope::ChainHash;
use crate::model::Seq;

/// The id of a command: the log, the deciding event's sequence, and its chain hash. No other
/// command ever has the same id. After a backup is restored, the log may give the same sequences to
/// other events, but their hashes differ.
///
/// The text form is `LOG:SEQ:HASH`. The part after the log is a head as `koschei log verify --head`
/// takes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandId {
    /// Id of the log, as in [`crate::log::LogInfo::log_id`].
    pub log: String,
    /// The deciding event.
    pub seq: Seq,
    /// Chain hash of the deciding event.
    pub hash: ChainHash,
}

impl CommandId {
    /// Parses the text form. Returns `None` if the text is not a command's id.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (log, seq, hash) = (parts.next()?, parts.next()?, parts.next()?);
        let id = Self { log: log.to_owned(), seq: Seq::new(seq.parse().ok()?)?, hash: ChainHash::parse(hash)? };
        // Accept only the one text form that `Display` writes.
        (!log.is_empty() && id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.log, self.seq, self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_text_and_no_other_text() {
        let id = CommandId { log: "0a".repeat(16), seq: Seq::new(17).unwrap(), hash: ChainHash([0x5e; 32]) };
        let text = id.to_string();
        assert_eq!(CommandId::parse(&text), Some(id));
        let other = [
            text.replace(":17:", ":017:"),
            text.replace(":17:", ":0:"),
            text.replace(":5e", ":5E"),
            format!("{text}:"),
        ];
        for text in other.iter().map(String::as_str).chain(["r17", "", "::", ":17:"]) {
            assert_eq!(CommandId::parse(text), None, "{text}");
        }
    }
}
