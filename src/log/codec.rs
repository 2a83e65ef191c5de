//! Compresses message bodies and attachments. [`super::payloads`] compresses payloads of events.

use std::io;
use std::sync::Arc;

use super::error::ReadError;

/// Compression level for bodies: speed first.
const BODY_LEVEL: i32 = 1;
/// Compression level for attachments.
const BLOB_LEVEL: i32 = 6;
/// Compression level for snapshots. Level 6 takes three times as long and saves a hundredth.
const SNAPSHOT_LEVEL: i32 = 3;

/// Returns the content size in a frame's header, if it is within `max`. Frames written by this
/// program always have it.
pub(super) fn bounded(frame: &[u8], max: usize) -> Result<usize, String> {
    let size = zstd::zstd_safe::get_frame_content_size(frame)
        .ok()
        .flatten()
        .and_then(|n| usize::try_from(n).ok())
        .ok_or_else(|| "a compressed frame without its size".to_owned())?;
    if size > max { Err(format!("a compressed frame of {size} bytes, more than {max}")) } else { Ok(size) }
}

/// Compresses a message body. Speed comes first.
pub(super) fn pack_body(content: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::compress(content, BODY_LEVEL)
}

/// Compresses an attachment.
pub(super) fn pack_blob(content: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::compress(content, BLOB_LEVEL)
}

/// Compresses a snapshot. It is packed beside the tasks of the service, because a large one takes
/// some tenths of a second.
pub(super) async fn pack_snapshot(content: Arc<Vec<u8>>) -> io::Result<Vec<u8>> {
    let packed = tokio::task::spawn_blocking(move || zstd::bulk::compress(&content, SNAPSHOT_LEVEL)).await;
    packed.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))
}

/// Reverses [`pack_body`], [`pack_blob`] and [`pack_snapshot`]. Refuses more than `max` bytes.
pub(super) fn unpack(frame: &[u8], max: usize) -> Result<Vec<u8>, String> {
    let size = bounded(frame, max)?;
    zstd::bulk::decompress(frame, size).map_err(|e| e.to_string())
}

/// Unpacks a message body and compares it with its digest.
pub(super) fn unpack_body(body: Option<Vec<u8>>, digest: &[u8], max: usize) -> Result<Vec<u8>, String> {
    let body = unpack(&body.ok_or("its body is missing")?, max)?;
    if blake3::hash(&body).as_bytes() != digest {
        return Err("its body is not what came in".to_owned());
    }
    Ok(body)
}

/// Unpacks an attachment and compares it with its digest.
pub(super) fn unpack_attachment(digest: &str, packed: &[u8], max: usize) -> Result<Vec<u8>, ReadError> {
    let bad = |e: String| ReadError::Content { what: format!("attachment {digest}: {e}") };
    let content = unpack(packed, max).map_err(bad)?;
    if blake3::hash(&content).to_hex().as_str() != digest {
        return Err(bad("its content is not what its digest says".to_owned()));
    }
    Ok(content)
}
