//! Calls that change something: call numbers, lost answers, and sessions that end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use koschei::koji::xmlrpc::Value;
use koschei::koji::{HubClient, HubError, HubSettings, Session};
use koschei::model::{Class, Classified};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rstest::rstest;

use crate::koji_stub::{Reply, Seen, Stub, raw};

/// Writes a self-signed certificate with its key. The stub accepts any login.
pub(crate) fn pem(dir: &std::path::Path) -> std::path::PathBuf {
    let made = rcgen::generate_simple_self_signed(["koschei".to_owned()]).unwrap();
    let path = dir.join("koschei.pem");
    std::fs::write(&path, made.cert.pem() + &made.signing_key.serialize_pem()).unwrap();
    path
}

struct Rig {
    stub: Stub,
    hub: HubClient,
    _dir: tempfile::TempDir,
}

impl Rig {
    async fn new(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(script, |settings| settings).await
    }

    async fn with(
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
        change: impl Fn(HubSettings) -> HubSettings,
    ) -> Self {
        let (stub, dir) = (Stub::start(script).await, tempfile::tempdir().unwrap());
        let hub = HubClient::new(change(stub.settings_with_login(&pem(dir.path())))).unwrap();
        Self { stub, hub, _dir: dir }
    }

    /// Returns method, session and call number of every request.
    fn log(&self) -> Vec<(String, Option<i64>, Option<i64>)> {
        self.stub.seen().into_iter().map(|s| (s.call.method.clone(), s.session(), s.callnum())).collect()
    }
}

fn entry(method: &str, session: Option<i64>, number: Option<i64>) -> (String, Option<i64>, Option<i64>) {
    (method.to_owned(), session, number)
}

/// Answers logins with sessions 1, 2, 3 …, and other calls with what `script` returns for the
/// number of calls before.
fn with_logins(
    script: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static,
) -> impl Fn(&Seen) -> Reply + Send + Sync {
    let (logins, calls) = (AtomicUsize::new(0), AtomicUsize::new(0));
    move |seen| {
        if seen.is_login() {
            Reply::session(i64::try_from(logins.fetch_add(1, Ordering::SeqCst)).unwrap() + 1)
        } else {
            script(calls.fetch_add(1, Ordering::SeqCst), seen)
        }
    }
}

async fn call(session: &mut Session, method: &str) -> Result<Value, HubError> {
    session.ask(raw(method, vec![])).await
}

#[tokio::test]
async fn calls_are_numbered_and_carry_the_session() {
    let rig = Rig::new(with_logins(|_, _| Reply::value(7))).await;
    let mut session = rig.hub.session();
    assert_eq!(session.id(), None);
    for _ in 0..3 {
        assert_eq!(call(&mut session, "build").await.unwrap(), Value::Int(7));
    }
    assert_eq!(session.id(), Some(1));
    session.logout().await.unwrap();
    session.logout().await.unwrap();
    let login = &rig.stub.seen()[0];
    assert_eq!((login.path.as_str(), login.callnum()), ("/kojihub/ssllogin", None));
    assert_eq!(login.call.kwargs, [("proxyuser".to_owned(), Value::Nil)].into());
    assert_eq!(rig.stub.seen()[1].header("Koji-Session-Key"), Some("3-key"));
    let build = |number| entry("build", Some(1), Some(number));
    let logout = entry("logout", Some(1), Some(3));
    assert_eq!(rig.log(), [entry("sslLogin", None, None), build(0), build(1), build(2), logout]);
    assert!(!format!("{session:?} {:?}", rig.hub).contains("3-key"));
    call(&mut session, "build").await.unwrap();
    assert_eq!(rig.log().last(), Some(&entry("build", Some(2), Some(0))), "after a logout there is another session");
}

#[tokio::test]
async fn two_workers_have_two_sessions() {
    let rig = Rig::new(with_logins(|_, _| Reply::value(7))).await;
    let (mut one, mut two) = (rig.hub.session(), rig.hub.session());
    one.login().await.unwrap();
    two.login().await.unwrap();
    assert_eq!((one.id(), two.id()), (Some(1), Some(2)));
}

