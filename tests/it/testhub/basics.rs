//! The test hub itself: sessions, call numbers, expiry, outages, `multiCall`, phantom messages,
//! misbehaviour.

use std::sync::Arc;
use std::time::Duration;

use koschei::koji::xmlrpc::Value;
use rstest::rstest;

use crate::hub::value::row;
use crate::hub::{Caller, Gate, Hub, Lie, Login, NewBuild, NewWorld, Settings, V};

/// Makes a hub with a tag, a build tag, a target, and two builds. The first build is tagged.
fn hub() -> (Hub, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(Settings { may_use_repo_id: true, ..Settings::new(dir.path()) });
    let sed =
        |release: u32| NewBuild::new(&format!("sed-4.9-{release}.fc99")).binary("sed", &["x86_64", "aarch64"], &[]);
    NewWorld::on(&hub)
        .release("f99", "x86_64 aarch64", &[])
        .builds("f99", [sed(1)])
        .and(|tx| tx.import_build(&sed(2)).map(|_| ()))
        .ready([]);
    (hub, dir)
}

const SOURCE: &str = "../packages/sed/4.9/1.fc99/src/sed-4.9-1.fc99.src.rpm";

fn scratch() -> [V; 3] {
    [SOURCE.into(), "f99".into(), row! { "scratch" => true }]
}

fn code(result: Result<Value, koschei::koji::xmlrpc::Fault>) -> i64 {
    result.unwrap_err().code
}

fn int(value: &Value) -> i64 {
    value.as_int().unwrap()
}

/// The table of koji.md, §4: the number is stored only with a call that commits.
#[test]
fn call_numbers() {
    let (hub, _dir) = hub();
    let mut koschei = Caller::login(&hub, "koschei");
    koschei.callnum = 5;
    // A read call stores nothing: the same number and a smaller one are accepted.
    koschei.same("getLoggedInUser", &[]).unwrap();
    koschei.same("getLoggedInUser", &[]).unwrap();
    koschei.callnum = 3;
    koschei.same("getLoggedInUser", &[]).unwrap();
    // A failed call stores nothing.
    let refused = [SOURCE.into(), "f99".into(), row! { "scratch" => true }, (-5).into()];
    assert_eq!(code(koschei.same("build", &refused)), 1004);
    // A writing call stores it: the same number is refused and not executed, a smaller one is out
    // of order.
    let task = int(&koschei.same("build", &scratch()).unwrap());
    let fault = koschei.same("build", &scratch()).unwrap_err();
    let session = koschei.session.clone().unwrap().0;
    assert_eq!(
        (fault.code, fault.message),
        (1009, format!("unable to retry call 3 (method build) for session {session}"))
    );
    koschei.callnum = 2;
    let fault = koschei.same("getLoggedInUser", &[]).unwrap_err();
    assert_eq!((fault.code, fault.message), (1008, format!("3 > 2 (session {session})")));
    assert_eq!(hub.dump().tasks.iter().map(|t| t.id).collect::<Vec<_>>(), [task]);
}

#[test]
fn without_a_session() {
    let (hub, _dir) = hub();
    let mut nobody = Caller::new(&hub);
    assert_eq!(nobody.call("getLoggedInUser", &[]).unwrap(), Value::Nil);
    assert_eq!(code(nobody.call("build", &scratch())), 1004);
    nobody.session = Some((77, "1-xyz".to_owned()));
    let fault = nobody.call("getAPIVersion", &[]).unwrap_err();
    assert_eq!((fault.code, fault.message.as_str()), (1002, "Invalid session or bad credentials"));
    assert_eq!(hub.dump().tasks, []);
}

#[test]
fn expiry_and_renewal() {
    let (hub, _dir) = hub();
    let mut koschei = Caller::login(&hub, "koschei");
    for _ in 0..4 {
        koschei.call("build", &scratch()).unwrap();
    }
    hub.core.lock().clock.advance(Duration::from_hours(25));
    let session = koschei.session.clone().unwrap();
    let fault = koschei.call("getAPIVersion", &[]).unwrap_err();
    assert_eq!((fault.code, fault.message), (1007, format!("session \"{}\" has expired", session.0)));
    koschei.renew();
    let renewed = koschei.session.clone().unwrap();
    assert!(renewed.0 == session.0 && renewed.1 != session.1, "the same session with another key");
    // The hub continues to count: a client that starts at 0 again is out of order.
    let reset = Caller { callnum: 0, ..koschei.clone() };
    assert_eq!(code(reset.same("getAPIVersion", &[])), 1008);
    koschei.call("getAPIVersion", &[]).unwrap();
    koschei.call("logout", &[]).unwrap();
    assert_eq!(code(koschei.call("getAPIVersion", &[])), 1002);
}

