//! What the database refuses, what verification finds when somebody forces a change, and what
//! opening refuses.

use std::time::Duration;

use koschei::event::{BuildrootRecorded, ChainHash, FactId, NewEvent, Source};
use koschei::log::*;
use koschei::model::{Class, Classified, Hub, Nvr, TaskId};
use proptest::prelude::*;
use rstest::rstest;
use sqlx::{Connection, SqliteConnection};

use crate::log_place::{Place, at, chain, commit, event, fill, on_both, seq};

on_both!(
    database_refuses_changes,
    verify_finds_changes,
    verify_finds_a_cut_tail,
    verify_finds_a_fact_that_stands_twice,
    verify_finds_bad_attachments,
    verify_reports_progress,
    migrations_keep_data,
    migrations_are_checked,
    newer_format_is_refused,
    other_databases_are_refused,
    first_opening_by_two,
);

async fn database_refuses_changes(place: Place) {
    let log = place.open().await;
    let head = fill(&log, 0..10, 10).await;
    let attachment = Attachment::new(b"x".to_vec());
    log.append(head.seq, &Commit { attachments: vec![attachment], ..Commit::default() }).await.unwrap();
    for table in ["events", "attachments", "words", "subjects", "dictionaries"] {
        let column = match table {
            "events" => "version = 2",
            "words" | "subjects" => "text = 'x'",
            _ => "content = digest",
        };
        let mut statements = vec![format!("UPDATE {table} SET {column}"), format!("DELETE FROM {table}")];
        if !place.is_sqlite() {
            statements.push(format!("TRUNCATE {table}"));
            statements.push(format!("DELETE FROM {table} WHERE false"));
        }
        for statement in statements {
            let error = place.raw(&statement).await.expect_err(&statement).to_string();
            assert!(error.contains("refused"), "{statement}: {error}");
        }
    }
    if place.is_sqlite() {
        let columns = "seq, recorded_at, occurred_at, kind, version, source, fact, koji_event, subject, causation, \
                       correlation, encoding, payload, hash";
        for replaced in [
            format!("INSERT OR REPLACE INTO events SELECT {columns} FROM events WHERE seq = 3"),
            "INSERT OR REPLACE INTO events SELECT 12, recorded_at, occurred_at, kind, version, source, NULL, \
             koji_event, subject, causation, correlation, encoding, payload, hash FROM events WHERE seq = 3"
                .to_owned(),
        ] {
            let error = place.raw(&replaced).await.unwrap_err().to_string();
            assert!(error.contains("a new row must follow the last one"), "{error}");
        }
        place.raw("INSERT OR REPLACE INTO attachments SELECT digest, x'00' FROM attachments").await.unwrap();
    }
    verify(&log, Some((head.seq.unwrap(), head.hash)), &mut |_| ()).await.unwrap();
    assert_eq!(log.attachment(&Attachment::new(b"x".to_vec()).digest).await.unwrap().unwrap(), b"x");
}

async fn damage(log: &AnyLog, trusted: Option<Head>) -> Option<(u64, Damage)> {
    match verify(log, trusted.map(|h| (h.seq.unwrap(), h.hash)), &mut |_| ()).await {
        Ok(_) => None,
        Err(VerifyError::Damaged { seq, damage }) => Some((seq.get(), damage)),
        Err(e) => panic!("{e}"),
    }
}

