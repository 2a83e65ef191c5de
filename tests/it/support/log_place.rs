//! Databases for logs under test, and events to put into them.

use ::koschei::event::*;
use ::koschei::log::{AnyLog, Commit, EventLog, Head, OpenError, Options};
use ::koschei::model::koji::{BuildState, TaskState};
use ::koschei::model::{BuildId, Hub, Nvr, PackageState, RepoId, Seq, TaskId, Timestamp};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

/// Runs each test function once per database.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::log_place::Place::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::log_place::Place::postgres().await).await;
            })*
        }
    };
}
pub(crate) use on_both;

/// A database for one test.
pub struct Place {
    pub url: String,
    _dir: Option<tempfile::TempDir>,
}

impl Place {
    pub fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { url: dir.path().join("log.db").to_str().unwrap().to_owned(), _dir: Some(dir) }
    }

    /// Returns a copy of a closed log's file.
    pub fn sqlite_copy(file: &std::path::Path) -> Self {
        let place = Self::sqlite();
        std::fs::copy(file, &place.url).unwrap();
        place
    }

    /// Returns a copy of a closed log's database.
    pub async fn postgres_copy(original: &Self) -> Self {
        Self { url: crate::servers::postgres_copy(&original.url).await, _dir: None }
    }

    pub async fn postgres() -> Self {
        Self { url: crate::servers::postgres_database().await, _dir: None }
    }

    pub fn is_sqlite(&self) -> bool {
        !self.url.contains("://")
    }

    pub async fn open(&self) -> AnyLog {
        self.try_open(&Options::default()).await.unwrap()
    }

    pub async fn try_open(&self, options: &Options) -> Result<AnyLog, OpenError> {
        ::koschei::log::open(&self.url, options).await
    }

    /// Runs statements directly on the database, bypassing the log.
    pub async fn raw(&self, sql: &str) -> Result<(), sqlx::Error> {
        if self.is_sqlite() {
            let mut conn = SqliteConnection::connect(&format!("sqlite://{}?mode=rwc", self.url)).await?;
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await?;
            conn.close().await
        } else {
            let mut conn = PgConnection::connect(&self.url).await?;
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await?;
            conn.close().await
        }
    }

    /// Reads one number directly from the database.
    pub async fn number(&self, sql: &str) -> i64 {
        let sql = AssertSqlSafe(sql);
        if self.is_sqlite() {
            let mut conn = SqliteConnection::connect(&format!("sqlite://{}", self.url)).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap()
        } else {
            let mut conn = PgConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap()
        }
    }

    /// Reads some bytes directly from the database.
    pub async fn bytes(&self, sql: &str) -> Vec<u8> {
        let sql = AssertSqlSafe(sql);
        if self.is_sqlite() {
            let mut conn = SqliteConnection::connect(&format!("sqlite://{}", self.url)).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap()
        } else {
            let mut conn = PgConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap()
        }
    }

    /// Removes the protection of the tables, as somebody with a database shell can.
    pub async fn unguard(&self) {
        let sql = if self.is_sqlite() {
            "DROP TRIGGER events_no_update; DROP TRIGGER events_no_delete; DROP TRIGGER events_contiguous;
             DROP TRIGGER attachments_no_update; DROP TRIGGER attachments_no_delete;
             DROP TRIGGER subjects_no_update; DROP TRIGGER words_no_update; DROP TRIGGER words_no_delete"
        } else {
            "ALTER TABLE events DISABLE TRIGGER ALL; ALTER TABLE attachments DISABLE TRIGGER ALL;
             ALTER TABLE subjects DISABLE TRIGGER ALL; ALTER TABLE words DISABLE TRIGGER ALL"
        };
        self.raw(sql).await.unwrap();
    }
}

/// Returns a time in the test's small world.
pub fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(1_795_164_000 + secs)
}