#[rstest]
#[case::broken(Reply::Break)]
#[case::internal_error(Reply::page(500, "Internal Server Error"))]
#[case::gateway(Reply::page(502, "no backend"))]
#[case::busy(Reply::page(503, "busy"))]
#[case::cut_off(Reply::Http(200, vec![], b"<?xml version='1.0'?>\n<methodResponse>\n<params>".to_vec()))]
#[tokio::test]
async fn a_lost_answer_is_asked_for_with_the_same_number(#[case] loss: Reply) {
    let rig = Rig::new(with_logins(move |n, _| if n == 1 || n == 2 { loss.clone() } else { Reply::value(7) })).await;
    let mut session = rig.hub.session();
    for _ in 0..3 {
        assert_eq!(call(&mut session, "build").await.unwrap(), Value::Int(7));
    }
    let numbers: Vec<_> = rig.log().into_iter().filter_map(|(_, _, number)| number).collect();
    assert_eq!(numbers, [0, 1, 1, 1, 2]);
}

#[tokio::test]
async fn what_was_executed_before_is_an_error_of_its_own() {
    let rig = Rig::new(with_logins(|n, _| match n {
        0 => Reply::Break,
        1 => Reply::fault(1009, "unable to retry call 0 (method build) for session 1"),
        _ => Reply::value(7),
    }))
    .await;
    let mut session = rig.hub.session();
    let error = call(&mut session, "build").await.unwrap_err();
    assert!(matches!(error, HubError::ResultLost { .. }) && error.may_have_happened(), "{error}");
    assert_eq!(call(&mut session, "getTaskInfo").await.unwrap(), Value::Int(7));
    let expected = [
        entry("sslLogin", None, None),
        entry("build", Some(1), Some(0)),
        entry("build", Some(1), Some(0)),
        entry("getTaskInfo", Some(1), Some(1)),
    ];
    assert_eq!(rig.log(), expected, "the session goes on");
}

#[rstest]
#[case::expired(1007, "session \"1\" has expired")]
#[case::behind(1008, "6 > 0 (session 1)")]
#[case::unknown(1002, "Invalid session or bad credentials")]
#[tokio::test]
async fn a_session_that_is_none_any_more_is_replaced(#[case] code: i64, #[case] message: &'static str) {
    let rig = Rig::new(with_logins(move |n, _| match n {
        3 => Reply::fault(code, message),
        _ => Reply::value(7),
    }))
    .await;
    let mut session = rig.hub.session();
    for _ in 0..5 {
        assert_eq!(call(&mut session, "build").await.unwrap(), Value::Int(7));
    }
    let numbers: Vec<_> = rig.log().into_iter().filter_map(|(_, session, number)| session.zip(number)).collect();
    assert_eq!(numbers, [(1, 0), (1, 1), (1, 2), (1, 3), (2, 0), (2, 1)]);
    assert_eq!(session.id(), Some(2));
}

#[tokio::test]
async fn sessions_are_not_replaced_for_ever() {
    let rig = Rig::new(with_logins(|_, _| Reply::fault(1007, "session has expired"))).await;
    let error = call(&mut rig.hub.session(), "build").await.unwrap_err();
    assert_eq!((error.fault().unwrap().code, error.class()), (1007, Class::Unavailable));
    assert_eq!(rig.log().len(), 4, "two logins, two calls");
}

#[tokio::test]
async fn a_call_that_may_have_happened_is_not_sent_in_another_session() {
    let rig = Rig::new(with_logins(|n, _| match n {
        0 => Reply::Break,
        1 => Reply::fault(1007, "session \"1\" has expired"),
        _ => Reply::value(7),
    }))
    .await;
    let mut session = rig.hub.session();
    let error = call(&mut session, "build").await.unwrap_err();
    assert!(matches!(error, HubError::Uncertain { .. }) && error.may_have_happened(), "{error}");
    assert_eq!(rig.log().len(), 3);
    call(&mut session, "listTasks").await.unwrap();
    assert_eq!(rig.log().last(), Some(&entry("listTasks", Some(2), Some(0))));
}

