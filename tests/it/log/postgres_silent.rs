//! A firewall between us and PostgreSQL silently drops the bytes of its known connections. Neither
//! side ever hears anything.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use koschei::log::{self, AnyLog, EventLog, Incoming, Options};
use koschei::model::causes::with_causes;
use koschei::model::{Class, Classified};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;

use crate::live::PATIENCE;
use crate::log_place::{at, chain, commit, event, fill};
use crate::servers;

/// Passes bytes on until it is told to forget its connections. They stay open.
struct Firewall {
    port: u16,
    /// Increases when connections are forgotten.
    forgotten: Arc<watch::Sender<u64>>,
}

impl Firewall {
    async fn before(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, forgotten) = (listener.local_addr().unwrap().port(), Arc::new(watch::Sender::new(0)));
        let sender = Arc::clone(&forgotten);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = UnixStream::connect(&socket).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(pass(from_client, to_server, sender.subscribe()));
                tokio::spawn(pass(from_server, to_client, sender.subscribe()));
            }
        });
        Self { port, forgotten }
    }

    fn forget_connections(&self) {
        self.forgotten.send_modify(|n| *n += 1);
    }
}

async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut forgotten: watch::Receiver<u64>) {
    forgotten.mark_unchanged();
    let mut bytes = vec![0; 1 << 16];
    loop {
        tokio::select! {
            biased;
            _ = forgotten.changed() => break,
            read = from.read(&mut bytes) => match read {
                Ok(n) if n > 0 => if to.write_all(&bytes[..n]).await.is_err() { return },
                _ => return,
            },
        }
    }
    // Neither a byte nor an end comes.
    std::future::pending::<()>().await;
}

/// Makes a server behind a firewall, and a log on it with a short answer timeout.
async fn behind_a_firewall() -> (String, Firewall, AnyLog) {
    let direct = servers::postgres_database().await;
    let (address, dir) = direct.split_once("?host=").unwrap();
    let firewall = Firewall::before(PathBuf::from(dir).join(".s.PGSQL.5432")).await;
    let database = address.rsplit('/').next().unwrap();
    let url = format!("postgres://koschei@127.0.0.1:{}/{database}?sslmode=disable", firewall.port);
    // Longer than any real answer takes. The test waits for it several times.
    let options = Options { answer_timeout: Duration::from_secs(8), ..Options::default() };
    let log = log::open(&url, &options).await.unwrap();
    (direct, firewall, log)
}

fn silent(error: &(impl std::error::Error + Classified)) {
    assert_eq!(error.class(), Class::Unavailable, "{error:?}");
    let text = with_causes(error);
    assert!(text.contains("no answer for") || text.contains("busy"), "{text}");
}

/// Retries until it succeeds, like code that waits for a database. Every error before that must be
/// an unavailable one.
async fn until_done<T, E: std::error::Error + Classified>(what: impl AsyncFn() -> Result<T, E>) -> T {
    let trying = tokio::time::timeout(PATIENCE, async {
        loop {
            match what().await {
                Ok(done) => return done,
                Err(e) => assert_eq!(e.class(), Class::Unavailable, "{e:?}"),
            }
        }
    });
    trying.await.expect("it never answers again")
}

fn message() -> Incoming {
    Incoming {
        id: "m".to_owned(),
        source: "test".to_owned(),
        topic: "t".to_owned(),
        received_at: at(5),
        body: b"{}".to_vec(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_fell_silent_are_given_up() {
    let (_direct, firewall, log) = behind_a_firewall().await;
    let head = fill(&log, 0..50, 10).await;
    let waits = {
        let log = log.clone();
        tokio::spawn(async move { log.changed(head.seq).await })
    };
    // Several idle connections.
    futures_util::future::join_all((0..6).map(|_| log.counts())).await;
    firewall.forget_connections();
    let asked = tokio::time::timeout(PATIENCE, log.head()).await;
    match asked.expect("it is given up") {
        Err(error) => silent(&error),
        // All connections were still on their way back to the pool, so a new one was used.
        Ok(same) => assert_eq!(same, head),
    }
    let next = commit(chain(head, at(100), (50..60).map(event)));
    let head = until_done(async || log.append(head.seq, &next).await).await;
    until_done(async || log.receive(&[message()]).await).await;
    assert_eq!(until_done(async || log.head().await).await, head);
    let seen = tokio::time::timeout(PATIENCE, waits).await.expect("who waits for a change sees it").unwrap();
    drop(seen);
    let counts = until_done(async || log.counts().await).await;
    assert_eq!((head.seq.unwrap().get(), counts.inbox_total), (60, 1));
    log.close().await;
}

/// The connection falls silent within a transaction that holds the lock every append needs.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_nobody_goes_on_with_gives_its_locks_back() {
    let (direct, firewall, log) = behind_a_firewall().await;
    let head = fill(&log, 0..10, 10).await;
    let mut other = PgConnection::connect(&direct).await.unwrap();
    // It sleeps until the test lets it go, which may take a moment.
    let slow = "SELECT pg_advisory_lock(7);
                CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                WHILE NOT pg_try_advisory_xact_lock(7) LOOP PERFORM pg_sleep(0.2); END LOOP; RETURN NEW; END $$;
                CREATE TRIGGER slow BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.seq = 15) EXECUTE FUNCTION slow()";
    sqlx::raw_sql(slow).execute(&mut other).await.unwrap();
    let next = commit(chain(head, at(100), (10..20).map(event)));
    let appending = {
        let (log, next) = (log.clone(), next.clone());
        tokio::spawn(async move { log.append(head.seq, &next).await })
    };
    let sleeping =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    let waited = tokio::time::timeout(PATIENCE, async {
        while sqlx::query_scalar::<_, i64>(AssertSqlSafe(sleeping)).fetch_one(&mut other).await.unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("it is within its transaction");
    firewall.forget_connections();
    sqlx::raw_sql("SELECT pg_advisory_unlock(7)").execute(&mut other).await.unwrap();
    let appended = tokio::time::timeout(PATIENCE, appending).await;
    silent(&appended.expect("it is given up").unwrap().unwrap_err());
    sqlx::raw_sql("DROP TRIGGER IF EXISTS slow ON events").execute(&mut other).await.unwrap();
    let head = until_done(async || log.append(head.seq, &next).await).await;
    assert_eq!(head.seq.unwrap().get(), 20, "what was silent had not been committed");
    other.close().await.unwrap();
    log.close().await;
}
