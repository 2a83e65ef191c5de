//! Whatever a server answers, the client returns a clear error of the right class, in bounded time
//! and memory.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use koschei::koji::xmlrpc::{Value, encode_response};
use koschei::koji::{HubClient, HubError, HubSettings, calls};
use koschei::model::{Class, Classified, TaskId};
use rstest::rstest;

use crate::koji::session::pem;
use crate::koji_stub::{Reply, Seen, Stub, http, raw};

/// Calls once. The settings bound the size and the time of the answer.
async fn ask(reply: Reply, change: impl FnOnce(HubSettings) -> HubSettings) -> (HubError, u64, Stub) {
    let stub = Stub::start(move |_| reply.clone()).await;
    let hub = HubClient::new(change(HubSettings { max_retries: 2, ..stub.settings() })).unwrap();
    let error = hub.ask(raw("getTag", vec!["f99".into()])).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("call `getTag` at {}: ", stub.url)) || has_cause(&error), "{error}");
    (error, hub.requests(), stub)
}

fn has_cause(error: &HubError) -> bool {
    std::error::Error::source(error).is_some()
}

fn xml(body: &str) -> Reply {
    Reply::Http(200, vec![("Content-Type", "text/xml".to_owned())], body.into())
}

const HEAD: &str = "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value>";
const TAIL: &str = "</value>\n</param>\n</params>\n</methodResponse>\n";

#[derive(PartialEq, Debug)]
enum Kind {
    CutOff,
    Lost,
    Malformed,
    NotAHub,
    Offline,
    Redirect,
    Status(u16),
    TooLarge,
    Unauthorized,
}

fn kind(error: &HubError) -> Kind {
    match error {
        HubError::CutOff { .. } => Kind::CutOff,
        HubError::Lost { .. } => Kind::Lost,
        HubError::Malformed { .. } => Kind::Malformed,
        HubError::NotAHub { .. } => Kind::NotAHub,
        HubError::Offline { .. } => Kind::Offline,
        HubError::Redirect { .. } => Kind::Redirect,
        HubError::Status { status, .. } => Kind::Status(*status),
        HubError::TooLarge { .. } => Kind::TooLarge,
        HubError::Unauthorized { .. } => Kind::Unauthorized,
        other => panic!("{other:?}"),
    }
}

fn to(place: &str) -> Vec<(&'static str, String)> {
    vec![("Location", place.to_owned())]
}

const UNAVAILABLE: Class = Class::Unavailable;
const REJECTED: Class = Class::Rejected;

#[rstest]
#[case::cut_off_in_the_middle(
    xml("<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value><arr"),
    Kind::CutOff,
    UNAVAILABLE,
    "after 67 bytes"
)]
#[case::cut_off_at_once(xml("<?xml version='1.0'?>\n<meth"), Kind::CutOff, UNAVAILABLE, "")]
#[case::cut_off_between_elements(
    xml("<?xml version='1.0'?><methodResponse><params></params>"),
    Kind::CutOff,
    UNAVAILABLE,
    ""
)]
#[case::nothing(xml(""), Kind::NotAHub, UNAVAILABLE, "")]
#[case::page(
    Reply::page(200, "<!DOCTYPE html><html><body><h1>Down for maintenance</h1></body></html>"),
    Kind::NotAHub,
    UNAVAILABLE,
    "`Down for maintenance`"
)]
#[case::xhtml(
    xml("<?xml version='1.0'?><!DOCTYPE html><html><body>Down</body></html>"),
    Kind::NotAHub,
    UNAVAILABLE,
    "`Down`"
)]
#[case::text(Reply::page(200, "it works"), Kind::NotAHub, UNAVAILABLE, "`server` is the address")]
#[case::json(Reply::Http(200, vec![], b"{\"error\": 1}".to_vec()), Kind::NotAHub, UNAVAILABLE, "{\"error\": 1}")]
#[case::binary(Reply::Http(200, vec![], vec![0x1f, 0x8b, 8, 0, 0xff]), Kind::NotAHub, UNAVAILABLE, "")]
#[case::not_utf8(
    Reply::Http(200, vec![], [HEAD.as_bytes(), b"\xff", TAIL.as_bytes()].concat()), Kind::Malformed, REJECTED,
    "not UTF-8"
)]
#[case::unknown_type(xml(&format!("{HEAD}<set/>{TAIL}")), Kind::Malformed, REJECTED, "found set")]
#[case::no_number(xml(&format!("{HEAD}<int>many</int>{TAIL}")), Kind::Malformed, REJECTED, "expected an integer")]
#[case::not_nested(xml(&format!("{HEAD}<array><data></array></data>{TAIL}")), Kind::Malformed, REJECTED, "near byte")]
#[case::entities(xml(&format!("<?xml version='1.0'?><!DOCTYPE m [<!ENTITY a \
    'aaaa'>]><methodResponse>{TAIL}")), Kind::Malformed, REJECTED, "DOCTYPE")]
