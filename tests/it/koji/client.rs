//! Calls to a hub without a login.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use koschei::koji::calls::{self, Query};
use koschei::koji::xmlrpc::{Call, Value, multi};
use koschei::koji::{CallObserver, CallOutcome, HubClient, HubError, HubSettings};
use koschei::model::{Class, Classified};
use rstest::rstest;

use crate::koji::exchanges::all;
use crate::koji_stub::{Reply, Seen, Stub, quick, raw};

fn text(t: &str) -> Value {
    Value::Text(t.to_owned())
}

fn client(settings: HubSettings) -> HubClient {
    HubClient::new(settings).unwrap()
}

#[derive(Default)]
struct Log(Mutex<Vec<(String, CallOutcome)>>);

impl CallObserver for Log {
    fn on_call(&self, method: &str, outcome: CallOutcome, seconds: f64) {
        assert!(seconds >= 0.0);
        self.0.lock().unwrap().push((method.to_owned(), outcome));
    }
}

/// Answers every call with its own method and arguments, and a `multiCall` call by call.
fn echo(seen: &Seen) -> Reply {
    let one = |call: &Call| match call.method.as_str() {
        "bad" => Err(koschei::koji::xmlrpc::Fault { code: 1000, message: "No such thing".to_owned() }),
        _ => Ok(call.args.first().cloned().unwrap_or(text(&call.method))),
    };
    match multi::split(&seen.call) {
        Some(calls) => Reply::value(multi::join_answers(calls.iter().map(one).collect())),
        None => Reply::Answer(one(&seen.call)),
    }
}

#[tokio::test]
async fn a_call_is_answered_counted_and_told_of() {
    let stub = Stub::start(echo).await;
    let log = Arc::new(Log::default());
    let hub = HubClient::with_observer(stub.settings(), log.clone()).unwrap();
    assert_eq!((hub.requests(), hub.hub_version()), (0, None));
    let call = Call::new("getTag".to_owned(), vec![text("f99")]).with("strict", true);
    let answer = hub.ask(Query { call, ..raw("", vec![]) }).await.unwrap();
    assert_eq!(answer, text("f99"));
    assert_eq!((hub.requests(), hub.hub_version().as_deref()), (1, Some("1.35.3")));
    let seen = &stub.seen()[0];
    assert_eq!((seen.path.as_str(), seen.header("content-type")), ("/kojihub", Some("text/xml")));
    assert!(seen.header("user-agent").unwrap().starts_with("koschei/"));
    assert_eq!((seen.session(), seen.call.kwargs.len()), (None, 1));
    let error = hub.ask(raw("bad", vec![])).await.unwrap_err();
    assert_eq!(error.to_string(), format!("call `bad` at {}: fault 1000: No such thing", stub.url));
    assert_eq!((error.class(), error.may_have_happened()), (Class::Rejected, false));
    let told = log.0.lock().unwrap().clone();
    assert_eq!(told, [("getTag".to_owned(), CallOutcome::Ok), ("bad".to_owned(), CallOutcome::Fault)]);
}

#[tokio::test]
async fn a_question_gives_a_record_or_says_what_is_wrong_with_the_answer() {
    let stub = Stub::start(|_| Reply::value(vec![Value::Nil])).await;
    let hub = client(stub.settings());
    let error = hub.ask(calls::list_tagged("f99", None)).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "listTagged[0]: expected a record, got nothing");
}

#[tokio::test]
async fn many_calls_go_in_few_requests_and_their_faults_are_their_own() {
    let stub = Stub::start(echo).await;
    let hub = client(stub.settings());
    let mut batch = hub.batch();
    let call = |n: i64| raw(if n == 130 { "bad" } else { "good" }, vec![n.into()]);
    let asked: Vec<_> = (0..250).map(|n| batch.add(call(n))).collect();
    let mut answers = batch.send().await.unwrap();
    assert_eq!((hub.requests(), hub.answered()), (3, 1));
    for (n, asked) in (0..250).zip(asked) {
        match answers.take(asked) {
            Err(error) => assert_eq!((n, error.fault().unwrap().code), (130, 1000)),
            Ok(answer) => assert_eq!(answer, Value::Int(n), "each in its place"),
        }
    }
    hub.batch().send().await.unwrap();
    assert_eq!((hub.requests(), hub.answered()), (3, 1), "nothing is asked for nothing");
}