/// Returns the `i`-th event of an endless mixed stream. All events have different facts.
pub fn event(i: u64) -> NewEvent {
    let n = i64::try_from(i).unwrap();
    let hub = Hub::new("primary");
    let package = format!("package-{}", i * 7919 % 997);
    let (name, version, release) = (package.as_str().into(), "1.2.3".into(), format!("{}.fc99", i % 50).into());
    let nvr =
        Nvr { name: package.as_str().into(), version: "1.2.3".into(), release: format!("{}.fc99", i % 50).into() };
    let event: Event = match i % 8 {
        0 | 1 => BuildTagged {
            hub,
            tag: "f99-build".into(),
            tag_id: None,
            build_id: BuildId(1000 + n),
            name,
            version,
            release,
            by: None,
        }
        .into(),
        2 | 3 => BuildChanged {
            hub,
            build_id: BuildId(1000 + n),
            name,
            epoch: None,
            version,
            release,
            old: Some(BuildState::Building),
            state: BuildState::Complete,
            task_id: Some(TaskId(5000 + n)),
            created_at: Some(at(n)),
            completed_at: Some(at(n + 60)),
            by: None,
        }
        .into(),
        4 | 5 => TaskChanged {
            hub,
            task_id: TaskId(5000 + n),
            state: TaskState::Open,
            package: name,
            nvr: Some(nvr),
            target: Some("f99-candidate".into()),
            repo_id: Some(RepoId(n / 100)),
            arches: vec!["x86_64".into()],
            decision: None,
            created_at: Some(at(n)),
            started_at: Some(at(n + 1)),
            finished_at: None,
            children: vec![],
            fault: None,
        }
        .into(),
        6 => RepoReady {
            hub,
            repo_id: RepoId(n),
            tag: "f99-build".into(),
            tag_id: None,
            create_event: Some(n),
            arches: Some(vec!["x86_64".into(), "aarch64".into()]),
        }
        .into(),
        _ => PackageStateChanged {
            collection: "f99".into(),
            package: name,
            old: Some(PackageState::Ok),
            new: PackageState::Failing,
            reason: "rebuild failed: genuine failure — naïve ☃".to_owned(),
        }
        .into(),
    };
    NewEvent {
        event,
        occurred_at: at(n),
        source: if i % 8 == 7 { Source::Engine } else { Source::Recording },
        fact: (i % 8 != 7).then(|| FactId::of(&format!("primary/message/{i}/0"))),
        koji_event: i.is_multiple_of(3).then_some(n),
        causation: Seq::new(i / 2),
        correlation: Seq::new(i / 4),
    }
}

/// Returns the records of `events` after `head`, all recorded at `time`.
pub fn chain(head: Head, time: Timestamp, events: impl IntoIterator<Item = NewEvent>) -> Vec<Record> {
    let (mut seq, mut hash) = (head.seq, head.hash);
    events
        .into_iter()
        .map(|new| {
            let record = Record::new(Seq::after(seq), time, &new, hash);
            (seq, hash) = (Some(record.seq), record.hash);
            record
        })
        .collect()
}

/// Returns a commit that has only events.
pub fn commit(records: Vec<Record>) -> Commit {
    Commit { records, ..Commit::default() }
}

/// Appends the events `range` of the stream. Each batch of `batch` is recorded one second later.
pub async fn fill(log: &AnyLog, range: std::ops::Range<u64>, batch: usize) -> Head {
    let mut head = log.head().await.unwrap();
    let all: Vec<u64> = range.collect();
    for part in all.chunks(batch) {
        let time = at(i64::try_from(part[0]).unwrap());
        let records = chain(head, time, part.iter().map(|i| event(*i)));
        head = log.append(head.seq, &commit(records)).await.unwrap();
    }
    head
}

pub fn seq(n: u64) -> Seq {
    Seq::new(n).unwrap()
}

/// Reads all records of a log, at most `limit` at a time.
pub async fn read_all(log: &AnyLog, limit: usize) -> Vec<Record> {
    let mut all: Vec<Record> = Vec::new();
    loop {
        let page = log.read(all.last().map(|r| r.seq), limit).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}
