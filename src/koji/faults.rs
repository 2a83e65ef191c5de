//! What a hub's fault codes mean.

use super::xmlrpc::Fault;
use crate::model::Class;

/// Kinds of fault, by the `faultCode` of Koji's exceptions (`koji/__init__.py`). Those not told apart are
/// [`Other`](Self::Other).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum FaultKind {
    /// 1: something the hub did not expect, with a traceback.
    Unexpected,
    /// 1000: anything without a code of its own, such as "No such …" and "Invalid method: …".
    Generic,
    /// 1001: somebody holds a lock; later it will work.
    Locked,
    /// 1002: the login was refused, or the session is not known (any more).
    Auth,
    /// 1004: we may not do this.
    NotAllowed,
    /// 1005: a build cannot be made.
    Build,
    /// 1006: an exclusive session of the same user is in the way.
    AuthLock,
    /// 1007: the session is too old.
    SessionExpired,
    /// 1008: the number of the call is lower than one the hub has seen in this session.
    Sequence,
    /// 1009: the call was executed before, and its result is lost.
    Retry,
    /// 1012: a buildroot cannot be made.
    Buildroot,
    /// 1014: the hub is closed for maintenance, or has no database.
    Offline,
    /// 1019: a parameter is wrong.
    Parameter,
    /// 1023: Kerberos trouble.
    Gssapi,
    /// Another code.
    Other,
}

impl FaultKind {
    /// Of a code.
    pub const fn of(code: i64) -> Self {
        match code {
            1 => Self::Unexpected,
            1000 => Self::Generic,
            1001 => Self::Locked,
            1002 => Self::Auth,
            1004 => Self::NotAllowed,
            1005 => Self::Build,
            1006 => Self::AuthLock,
            1007 => Self::SessionExpired,
            1008 => Self::Sequence,
            1009 => Self::Retry,
            1012 => Self::Buildroot,
            1014 => Self::Offline,
            1019 => Self::Parameter,
            1023 => Self::Gssapi,
            _ => Self::Other,
        }
    }

    /// What a fault of this kind asks of the caller: those that pass by themselves are unavailability.
    pub const fn class(self) -> Class {
        match self {
            Self::Offline | Self::Locked | Self::AuthLock | Self::SessionExpired | Self::Sequence | Self::Retry => {
                Class::Unavailable
            }
            _ => Class::Rejected,
        }
    }
}

impl Fault {
    /// What it means.
    pub const fn kind(&self) -> FaultKind {
        FaultKind::of(self.code)
    }

    /// Whether there is no such object: fault 1000 (generic), 1003 (tag) or 1005 (build) with such words.
    pub fn is_unknown_object(&self) -> bool {
        let text = self.message.to_ascii_lowercase();
        [1000, 1003, 1005].contains(&self.code)
            && ["no such", "invalid tag", "not found"].iter().any(|words| text.contains(words))
    }

    /// Whether the hub does not know the method: it is older than what it was asked.
    pub fn is_unknown_method(&self) -> bool {
        self.kind() == FaultKind::Generic && self.message.starts_with("Invalid method")
    }
}