#[tokio::test]
async fn one_answer_of_many_that_cannot_be_read_is_one_error() {
    let stub = Stub::start(echo).await;
    let hub = client(stub.settings());
    let mut batch = hub.batch();
    let number = batch.add(Query::<i64>::new("good", vec![5.into()]));
    let list = batch.add(Query::<i64>::new("good", vec![vec![1].into()]));
    let bad = batch.add(Query::<()>::new("bad", vec![]));
    let word = batch.add(Query::<String>::new("good", vec!["x".into()]));
    let mut answers = batch.send().await.unwrap();
    assert_eq!((answers.take(word).unwrap().as_str(), answers.take(number).unwrap()), ("x", 5), "in any order");
    let error = answers.take(list).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "good: expected a number, got a list");
    let error = answers.take(bad).unwrap_err();
    assert!(error.to_string().starts_with("call `bad` at"), "{error}");
}

/// Requests run in parallel. So the call whose answer must be the oldest is made before the others.
#[tokio::test]
async fn the_first_answer_of_an_ordered_batch_is_the_oldest() {
    let stub = Stub::start(echo).await;
    let hub = client(HubSettings { batch: 3, ..stub.settings() });
    let methods = |seen: &Seen| {
        multi::split(&seen.call).unwrap().iter().map(|call| call.method.clone()).collect::<Vec<_>>().join(" ")
    };
    for (others, expected) in [(2, vec!["first o o"]), (3, vec!["first", "o o o"])] {
        let before = stub.seen().len();
        let mut batch = hub.batch();
        let first = batch.add(raw("first", vec![7.into()]));
        let last = (0..others).map(|n| batch.add(raw("o", vec![n.into()]))).last().unwrap();
        let mut answers = batch.send_in_order().await.unwrap();
        assert_eq!((answers.take(first).unwrap(), answers.take(last).unwrap()), (7.into(), (others - 1).into()));
        assert_eq!(stub.seen()[before..].iter().map(methods).collect::<Vec<_>>(), expected);
    }
    let before = stub.seen().len();
    let mut batch = hub.batch();
    let [one, two] = ["a", "b"].map(|method| batch.add(raw(method, vec![method.into()])));
    let mut answers = batch.send_apart().await.unwrap();
    assert_eq!((answers.take(two).unwrap(), answers.take(one).unwrap()), ("b".into(), "a".into()));
    assert_eq!(stub.seen()[before..].iter().map(methods).collect::<Vec<_>>(), ["a", "b"]);
}

#[tokio::test]
async fn a_request_is_no_larger_than_the_hub_takes() {
    let stub = Stub::start(echo).await;
    let hub = client(HubSettings { max_request: 4000, ..stub.settings() });
    let call = |n: usize| raw("good", vec![text(&"x".repeat(n))]);
    let mut batch = hub.batch();
    let asked: Vec<_> = (0..40).map(|_| batch.add(call(200))).collect();
    let mut answers = batch.send().await.unwrap();
    assert!(asked.into_iter().all(|asked| answers.take(asked).unwrap() == text(&"x".repeat(200))));
    assert!(hub.requests() > 3, "{}", hub.requests());
    let before = hub.requests();
    let mut batch = hub.batch();
    let _asked = [10, 5000].map(|bytes| batch.add(call(bytes)));
    let error = batch.send().await.unwrap_err();
    assert!(matches!(error, HubError::RequestTooLarge { limit: 4000, .. }), "{error}");
    assert!(hub.requests() <= before + 1);
    let error = hub.ask(raw("good", vec![text("\u{1b}")])).await.unwrap_err();
    assert!(matches!(error, HubError::Request { .. }), "{error}");
}

