//! What is derived from a state is made once for each event, whatever is asked.

use std::sync::atomic::Ordering::Relaxed;

use axum::body::Body;
use axum::http::Request;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use super::*;
use crate::event::cloudevents;
use crate::log::{Commit, EventLog as _, Options, SqliteLog};

/// Reads the log of a service that worked with a hub.
fn story() -> Vec<Record> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/hub-story.jsonl.zst");
    let text = String::from_utf8(zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap()).unwrap();
    // The other lines are attachments.
    let events = text.lines().filter(|line| line.starts_with("{\"specversion\""));
    events.map(|line| cloudevents::from_json(line).unwrap()).collect()
}

/// Returns how often the queue, the listing, the causes and a judgement of failed builds were made.
fn made(follower: &Follower) -> [u32; 4] {
    let look = |view: &View| {
        let made = &view.made;
        [&made.queues, &made.listings, &made.causes, &made.judged].map(|times| times.load(Relaxed))
    };
    tokio::task::block_in_place(|| follower.look(look))
}

/// Returns an address for each of [`PAGES`], each once more with `json=1`, and one for each operation
/// of the API that shows a state. Each shows something.
fn asked(view: &View) -> Vec<String> {
    let package = view.state.collections["f99"].packages.keys().next().unwrap().clone();
    let cause = view.causes().first().map_or_else(|| "none".to_owned(), |cause| cause.id.to_string());
    let word = |address: &str| match address {
        "/package/{name}" => format!("/package/{package}?collection=f99&"),
        "/collection/{name}" => "/collection/f99?".to_owned(),
        "/cause/{id}" => format!("/cause/{cause}?"),
        "/update/{nvr}" => format!("/update/{package}-1-1?"),
        "/event/{seq}" => "/event/7?".to_owned(),
        "/groups/{name}" => "/groups/none?".to_owned(),
        "/api/v1/collections/diff/{one}/{other}" => "/api/v1/collections/diff/f99/f98?".to_owned(),
        plain => format!("{plain}?"),
    };
    let pages = PAGES.iter().map(|(address, _)| word(address)).filter(|at| !at.starts_with("/api/v2"));
    let pages = pages.flat_map(|at| [format!("{at}json=1"), at]);
    let parts = [
        ("{collection}", "f99"),
        ("{other}", "f98"),
        ("{package}", package.as_str()),
        ("{id}", cause.as_str()),
        ("{nvr}", "none-1-1"),
        ("{group}", "none"),
    ];
    let filled = |address: &str| parts.iter().fold(address.to_owned(), |at, (part, word)| at.replace(part, word));
    let operations = api::v2::OPERATIONS.iter().filter(|o| o.shows_state()).map(|o| filled(o.address));
    pages.chain(operations).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_address_shares_what_is_derived_from_the_state() {
    let (records, dir) = (story(), tempfile::tempdir().unwrap());
    let place = dir.path().join("koschei.db");
    let log = SqliteLog::open(place.to_str().unwrap(), &Options::default()).await.unwrap();
    let follower = Follower::new(Metrics::new());
    let site = Site::new(AnyLog::Sqlite(log.clone()), follower.clone(), Metrics::new(), KojiLinks::default());
    let pages = TowerToHyperService::new(router(site));
    let stop = CancellationToken::new();
    let following = tokio::spawn({
        let (follower, log, stop) = (follower.clone(), log.clone(), stop.clone());
        async move { follower.run(&log, None, &stop).await }
    });
    let (last, earlier) = records.split_last().unwrap();
    let mut head = None;
    for next in [earlier, std::slice::from_ref(last)] {
        head = log.append(head, &Commit { records: next.to_vec(), ..Commit::default() }).await.unwrap().seq;
        follower.when(|status| status.seq == head).await;
        let before = made(&follower);
        let addresses = tokio::task::block_in_place(|| follower.look(asked));
        let mut then = None;
        for round in 0..3 {
            for address in &addresses {
                let answer = pages.call(Request::get(address).body(Body::empty()).unwrap()).await.unwrap();
                // Nothing may be open as a cause, or known of an update, and there is no group.
                let may_lack = ["/cause", "/update", "/groups/"].iter().any(|part| address.contains(part));
                assert!(answer.status() == StatusCode::OK || may_lack, "{address}");
                if round > 0 {
                    assert_eq!(Some(made(&follower)), then, "{address}, asked again");
                }
            }
            then = Some(made(&follower));
        }
        let [queues, listings, causes, judged] = [0, 1, 2, 3].map(|at| made(&follower)[at] - before[at]);
        assert_eq!((queues, listings, causes), (1, 1, 1), "made once for all");
        assert!(judged <= 3, "{judged} judgements of three collections");
    }
    stop.cancel();
    following.await.unwrap().unwrap();
}
