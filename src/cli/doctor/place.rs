//! Checks of the surroundings: disk, database, bus, and the address of the pages.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use rustix::fs::Access;

use super::{Verdict, on_thread};
use crate::base::clock;
use crate::bus::{Connection, JetStreamError, amqp};
use crate::config::{BusConfig, Config, Executor, ServeConfig};
use crate::decide::arches::absent;
use crate::log::{self, AnyLog, EventLog, MIGRATIONS, OpenError, Options};
use crate::model::causes::with_causes;
use crate::model::counted::and_more;
use crate::service::{bus, jetstream};
use crate::view::text::span;
use crate::writer::ahead;

const GIB: u64 = 1 << 30;
/// Below this free space, in bytes, the check warns: a few generations of a distribution for
/// several architectures need that much.
const SPACE_WARNING: u64 = 5 * GIB;
/// Below this free space, in bytes, the check fails: one generation may need more.
const SPACE_FAILED: u64 = GIB / 2;
/// Above this number of waiting messages, the check warns: probably no process takes them.
const WAITING_WARNING: u64 = 10_000;
/// Largest number of overrides that are named.
const OVERRIDES_SHOWN: usize = 10;
/// Largest part of an answer that is read to see whether Koschei sent it, in bytes.
const ANSWER_MAX: u64 = 1 << 20;

/// Checks room and permissions of the directory for repositories.
pub(super) async fn cache(serve: &ServeConfig) -> Verdict {
    let dir = serve.cache_dir.clone();
    let looked = on_thread(move || room(&dir)).await;
    looked.unwrap_or_else(|| Verdict::failed("the check could not run", "try again"))
}