#[tokio::test]
async fn a_hub_that_goes_away_after_a_lost_answer_leaves_it_uncertain() {
    let change = |settings| HubSettings { max_retries: 2, ..settings };
    let script = with_logins(|n, _| if n == 0 { Reply::Break } else { Reply::fault(1014, "database outage") });
    let rig = Rig::with(script, change).await;
    let error = call(&mut rig.hub.session(), "build").await.unwrap_err();
    assert!(error.may_have_happened() && error.is_offline() && error.class() == Class::Unavailable, "{error:?}");
    // Without the lost answer there is no doubt.
    let rig = Rig::with(with_logins(|_, _| Reply::fault(1014, "database outage")), change).await;
    let error = call(&mut rig.hub.session(), "build").await.unwrap_err();
    assert!(!error.may_have_happened() && error.is_offline(), "{error:?}");
    // A fault after a lost answer means that the call was not executed, neither then nor now.
    let rig = Rig::new(with_logins(|n, _| if n == 0 { Reply::Break } else { Reply::fault(1004, "no") })).await;
    let error = call(&mut rig.hub.session(), "build").await.unwrap_err();
    assert!(matches!(&error, HubError::Fault { .. }) && !error.may_have_happened(), "{error:?}");
}

#[rstest]
#[case::offline("server is offline")]
#[case::database("database outage")]
#[tokio::test]
async fn a_login_while_the_hub_is_offline_says_nothing_about_credentials(#[case] message: &'static str) {
    let rig = Rig::new(move |_| Reply::fault(1014, message)).await;
    let error = call(&mut rig.hub.session(), "build").await.unwrap_err();
    assert!(matches!(&error, HubError::Offline { .. }), "{error:?}");
    assert_eq!((error.class(), error.is_offline()), (Class::Unavailable, true));
}

#[tokio::test]
async fn a_refused_login_says_what_to_look_at() {
    let rig = Rig::new(|_| Reply::fault(1002, "could not verify client: NONE")).await;
    let error = rig.hub.session().login().await.unwrap_err();
    assert!(matches!(&error, HubError::Denied { .. }) && error.class() == Class::Rejected);
    let text = error.to_string();
    assert!(text.contains("could not verify client: NONE (fault 1002); is the certificate in /"), "{text}");
    assert_eq!(rig.log().len(), 1, "and is not tried again");
    let hub = HubClient::new(rig.stub.settings()).unwrap();
    let error = call(&mut hub.session(), "build").await.unwrap_err();
    assert!(error.to_string().contains("no login is configured"), "{error}");
}

#[tokio::test]
async fn a_login_is_tried_again_when_it_did_not_get_through() {
    let count = AtomicUsize::new(0);
    let rig = Rig::new(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::Break,
        1 => Reply::page(503, "busy"),
        _ => Reply::session(5),
    })
    .await;
    let mut session = rig.hub.session();
    session.login().await.unwrap();
    assert_eq!((session.id(), rig.hub.requests()), (Some(5), 3));
    session.login().await.unwrap();
    assert_eq!(rig.hub.requests(), 3);
}

#[rstest]
#[case::nothing(Reply::value(Value::Nil))]
#[case::key(
    Reply::value(Value::Struct([("session-id".to_owned(), 5.into()), ("session-key".to_owned(), "a\nb".into())].into()))
)]
#[tokio::test]
async fn a_strange_session_is_refused(#[case] reply: Reply) {
    let rig = Rig::new(move |_| reply.clone()).await;
    let error = rig.hub.session().login().await.unwrap_err();
    assert!(matches!(&error, HubError::Shape { .. }), "{error:?}");
}

#[tokio::test]
async fn a_hub_that_knows_no_headers_is_too_old() {
    let session = [("session-id".to_owned(), Value::Int(5)), ("session-key".to_owned(), "key".into())];
    let rig = Rig::new(move |_| Reply::value(Value::Struct(session.clone().into()))).await;
    let error = rig.hub.session().login().await.unwrap_err();
    assert!(matches!(&error, HubError::TooOld { .. }) && error.class() == Class::Rejected, "{error:?}");
}