#[test]
fn sessions_in_the_url() {
    let (hub, _dir) = hub();
    let koschei = Caller::login(&hub, "koschei");
    let (id, key) = koschei.session.clone().unwrap();
    let nobody = Caller::new(&hub);
    let body = crate::hub::value::request("getLoggedInUser", &[]);
    let path = format!("/kojihub?session-id={id}&session-key={key}&callnum=1");
    let user =
        |answer: crate::hub::caller::Answer| koschei::koji::xmlrpc::decode_response(&answer.body).unwrap().unwrap();
    assert_eq!(user(nobody.post(&path, &body).unwrap()).get("name").unwrap().as_str(), Some("koschei"));
    hub.settings(|s| s.url_sessions = false);
    assert_eq!(user(nobody.post(&path, &body).unwrap()), Value::Nil);
}

#[test]
fn outages() {
    let (hub, _dir) = hub();
    let mut koschei = Caller::login(&hub, "koschei");
    let mut admin = Caller::login(&hub, "kojiadmin");
    hub.settings(|s| s.offline = Some("planned outage".to_owned()));
    let fault = koschei.call("getAPIVersion", &[]).unwrap_err();
    assert_eq!((fault.code, fault.message.as_str()), (1014, "planned outage"));
    // A malformed request is not read, and GET is answered as always.
    let answer = Caller::new(&hub).post("/kojihub", "<methodCall>").unwrap();
    assert_eq!(answer.status, 200);
    let address = koschei.address.clone();
    assert_eq!(crate::hub::caller::http(&address, "GET /kojihub HTTP/1.1\r\n", b"").unwrap().status, 405);
    hub.settings(|s| s.offline = None);
    assert_eq!(Caller::new(&hub).post("/kojihub", "<methodCall>").unwrap().status, 400);

    hub.settings(|s| s.lockout = true);
    assert_eq!(code(koschei.call("getAPIVersion", &[])), 1014);
    assert_eq!(code(Caller::new(&hub).call("getAPIVersion", &[])), 1014);
    admin.call("getAPIVersion", &[]).unwrap();
    Caller::login(&hub, "koschei").call("logout", &[]).unwrap();
    hub.settings(|s| s.lockout = false);

    hub.settings(|s| s.database_down = true);
    let fault = koschei.call("getAPIVersion", &[]).unwrap_err();
    assert_eq!((fault.code, fault.message.as_str()), (1014, "database outage"));
    hub.settings(|s| s.database_down = false);
    koschei.call("getAPIVersion", &[]).unwrap();
}

/// A stopped hub refuses connections. Tables and sessions are kept.
#[test]
fn stopped_and_started() {
    let (hub, _dir) = hub();
    let mut koschei = Caller::login(&hub, "koschei");
    koschei.call("build", &scratch()).unwrap();
    hub.stop();
    let refused = koschei.post("/kojihub", "").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    hub.restart();
    assert_eq!(koschei.call("getLoggedInUser", &[]).unwrap().get("name").unwrap().as_str(), Some("koschei"));
    assert_eq!(hub.dump().tasks.len(), 1);
}

/// A failed element is rolled back alone. Its message is published when the rest commits.
#[test]
fn multi_call_and_phantoms() {
    let (hub, _dir) = hub();
    let mut admin = Caller::login(&hub, "kojiadmin");
    let element = |method: &str, params: Vec<V>| row! { "methodName" => method, "params" => params };
    let before = hub.dump();
    let elements = vec![
        element("massTag", vec!["f99".into(), vec![V::from("sed-4.9-2.fc99"), "no-such-build-1-1".into()].into()]),
        element("getTag", vec!["f99".into(), row! { "strict" => true, "__starstar" => true }]),
        element("noSuchMethod", Vec::new()),
    ];
    // Nothing commits, so there is no message.
    let answers = admin.call("multiCall", &[elements.clone().into()]).unwrap();
    assert_eq!(hub.take_messages(), []);
    let fault = |n: usize| int(answers.as_array().unwrap()[n].get("faultCode").unwrap());
    assert_eq!((fault(0), fault(2)), (1000, 1000));
    assert_eq!(answers.as_array().unwrap()[1].as_array().unwrap()[0].get("name").unwrap().as_str(), Some("f99"));

    let mut elements = elements;
    elements.push(element("packageListAdd", vec!["f99".into(), "tar".into(), "bob".into()]));
    admin.call("multiCall", &[elements.into()]).unwrap();
    let topics: Vec<String> = hub.take_messages().iter().map(|m| m.short_topic().to_owned()).collect();
    assert_eq!(topics, ["buildsys.tag", "buildsys.package.list.change"]);
    let after = hub.dump();
    assert_eq!(after.tags["f99"].builds, before.tags["f99"].builds, "it was not tagged");
    assert!(after.tags["f99"].packages.contains_key("tar"));
    assert_eq!(after.last_event, before.last_event + 1, "the failed element's event is gone");
}