fn room(dir: &Path) -> Verdict {
    // The service creates the directory. Until then, the nearest existing parent counts.
    let there = match std::path::absolute(dir) {
        Ok(path) => path.ancestors().find(|p| p.exists()).map(Path::to_owned),
        Err(_) => None,
    };
    let Some(there) = there else {
        return Verdict::failed(format!("{} cannot be", dir.display()), "set `cache_dir` in `[serve]` to a directory");
    };
    let made = if there == dir { "" } else { " (will be made)" };
    if !there.is_dir() {
        let found = format!("{} is not a directory", there.display());
        return Verdict::failed(found, "set `cache_dir` in `[serve]` to a directory");
    }
    if let Err(e) = rustix::fs::access(&there, Access::WRITE_OK | Access::EXEC_OK) {
        let found = format!("{} cannot be written to: {e}", there.display());
        return Verdict::failed(
            found,
            "let the user of the service write there, or set another `cache_dir` in `[serve]`",
        );
    }
    let free = match rustix::fs::statvfs(&there) {
        Ok(s) => s.f_bavail.saturating_mul(s.f_frsize),
        Err(e) => return Verdict::error("read the free space", &std::io::Error::from(e), "check the disk"),
    };
    let found = format!("{}{made}: {:.1} GiB free", dir.display(), gib(free));
    let advice = "free space, lower `repos_kept`, or set another `cache_dir` in `[serve]`";
    match free {
        f if f < SPACE_FAILED => Verdict::failed(found, advice),
        f if f < SPACE_WARNING => Verdict::warning(found, advice),
        _ => Verdict::ok(found),
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn gib(bytes: u64) -> f64 {
    bytes as f64 / GIB as f64
}

/// Checks whether the log can be opened, and its condition.
pub(super) async fn database(url: &str) -> Verdict {
    let options = Options { create: false, read_only: true, readers: 1, ..Options::default() };
    let log = match log::open(url, &options).await {
        Ok(log) => log,
        Err(e @ (OpenError::Missing { .. } | OpenError::Empty { .. })) => return not_yet(url, &e),
        Err(e @ OpenError::NeedsMigration { .. }) => {
            return Verdict::warning(
                with_causes(&e),
                "the service will migrate it when it starts; keep a backup until that has worked",
            );
        }
        Err(e) => return Verdict::error_of(&e, "correct --db or KOSCHEI_DB"),
    };
    let looked = look(&log).await;
    log.close().await;
    match looked {
        Ok(verdict) => verdict,
        Err(e) => Verdict::error_of(&e, "run `koschei log verify`"),
    }
}

/// Checks whether a missing log can be created.
fn not_yet(url: &str, error: &OpenError) -> Verdict {
    if matches!(error, OpenError::Empty { .. }) || url.starts_with("postgres") {
        return Verdict::warning(with_causes(error), "the service creates its tables when it starts");
    }
    let path = Path::new(url.strip_prefix("sqlite:").map_or(url, |p| p.strip_prefix("//").unwrap_or(p)));
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match rustix::fs::access(dir, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Verdict::warning(
            format!("{}: it does not exist yet", path.display()),
            "the service creates it when it starts",
        ),
        Err(e) => Verdict::failed(
            format!("{}, and {} cannot be written to: {e}", with_causes(error), dir.display()),
            "create the directory and let the user of the service write there, or give another place with --db",
        ),
    }
}

async fn look(log: &AnyLog) -> Result<Verdict, log::ReadError> {
    let (info, head, counts) = (log.info().await?, log.head().await?, log.counts().await?);
    let newest = MIGRATIONS.last().map_or(0, |m| m.number);
    let now = clock::now();
    let ahead = ahead::ahead(head.recorded_at, now).filter(|_| head.seq.is_some());
    let end = match head.seq {
        Some(seq) if ahead.is_some() => {
            let by = span(head.recorded_at.since(now) / 1_000_000);
            format!("{seq} events, the last one of {}, {by} ahead of this machine's clock", head.recorded_at)
        }
        Some(seq) => format!("{seq} events, the last one {} ago", span(now.since(head.recorded_at) / 1_000_000)),
        None => "no events yet".to_owned(),
    };
    let found = format!(
        "{}, schema {} of {newest}: {end}; {} messages wait, {} are set aside, {} commands wait",
        info.backend, info.schema_version, counts.inbox_pending, counts.inbox_parked, counts.outbox_pending
    );
    Ok(if ahead.is_some() {
        Verdict::failed(format!("{found}; until then the service decides nothing"), ahead::ADVICE)
    } else if counts.inbox_pending > WAITING_WARNING {
        Verdict::warning(found, "start the service, or read in its journal why it does not take them")
    } else if counts.inbox_parked > 0 {
        Verdict::warning(
            found,
            "`koschei log parked` shows messages that could not be understood; `koschei log retry-parked` tries again",
        )
    } else {
        Verdict::ok(found)
    })
}

/// Finds overrides in the log that name an architecture that the build tag does not have. Returns
/// `None` if there are none, or if the log cannot be read in time (another check reports that).
pub(super) async fn overrides(url: &str, limit: Duration) -> Option<Verdict> {
    let options = Options { create: false, read_only: true, readers: 1, ..Options::default() };
    let log = log::open(url, &options).await.ok()?;
    let state = tokio::time::timeout(limit, crate::log::folding::state(&log, None, &mut |_| {})).await;
    log.close().await;
    let state = state.ok()?.ok()?;
    let mut odd = Vec::new();
    for (cname, c) in &state.collections {
        for (pname, p) in &c.packages {
            let absent: Vec<&str> = absent(c, p).into_iter().map(|a| a.as_str()).collect();
            if !absent.is_empty() {
                odd.push(format!("{pname} in {cname} names {}", absent.join(", ")));
            }
        }
    }
    let shown = odd.iter().take(OVERRIDES_SHOWN).cloned().collect::<Vec<_>>().join("; ");
    let more = and_more(odd.len(), OVERRIDES_SHOWN);
    let more = if more.is_empty() { more } else { format!(";{more}") };
    (!odd.is_empty()).then(|| {
        Verdict::warning(
            format!("overrides name architectures that the build tag does not have: {shown}{more}"),
            "correct them (`koschei admin set-arch-override`); these parts have no effect",
        )
    })
}

/// Checks whether messages can be received.
pub(super) async fn bus(config: &BusConfig, limit: Duration) -> Verdict {
    let mut settings = match bus::settings(config) {
        Ok(Some(settings)) => settings,
        Ok(None) => {
            return Verdict::ok("none is configured: the hub is polled every `poll_secs`");
        }
        Err(e) => return Verdict::error_of(&e, "correct `[bus]`, or the file of Fedora Messaging it names"),
    };
    settings.timeout = settings.timeout.min(limit);
    match amqp::look(&settings).await {
        Ok(seen) => broker(&seen),
        Err(e @ amqp::AmqpError::Unavailable { .. }) => Verdict::error_of(
            &e,
            "check `amqp_url`, name resolution and firewalls; until the broker answers, changes are found by polling",
        ),
        Err(e) => Verdict::error_of(&e, "correct `[bus]`, or ask the administrators of the broker"),
    }
}

/// Checks whether changes can be announced.
pub(super) async fn announcing(config: &Config, limit: Duration) -> Verdict {
    const ADVICE: &str = "correct `[announce]`, or ask the administrators of the broker";
    let settings = bus::settings(&config.bus).and_then(|bus| bus::announcing(config, bus.as_ref()));
    let mut settings = match settings {
        Ok(Some(settings)) => settings,
        Ok(None) => return Verdict::ok("nothing is announced"),
        Err(e) => return Verdict::error_of(&e, ADVICE),
    };
    settings.amqp.timeout = settings.amqp.timeout.min(limit);
    match amqp::look_at_exchange(&settings).await {
        Ok(url) => Verdict::ok(format!("{url}: exchange {} exists", settings.exchange)),
        Err(e @ amqp::AmqpError::Unavailable { .. }) => Verdict::error_of(
            &e,
            "check `amqp_url`, name resolution and firewalls; until the broker answers, announcements wait",
        ),
        Err(e) => Verdict::error_of(&e, ADVICE),
    }
}

/// Checks whether NATS and its streams can be used. Makes none of them.
pub(super) async fn nats(config: &Config) -> Verdict {
    const ADVICE: &str = "correct `[jetstream]`, or ask the administrators of the server";
    let to = &config.jetstream;
    let server = match jetstream::server(to) {
        Ok(Some(server)) => server,
        Ok(None) => return Verdict::ok("not used"),
        Err(e) => return Verdict::error_of(&e, ADVICE),
    };
    let outside = || config.hubs.iter().filter(|hub| hub.executor == Executor::Jetstream);
    let looked = async {
        let connection = Connection::open(&server).await?;
        let mut streams = Vec::new();
        if to.events {
            let all = format!("{}.>", to.events_subject);
            streams.push((&to.events_stream, connection.has_stream(&to.events_stream, &all).await?));
        }
        for hub in outside() {
            let queue = jetstream::queue(to, &hub.name);
            streams.push((&to.commands_stream, connection.has_work_queue(&queue).await?));
        }
        if outside().next().is_some() {
            streams.push((&to.results_stream, connection.has_stream(&to.results_stream, &to.results_subject).await?));
        }
        Ok((connection.unreliable(), streams))
    };
    let (unreliable, streams) = match looked.await {
        Ok(looked) => looked,
        Err(e @ JetStreamError::Unavailable { .. }) => {
            let advice =
                "check `url`, name resolution and firewalls; until the server answers, events and commands wait";
            return Verdict::error_of(&e, advice);
        }
        Err(e) => return Verdict::error_of(&e, ADVICE),
    };
    let stream = |(name, is_there): &(&String, bool)| match is_there {
        true => format!("stream {name} fits"),
        false => format!("stream {name} will be made"),
    };
    let found = format!("{}: {}", server.shown(), streams.iter().map(stream).collect::<Vec<_>>().join(", "));
    match unreliable {
        Some(why) => Verdict::warning(format!("{found}; {why}"), "update the server"),
        None => Verdict::ok(found),
    }
}

fn broker(seen: &amqp::BrokerSeen) -> Verdict {
    let Some(queue) = &seen.queue else {
        let found = format!("{} accepts the login; the queue does not exist yet", seen.url);
        return Verdict::warning(
            found,
            "the service creates and binds it when it starts; the queue keeps messages from then on",
        );
    };
    let listens =
        if queue.consumers == 0 { "no consumer".to_owned() } else { format!("consumers: {}", queue.consumers) };
    let found = format!("{}: queue {} is bound; {} messages wait, {listens}", seen.url, queue.name, queue.messages);
    if u64::from(queue.messages) > WAITING_WARNING {
        return Verdict::warning(
            found,
            "start the service; the queue may be purged, because the service also asks the hub",
        );
    }
    Verdict::ok(found)
}

/// Checks whether the address of the pages is free, or used by Koschei.
pub(super) async fn pages(listen: Option<SocketAddr>) -> Verdict {
    let Some(at) = listen else {
        return Verdict::ok("none are served: `listen` in `[serve]` is not set");
    };
    let looked = on_thread(move || address(at)).await;
    looked.unwrap_or_else(|| Verdict::failed("the check could not run", "try again"))
}

fn address(at: SocketAddr) -> Verdict {
    match TcpListener::bind(at) {
        Ok(_) => Verdict::ok(format!("{at} is free")),
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse && is_koschei(at) => {
            Verdict::ok(format!("{at}: a Koschei already answers there"))
        }
        Err(e) => Verdict::failed(
            format!("{at} cannot be used: {e}"),
            "set `listen` in `[serve]` to a free address of this machine, or stop what uses it",
        ),
    }
}

/// Checks whether the server at an address has Koschei's metrics.
fn is_koschei(at: SocketAddr) -> bool {
    let ip = match at.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let ask = || -> std::io::Result<bool> {
        let patience = Some(Duration::from_secs(5));
        let mut stream = TcpStream::connect_timeout(&SocketAddr::new(ip, at.port()), Duration::from_secs(5))?;
        stream.set_read_timeout(patience)?;
        stream.set_write_timeout(patience)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.take(ANSWER_MAX).read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).contains("koschei_"))
    };
    ask().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Status;

    #[test]
    fn room_where_a_directory_will_be() {
        let dir = tempfile::tempdir().unwrap();
        let verdict = room(&dir.path().join("a/b"));
        assert_ne!(verdict.status, Status::Unchecked);
        assert!(verdict.found.contains("will be made") && verdict.found.contains("GiB free"), "{}", verdict.found);
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(room(&file.join("x")).status, Status::Failed);
    }
}