#[tokio::test]
async fn the_number_of_a_call_that_was_given_up_is_not_used_again() {
    let rig = Rig::new(with_logins(|n, _| if n == 1 { Reply::Silence(vec![]) } else { Reply::value(7) })).await;
    let mut session = rig.hub.session();
    call(&mut session, "build").await.unwrap();
    {
        let mut given_up = Box::pin(call(&mut session, "build"));
        // Wait until the hub has the call.
        while rig.stub.seen().len() < 3 {
            tokio::select! {
                _ = &mut given_up => panic!("there is no answer"),
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
        }
    }
    call(&mut session, "build").await.unwrap();
    let numbers: Vec<_> = rig.log().into_iter().filter_map(|(_, _, number)| number).collect();
    assert_eq!(numbers, [0, 1, 2]);
}

/// A hub's memory: for each session the number of the last call that changed something, and how
/// often each thing was done.
#[derive(Default)]
struct Kept {
    sessions: i64,
    numbers: BTreeMap<i64, i64>,
    done: BTreeMap<i64, usize>,
}

impl Kept {
    /// Handles a call that makes something, like Koji (`kojihub/auth.py`).
    fn build(&mut self, session: i64, number: i64, decision: i64) -> Reply {
        let Some(last) = self.numbers.get_mut(&session) else {
            return Reply::fault(1007, "session has expired");
        };
        if *last > number {
            return Reply::fault(1008, &format!("{last} > {number} (session {session})"));
        }
        if *last == number {
            return Reply::fault(1009, "unable to retry call");
        }
        *last = number;
        *self.done.entry(decision).or_default() += 1;
        Reply::value(decision)
    }
}

/// With random losses: a call reported as done was done once, a call reported as not done was not
/// done, and nothing is done twice.
#[rstest]
#[case(1)]
#[case(2)]
#[case(3)]
#[case(4)]
#[tokio::test]
async fn whatever_happens_on_the_way_nothing_is_done_twice(#[case] seed: u64) {
    let kept = Arc::new(Mutex::new(Kept::default()));
    let rng = Mutex::new(StdRng::seed_from_u64(seed));
    let script = {
        let kept = kept.clone();
        move |seen: &Seen| {
            let mut kept = kept.lock().unwrap();
            let fate = rng.lock().unwrap().random_range(0..100);
            match fate {
                // The request is lost.
                0..5 => return Reply::Break,
                5..8 => return Reply::page(500, "rolled back"),
                8..11 => return Reply::fault(1014, "database outage"),
                // All sessions end.
                11..14 => kept.numbers.clear(),
                _ => {}
            }
            let reply = if seen.is_login() {
                kept.sessions += 1;
                let id = kept.sessions;
                kept.numbers.insert(id, -1);
                Reply::session(id)
            } else {
                let decision = seen.call.args[0].as_int().unwrap();
                kept.build(seen.session().unwrap(), seen.callnum().unwrap(), decision)
            };
            match fate {
                // The answer is lost.
                14..30 => Reply::Break,
                30..34 => Reply::page(502, "no backend"),
                34..37 => Reply::Silence(vec![]),
                _ => reply,
            }
        }
    };
    let soon = Duration::from_millis(100);
    let change = |settings| HubSettings { max_retries: 2, request_timeout: soon, auth_timeout: soon, ..settings };
    let rig = Rig::with(script, change).await;
    let mut session = rig.hub.session();
    let mut seen = BTreeMap::new();
    for decision in 0..300_i64 {
        let outcome = match session.ask(raw("build", vec![decision.into()])).await {
            Ok(value) => {
                assert_eq!(value, Value::Int(decision));
                "done"
            }
            Err(HubError::ResultLost { .. }) => "done, result lost",
            Err(error) if error.may_have_happened() => "perhaps",
            Err(_) => "not done",
        };
        let times = kept.lock().unwrap().done.get(&decision).copied().unwrap_or(0);
        let fits = match outcome {
            "perhaps" => times <= 1,
            "not done" => times == 0,
            _ => times == 1,
        };
        assert!(fits, "decision {decision}: {outcome}, and was done {times} times");
        *seen.entry(outcome).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 4, "each of these must have come: {seen:?}");
}