#[tokio::test]
async fn answers_that_are_not_one_for_each_call_are_refused() {
    for answer in [Value::Nil, Value::Array(vec![]), Value::Array(vec![Value::Nil])] {
        let stub = Stub::start(move |_| Reply::value(answer.clone())).await;
        let mut batch = client(stub.settings()).batch();
        let _asked = batch.add(raw("a", vec![]));
        let error = batch.send().await.unwrap_err();
        assert!(matches!(error, HubError::Shape { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_hub_that_is_away_is_not_asked_for_every_batch() {
    let stub = Stub::start(|_| Reply::fault(1014, "server is offline")).await;
    let hub = client(HubSettings { max_concurrent: 2, batch: 1, ..stub.settings() });
    let mut batch = hub.batch();
    let asked: Vec<_> = (0..100).map(|n: i64| batch.add(raw("good", vec![n.into()]))).collect();
    assert!(batch.send().await.unwrap_err().is_offline() && asked.len() == 100);
    assert!(hub.requests() <= 3, "{}", hub.requests());
}

/// Fails this many calls, then answers.
fn after(failures: usize, failure: Reply) -> impl Fn(&Seen) -> Reply + Send + Sync {
    let count = AtomicUsize::new(0);
    move |seen| if count.fetch_add(1, Ordering::SeqCst) < failures { failure.clone() } else { echo(seen) }
}

#[rstest]
#[case::broken(Reply::Break)]
#[case::internal_error(Reply::page(500, "<h1>Internal Server Error</h1>"))]
#[case::busy(Reply::page(503, "busy"))]
#[case::gateway(Reply::page(502, "no backend"))]
#[case::page(Reply::page(200, "<html><body>Maintenance</body></html>"))]
#[case::cut_off(Reply::Http(200, vec![], b"<?xml version='1.0'?><methodResponse><params><param><value>".to_vec()))]
#[tokio::test]
async fn what_passes_is_tried_again(#[case] failure: Reply) {
    let stub = Stub::start(after(3, failure.clone())).await;
    let hub = client(HubSettings { max_retries: 3, ..stub.settings() });
    assert_eq!(hub.ask(raw("x", vec![])).await.unwrap(), text("x"));
    assert_eq!(hub.requests(), 4);
    let stub = Stub::start(after(9, failure)).await;
    let hub = client(HubSettings { max_retries: 3, ..stub.settings() });
    let error = hub.ask(raw("x", vec![])).await.unwrap_err();
    assert_eq!((error.class(), hub.requests()), (Class::Unavailable, 4), "{error}");
    let hub = client(HubSettings { anon_retry: false, ..stub.settings() });
    assert!(hub.ask(raw("x", vec![])).await.is_err());
    assert_eq!(hub.requests(), 1);
}

#[tokio::test]
async fn an_offline_hub_is_the_callers_matter_unless_configured() {
    let offline = || after(2, Reply::fault(1014, "database outage"));
    let stub = Stub::start(offline()).await;
    let hub = client(stub.settings());
    let error = hub.ask(raw("x", vec![])).await.unwrap_err();
    assert!(error.is_offline() && error.class() == Class::Unavailable && !error.may_have_happened());
    assert!(error.to_string().ends_with("the hub is offline: database outage"), "{error}");
    let stub = Stub::start(offline()).await;
    let hub = client(HubSettings { offline_retry: true, ..stub.settings() });
    assert_eq!(hub.ask(raw("x", vec![])).await.unwrap(), text("x"));
}

#[tokio::test]
async fn nobody_listens() {
    let url = format!("http://127.0.0.1:{}/kojihub", crate::hub::ports::free());
    let hub = client(HubSettings { max_retries: 2, ..quick(&url) });
    let error = hub.ask(raw("getLastEvent", vec![])).await.unwrap_err();
    assert!(matches!(error, HubError::Connect { .. }), "{error}");
    assert_eq!((error.class(), error.may_have_happened(), hub.requests()), (Class::Unavailable, false, 3));
    let expected = format!("call `getLastEvent` at {url}: cannot connect: Connection refused (os error 111)");
    assert_eq!(error.to_string(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn only_so_many_calls_run_at_a_time() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    // The server answers only when three calls are there. With fewer at a time this would wait for
    // ever.
    let barrier = Arc::new(std::sync::Barrier::new(3));
    let stub = {
        let (running, most) = (running.clone(), most.clone());
        Stub::start(move |seen| {
            let now = running.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            tokio::task::block_in_place(|| barrier.wait());
            running.fetch_sub(1, Ordering::SeqCst);
            echo(seen)
        })
        .await
    };
    let hub = client(HubSettings { max_concurrent: 3, ..stub.settings() });
    let calls = (0..12).map(|_| {
        let hub = hub.clone();
        tokio::spawn(async move { hub.ask(raw("x", vec![])).await.unwrap() })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn requests_are_no_more_than_so_many_per_second() {
    let stub = Stub::start(echo).await;
    let hub = client(HubSettings { requests_per_second: std::num::NonZeroU32::new(10), ..stub.settings() });
    let began = tokio::time::Instant::now();
    for _ in 0..15 {
        hub.ask(raw("x", vec![])).await.unwrap();
    }
    // Ten at once, then one every tenth of a second. It cannot be faster, and a slow machine only
    // makes it slower.
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
}

#[rstest]
#[case::nothing("")]
#[case::no_scheme("koji.example.org/kojihub")]
#[case::file("file:///kojihub")]
#[case::password("https://me:secret@koji.example.org/kojihub")]
#[case::query("https://koji.example.org/kojihub?x=1")]
fn addresses_that_are_none(#[case] server: &str) {
    let error = HubClient::new(HubSettings::new(server)).unwrap_err();
    assert_eq!(error.class(), Class::Rejected, "{error}");
}

/// Returns the kind of error that a recorded answer becomes.
fn kind(error: &HubError) -> &'static str {
    match error {
        HubError::Offline { .. } => "offline",
        HubError::ResultLost { .. } => "result lost",
        HubError::Fault { .. } => "fault",
        HubError::Unauthorized { .. } => "unauthorized",
        HubError::Status { .. } => "status",
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn every_recorded_fault_and_refusal_becomes_the_right_error() {
    let mut counts: std::collections::BTreeMap<(i64, &str, &str), usize> = Default::default();
    for exchange in all() {
        let Some(body) = exchange.response.clone() else { continue };
        if exchange.label.ends_with("offline-files") || exchange.answer().is_some_and(|answer| answer.is_ok()) {
            continue;
        }
        let mut headers = vec![("Content-Type", exchange.content_type.clone().unwrap_or_default())];
        if exchange.status == 401 {
            headers.push(("WWW-Authenticate", "Negotiate".to_owned()));
        }
        let status = exchange.status;
        let stub = Stub::start(move |_| Reply::Http(status, headers.clone(), body.clone().into())).await;
        let hub = client(HubSettings { anon_retry: false, ..stub.settings() });
        let error = hub.ask(raw("recorded", vec![])).await.unwrap_err();
        if let Some(Err(fault)) = exchange.answer() {
            assert_eq!(error.fault(), Some(&fault), "code and text are kept");
        }
        let code = error.fault().map_or(i64::from(status), |fault| fault.code);
        *counts.entry((code, kind(&error), error.class().as_str())).or_default() += 1;
    }
    let expected = [
        ((400, "status", "rejected"), 1),
        ((401, "unauthorized", "rejected"), 1),
        ((405, "status", "rejected"), 2),
        ((500, "status", "unavailable"), 1),
        ((1000, "fault", "rejected"), 16),
        ((1002, "fault", "rejected"), 3),
        ((1004, "fault", "rejected"), 9),
        ((1005, "fault", "rejected"), 1),
        ((1007, "fault", "unavailable"), 2),
        ((1008, "fault", "unavailable"), 1),
        ((1009, "result lost", "unavailable"), 1),
        ((1014, "offline", "unavailable"), 21),
        ((1019, "fault", "rejected"), 5),
    ];
    assert_eq!(counts, expected.into());
}
