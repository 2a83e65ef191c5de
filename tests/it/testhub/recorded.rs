//! Makes the recorded calls to the test hub, with the real hub's facts in its tables. The answers
//! must agree in members, types, nils and order, and in values if the facts determine them.
//!
//! `tests/data/*/facts.jsonl.zst` hold rows of the hub's tables, and the hub makes its answers from
//! them. Rows that a recorded call creates (sessions, tasks, repository requests, external
//! repositories) are created here by the same call.

use std::collections::BTreeSet;

use koschei::koji::xmlrpc::{Fault, Value, decode_response};

use crate::hub::caller::{Answer, http};
use crate::hub::{Caller, Hub, Login, Settings};
use crate::testhub::facts::{apply, complete, facts};

/// One exchange of the file with all exchanges.
#[derive(serde::Deserialize)]
struct Exchange {
    label: String,
    method: String,
    path: String,
    callnum: Option<i64>,
    status: u16,
    content_type: Option<String>,
    request: Option<String>,
    response: Option<String>,
}

impl Exchange {
    fn number(&self) -> u32 {
        self.label.get(..4).unwrap().parse().unwrap()
    }

    fn name(&self) -> &str {
        self.label.get(5..).unwrap()
    }

    fn called(&self) -> &str {
        let request = self.request.as_deref().unwrap_or_default();
        request.split_once("<methodName>").and_then(|(_, rest)| rest.split_once('<')).map_or("", |(name, _)| name)
    }
}

