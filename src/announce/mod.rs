//! What is said to others on a bus, and when.
//!
//! There are two kinds of messages: those of the original Koschei ([`koschei_messages`]) and our own
//! richer ones ([`richer`]). [`teller`] decides what is said when: at an event, or at a tick, once a
//! state has stood for a while. [`causes`] decides when to speak of a cause.
//!
//! A message follows from its event, the state before it, and what was said before. It has no
//! other input, so the same log with the same settings gives the same bytes.

pub mod asyncapi;
pub mod causes;
pub mod koschei_messages;
mod message;
pub mod richer;
pub mod schema;
pub mod sentence;
pub mod teller;
mod told;
mod word;

pub use self::message::Announced;
pub use self::teller::{Held, Saying, Teller, Telling};
pub use self::told::{Said, SaidCause};
pub use self::word::Word;

/// The topics under which we publish, without the prefix that the configuration puts before them.
pub const TOPICS: [&str; 10] = [
    koschei_messages::PACKAGE,
    koschei_messages::COLLECTION,
    richer::CAUSE_OPENED,
    richer::CAUSE_GREW,
    richer::CAUSE_CLOSED,
    richer::PACKAGE_CHANGED,
    richer::BUILDROOT_CHANGED,
    richer::REBUILD_DECIDED,
    richer::REBUILD_SUBMITTED,
    richer::REBUILD_ENDED,
];
