//! Finds the point in a log that a person wrote.

use super::CliError;
use crate::base::clock;
pub(crate) use crate::log::point::{AsOf, Edge, Point};
use crate::log::{AnyLog, point};

/// Finds a point, see [`point::settle`]. Prints on standard error the time that a day or a span stands
/// for.
pub(crate) async fn settle(log: &AnyLog, as_of: AsOf, edge: Edge) -> Result<Point, CliError> {
    let found = point::settle(log, as_of, edge, clock::now()).await?;
    if let Some(note) = found.note {
        eprintln!("koschei: {note}");
    }
    Ok(found.point)
}