/// Changes every column of a row, and whole rows.
async fn verify_finds_changes(place: Place) {
    // Each case: statement, place that verification must report, and a part of its message.
    let other = "(SELECT id FROM subjects WHERE id <> (SELECT subject FROM events WHERE seq = 20) LIMIT 1)";
    let wordy = "(SELECT id FROM words WHERE id <> (SELECT kind FROM events WHERE seq = 20) LIMIT 1)";
    let payload = if place.is_sqlite() { "CAST('{}' AS BLOB)" } else { "'{}'::bytea" };
    let zeros = if place.is_sqlite() { "zeroblob(16)" } else { "decode(repeat('00', 16), 'hex')" };
    let hash = if place.is_sqlite() { "zeroblob(32)" } else { "decode(repeat('00', 32), 'hex')" };
    let copy = |new: u64, old: u64| {
        let fact = "NULL";
        format!(
            "INSERT INTO events (seq, recorded_at, occurred_at, kind, version, source, fact, koji_event, subject, \
             causation, correlation, encoding, payload, hash) SELECT {new}, recorded_at, occurred_at, kind, version, \
             source, {fact}, koji_event, subject, causation, correlation, encoding, payload, hash FROM events \
             WHERE seq = {old}"
        )
    };
    let cases = [
        (format!("UPDATE events SET payload = {payload}, encoding = 0 WHERE seq = 20"), 20, "hash"),
        ("UPDATE events SET payload = (SELECT payload FROM events WHERE seq = 1) WHERE seq = 11".to_owned(), 11, ""),
        ("UPDATE events SET encoding = (SELECT encoding FROM events WHERE seq = 9) WHERE seq = 20".to_owned(), 20, ""),
        ("UPDATE events SET encoding = -20 WHERE seq = 20".to_owned(), 20, "its payload is in event 0: it is missing"),
        ("UPDATE events SET encoding = -9 WHERE seq = 11".to_owned(), 11, "in event 2: that event has no block"),
        ("UPDATE events SET encoding = -12 WHERE seq = 23".to_owned(), 23, "its block has no payload 12"),
        (format!("UPDATE events SET payload = {payload} WHERE seq = 11"), 11, "a compressed frame without its size"),
        ("DELETE FROM events WHERE seq = 11".to_owned(), 11, "it is missing, the next one is 12"),
        ("UPDATE events SET recorded_at = recorded_at + 1 WHERE seq = 20".to_owned(), 20, "hash"),
        ("UPDATE events SET occurred_at = occurred_at - 1 WHERE seq = 20".to_owned(), 20, "hash"),
        (format!("UPDATE events SET kind = {wordy} WHERE seq = 20"), 20, "hash"),
        ("UPDATE events SET version = 3 WHERE seq = 20".to_owned(), 20, "hash"),
        (format!("UPDATE events SET source = {wordy} WHERE seq = 20"), 20, "hash"),
        (format!("UPDATE events SET fact = {zeros} WHERE seq = 20"), 20, "hash"),
        ("UPDATE events SET fact = NULL WHERE seq = 20".to_owned(), 20, "hash"),
        ("UPDATE events SET koji_event = 77 WHERE seq = 20".to_owned(), 20, "hash"),
        (format!("UPDATE events SET subject = {other} WHERE seq = 20"), 20, "hash"),
        ("UPDATE events SET causation = 1 WHERE seq = 20".to_owned(), 20, "hash"),
        ("UPDATE events SET causation = NULL WHERE seq = 20".to_owned(), 20, "hash"),
        ("UPDATE events SET correlation = 1 WHERE seq = 20".to_owned(), 20, "hash"),
        ("UPDATE events SET causation = 0 WHERE seq = 1".to_owned(), 1, "not a sequence"),
        (format!("UPDATE events SET hash = {hash} WHERE seq = 20"), 20, "hash"),
        ("UPDATE events SET subject = 99999 WHERE seq = 20".to_owned(), 20, "its subject 99999 is missing"),
        ("UPDATE events SET encoding = 9 WHERE seq = 20".to_owned(), 20, "dictionary 9 is missing"),
        ("UPDATE events SET version = -1 WHERE seq = 20".to_owned(), 20, "version is out of range"),
        ("UPDATE subjects SET text = 'x' WHERE id = (SELECT subject FROM events WHERE seq = 1)".to_owned(), 1, "hash"),
        ("DELETE FROM events WHERE seq = 20".to_owned(), 20, "it is missing, the next one is 21"),
        ("DELETE FROM events WHERE seq <= 5".to_owned(), 1, "it is missing, the next one is 6"),
        (
            "UPDATE events SET seq = -1 WHERE seq = 20; UPDATE events SET seq = 20 WHERE seq = 21; \
             UPDATE events SET seq = 21 WHERE seq = -1"
                .replace("-1", "900"),
            20,
            "hash",
        ),
        (
            format!(
                "UPDATE events SET seq = seq + 1000 WHERE seq >= 20; UPDATE events SET seq = seq - 999 WHERE seq >= \
                    1000; {}",
                copy(20, 1)
            ),
            20,
            "hash",
        ),
        (copy(41, 1), 41, "hash"),
    ];
    let untouched = if place.is_sqlite() { Some(std::path::PathBuf::from(&place.url)) } else { None };
    let log = place.open().await;
    let head = fill(&log, 0..40, 10).await;
    assert_eq!(damage(&log, Some(head)).await, None);
    log.close().await;
    place.unguard().await;
    // Each case runs on a copy of the same log.
    for (statement, expected, words) in cases {
        let victim = match &untouched {
            Some(file) => Place::sqlite_copy(file),
            None => Place::postgres_copy(&place).await,
        };
        victim.raw(&statement).await.unwrap_or_else(|e| panic!("{statement}: {e}"));
        let log = victim.open().await;
        let (at, damage) = damage(&log, None).await.unwrap_or_else(|| panic!("not found: {statement}"));
        assert_eq!(at, expected, "{statement}: {damage}");
        assert!(damage.to_string().contains(words), "{statement}: {damage}");
        log.close().await;
    }
}

