//! Checks the address of a log, and whether this program may open it.

use super::{FORMAT, OpenError, Options};

/// Checks whether this program may open a log. `min_reader` and `importing` are the values in its
/// table `meta` with these keys.
pub(super) fn may_open(
    url: &str,
    min_reader: Option<String>,
    importing: Option<String>,
    options: &Options,
) -> Result<(), OpenError> {
    let url = || url.to_owned();
    let needs = min_reader.and_then(|text| text.parse().ok()).ok_or_else(|| OpenError::NotALog { url: url() })?;
    if needs > FORMAT {
        return Err(OpenError::TooNew { url: url(), needs, have: FORMAT });
    }
    match importing {
        Some(whole) if !options.unfinished => Err(OpenError::Unfinished { url: url(), whole }),
        _ => Ok(()),
    }
}

/// Returns the path in `sqlite:PATH`, `sqlite://PATH` or a plain path. Returns `None` for other URLs.
pub(super) fn sqlite_path(url: &str) -> Option<&str> {
    let path = match url.strip_prefix("sqlite:") {
        Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
        None if url.contains("://") => return None,
        None => url,
    };
    (!path.is_empty()).then_some(path)
}
