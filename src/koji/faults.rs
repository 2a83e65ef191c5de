//! The meaning of a hub's fault codes.

use super::xmlrpc::Fault;
use crate::model::Class;

/// Kinds of faults, by the `faultCode` of Koji's exceptions (`koji/__init__.py`). All codes that
/// are not listed here are [`Other`](Self::Other).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum FaultKind {
    /// 1: an unexpected error on the hub, with a traceback.
    Unexpected,
    /// 1000: any error without its own code, such as "No such …" and "Invalid method: …".
    Generic,
    /// 1001: somebody holds a lock. The call will work later.
    Locked,
    /// 1002: the login was refused, or the session is unknown or no longer known.
    Auth,
    /// 1004: we may not do this.
    NotAllowed,
    /// 1005: a build cannot be made.
    Build,
    /// 1006: an exclusive session of the same user prevents the login.
    AuthLock,
    /// 1007: the session is too old.
    SessionExpired,
    /// 1008: the number of the call is lower than one that the hub has seen in this session.
    Sequence,
    /// 1009: the call was executed before, and its result is lost.
    Retry,
    /// 1012: a buildroot cannot be made.
    Buildroot,
    /// 1014: the hub is closed for maintenance, or has no database.
    Offline,
    /// 1019: a parameter is wrong.
    Parameter,
    /// 1023: an error of Kerberos.
    Gssapi,
    /// Another code.
    Other,
}

impl FaultKind {
    /// Returns the kind of a code.
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

    /// Returns the class of a fault of this kind. Faults that go away by themselves count as
    /// unavailable.
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
    /// Returns the kind of the fault.
    pub const fn kind(&self) -> FaultKind {
        FaultKind::of(self.code)
    }

    /// Checks whether the object does not exist: fault 1000 (generic), 1003 (tag) or 1005 (build)
    /// with a matching message.
    pub fn is_unknown_object(&self) -> bool {
        let text = self.message.to_ascii_lowercase();
        [1000, 1003, 1005].contains(&self.code)
            && ["no such", "invalid tag", "not found"].iter().any(|words| text.contains(words))
    }

    /// Checks whether the hub does not know the method, because the hub is too old.
    pub fn is_unknown_method(&self) -> bool {
        self.kind() == FaultKind::Generic && self.message.starts_with("Invalid method")
    }
}