/// The database goes away in the middle of a call: the call is rolled back with HTTP 500 and
/// without a message. Then comes fault 1014. The session continues afterwards.
#[test]
fn a_call_in_flight_when_the_database_dies() {
    let (hub, _dir) = hub();
    let koschei = Caller::login(&hub, "koschei");
    hub.misbehave("build", Lie::DatabaseDies, 1);
    let answer = koschei.post("/kojihub", &crate::hub::value::request("build", &scratch())).unwrap();
    assert_eq!(answer.status, 500);
    assert_eq!(code(koschei.same("build", &scratch())), 1014);
    hub.settings(|s| s.database_down = false);
    assert_eq!(hub.dump().tasks, []);
    koschei.same("build", &scratch()).unwrap();
    assert_eq!(hub.dump().tasks.len(), 1);
}

/// The answer is lost and the task exists. The same number shows that.
#[test]
fn a_lost_answer() {
    let (hub, _dir) = hub();
    let mut koschei = Caller::login(&hub, "koschei");
    koschei.call("getAPIVersion", &[]).unwrap();
    hub.misbehave("build", Lie::CutAfter, 1);
    assert!(koschei.post("/kojihub", &crate::hub::value::request("build", &scratch())).is_err());
    assert_eq!(code(koschei.same("build", &scratch())), 1009);
    assert_eq!(hub.dump().tasks.len(), 1);
}

#[rstest]
#[case::status(Lie::Status(502))]
#[case::fault(Lie::Fault(1, "Traceback".to_owned()))]
#[case::cut(Lie::CutBefore)]
#[case::redirect(Lie::Redirect("http://127.0.0.1:1/".to_owned()))]
fn not_executed(#[case] lie: Lie) {
    let (hub, _dir) = hub();
    let koschei = Caller::login(&hub, "koschei");
    hub.misbehave("build", lie, 1);
    let answer = koschei.post("/kojihub", &crate::hub::value::request("build", &scratch()));
    assert!(answer.map_or(true, |a| a.status != 200 || String::from_utf8_lossy(&a.body).contains("faultCode")));
    assert_eq!(hub.dump().tasks, []);
    koschei.same("build", &scratch()).unwrap();
}

#[test]
fn bad_answers() {
    let (hub, _dir) = hub();
    let nobody = Caller::new(&hub);
    let ask = || nobody.post("/kojihub", &crate::hub::value::request("getAPIVersion", &[]));
    hub.misbehave("getAPIVersion", Lie::Truncate(40), 1);
    assert!(ask().is_err());
    hub.misbehave("getAPIVersion", Lie::Raw(b"<html>".to_vec()), 1);
    assert_eq!(ask().unwrap().body, b"<html>");
    hub.misbehave("getAPIVersion", Lie::Answer("one".into()), 1);
    assert!(String::from_utf8(ask().unwrap().body).unwrap().contains("<string>one</string>"));
    hub.misbehave("getAPIVersion", Lie::Huge(1 << 20), 1);
    assert!(ask().unwrap().body.len() > 1 << 20);
    hub.misbehave_after(1, "getAPIVersion", Lie::Status(500), 1);
    assert_eq!((ask().unwrap().status, ask().unwrap().status, ask().unwrap().status), (200, 500, 200));
}

#[test]
fn a_gate() {
    let (hub, _dir) = hub();
    let gate: Gate = hub.gate("getAPIVersion");
    let caller = Caller::new(&hub);
    let thread = std::thread::spawn(move || caller.same("getAPIVersion", &[]));
    hub.wait_at(&gate);
    Caller::new(&hub).call("getAPIVersion", &[]).unwrap();
    assert!(!thread.is_finished());
    gate.open();
    assert_eq!(thread.join().unwrap().unwrap(), Value::Int(1));
    assert_eq!(hub.calls()["getAPIVersion"], 2);
}

