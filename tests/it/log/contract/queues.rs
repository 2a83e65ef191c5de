//! The inbox and the outbox.

use koschei::log::*;
use koschei::model::{Class, Classified};

use super::{message, stored};
use crate::log_place::{Place, at, seq};

pub(super) async fn inbox_order_and_duplicates(place: Place) {
    let log = place.open().await;
    let first = log.receive(&[message("a", "1"), message("b", "2"), message("a", "again")]).await.unwrap();
    assert_eq!(first, [stored(1), stored(2), Received::Duplicate]);
    let many: Vec<Incoming> = (0..250).map(|i| message(&format!("m{i}"), &format!("body {i}"))).collect();
    let second = log.receive(&many).await.unwrap();
    assert_eq!((second[0], second[249]), (stored(3), stored(252)));
    assert!(log.receive(&many).await.unwrap().iter().all(|r| *r == Received::Duplicate));
    let pending = log.pending(None, 1000).await.unwrap();
    assert_eq!(pending.len(), 252);
    assert!(pending.is_sorted_by_key(|p| p.position));
    assert_eq!(pending[0].message, message("a", "1"));
    assert_eq!(pending[251].message, many[249]);
    assert_eq!(log.pending(Some(Position(250)), 1).await.unwrap()[0].position, Position(251));
    assert_eq!(log.receive(&[]).await.unwrap(), []);
    let odd = Incoming { id: "n\0l".to_owned(), body: vec![0, 255, 10], ..message("", "") };
    log.receive(std::slice::from_ref(&odd)).await.unwrap();
    assert_eq!(log.receive(std::slice::from_ref(&odd)).await.unwrap(), [Received::Duplicate]);
    assert_eq!(log.pending(Some(Position(252)), 9).await.unwrap()[0].message.body, odd.body);
    let long = Incoming { topic: "t".repeat(MESSAGE_ID_BYTES_MAX + 1), ..message("z", "") };
    let error = log.receive(&[message("y", ""), long]).await.unwrap_err();
    assert_eq!(error.class(), Class::Rejected);
    assert_eq!(log.receive(&[message("y", "")]).await.unwrap(), [stored(254)]);
}

pub(super) async fn inbox_settling(place: Place) {
    let log = place.open().await;
    let messages: Vec<Incoming> = ["a", "b", "c", "d"].map(|id| message(id, id)).to_vec();
    log.receive(&messages).await.unwrap();
    let settle = |n, disposition| Settled { position: Position(n), disposition };
    let parked = Disposition::Parked { reason: "no\0sense".to_owned() };
    let ignored = Disposition::Ignored { reason: "not about builds".to_owned() };
    let settled = vec![settle(1, Disposition::Done), settle(2, parked.clone()), settle(3, ignored)];
    log.append(None, &Commit { settled, ..Commit::default() }).await.unwrap();
    let ids = |page: Vec<Pending>| page.into_iter().map(|p| p.message.id).collect::<Vec<_>>();
    assert_eq!(ids(log.pending(None, 9).await.unwrap()), ["d"]);
    let list = log.parked(None, 9).await.unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!((list[0].id.as_str(), list[0].reason.as_str()), ("b", "no\u{fffd}sense"));
    assert_eq!(log.parked(Some(list[0].position), 9).await.unwrap(), []);
    let counts = Counts { inbox_total: 4, inbox_pending: 1, inbox_parked: 1, outbox_pending: 0 };
    assert_eq!(log.counts().await.unwrap(), counts);
    for position in [1, 2, 99] {
        let settled = vec![settle(4, Disposition::Done), settle(position, Disposition::Done)];
        let error = log.append(None, &Commit { settled, ..Commit::default() }).await.unwrap_err();
        assert!(matches!(error, AppendError::NotPending { position: p } if p == position), "{error}");
    }
    let twice = vec![settle(4, Disposition::Done), settle(4, Disposition::Done)];
    let error = log.append(None, &Commit { settled: twice, ..Commit::default() }).await.unwrap_err();
    assert!(matches!(error, AppendError::NotPending { position: 4 }), "{error}");
    let retry = ["b".to_owned(), "a".to_owned(), "nobody".to_owned()];
    assert_eq!(log.unpark(&retry).await.unwrap(), 1);
    assert_eq!(ids(log.pending(None, 9).await.unwrap()), ["b", "d"]);
    assert_eq!(log.unpark(&retry).await.unwrap(), 0);
    let long = Disposition::Parked { reason: "é".repeat(REASON_BYTES_MAX) };
    log.append(None, &Commit { settled: vec![settle(2, long)], ..Commit::default() }).await.unwrap();
    assert_eq!(log.parked(None, 1).await.unwrap()[0].reason.len(), REASON_BYTES_MAX);
}