async fn verify_finds_a_cut_tail(place: Place) {
    let log = place.open().await;
    let early = fill(&log, 0..10, 10).await;
    let head = fill(&log, 10..20, 10).await;
    assert_eq!(damage(&log, Some(early)).await, None);
    let rewritten = Head { hash: ChainHash([7; 32]), ..early };
    let (at_seq, found) = damage(&log, Some(rewritten)).await.unwrap();
    assert_eq!((at_seq, &found), (10, &Damage::Rewritten { trusted: rewritten.hash, found: early.hash }));
    place.unguard().await;
    place.raw("DELETE FROM events WHERE seq > 17").await.unwrap();
    assert_eq!(damage(&log, None).await, None, "without a head nothing can be noticed");
    assert_eq!(damage(&log, Some(early)).await, None);
    assert_eq!(damage(&log, Some(head)).await, Some((18, Damage::Cut { trusted: seq(20) })));
    place.raw("DELETE FROM events").await.unwrap();
    assert_eq!(damage(&log, Some(head)).await, Some((1, Damage::Cut { trusted: seq(20) })));
}

/// Somebody who knows the chain inserts a fact a second time.
async fn verify_finds_a_fact_that_stands_twice(place: Place) {
    let log = place.open().await;
    let mut again = event(3);
    again.fact = event(1).fact;
    assert!(again.fact.is_some());
    let records = chain(Head::EMPTY, at(0), [event(0), event(1), event(2), again.clone()]);
    let mut written = records.clone();
    written[3] = chain(Head::of(&records[2]), at(0), [NewEvent { fact: None, ..again }]).remove(0);
    log.append(None, &Commit { records: written, ..Commit::default() }).await.unwrap();
    place.unguard().await;
    if !place.is_sqlite() {
        place.raw("DROP INDEX events_fact").await.unwrap();
    }
    let bytes = |b: &[u8]| match place.is_sqlite() {
        true => format!("x'{}'", hex::encode(b)),
        false => format!("decode('{}', 'hex')", hex::encode(b)),
    };
    let (fact, hash) = (bytes(&records[3].fact.unwrap().0), bytes(&records[3].hash.0));
    place.raw(&format!("UPDATE events SET fact = {fact}, hash = {hash} WHERE seq = 4")).await.unwrap();
    assert_eq!(damage(&log, None).await, Some((4, Damage::Fact { first: seq(2) })));
}

async fn verify_finds_bad_attachments(place: Place) {
    let log = place.open().await;
    let recorded = |attachment: &Attachment| NewEvent {
        event: BuildrootRecorded {
            hub: Hub::new("primary"),
            task_id: TaskId(1),
            nvr: Nvr::parse("a-1-1").unwrap(),
            arch: "x86_64".into(),
            repo_id: None,
            attachment: attachment.digest.clone(),
            count: 3,
            complete: true,
        }
        .into(),
        occurred_at: at(0),
        source: Source::Archive,
        fact: Some(FactId::of(&attachment.digest)),
        koji_event: None,
        causation: None,
        correlation: None,
    };
    let (one, two) = (Attachment::new(b"one".to_vec()), Attachment::new(b"two".to_vec()));
    let records = chain(Head::EMPTY, at(0), [event(0), recorded(&one), recorded(&two), event(1)]);
    log.append(None, &Commit { records, attachments: vec![one, two.clone()], ..Commit::default() }).await.unwrap();
    assert_eq!(verify(&log, None, &mut |_| ()).await.unwrap().attachments, 2);
    place.unguard().await;
    place
        .raw("UPDATE attachments SET content = (SELECT content FROM attachments ORDER BY content DESC LIMIT 1)")
        .await
        .unwrap();
    let (at_seq, found) = damage(&log, None).await.unwrap();
    assert!(found.to_string().contains("is not what was written"), "{found}");
    assert!(at_seq == 2 || at_seq == 3);
    place.raw("DELETE FROM attachments").await.unwrap();
    let (at_seq, found) = damage(&log, None).await.unwrap();
    assert_eq!(at_seq, 2);
    assert!(found.to_string().contains("is missing"), "{found}");
}

