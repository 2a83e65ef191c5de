//! The hub's files over HTTP: its top directory, source packages made from the tables, and output
//! of tasks.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, Response, StatusCode};

use super::fault::Fault;
use super::server::{Who, broken, drip, fault, outage, reply, uploaded, uploader};
use super::state::Core;
use super::trouble::{FileLie, take_file};
use super::value::response;
use super::world::World;

/// Counts a file as being served, as long as this lives.
struct Open(Arc<Core>);

impl Open {
    fn new(core: &Arc<Core>, path: &str) -> Self {
        let mut inner = core.lock();
        inner.file_requests.push(path.to_owned());
        inner.files_open += 1;
        inner.files_open_max = inner.files_open_max.max(inner.files_open);
        drop(inner);
        core.notify();
        Self(Arc::clone(core))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.lock().files_open -= 1;
    }
}

/// Returns a file made from the tables, with the time of its last change: `packages/N/V/R/src/FILE`
/// or `work/tasks/N/ID/FILE`.
fn from_tables(world: &World, path: &str) -> Option<(Vec<u8>, i64)> {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["packages", name, version, release, arch, file] => {
            let build = world.build_of_nvr(&format!("{name}-{version}-{release}"))?;
            let rpm = world.rpms_of_build(build.id).find(|r| r.arch == *arch && r.file_name() == *file)?;
            Some((super::srpm::file(rpm), rpm.buildtime))
        }
        ["work", "tasks", _, id, file] => {
            let task = world.task(id.parse().ok()?)?;
            let (_, bytes) = task.output.iter().find(|(name, _)| name == file)?;
            Some((bytes.clone(), task.completion.unwrap_or(task.create) / 1_000_000))
        }
        _ => None,
    }
}

/// Returns content and last change of a path below the top directory.
fn find(core: &Core, path: &str) -> Option<(Vec<u8>, i64)> {
    let inner = core.lock();
    let on_disk = inner.settings.topdir.join(path);
    let made = from_tables(&inner.world, path);
    drop(inner);
    // The file system follows links within the tree (`toplink`, `latest`).
    if path.split('/').any(|part| part == "..") || !on_disk.is_file() {
        return made;
    }
    let modified = std::fs::metadata(&on_disk).ok()?.modified().ok()?;
    let seconds = modified.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    Some((std::fs::read(on_disk).ok()?, i64::try_from(seconds).ok()?))
}

/// Parses a `Range: bytes=A-B` header.
fn range(headers: &HeaderMap, length: usize) -> Option<Option<(usize, usize)>> {
    let text = headers.get("range")?.to_str().ok()?.strip_prefix("bytes=")?;
    let (from, to) = text.split_once('-')?;
    let (start, end) = match (from.parse::<usize>(), to.parse::<usize>()) {
        (Ok(from), Ok(to)) => (from, (to + 1).min(length)),
        (Ok(from), Err(_)) => (from, length),
        (Err(_), Ok(last)) => (length.saturating_sub(last), length),
        (Err(_), Err(_)) => return None,
    };
    Some((start < end).then_some((start, end)))
}