pub(super) async fn inbox_of_one_source(place: Place) {
    let log = place.open().await;
    let word = |id: &str| Incoming { source: "operator".to_owned(), ..message(id, id) };
    log.receive(&[message("a", "1"), word("w1"), message("b", "2"), word("w2"), word("w3")]).await.unwrap();
    let log = &log;
    let of = |after, limit| async move {
        let (found, through) = log.pending_of("operator", after, limit).await.unwrap();
        (found.into_iter().map(|p| p.message.id).collect::<Vec<_>>(), through.map_or(0, |p| p.0))
    };
    assert_eq!(of(None, 9).await, (vec!["w1".to_owned(), "w2".to_owned(), "w3".to_owned()], 5));
    assert_eq!(of(None, 2).await, (vec!["w1".to_owned(), "w2".to_owned()], 4), "a full page ends with its last one");
    assert_eq!(of(Some(Position(4)), 2).await, (vec!["w3".to_owned()], 5));
    log.receive(&[message("c", "3")]).await.unwrap();
    assert_eq!(of(Some(Position(5)), 2).await, (vec![], 6), "others are passed over, and not looked at again");
    let settle = |n, disposition| Settled { position: Position(n), disposition };
    let (no, parked) = ("no".to_owned(), Disposition::Parked { reason: "what?".to_owned() });
    let ignored = Disposition::Ignored { reason: no.clone() };
    let settled = vec![settle(2, Disposition::Done), settle(3, ignored.clone()), settle(4, parked.clone())];
    log.append(None, &Commit { settled, ..Commit::default() }).await.unwrap();
    assert_eq!(of(None, 9).await.0, ["w3"]);
    let fates = log.fates(&["w2", "w1", "nobody", "a", "b"]).await.unwrap();
    let settled = |disposition| Some(Fate::Settled(disposition));
    assert_eq!(fates, [settled(parked), settled(Disposition::Done), None, Some(Fate::Waits), settled(ignored)]);
}

pub(super) async fn inbox_retried(place: Place) {
    let log = place.open().await;
    log.receive(&["a", "b", "c", "d"].map(|id| message(id, id))).await.unwrap();
    let settle = |n, disposition| Settled { position: Position(n), disposition };
    let parked = |n| settle(n, Disposition::Parked { reason: format!("why {n}") });
    let settled = vec![settle(1, Disposition::Done), parked(2), parked(3), parked(4)];
    log.append(None, &Commit { settled, ..Commit::default() }).await.unwrap();
    let found = log.parked_messages(&["d", "a", "nobody", "b"]).await.unwrap();
    let found: Vec<_> = found.into_iter().map(|(p, why)| (p.message.id, p.message.body, why)).collect();
    let expected = [("b", "why 2"), ("d", "why 4")].map(|(id, why)| (id.to_owned(), id.into(), why.to_owned()));
    assert_eq!(found, expected);
    // One message waits again, one is settled at once, and one that was settled stays so.
    let retried = vec![Position(1), Position(2), Position(3)];
    let settled = vec![settle(3, Disposition::Ignored { reason: "dismissed".to_owned() })];
    log.append(None, &Commit { retried, settled, ..Commit::default() }).await.unwrap();
    let pending: Vec<String> = log.pending(None, 9).await.unwrap().into_iter().map(|p| p.message.id).collect();
    assert_eq!(pending, ["b"]);
    assert_eq!(log.parked(None, 9).await.unwrap().len(), 1);
}