#[case::too_deep(
    xml(&format!("{HEAD}{}{TAIL}", "<array><data><value>".repeat(10_000))), Kind::Malformed, REJECTED,
    "more than 64 levels"
)]
#[case::request(
    xml("<?xml version='1.0'?><methodCall><methodName>x</methodName></methodCall>"),
    Kind::CutOff,
    UNAVAILABLE,
    ""
)]
#[case::found(
    Reply::Http(302, to("https://elsewhere/hub"), vec![]), Kind::Redirect, REJECTED,
    "302 and points to https://elsewhere/hub"
)]
#[case::moved(Reply::Http(301, to("https://elsewhere/hub"), vec![]), Kind::Redirect, REJECTED, "301")]
#[case::temporarily(Reply::Http(307, to("http://localhost:1/x"), vec![]), Kind::Redirect, REJECTED, "307")]
#[case::for_ever(Reply::Http(308, to("/x"), vec![]), Kind::Redirect, REJECTED, "308")]
#[case::nowhere(Reply::Http(302, vec![], vec![]), Kind::Redirect, REJECTED, "302")]
#[case::bad_request(
    Reply::Http(400, vec![], b"unable to parse request\n".to_vec()), Kind::Status(400), REJECTED,
    "HTTP 400: unable to parse request"
)]
#[case::login(
    Reply::Http(401, vec![("WWW-Authenticate", "Negotiate".to_owned())], vec![]), Kind::Unauthorized, REJECTED,
    "wants a login (`Negotiate`); no login is configured"
)]
#[case::forbidden(Reply::page(403, "Forbidden"), Kind::Status(403), REJECTED, "HTTP 403: Forbidden")]
#[case::not_found(Reply::page(404, "<h1>Not Found</h1>"), Kind::Status(404), REJECTED, "HTTP 404: Not Found")]
#[case::not_allowed(Reply::page(405, "This server only accepts POST requests."), Kind::Status(405), REJECTED, "405")]
#[case::too_many(Reply::page(429, "slow down"), Kind::Status(429), UNAVAILABLE, "429")]
#[case::internal(
    Reply::page(500, "<title>500 Internal Server Error</title>"),
    Kind::Status(500),
    UNAVAILABLE,
    "HTTP 500: 500 Internal Server Error"
)]
#[case::bad_gateway(Reply::page(502, ""), Kind::Status(502), UNAVAILABLE, "HTTP 502")]
#[case::busy(Reply::page(503, "busy"), Kind::Status(503), UNAVAILABLE, "503: busy")]
#[case::no_content(Reply::Http(204, vec![], vec![]), Kind::Status(204), REJECTED, "204")]
#[case::offline(
    Reply::fault(1014, "Server disabled for maintenance"),
    Kind::Offline,
    UNAVAILABLE,
    "the hub is offline: Server disabled for maintenance"
)]
#[case::broken(Reply::Break, Kind::Lost, UNAVAILABLE, "connection")]
#[case::broken_in_the_head(
    Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()), Kind::Lost, UNAVAILABLE, "connection"
)]
#[case::broken_in_the_body(Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n<?xml \
    version='1.0'?><methodResponse>".to_vec()), Kind::Lost, UNAVAILABLE, "")]
#[case::broken_in_a_chunk(Reply::Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: \
    chunked\r\n\r\n64\r\n<?xml".to_vec()), Kind::Lost, UNAVAILABLE, "")]
#[case::no_http(Reply::Raw(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), Kind::Lost, UNAVAILABLE, "")]
#[case::endless_head(
    Reply::Raw([b"HTTP/1.1 200 OK\r\n", b"X: y\r\n".repeat(100_000).as_slice()].concat()), Kind::Lost, UNAVAILABLE, ""
)]
#[case::announces_a_gigabyte(Reply::Silence(b"HTTP/1.1 200 OK\r\nContent-Length: \
    1073741824\r\n\r\n".to_vec()), Kind::TooLarge, REJECTED, "more than 268435456 bytes")]