async fn verify_reports_progress(place: Place) {
    let log = place.open().await;
    fill(&log, 0..5000, 1000).await;
    let mut seen = Vec::new();
    verify(&log, None, &mut |n| seen.push(n)).await.unwrap();
    assert_eq!(seen, [4096, 5000]);
}

/// Data written before each migration are there after it.
async fn migrations_keep_data(place: Place) {
    let mut head = Head::EMPTY;
    let mut written = 0;
    for migration in MIGRATIONS {
        let options = Options { schema_max: migration.number, ..Options::default() };
        let log = place.try_open(&options).await.unwrap();
        assert_eq!(log.info().await.unwrap().schema_version, migration.number);
        assert_eq!(log.head().await.unwrap(), head);
        head = fill(&log, written..written + 20, 20).await;
        written += 20;
        let body = format!("body {}", migration.number).into_bytes();
        let message = Incoming {
            id: migration.name.to_owned(),
            source: String::new(),
            topic: String::new(),
            received_at: at(0),
            body,
        };
        log.receive(&[message]).await.unwrap();
        log.close().await;
        if migration.number < MIGRATIONS.len() as i64 {
            let read_only = Options { read_only: true, ..Options::default() };
            let error = place.try_open(&read_only).await.unwrap_err();
            assert!(matches!(error, OpenError::NeedsMigration { .. }), "{error}");
        }
    }
    let log = place.open().await;
    let report = verify(&log, Some((head.seq.unwrap(), head.hash)), &mut |_| ()).await.unwrap();
    assert_eq!(report.events, 20 * MIGRATIONS.len() as u64);
    assert_eq!(log.pending(None, 99).await.unwrap().len(), MIGRATIONS.len());
}

async fn migrations_are_checked(place: Place) {
    place.open().await.close().await;
    place.raw("INSERT INTO migrations VALUES (4711, 'from the future', 'x')").await.unwrap();
    let error = place.try_open(&Options::default()).await.unwrap_err();
    assert!(matches!(&error, OpenError::NewerMigration { number: 4711, .. }), "{error}");
    assert!(error.to_string().contains("upgrade this program"), "{error}");
    place
        .raw("DELETE FROM migrations WHERE number = 4711; UPDATE migrations SET checksum = 'x' WHERE number = 2")
        .await
        .unwrap();
    let error = place.try_open(&Options::default()).await.unwrap_err();
    assert!(matches!(&error, OpenError::ChangedMigration { number: 2, .. }), "{error}");
    assert_eq!(error.class(), Class::Rejected);
}

async fn newer_format_is_refused(place: Place) {
    place.open().await.close().await;
    place.raw("UPDATE meta SET value = '3' WHERE key = 'min_reader'").await.unwrap();
    for read_only in [false, true] {
        let error = place.try_open(&Options { read_only, ..Options::default() }).await.unwrap_err();
        assert!(matches!(error, OpenError::TooNew { needs: 3, have: 2, .. }), "{error}");
        assert!(error.to_string().contains("upgrade this program"), "{error}");
    }
}

async fn other_databases_are_refused(place: Place) {
    place.raw("CREATE TABLE recipes (dish text)").await.unwrap();
    let error = place.try_open(&Options::default()).await.unwrap_err();
    assert!(matches!(error, OpenError::NotALog { .. }), "{error}");
    assert_eq!(place.number("SELECT count(*) FROM recipes").await, 0);
}

