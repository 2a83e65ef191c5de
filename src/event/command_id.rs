//! Ids of commands.

use std::fmt;

use super::envelope::ChainHash;
use crate::model::Seq;

/// The id of a command: the log it is of, and the event that decided it with its chain hash, so that no other command
/// ever has it. After going back to a backup the log gives the same numbers to other events; their hashes differ.
///
/// As text `LOG:SEQ:HASH`; what follows the log is a head as `koschei log verify --head` takes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandId {
    /// Of the log, as [`crate::log::LogInfo::log_id`].
    pub log: String,
    /// The deciding event.
    pub seq: Seq,
    /// Its chain hash.
    pub hash: ChainHash,
}

impl CommandId {
    /// From its text; `None` when it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (log, seq, hash) = (parts.next()?, parts.next()?, parts.next()?);
        let id = Self { log: log.to_owned(), seq: Seq::new(seq.parse().ok()?)?, hash: ChainHash::parse(hash)? };
        // One command has one text.
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