/// Hubs before 1.35 have no calls `repo.*`, do not send their version, and return less about a
/// repository.
#[test]
fn an_older_hub() {
    let (hub, _dir) = hub();
    let repo = hub.change(|tx| tx.new_repo("f99-build"));
    let nobody = Caller::new(&hub);
    let version = |hub: &Caller| hub.post("/kojihub", &crate::hub::value::request("getKojiVersion", &[])).unwrap();
    assert!(version(&nobody).head.to_lowercase().contains("koji-version: 1.35.3"));
    assert!(nobody.same("repoInfo", &[repo.into()]).unwrap().get("opts").is_some());
    nobody.same("repo.get", &["f99-build".into()]).unwrap();
    hub.settings(|s| s.version = "1.30.1".to_owned());
    assert!(!version(&nobody).head.to_lowercase().contains("koji-version"));
    assert_eq!(nobody.same("repo.get", &["f99-build".into()]).unwrap_err().message, "Invalid method: repo.get");
    assert!(nobody.same("repoInfo", &[repo.into()]).unwrap().get("opts").is_none());
}

/// A hub whose login requires Kerberos: 401 without a token. With one, the server's token comes
/// back.
#[test]
fn negotiated_logins() {
    let dir = tempfile::tempdir().unwrap();
    let accept = |token: &[u8]| (token == b"ticket").then(|| ("koschei@LAB.TEST".to_owned(), Some(b"mutual".to_vec())));
    let hub = Hub::start_with(Settings::new(dir.path()), Login::Negotiate(None, Arc::new(accept)));
    let address = Caller::new(&hub).address;
    let login = |authorization: &str| {
        let head = format!("POST /kojihub/ssllogin HTTP/1.1\r\nContent-Type: text/xml\r\n{authorization}");
        crate::hub::caller::http(&address, &head, crate::hub::value::request("sslLogin", &[]).as_bytes()).unwrap()
    };
    let refused = login("");
    assert_eq!(refused.status, 401);
    assert!(refused.head.to_lowercase().contains("www-authenticate: negotiate"));
    assert_eq!(login("Authorization: Negotiate AAAA\r\n").status, 401);
    // base64 of "ticket" and of "mutual".
    let answer = login("Authorization: Negotiate dGlja2V0\r\n");
    assert!(answer.head.contains("Negotiate bXV0dWFs"), "{}", answer.head);
    let session = koschei::koji::xmlrpc::decode_response(&answer.body).unwrap().unwrap();
    let key = session.get("session-key").unwrap().as_str().unwrap().to_owned();
    let mut koschei = Caller { session: Some((int(session.get("session-id").unwrap()), key)), ..Caller::new(&hub) };
    let user = koschei.call("getLoggedInUser", &[]).unwrap();
    assert_eq!(
        (user.get("name").unwrap().as_str(), user.get("authtype").unwrap().as_int()),
        (Some("koschei"), Some(3))
    );
}

/// The builder checks what an ordinary user may not do: the task fails.
#[rstest]
#[case::repo(|s: &mut Settings| s.may_use_repo_id = false, "build_from_repo_id")]
#[case::srpm(|s: &mut Settings| s.may_use_srpm = false, "build_from_srpm")]
#[case::build(|s: &mut Settings| s.may_build = false, "build_rpm")]
fn policies(#[case] forbid: fn(&mut Settings), #[case] policy: &str) {
    let (hub, _dir) = hub();
    let repo = hub.change(|tx| tx.new_repo("f99-build"));
    hub.settings(forbid);
    let text = format!("policy violation ({policy}): Only admin can do this via default policy");
    for user in ["koschei", "kojiadmin"] {
        let mut caller = Caller::login(&hub, user);
        let opts = row! { "scratch" => true, "repo_id" => repo };
        let id = int(&caller.call("build", &[SOURCE.into(), "f99".into(), opts]).unwrap());
        hub.work_all();
        let result = caller.call("getTaskResult", &[id.into()]).map_err(|f| (f.code, f.message));
        let expected = if user == "koschei" { Err((1004, text.clone())) } else { Ok(Value::Nil) };
        assert_eq!(result, expected);
    }
    // An unbound scratch build: Koji allows it to everybody by default.
    hub.settings(|s| {
        let usual = Settings::new("");
        (s.may_use_repo_id, s.may_use_srpm, s.may_build) = (usual.may_use_repo_id, usual.may_use_srpm, usual.may_build);
    });
    let mut caller = Caller::login(&hub, "koschei");
    let id = int(&caller.call("build", &[SOURCE.into(), "f99".into(), row! { "scratch" => true }]).unwrap());
    hub.work_all();
    assert_eq!(caller.call("getTaskResult", &[id.into()]), Ok(Value::Nil));
}
