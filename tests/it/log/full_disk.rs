//! A database without space, and with space again: the same handle continues, and nothing is lost.

use std::path::Path;

use koschei::log::{AnyLog, EventLog, Incoming, Options, verify};
use koschei::model::{Class, Classified};

use crate::hub::{Hub, NewBuild, Settings};
use crate::log_place::{Place, at, chain, commit, event, fill, on_both};
use crate::serve::first::{COLLECTION, small};
use crate::serve::inside::Inside;

on_both!(the_handle_goes_on_when_there_is_space_again);

/// Size of an SQLite page in bytes.
const PAGE: u32 = 4096;

fn message(id: &str, size: usize) -> Incoming {
    // Random bytes, which cannot be compressed.
    let mut body = vec![0; size];
    blake3::Hasher::new().update(id.as_bytes()).finalize_xof().fill(&mut body);
    Incoming { id: id.to_owned(), source: String::new(), topic: "t".to_owned(), received_at: at(5), body }
}

/// SQLite's own page limit simulates a full disk: it gives the same result code at the same places.
/// PostgreSQL is made to return that error.
impl Place {
    /// Returns the options with which the log's space can be used up.
    fn cramped(&self) -> Options {
        Options { max_pages: Some(2_000), sync_every_commit: false, ..Options::default() }
    }

    async fn use_up_space(&self) {
        let sql = if self.is_sqlite() {
            format!("CREATE TABLE ballast (b BLOB); INSERT INTO ballast VALUES (zeroblob({}))", 2_000 * PAGE)
        } else {
            "CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
             CREATE TRIGGER full_events BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION no_space();
             CREATE TRIGGER full_inbox BEFORE INSERT ON inbox FOR EACH ROW EXECUTE FUNCTION no_space()"
                .to_owned()
        };
        self.raw(&sql).await.unwrap();
    }

    async fn make_space(&self) {
        let sql = match self.is_sqlite() {
            true => "DROP TABLE ballast",
            false => "DROP TRIGGER full_events ON events; DROP TRIGGER full_inbox ON inbox; DROP FUNCTION no_space",
        };
        self.raw(sql).await.unwrap();
    }
}

/// A message finds no space. The handle must still work afterwards.
async fn finds_no_space(log: &AnyLog, id: &str) {
    let error = log.receive(&[message(id, 1 << 20)]).await.unwrap_err();
    assert_eq!(error.class(), Class::Unavailable, "{error:?}");
    let text = koschei::model::causes::with_causes(&error);
    assert!(text.contains("no space left on the database's disk"), "{text}");
}

async fn the_handle_goes_on_when_there_is_space_again(place: Place) {
    let log = place.try_open(&place.cramped()).await.unwrap();
    let head = fill(&log, 0..500, 100).await;
    log.receive(&[message("before", 100)]).await.unwrap();
    place.use_up_space().await;
    let next = commit(chain(head, at(9000), (500..3500).map(event)));
    for round in 0..3 {
        finds_no_space(&log, &format!("m{round}")).await;
        let error = log.append(head.seq, &next).await.unwrap_err();
        assert_eq!(error.class(), Class::Unavailable, "{error:?}");
    }
    assert_eq!(log.head().await.unwrap(), head);
    assert_eq!(log.counts().await.unwrap().inbox_total, 1);
    place.make_space().await;
    log.receive(&[message("m0", 1 << 20)]).await.unwrap();
    let head = log.append(head.seq, &next).await.unwrap();
    assert_eq!(log.counts().await.unwrap().inbox_total, 2);
    let report = verify(&log, Some((head.seq.unwrap(), head.hash)), &mut |_| ()).await.unwrap();
    assert_eq!(report.events, 3500);
    log.close().await;
}

/// The service waits, and then finds what changed meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_goes_on_when_there_is_space_again() {
    let place = Place::sqlite();
    let dir = Path::new(&place.url).parent().unwrap();
    let hub = Hub::start(Settings::new(dir.join("koji")));
    small(&hub);
    let log = place.try_open(&place.cramped()).await.unwrap();
    let mut inside = Inside::on(log, hub.clone(), dir, COLLECTION);
    inside.start();
    assert_eq!(inside.reconciled().await.err(), None);
    place.use_up_space().await;
    for round in 0..3 {
        finds_no_space(&inside.log, &format!("m{round}")).await;
    }
    // So many facts that they need new pages.
    hub.change(|tx| (0..300).try_for_each(|n| tx.import_into("f99", &NewBuild::new(&format!("new{n}-1-1")))));
    inside.finds_trouble().await;
    place.make_space().await;
    assert_eq!(inside.reconciled().await.err(), None);
    inside.stop().await;
    verify(&inside.log, None, &mut |_| ()).await.unwrap();
}