#[tokio::test]
async fn what_a_server_may_do(#[case] reply: Reply, #[case] expected: Kind, #[case] class: Class, #[case] words: &str) {
    let (error, requests, stub) = ask(reply, |settings| settings).await;
    assert_eq!((kind(&error), error.class()), (expected, class), "{error}");
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    let text = format!("{error} {cause}");
    assert!(text.contains(words), "{text}");
    assert!(text.len() < 600 && !text.contains(char::is_control), "{text}");
    // A passing error is retried. An offline hub is retried only if that is configured.
    let again = class == UNAVAILABLE && !error.is_offline();
    assert_eq!(requests, if again { 3 } else { 1 });
    let others = stub.seen().iter().filter(|seen| seen.path != "/kojihub").count();
    assert_eq!(others, 0, "nobody is followed elsewhere");
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let limit = 1 << 20;
    let (error, requests, stub) = ask(Reply::Endless, |s| HubSettings { max_response: limit, ..s }).await;
    assert!(matches!(error, HubError::TooLarge { .. }), "{error}");
    assert_eq!((error.class(), requests), (REJECTED, 1));
    // The bytes in sockets and buffers come on top. A gigabyte does not.
    assert!(stub.written() < 64 << 20, "{}", stub.written());
}

#[tokio::test]
async fn a_gigabyte_that_is_announced_smaller_is_not_read_either() {
    // Only the announced length is read.
    let body = [HEAD, "<string>", &"x".repeat(5000), "</string>", TAIL].concat();
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
    let (error, ..) = ask(Reply::Raw([head, &body].concat().into()), |s| s).await;
    assert_eq!(kind(&error), Kind::CutOff, "{error}");
}

fn soon(settings: HubSettings) -> HubSettings {
    HubSettings { request_timeout: Duration::from_millis(400), max_retries: 1, ..settings }
}

#[rstest]
#[case::no_answer(Reply::Silence(vec![]), "no whole answer within 0.4 s")]
#[case::half_a_head(Reply::Silence(b"HTTP/1.1 200 OK\r\nContent".to_vec()), "no whole answer")]
#[case::half_a_body(Reply::Silence(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n<?xml".to_vec()), "within 0.4 s")]
#[case::slow_head(Reply::Trickle(b"HTTP/1.1 200 OK\r\nX:".to_vec()), "no whole answer")]
#[case::slow_body(Reply::Trickle(b"HTTP/1.1 200 OK\r\nContent-Type: \
    text/xml\r\n\r\n<?xml".to_vec()), "no whole answer")]
#[case::slow_refusal(Reply::Trickle(b"HTTP/1.1 500 Oops\r\nContent-Type: \
    text/html\r\n\r\n<html>".to_vec()), "no whole answer")]
#[tokio::test]
async fn who_is_slow_is_given_up(#[case] reply: Reply, #[case] words: &str) {
    let (error, requests, _) = ask(reply, soon).await;
    assert!(matches!(&error, HubError::Timeout { .. }) && error.to_string().contains(words), "{error}");
    assert_eq!((error.class(), error.may_have_happened(), requests), (UNAVAILABLE, true, 2));
}

