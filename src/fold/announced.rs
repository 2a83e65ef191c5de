//! The state of a package as the log last said it.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::{PackageState, Timestamp};

/// The last state change of a package that was written to the log.
///
/// Snapshots store both fields. Digests cover the state only: no decision depends on the time, and
/// digests of logs from before the time was kept stay what they were.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Announced {
    /// The new state.
    pub state: PackageState,
    /// Time at which the change was recorded.
    pub at: Timestamp,
}

impl Serialize for Announced {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            return self.state.serialize(to);
        }
        (self.state, self.at).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Announced {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            return Err(D::Error::custom("only a snapshot says when a state was announced"));
        }
        let (state, at) = Deserialize::deserialize(from)?;
        Ok(Self { state, at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::columns;

    #[test]
    fn columns_keep_the_time_and_digests_leave_it_out() {
        let announced = Announced { state: PackageState::Failing, at: Timestamp(7) };
        assert_eq!(columns::read::<Announced>(&columns::write(&announced).unwrap()).unwrap(), announced);
        assert_eq!(serde_json::to_string(&announced).unwrap(), "\"failing\"");
        assert!(serde_json::from_str::<Announced>("\"failing\"").is_err());
    }
}