fn exchanges(recording: &str) -> Vec<Exchange> {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(recording).join("exchanges.jsonl.zst");
    let text = zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap();
    std::str::from_utf8(&text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Exchanges that are not repeated, and why.
const NOT_ASKED: &[(&str, &str)] = &[
    ("http-malformed", "the text repeats what Python's parser says"),
    ("sslLogin-gssapi-no-ticket", "another web server's address; hub_basics has a hub with Kerberos"),
    ("rawUpload", "the uploaded file is not in the recording; testhub::client uploads one"),
    ("offline-files", "a file of the recorded hub"),
    ("db-down-in-flight-write", "depends on the moment; hub_basics has the case"),
];

/// Members whose values the facts do not determine: label, and members (`*`: all). Only their types
/// are compared.
const UNDETERMINED: &[(&str, &str)] = &[
    // Made up by the hub.
    ("sslLogin", "session-key"),
    ("getSessionInfo", "start_time start_ts update_time update_ts"),
    ("multiCall-embedded-fault", "traceback"),
    // The time of the call itself; and the lab's lag for repositories.
    ("repo.request-mixed", "min_event"),
    ("repo.request-no-arches", "min_event"),
    ("getTaskInfo-free", "create_time create_ts"),
    ("listTasks-active", "create_time create_ts"),
    ("retry-same-callnum", "create_time create_ts"),
    ("getTaskInfo-canceled-now", "create_time create_ts completion_time completion_ts"),
    ("repo.request", "create_time create_ts update_time update_ts"),
    ("repo.checkRequest", "create_time create_ts update_time update_ts"),
    // As XML in the client's order of members, which decoding loses.
    ("listTasks-no-decode", "request"),
    // Files have times of their own.
    ("listTaskOutput", "st_atime st_ctime st_mtime"),
    ("listRPMFiles", "digest md5"),
];

/// Calls whose rows come in the database's order, because there is no ORDER BY. They are compared
/// sorted by number.
const UNORDERED: &[(&str, &str)] = &[
    ("listTaggedRPMS", "packages in the order of a hash join"),
    ("listRPMs", "contents of buildroots, too"),
    ("listBuildroots", "by package"),
];

/// Collects the differing paths of two values. Members in `free` are compared by type only.
fn differences(path: &str, ours: &Value, theirs: &Value, free: &BTreeSet<&str>, out: &mut Vec<String>) {
    let member = path.rsplit('.').next().unwrap_or_default();
    match (ours, theirs) {
        (Value::Struct(a), Value::Struct(b)) => {
            for name in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
                match (a.get(name), b.get(name)) {
                    (Some(a), Some(b)) => differences(&format!("{path}.{name}"), a, b, free, out),
                    (Some(_), None) => out.push(format!("{path}.{name}: not there in Koji")),
                    _ => out.push(format!("{path}.{name}: missing")),
                }
            }
        }
        _ if free.contains(member) && std::mem::discriminant(ours) == std::mem::discriminant(theirs) => (),
        (Value::Array(a), Value::Array(b)) => {
            if a.len() != b.len() {
                out.push(format!("{path}: {} elements, {} in Koji", a.len(), b.len()));
            }
            for (n, (a, b)) in a.iter().zip(b).enumerate() {
                differences(&format!("{path}[{n}]"), a, b, free, out);
            }
        }
        (a, b) if a == b => (),
        (a, b) => out.push(format!("{path}: {a:?}, in Koji {b:?}")),
    }
}

/// Members with content of a client or a person. The hub does not determine the order in them.
const FREE_FORM: &[&str] = &["opts", "custom_opts", "request", "extra", "result", "traceback"];

/// Returns the names of members in written order, depth first. Decoding loses this order.
fn order(xml: &str) -> Vec<String> {
    let (mut names, mut reader, mut path) = (Vec::new(), quick_xml::Reader::from_str(xml), Vec::<String>::new());
    let mut in_name = false;
    loop {
        match reader.read_event().unwrap() {
            quick_xml::events::Event::Start(tag) => match tag.local_name().as_ref() {
                "member" => path.push(String::new()),
                "name" => in_name = true,
                _ => (),
            },
            quick_xml::events::Event::End(tag) => match tag.local_name().as_ref() {
                "member" => drop(path.pop()),
                "name" => in_name = false,
                _ => (),
            },
            quick_xml::events::Event::Text(text) if in_name => {
                let name = text.into_inner().into_owned();
                if !path.iter().any(|outer| FREE_FORM.contains(&outer.as_str())) {
                    names.push(name.clone());
                }
                *path.last_mut().unwrap() = name;
            }
            quick_xml::events::Event::Eof => return names,
            _ => (),
        }
    }
}

/// Sorts lists with numbered elements, at any depth.
fn sorted(value: &mut Value) {
    match value {
        Value::Array(elements) => {
            elements.iter_mut().for_each(sorted);
            elements.sort_by_key(|e| e.get("id").and_then(Value::as_int));
        }
        Value::Struct(members) => members.values_mut().for_each(sorted),
        _ => (),
    }
}

fn as_value(answer: &Result<Value, Fault>) -> Value {
    match answer {
        Ok(value) => value.clone(),
        Err(fault) => Value::Struct(
            [
                ("faultCode".to_owned(), Value::Int(fault.code)),
                ("faultString".to_owned(), Value::Text(fault.message.clone())),
            ]
            .into(),
        ),
    }
}

struct Replay {
    hub: Hub,
    asked: usize,
    wrong: Vec<String>,
    _dir: tempfile::TempDir,
}

impl Replay {
    fn of(recording: &str) -> Self {
        Self::with(recording, |_| {})
    }

    /// Replays a recording. `fault` changes the real hub's answers first.
    fn with(recording: &str, fault: fn(&mut Exchange)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // The recorded hub was configured so.
        let mut settings = Settings { may_use_repo_id: true, ..Settings::new(dir.path()) };
        settings.begin = Some(1_795_164_776_900_000);
        let hub = Hub::start_empty(settings, Login::Trusted);
        let mut replay = Self { hub, asked: 0, wrong: Vec::new(), _dir: dir };
        let facts = facts(recording);
        let mut facts = facts.iter().peekable();
        for mut exchange in exchanges(recording) {
            fault(&mut exchange);
            let mut session = None;
            while let Some(fact) = facts.next_if(|f| f.at <= exchange.number()) {
                if fact.table == "who" && fact.at == exchange.number() {
                    session = fact.row["session"].as_i64();
                } else if fact.table != "who" {
                    apply(&mut replay.hub.core.lock().world, fact);
                }
            }
            complete(&mut replay.hub.core.lock().world);
            if !NOT_ASKED.iter().any(|(name, _)| exchange.name() == *name) {
                replay.ask(&exchange, session);
            }
        }
        replay
    }

    /// Sets the switches that belong to a part of the recording.
    fn switch(&self, name: &str) {
        self.hub.settings(|s| {
            s.offline = match name {
                "offline-message" => Some("planned outage until 12:00 UTC".to_owned()),
                _ if name.starts_with("offline-") => Some("server is offline".to_owned()),
                _ => None,
            };
            s.lockout = name.starts_with("lockout-");
            s.database_down = name.starts_with("db-down-");
        });
    }

    fn send(&self, exchange: &Exchange, session: Option<i64>) -> Answer {
        let caller = Caller::new(&self.hub);
        let key = session
            .and_then(|s| self.hub.see(|w| w.session(s).map(|s| s.key.clone())))
            .unwrap_or_else(|| "key".to_owned());
        let key = if exchange.name() == "session-wrong-key" { "wrong".to_owned() } else { key };
        let mut path = exchange.path.split('?').next().unwrap().to_owned();
        if exchange.path.contains("filename=") {
            path.clone_from(&exchange.path);
        }
        let mut head = String::new();
        match (session, exchange.name()) {
            (Some(id), "session-query-string") => path += &format!("?session-id={id}&session-key={key}&callnum=52"),
            (Some(id), _) => {
                head += &format!("Koji-Session-Id: {id}\r\nKoji-Session-Key: {key}\r\n");
                if let Some(callnum) = exchange.callnum {
                    head += &format!("Koji-Session-Callnum: {callnum}\r\n");
                }
            }
            _ => (),
        }
        if exchange.called() == "sslLogin" && exchange.name() != "sslLogin-no-certificate" {
            head += "Koji-Test-User: koschei\r\n";
        }
        let head = format!("{} {path} HTTP/1.1\r\nContent-Type: text/xml\r\n{head}", exchange.method);
        http(&caller.address, &head, exchange.request.as_deref().unwrap_or_default().as_bytes()).unwrap()
    }

    fn ask(&mut self, exchange: &Exchange, session: Option<i64>) {
        self.switch(exchange.name());
        let answer = self.send(exchange, session);
        self.asked += 1;
        let mut wrong = Vec::new();
        if answer.status != exchange.status {
            wrong.push(format!("status {}, in Koji {}", answer.status, exchange.status));
        }
        let theirs = exchange.response.as_deref().unwrap_or_default();
        let ours = String::from_utf8(answer.body).unwrap();
        if exchange.content_type.as_deref() != Some("text/xml") {
            if ours != theirs {
                wrong.push(format!("{ours:?}, in Koji {theirs:?}"));
            }
        } else {
            let decode = |text: &str| as_value(&decode_response(text.as_bytes()).unwrap());
            let free =
                UNDETERMINED.iter().filter(|(name, _)| exchange.name().starts_with(name) || exchange.called() == *name);
            let free = free.flat_map(|(_, members)| members.split(' ')).collect();
            let (mut our, mut their) = (decode(&ours), decode(theirs));
            if UNORDERED.iter().any(|(call, _)| exchange.called() == *call) {
                sorted(&mut our);
                sorted(&mut their);
            }
            differences("", &our, &their, &free, &mut wrong);
            // The order within a result is the builder's.
            if wrong.is_empty() && exchange.called() != "getTaskResult" && order(&ours) != order(theirs) {
                wrong.push(format!("members in the order {:?}, in Koji {:?}", order(&ours), order(theirs)));
            }
        }
        if !wrong.is_empty() {
            wrong.truncate(6);
            self.wrong.push(format!("{}\n    {}", exchange.label, wrong.join("\n    ")));
        }
    }

    fn check(&self, asked: usize) {
        assert!(self.wrong.is_empty(), "{} of {}:\n{}", self.wrong.len(), self.asked, self.wrong.join("\n"));
        assert_eq!(self.asked, asked);
    }
}

#[test]
fn a_recorded_hub() {
    Replay::of("koji").check(144);
}

#[test]
fn a_recorded_hub_with_external_repositories() {
    Replay::of("koji-external").check(238);
}

#[test]
fn another_answer_is_noticed() {
    let replay = Replay::with("koji", |exchange| {
        if let Some(response) = exchange.response.as_mut().filter(|r| r.contains("<string>f99-build</string>")) {
            *response = response.replacen("<string>f99-build</string>", "<string>f99-biuld</string>", 1);
        }
    });
    assert!(!replay.wrong.is_empty());
}