#[tokio::test]
async fn who_stops_in_the_middle_is_given_up_before_the_whole_time_is_over() {
    let change = |s| HubSettings { idle_timeout: Duration::from_millis(50), ..s };
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n<?xml".to_vec();
    let (error, ..) = ask(Reply::Silence(half), change).await;
    assert!(error.to_string().contains("the answer stopped in the middle"), "{error}");
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_however_many_attempts_are_left() {
    let change = |s| HubSettings { deadline: Duration::from_millis(100), max_retries: u32::MAX, ..s };
    let (error, requests, _) = ask(Reply::Break, change).await;
    assert!(matches!(&error, HubError::Lost { .. } | HubError::Timeout { .. }), "{error}");
    assert!(requests < 200, "{requests}");
    let (error, requests, _) = ask(Reply::Silence(vec![]), change).await;
    assert!(matches!(&error, HubError::Timeout { .. }), "{error}");
    assert_eq!(requests, 1);
}

#[rstest]
#[case::a_large_number(Value::Int(i64::MAX))]
#[case::a_list(Value::Array(vec![Value::Nil]))]
#[case::a_record_without_anything(Value::Struct([].into()))]
#[case::text("x".into())]
#[case::bytes(Value::Bytes(vec![0]))]
#[tokio::test]
async fn answers_of_another_type_are_errors_with_a_place(#[case] answer: Value) {
    let stub = Stub::start(move |_| Reply::Answer(Ok(answer.clone()))).await;
    let hub = HubClient::new(stub.settings()).unwrap();
    let errors = [
        hub.ask(calls::list_tagged("f99", None)).await.err(),
        hub.ask(calls::get_task_info(TaskId(1))).await.err(),
        hub.ask(calls::get_build_target("f99")).await.err(),
        hub.ask(calls::get_task_descendents(TaskId(1))).await.err(),
    ];
    // An empty record is a tree without tasks.
    for error in errors.iter().flatten() {
        assert!(matches!(error, HubError::Shape { .. }) && error.class() == REJECTED, "{error:?}");
        assert!(std::error::Error::source(error).unwrap().to_string().contains(": expected "), "{error:?}");
    }
    assert!(errors.iter().flatten().count() >= 3);
}

#[rstest]
#[case::text_xml("text/xml")]
#[case::with_charset("text/xml; charset=utf-8")]
#[case::application("application/xml")]
#[case::wrong("text/html")]
#[tokio::test]
async fn what_an_answer_is_called_does_not_matter(#[case] name: &'static str) {
    let body = encode_response(&Ok(Value::Int(7))).unwrap();
    let stub = Stub::start(move |_| Reply::Http(200, vec![("Content-Type", name.to_owned())], body.clone())).await;
    let hub = HubClient::new(stub.settings()).unwrap();
    assert_eq!(hub.ask(raw("x", vec![])).await.unwrap(), Value::Int(7));
}

#[tokio::test]
async fn a_large_answer_comes_whole_and_in_chunks() {
    let records: Vec<Value> = (0..20_000).map(|n: i64| Value::Struct([("id".to_owned(), n.into())].into())).collect();
    let body = encode_response(&Ok(Value::Array(records.clone()))).unwrap();
    assert!(body.len() > 1 << 20);
    let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(999) {
        chunked.extend(format!("{:x}\r\n", chunk.len()).bytes());
        chunked.extend(chunk);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    for reply in [Reply::Raw(chunked), Reply::Raw(http(200, &[], &body))] {
        let stub = Stub::start(move |_| reply.clone()).await;
        let hub = HubClient::new(stub.settings()).unwrap();
        assert_eq!(hub.ask(raw("listTagged", vec![])).await.unwrap(), Value::Array(records.clone()));
    }
}

/// In a session, a call without a valid answer may have been executed. A call refused before was
/// not.
#[rstest]
#[case::malformed(xml(&format!("{HEAD}<set/>{TAIL}")), true)]
#[case::page(Reply::page(200, "Down"), true)]
#[case::internal(Reply::page(500, "Oops"), true)]
#[case::gigabyte(Reply::Silence(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n".to_vec()), true)]
#[case::broken(Reply::Break, true)]
#[case::redirect(Reply::Http(302, to("https://elsewhere/"), vec![]), false)]
#[case::bad_request(Reply::Http(400, vec![], vec![]), false)]
#[case::unauthorized(Reply::Http(401, vec![], vec![]), false)]
#[case::not_found(Reply::page(404, ""), false)]
#[tokio::test]
async fn it_is_said_what_may_have_happened(#[case] reply: Reply, #[case] perhaps: bool) {
    let dir = tempfile::tempdir().unwrap();
    let script = move |seen: &Seen| if seen.is_login() { Reply::session(1) } else { reply.clone() };
    let stub = Stub::start(script).await;
    let settings = HubSettings { max_retries: 1, ..stub.settings_with_login(&pem(dir.path())) };
    let mut session = HubClient::new(settings).unwrap().session();
    let error = session.ask(raw("build", vec![])).await.unwrap_err();
    assert_eq!(error.may_have_happened(), perhaps, "{error:?}");
    let numbers: Vec<_> = stub.seen().iter().filter_map(Seen::callnum).collect();
    assert!(numbers.iter().all(|number| *number == 0), "{numbers:?}");
    assert!(session.ask(raw("build", vec![])).await.is_err());
    assert_eq!(stub.seen().last().unwrap().callnum(), Some(1), "and the number is not used again");
}

#[tokio::test]
async fn a_hub_that_comes_back_is_used_again() {
    let count = AtomicUsize::new(0);
    let stub = Stub::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0..4 => Reply::Break,
        4..6 => Reply::fault(1014, "database outage"),
        _ => Reply::value(7),
    })
    .await;
    let hub = HubClient::new(HubSettings { max_retries: 1, ..stub.settings() }).unwrap();
    let mut failed = 0;
    while let Err(error) = hub.ask(raw("x", vec![])).await {
        assert_eq!(error.class(), UNAVAILABLE);
        failed += 1;
    }
    assert_eq!(failed, 4);
}