pub(super) async fn inbox_pruning(place: Place) {
    let log = place.open().await;
    let late = Incoming { received_at: at(100), ..message("late", "x") };
    log.receive(&[message("done", "x"), message("parked", "y"), message("waits", "z"), late]).await.unwrap();
    let settle = |n, disposition| Settled { position: Position(n), disposition };
    let settled = vec![
        settle(1, Disposition::Done),
        settle(2, Disposition::Parked { reason: String::new() }),
        settle(4, Disposition::Done),
    ];
    log.append(None, &Commit { settled, ..Commit::default() }).await.unwrap();
    assert_eq!(log.prune_raw(at(50)).await.unwrap(), 1);
    assert_eq!(log.prune_raw(at(50)).await.unwrap(), 0);
    assert_eq!(log.receive(&[message("done", "x")]).await.unwrap(), [Received::Duplicate]);
    log.unpark(&["parked".to_owned()]).await.unwrap();
    let bodies: Vec<Vec<u8>> = log.pending(None, 9).await.unwrap().into_iter().map(|p| p.message.body).collect();
    assert_eq!(bodies, [b"y".to_vec(), b"z".to_vec()]);
    let other = Incoming { source: "operator".to_owned(), ..message("word", "w") };
    log.receive(&[other]).await.unwrap();
    let log = &log;
    let last = |besides, limit| async move { log.last_received(besides, limit).await.unwrap() };
    let all: Vec<_> = last("operator", 9).await.into_iter().map(|m| (m.received_at, m.body)).collect();
    let text = |text: &str| Some(text.as_bytes().to_vec());
    assert_eq!(all, [(at(5), None), (at(5), text("y")), (at(5), text("z")), (at(100), text("x"))], "oldest first");
    let two: Vec<_> = last("fedora!", 2).await.into_iter().map(|m| (m.source, m.topic, m.body)).collect();
    assert_eq!(two.iter().map(|m| m.2.clone()).collect::<Vec<_>>(), [text("x"), text("w")]);
    assert_eq!((two[1].0.as_str(), two[1].1.as_str()), ("operator", message("", "").topic.as_str()));
    let known = log.received(&["done", "never", "late"]).await.unwrap();
    assert_eq!(known, ["done", "late"].map(str::to_owned).into());
    place
        .raw("UPDATE raw_bodies SET body = (SELECT body FROM raw_bodies WHERE position = 2) WHERE position = 3")
        .await
        .unwrap();
    let error = log.last_received("", 9).await.unwrap_err();
    assert!(error.to_string().contains("message 3"), "{error}");
    let error = log.pending(None, 9).await.unwrap_err();
    assert!(error.to_string().contains("message 3 of the inbox: its body is not what came in"), "{error}");
}

pub(super) async fn outbox(place: Place) {
    let log = place.open().await;
    let command = |id: u64| OutboxCommand {
        id: format!("c{id}"),
        seq: seq(1 + id / 10),
        kind: "submit_rebuild".to_owned(),
        payload: format!("{{\"n\":{id},\"text\":\"ü\\u0000\"}}"),
    };
    let all: Vec<OutboxCommand> = (0..120).rev().map(command).collect();
    log.append(None, &Commit { commands: all.clone(), ..Commit::default() }).await.unwrap();
    assert_eq!(log.pending_commands(1000).await.unwrap(), all);
    assert_eq!(log.pending_commands(2).await.unwrap(), all[..2]);
    let sent: Vec<String> = all[..100].iter().map(|c| c.id.clone()).collect();
    assert_eq!(log.mark_sent(&sent).await.unwrap(), 100);
    assert_eq!(log.mark_sent(&sent).await.unwrap(), 0);
    assert_eq!(log.pending_commands(1000).await.unwrap(), all[100..]);
    // The id of a sent command cannot be used again, not even within one commit.
    for commands in [vec![command(500), all[0].clone()], vec![command(501), command(501)]] {
        let error = log.append(None, &Commit { commands, ..Commit::default() }).await.unwrap_err();
        assert!(matches!(error, AppendError::DuplicateCommand { .. }), "{error}");
    }
    assert_eq!(log.counts().await.unwrap().outbox_pending, 20);
}