async fn first_opening_by_two(place: Place) {
    let (one, two) = tokio::join!(place.open(), place.open());
    assert_eq!(one.info().await.unwrap(), two.info().await.unwrap());
    fill(&one, 0..3, 3).await;
    fill(&two, 3..6, 3).await;
    assert_eq!(place.number("SELECT count(*) FROM dictionaries").await, 1);
}

#[test]
fn both_dialects_have_the_same_migrations() {
    let names = |dialect: &str| {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(dialect);
        let mut names: Vec<String> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let known: Vec<String> = MIGRATIONS.iter().map(|m| format!("{:04}_{}.sql", m.number, m.name)).collect();
    assert_eq!(names("sqlite"), known);
    assert_eq!(names("postgres"), known);
    assert!(MIGRATIONS.iter().zip(1..).all(|(m, n)| m.number == n));
}

#[rstest]
#[case::unknown_scheme("mysql://u:secret@h/d", "give a path, `sqlite:PATH` or `postgres://", Class::Rejected)]
#[case::nothing("", "give a path", Class::Rejected)]
#[case::bad_url("postgres://u:secret@h:port/d", "open log `postgres://u@h:port/d`", Class::Rejected)]
#[case::no_server("postgres://u:secret@127.0.0.1:1/d", "open log `postgres://u@127.0.0.1:1/d`", Class::Unavailable)]
#[case::below_a_file("/proc/version/log.db", "open log `/proc/version/log.db`", Class::Unavailable)]
#[case::unwritable("/proc/log.db", "open log `/proc/log.db`", Class::Unavailable)]
#[case::a_directory("/", "open log `/`", Class::Unavailable)]
#[tokio::test]
async fn bad_urls(#[case] url: &str, #[case] words: &str, #[case] class: Class) {
    let options = Options { busy_timeout: Duration::from_millis(100), ..Options::default() };
    let error = koschei::log::open(url, &options).await.unwrap_err();
    let text = with_causes(&error);
    assert!(text.contains(words), "{text}");
    assert!(!text.contains("secret"), "{text}");
    assert_eq!(error.class(), class, "{text}");
    if class == Class::Unavailable {
        assert!(text.contains("check path or URL, permissions"), "{text}");
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        text.push_str(&format!(": {e}"));
        cause = e.source();
    }
    text
}

#[tokio::test]
async fn missing_and_foreign_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.db").to_str().unwrap().to_owned();
    let no_create = Options { create: false, ..Options::default() };
    let error = koschei::log::open(&path, &no_create).await.unwrap_err();
    assert!(matches!(error, OpenError::Missing { .. }), "{error}");
    assert!(!std::path::Path::new(&path).exists());
    std::fs::write(&path, "").unwrap();
    let read_only = Options { read_only: true, ..no_create };
    let error = koschei::log::open(&path, &read_only).await.unwrap_err();
    assert!(matches!(error, OpenError::Empty { .. }), "{error}");
    // A foreign file stays unchanged, short or long. SQLite would take a short one for an empty
    // database and overwrite it.
    for text in ["x".to_owned(), "This is not a database, it is a text that is long enough. ".repeat(40)] {
        std::fs::write(&path, &text).unwrap();
        let error = koschei::log::open(&path, &Options::default()).await.unwrap_err();
        assert!(matches!(error, OpenError::NotALog { .. }), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    // A file that begins like SQLite's and continues differently is damaged.
    let text = format!("SQLite format 3\0{}", "and then something else. ".repeat(100));
    std::fs::write(&path, text).unwrap();
    let error = koschei::log::open(&path, &Options::default()).await.unwrap_err();
    assert_eq!(error.class(), Class::Broken);
    assert!(with_causes(&error).contains("damaged or is not a database"), "{}", with_causes(&error));
    std::fs::write(&path, "").unwrap();
    koschei::log::open(&format!("sqlite://{path}"), &no_create).await.unwrap();
    koschei::log::open(&format!("sqlite:{path}"), &no_create).await.unwrap();
}

/// SQLite's own page limit simulates a full disk: it gives the same result code at the same place.
#[tokio::test]
async fn full_disk() {
    let place = Place::sqlite();
    let log = place.open().await;
    let head = fill(&log, 0..3000, 1000).await;
    log.close().await;
    let pages = place.number("PRAGMA page_count").await;
    let cramped = Options { max_pages: Some(u32::try_from(pages).unwrap() + 20), ..Options::default() };
    let log = place.try_open(&cramped).await.unwrap();
    let full = commit(chain(head, at(9000), (3000..6000).map(event)));
    let error = log.append(head.seq, &full).await.unwrap_err();
    assert_eq!(error.class(), Class::Unavailable);
    assert!(with_causes(&error).contains("no space left on the database's disk"), "{}", with_causes(&error));
    let noise = (0..400_000_u32).flat_map(|i| blake3::hash(&i.to_le_bytes()).as_bytes()[..4].to_vec()).collect();
    let message =
        Incoming { id: "a".to_owned(), source: String::new(), topic: String::new(), received_at: at(0), body: noise };
    let error = log.receive(&[message]).await.unwrap_err();
    assert!(with_causes(&error).contains("no space left"), "{}", with_causes(&error));
    // Nothing committed is lost, and with space the log continues.
    let report = verify(&log, Some((head.seq.unwrap(), head.hash)), &mut |_| ()).await.unwrap();
    assert_eq!(report.events, 3000);
    log.close().await;
    let log = place.open().await;
    log.append(head.seq, &full).await.unwrap();
    assert_eq!(verify(&log, None, &mut |_| ()).await.unwrap().events, 6000);
}

#[tokio::test]
async fn a_busy_database_says_so() {
    let place = Place::sqlite();
    let log = place.try_open(&Options { busy_timeout: Duration::from_millis(50), ..Options::default() }).await.unwrap();
    let head = fill(&log, 0..3, 3).await;
    let mut other = SqliteConnection::connect(&format!("sqlite://{}", place.url)).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let next = commit(chain(head, at(9), [event(9)]));
    let error = log.append(head.seq, &next).await.unwrap_err();
    assert_eq!(error.class(), Class::Unavailable);
    assert!(error.to_string().contains("the database is busy or does not answer"), "{error}");
    assert_eq!(log.head().await.unwrap(), head, "readers are not blocked");
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    log.append(head.seq, &next).await.unwrap();
}

/// Bytes of the file are overwritten, as by a failing disk.
#[tokio::test]
async fn corrupted_file() {
    let place = Place::sqlite();
    let log = place.open().await;
    let head = fill(&log, 0..3000, 1000).await;
    log.close().await;
    let clean = std::fs::read(&place.url).unwrap();
    for at_byte in (8192..clean.len()).step_by(clean.len() / 23) {
        let mut bytes = clean.clone();
        for b in &mut bytes[at_byte..(at_byte + 300).min(clean.len())] {
            *b ^= 0x5a;
        }
        std::fs::write(&place.url, &bytes).unwrap();
        let Ok(log) = place.try_open(&Options { create: false, ..Options::default() }).await else { continue };
        match verify(&log, Some((head.seq.unwrap(), head.hash)), &mut |_| ()).await {
            // An index or a free page was hit. The events themselves are unchanged.
            Ok(report) => assert_eq!(report.head, head),
            Err(e) => assert_eq!(e.class(), Class::Broken, "{}", with_causes(&e)),
        }
        log.close().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    /// The log does not depend on how events are divided into batches.
    #[test]
    fn batches_do_not_matter(picks in proptest::collection::btree_set(0_u64..100_000, 1..1200), batch in 1_usize..400) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let events: Vec<NewEvent> = picks.into_iter().map(event).collect();
        let records = chain(Head::EMPTY, at(0), events);
        let heads: Vec<Head> = runtime.block_on(async {
            let mut heads = Vec::new();
            for size in [1, 7, batch, 1000] {
                // Batches of one are slow, so only the beginning uses them.
                let some = if size == 1 { 50.min(records.len()) } else { records.len() };
                let place = Place::sqlite();
                let options = Options { sync_every_commit: false, ..Options::default() };
                let log = place.try_open(&options).await.unwrap();
                for part in records[..some].chunks(size).chain(records[some..].chunks(1000)) {
                    let head = log.head().await.unwrap();
                    log.append(head.seq, &commit(part.to_vec())).await.unwrap();
                }
                let read = log.read(None, 10_000).await.unwrap();
                assert_eq!(read, records);
                heads.push(verify(&log, None, &mut |_| ()).await.unwrap().head);
                log.close().await;
            }
            heads
        });
        prop_assert!(heads.iter().all(|h| *h == Head::of(records.last().unwrap())));
    }
}