pub async fn serve(core: &Arc<Core>, method: &Method, headers: &HeaderMap, path: &str) -> io::Result<Response<Body>> {
    let path = path
        .replace("%2B", "+")
        .replace("%2b", "+")
        .replace("%5E", "^")
        .replace("%7E", "~")
        .replace("%20", " ")
        .replace("%2C", ",");
    let open = Open::new(core, &path);
    let lie = take_file(&mut core.lock().file_troubles, &path);
    match &lie {
        Some(FileLie::Status(status)) => {
            return Ok(reply(StatusCode::from_u16(*status).unwrap(), "text/html", "<html>no</html>"));
        }
        Some(FileLie::Gate(gate)) => {
            gate.arrive();
            core.notify();
            gate.pass().await;
        }
        _ => (),
    }
    let Some((mut bytes, modified)) = find(core, &path) else {
        return Ok(reply(StatusCode::NOT_FOUND, "text/html", "<html>404 Not Found</html>"));
    };
    let tag = format!("\"{}\"", blake3::hash(&bytes).to_hex());
    if headers.get("if-none-match").is_some_and(|v| v.as_bytes() == tag.as_bytes()) {
        return Ok(reply(StatusCode::NOT_MODIFIED, "application/octet-stream", ""));
    }
    let length = bytes.len();
    if let (Some(FileLie::Corrupt), Some(byte)) = (&lie, bytes.get_mut(length / 2)) {
        *byte ^= 0x20;
    }
    let wanted = if matches!(lie, Some(FileLie::NoRange)) { None } else { range(headers, length) };
    let (status, part) = match wanted {
        None => (StatusCode::OK, bytes),
        Some(Some((start, end))) => (StatusCode::PARTIAL_CONTENT, bytes[start..end].to_vec()),
        Some(None) => (StatusCode::RANGE_NOT_SATISFIABLE, Vec::new()),
    };
    let sent = part.len();
    let body = match (&lie, method == Method::HEAD) {
        (_, true) => Body::empty(),
        (Some(FileLie::Truncate(at)), _) => broken(part, *at),
        (Some(FileLie::Slow(pause)), _) => drip(part, 1024, *pause),
        _ => counted(part, open),
    };
    let mut response = reply(status, "application/octet-stream", body);
    let headers = response.headers_mut();
    headers.insert("content-length", HeaderValue::from(sent));
    headers.insert("accept-ranges", HeaderValue::from_static("bytes"));
    headers.insert("etag", HeaderValue::from_str(&tag).unwrap());
    let at = jiff::Timestamp::from_second(modified).unwrap();
    let date = at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    headers.insert("last-modified", HeaderValue::from_str(&date).unwrap());
    match wanted {
        Some(Some((start, end))) => {
            let text = format!("bytes {start}-{}/{length}", end - 1);
            headers.insert("content-range", HeaderValue::from_str(&text).unwrap());
        }
        Some(None) => {
            headers.insert("content-range", HeaderValue::from_str(&format!("bytes */{length}")).unwrap());
        }
        None => (),
    }
    Ok(response)
}

/// Returns a body in pieces. It counts as an open file until its end.
fn counted(bytes: Vec<u8>, open: Open) -> Body {
    use futures_util::StreamExt as _;
    let pieces: Vec<axum::body::Bytes> = bytes.chunks(1 << 18).map(axum::body::Bytes::copy_from_slice).collect();
    let pieces = futures_util::stream::iter(pieces).map(move |piece| {
        let _ = &open;
        Ok::<_, std::convert::Infallible>(piece)
    });
    Body::from_stream(pieces)
}

fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1u32, 0u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    (b << 16) | a
}

/// Handles `?filename=…&filepath=…&offset=N`: stores a piece of a file in `work`.
pub fn upload(core: &Core, who: &Who, query: &str, body: &[u8]) -> Response<Body> {
    if let Some(down) = outage(core) {
        return fault(core, &down);
    }
    if let Err(refused) = uploader(core, who) {
        return fault(core, &refused);
    }
    let find = |name: &str| {
        query.split('&').find_map(|p| p.strip_prefix(name)?.strip_prefix('=').map(|v| v.replace("%2F", "/")))
    };
    let (Some(name), Some(dir)) = (find("filename"), find("filepath")) else {
        return fault(core, &Fault::generic("Missing upload arguments"));
    };
    if dir.contains("..") || name.contains('/') {
        return fault(core, &Fault::generic(format!("Invalid upload path: {dir}/{name}")));
    }
    let offset = find("offset").and_then(|o| o.parse::<i64>().ok()).unwrap_or(0);
    let dir = core.lock().settings.topdir.join("work").join(dir);
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join(name);
    let mut file = if offset == 0 { Vec::new() } else { std::fs::read(&path).unwrap_or_default() };
    file.resize(usize::try_from(offset).unwrap_or(0), 0);
    file.extend_from_slice(body);
    std::fs::write(path, file).unwrap();
    let answer = uploaded(body.len(), offset, &format!("{:08x}", adler32(body)));
    reply(StatusCode::OK, "text/xml", response(&answer))
}
