//! Announcements on a real RabbitMQ, heard by the real Python packages.

use std::collections::BTreeMap;
use std::time::Duration;

use koschei::announce::koschei_messages::{self, COLLECTION, PACKAGE};
use koschei::bus::amqp::{AmqpError, AmqpSettings, Outgoing, PublishSettings, Publisher, Taken, Tls};
use koschei::event::{CollectionSettings, CollectionStateChanged, Event, PackageStateChanged};
use koschei::intake::announcing::Announcer;
use koschei::log::{Announcement, Announcements, AnyLog, Commit, EventLog};
use koschei::model::{BuildrootState, Class, Classified, PackageState, RepoId};
use koschei::telemetry::Metrics;
use lapin::options::QueuePurgeOptions;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cuttable::Cuttable;
use crate::feed::scale;
use crate::live::PATIENCE;
use crate::log_place::{Place, at, seq};
use crate::rabbitmq_server::{RabbitServer, unique};
use crate::story;
use crate::subscriber::{Heard, heard, subscribe, waiting};

const PREFIX: &str = "org.example.test";

fn settings(url: &str, exchange: &str) -> PublishSettings {
    PublishSettings { amqp: AmqpSettings::new(url, ""), exchange: exchange.to_owned(), topic_prefix: PREFIX.to_owned() }
}

/// Makes the `n`th announcement, about a package, or about the collection if it is empty.
fn announcement(n: u64, package: &str) -> Announcement {
    let settings = CollectionSettings { display_name: format!("Fedora {n}"), ..story::settings("f99") };
    let (even, repo_id) = (n.is_multiple_of(2), RepoId(i64::try_from(n).unwrap()));
    let made_at = at(1_700_000_000 + i64::try_from(n).unwrap());
    let collection = "f99".into();
    let (event, said): (Event, _) = if package.is_empty() {
        let states = [BuildrootState::Unresolved, BuildrootState::Ok];
        let (old, new) = if even { (states[0], states[1]) } else { (states[1], states[0]) };
        let e = CollectionStateChanged { collection, old, new, repo_id };
        (e.clone().into(), koschei_messages::collection(&e, &settings, made_at, None))
    } else {
        let states = [PackageState::Failing, PackageState::Ok];
        let (old, new) = if even { (states[0], states[1]) } else { (states[1], states[0]) };
        let e =
            PackageStateChanged { collection, package: package.into(), old: Some(old), new, reason: "why".to_owned() };
        (e.clone().into(), koschei_messages::package(&e, &settings, made_at, None))
    };
    let said = said.unwrap();
    Announcement {
        id: format!("00000000-0000-8000-8000-{n:012}"),
        seq: seq(n + 1),
        subject: event.subject(),
        made_at,
        topic: said.topic.to_owned(),
        headers: said.headers,
        body: said.body,
        people: Vec::new(),
    }
}

fn outgoing(a: &Announcement) -> Outgoing {
    Outgoing { id: a.id.clone(), topic: a.topic.clone(), headers: a.headers.clone(), body: a.body.clone() }
}

/// A log with announcements, and whoever sends them.
struct Sending {
    log: AnyLog,
    settings: PublishSettings,
    waits_for_queue: bool,
    metrics: Metrics,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Sending {
    async fn new(place: &Place, settings: PublishSettings, announcements: &[Announcement]) -> Self {
        let log = place.open().await;
        let commit = Commit { announcements: announcements.to_vec(), ..Commit::default() };
        log.append(None, &commit).await.unwrap();
        let (metrics, stop) = (Metrics::new(), CancellationToken::new());
        Self { log, settings, waits_for_queue: false, metrics, stop, task: None }
    }

    fn start(&mut self) {
        let announcer = Announcer {
            log: self.log.clone(),
            publisher: Publisher::new(self.settings.clone()).unwrap(),
            waits_for_queue: self.waits_for_queue,
            rung: watch::channel(0).1,
            metrics: self.metrics.clone(),
            stop: self.stop.clone(),
        };
        self.task = Some(tokio::spawn(announcer.run()));
    }

    /// Ends the sender wherever it is, like a killed process.
    async fn kill(&mut self) {
        let task = self.task.take().unwrap();
        task.abort();
        drop(task.await);
    }

    async fn waiting(&self) -> u64 {
        self.log.announcement_counts().await.unwrap().waiting
    }

    async fn until(&self, what: &str, so: impl Fn(u64) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !so(self.waiting().await) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "waited in vain until {what}");
    }

    async fn stop(mut self) -> String {
        self.stop.cancel();
        self.task.take().unwrap().await.unwrap();
        self.metrics.render()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_python_hears_is_what_was_written() {
    let server = RabbitServer::shared().await;
    let (exchange, queue) = (unique("out"), unique("heard"));
    subscribe(server, &exchange, &queue, &["org.example.test.koschei.#"], None).await;
    let all = [announcement(1, "bash"), announcement(2, "gcc-c++"), announcement(3, ""), announcement(4, "")];
    let place = Place::sqlite();
    let mut sending = Sending::new(&place, settings(&server.url(), &exchange), &all).await;
    sending.start();
    sending.until("all were sent", |waiting| waiting == 0).await;
    let metrics = sending.stop().await;
    let heard = heard(server, &queue).await;
    for (sent, heard) in all.iter().zip(&heard) {
        assert_eq!(heard.id, sent.id);
        assert_eq!(heard.topic, format!("{PREFIX}.{}", sent.topic));
        assert_eq!(heard.body, serde_json::from_str::<serde_json::Value>(&sent.body).unwrap());
        let headers: serde_json::Map<_, _> = serde_json::from_str(&sent.headers).unwrap();
        assert_eq!(heard.headers, headers);
        assert_eq!((heard.severity, heard.content.2), (20, 2));
        assert_eq!((heard.content.0.as_str(), heard.content.1.as_str()), ("application/json", "utf-8"));
        assert!(heard.usernames.is_empty() && heard.groups.is_empty(), "the classes give none");
    }
    let said: Vec<(&str, &str)> = heard.iter().map(|h| (h.class.as_str(), h.summary.as_str())).collect();
    let expected = [
        ("PackageStateChange", "bash's builds started to fail in f99"),
        ("PackageStateChange", "gcc-c++'s builds are back to normal in f99"),
        ("CollectionStateChange", "Fedora 3 buildroot was broken"),
        ("CollectionStateChange", "Fedora 4 buildroot was fixed"),
    ];
    assert_eq!(said, expected);
    assert_eq!(heard[0].url, "https://koschei.fedoraproject.org/package/bash?collection=f99");
    assert_eq!(heard[2].url, "https://koschei.fedoraproject.org/collection/f99");
    assert_eq!((heard[1].packages.as_slice(), heard[2].packages.len()), (["gcc-c++".to_owned()].as_slice(), 0));
    for topic in [PACKAGE, COLLECTION] {
        assert!(metrics.contains(&format!("koschei_announcements_sent_total{{topic=\"{topic}\"}} 2\n")), "{metrics}");
    }
}

#[tokio::test]
async fn the_broker_says_what_became_of_each() {
    let server = RabbitServer::shared().await;
    let (exchange, queue) = (unique("out"), unique("full"));
    subscribe(server, &exchange, &queue, &["#.koschei.package.#"], Some(1)).await;
    let mut publisher = Publisher::new(settings(&server.url(), &exchange)).unwrap();
    let all: Vec<Outgoing> = [(1, "a"), (2, "b"), (3, "")].map(|(n, of)| outgoing(&announcement(n, of))).into();
    let outcome = publisher.publish(&all).await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(outcome.taken, [Some(Taken::Confirmed), Some(Taken::Refused), Some(Taken::Unroutable)]);
    let odd = Outgoing { headers: "[]".to_owned(), ..all[0].clone() };
    let outcome = publisher.publish(&[odd, all[2].clone()]).await;
    assert!(matches!(&outcome.taken[0], Some(Taken::Unsendable(why)) if why.contains("JSON object")), "{outcome:?}");
    assert_eq!(outcome.taken[1], Some(Taken::Unroutable), "the others go on");

    let refused = async |settings: PublishSettings| {
        let outcome = Publisher::new(settings).unwrap().publish(&all).await;
        assert_eq!(outcome.taken, [None, None, None]);
        let error: AmqpError = outcome.error.unwrap();
        (error.class(), error.to_string())
    };
    let (class, text) = refused(settings(&server.url(), "nowhere")).await;
    assert_eq!(class, Class::Rejected);
    assert!(
        text.contains("publish to exchange nowhere") && text.contains("check `exchange` in `[announce]`"),
        "{text}"
    );
    let (class, text) = refused(settings(&server.url_for("limited:limited", "/"), "amq.topic")).await;
    assert_eq!(class, Class::Rejected);
    assert!(text.contains("write permission for the exchange"), "{text}");
    let (class, text) = refused(settings(&server.url_for("guest:secret", "/"), "amq.topic")).await;
    assert_eq!(class, Class::Rejected);
    assert!(text.contains("check user and password") && !text.contains("secret"), "{text}");
    let (class, text) = refused(settings("amqp://127.0.0.1:1", "amq.topic")).await;
    assert_eq!(class, Class::Unavailable, "{text}");
}

#[tokio::test]
async fn a_certificate_is_a_login_to_publish_as_well() {
    let server = RabbitServer::shared().await;
    let by = |who: &str| {
        let mut settings = settings(&server.tls_url(), "amq.topic");
        settings.amqp.tls = Tls { ca_cert: Some(server.authority()), certificate: Some(server.client(who)) };
        Publisher::new(settings).unwrap()
    };
    let one = [outgoing(&announcement(1, "bash"))];
    let outcome = by("koschei").publish(&one).await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(outcome.taken, [Some(Taken::Unroutable)], "the broker has it, and no queue there wants it");
    let refused = by("stranger").publish(&one).await.error.unwrap();
    assert_eq!(refused.class(), Class::Rejected, "{refused}");
}

/// A full queue holds back what is behind the refused message, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_holds_back_only_its_own() {
    let server = RabbitServer::shared().await;
    let (exchange, full, other) = (unique("out"), unique("full"), unique("other"));
    subscribe(server, &exchange, &full, &["#.koschei.package.#"], Some(3)).await;
    subscribe(server, &exchange, &other, &["#.koschei.collection.#"], None).await;
    let subjects = ["a", "a", "b", "c", "", "a", ""];
    let all: Vec<Announcement> = (1..).zip(subjects).map(|(n, of)| announcement(n, of)).collect();
    let place = Place::sqlite();
    let mut sending = Sending::new(&place, settings(&server.url(), &exchange), &all).await;
    sending.start();
    // The queue takes the first one of each package.
    sending.until("what can be sent was sent", |waiting| waiting == 2).await;
    assert_eq!(sending.log.next_announcements(9).await.unwrap(), all[1..2], "the third of a waits for the second");
    let channel = server.publisher().await.channel;
    channel.queue_purge(full.as_str().into(), QueuePurgeOptions::default()).await.unwrap();
    sending.until("the rest was sent", |waiting| waiting == 0).await;
    let metrics = sending.stop().await;
    assert!(!metrics.contains("koschei_announcements_refused_total 0\n"), "{metrics}");
    let of = |numbers: [usize; 2]| numbers.map(|n| all[n].id.clone()).to_vec();
    assert_eq!(ids(&heard(server, &full).await), of([1, 5]));
    assert_eq!(ids(&heard(server, &other).await), of([4, 6]));
}

fn ids(heard: &[Heard]) -> Vec<String> {
    heard.iter().map(|h| h.id.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_queue_takes_counts_as_sent_or_waits() {
    let server = RabbitServer::shared().await;
    let (exchange, queue) = (unique("out"), unique("late"));
    server.publisher().await.exchange(&exchange).await;
    let all = [announcement(1, ""), announcement(2, "")];
    let (place, other) = (Place::sqlite(), Place::sqlite());
    let mut sending = Sending::new(&place, settings(&server.url(), &exchange), &all).await;
    sending.start();
    sending.until("all were sent", |waiting| waiting == 0).await;
    let metrics = sending.stop().await;
    assert!(metrics.contains("koschei_announcements_unroutable_total 2\n"), "{metrics}");

    let mut sending = Sending::new(&other, settings(&server.url(), &exchange), &all).await;
    sending.waits_for_queue = true;
    sending.start();
    let metrics = sending.metrics.clone();
    let tried = || !metrics.render().contains("koschei_announcements_refused_total 0\n");
    sending.until("the first one was tried", |waiting| waiting == 2 && tried()).await;
    subscribe(server, &exchange, &queue, &["#"], None).await;
    sending.until("all were sent", |waiting| waiting == 0).await;
    assert!(sending.stop().await.contains("koschei_announcements_unroutable_total 0\n"));
    assert_eq!(ids(&heard(server, &queue).await), [all[0].id.clone(), all[1].id.clone()]);
}

/// A broker that allows only small messages hangs up at a larger one. That one is set aside.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_set_aside() {
    let server = RabbitServer::start_with("max_message_size = 300").await;
    let (exchange, queue) = (unique("out"), unique("small"));
    subscribe(&server, &exchange, &queue, &["#"], None).await;
    let long = "x".repeat(200);
    let all: Vec<Announcement> =
        (1..).zip(["a", long.as_str(), "b", long.as_str(), ""]).map(|(n, of)| announcement(n, of)).collect();
    let place = Place::sqlite();
    let mut sending = Sending::new(&place, settings(&server.url(), &exchange), &all).await;
    sending.start();
    sending.until("all were sent or set aside", |waiting| waiting == 0).await;
    let counts = sending.log.announcement_counts().await.unwrap();
    assert_eq!((counts.waiting, counts.unsendable), (0, 2));
    sending.stop().await;
    let mut told = ids(&heard(&server, &queue).await);
    // Those beside the large one may have come twice.
    told.dedup();
    told.sort();
    told.dedup();
    assert_eq!(told, [all[0].id.clone(), all[2].id.clone(), all[4].id.clone()]);
}

/// The sender is killed again and again, its connection is cut, the broker is killed and stopped, and
/// in every second seed the queue is full again and again. Every announcement comes at least once,
/// with the same content, and none before an earlier one of its subject.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_whatever_ends_when() {
    const SUBJECTS: u64 = 7;
    const MANY: u64 = 210;
    const FULL: u32 = 40;
    let server = RabbitServer::restartable().await;
    let (mut repeated, mut cuts, mut was_full) = (0, 0, 0);
    for seed in 0..scale(3, 30) {
        let mut rng = StdRng::seed_from_u64(seed);
        let (exchange, queue) = (unique("out"), unique("told"));
        let is_limited = seed % 2 == 1;
        let limit = is_limited.then(|| i32::try_from(FULL).unwrap());
        subscribe(&server, &exchange, &queue, &["#.koschei.#"], limit).await;
        let subject = |n: u64| if n.is_multiple_of(SUBJECTS) { String::new() } else { format!("p{}", n % SUBJECTS) };
        let all: Vec<Announcement> = (0..MANY).map(|n| announcement(n, &subject(n))).collect();
        let place = if seed.is_multiple_of(3) { Place::postgres().await } else { Place::sqlite() };
        let way = Cuttable::to(server.port()).await;
        let url = format!("amqp://127.0.0.1:{}", way.port);
        let mut sending = Sending::new(&place, settings(&url, &exchange), &all).await;
        let mut told = Vec::new();
        let restart = rng.random_range(1..5);
        for round in 0.. {
            if sending.task.is_none() {
                sending.start();
            }
            let left = sending.waiting().await;
            if left == 0 {
                break;
            }
            let goal = left.saturating_sub(rng.random_range(1..60));
            let more = tokio::time::timeout(PATIENCE, async {
                while sending.waiting().await > goal {
                    if is_limited && waiting(&server, &queue).await >= FULL {
                        was_full += 1;
                        told.extend(heard(&server, &queue).await);
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
            assert!(more.await.is_ok(), "seed {seed}: waited in vain until some more were sent");
            if round == restart {
                if rng.random() {
                    server.kill()
                } else {
                    server.stop()
                }
                server.restart().await;
            } else if rng.random() {
                way.cut();
                cuts += 1;
            } else {
                sending.kill().await;
            }
        }
        sending.stop().await;
        told.extend(heard(&server, &queue).await);
        let heard_in_all = told.len();
        // What a subscriber acknowledged can come again from a broker that was killed.
        let told = if is_limited { once(told) } else { told };
        check(&all, &told).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        repeated += heard_in_all - usize::try_from(MANY).unwrap();
    }
    println!("{repeated} came twice; {cuts} cuts; the queue was full {was_full} times");
    assert!(cuts > 0 && was_full > 0);
}

/// Drops messages that are known by their ids and have the same content, as a subscriber should.
fn once(told: Vec<Heard>) -> Vec<Heard> {
    let mut kept: Vec<Heard> = Vec::new();
    for h in told {
        if !kept.contains(&h) {
            kept.push(h);
        }
    }
    kept
}

/// Checks what a subscriber heard against what was to be said.
fn check(all: &[Announcement], heard: &[Heard]) -> Result<(), String> {
    let mut first: BTreeMap<&str, &Heard> = BTreeMap::new();
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    for h in heard {
        let Some(number) = all.iter().position(|a| a.id == h.id) else {
            return Err(format!("{} is the id of nothing that was to be said", h.id));
        };
        let a = &all[number];
        let body: serde_json::Value = serde_json::from_str(&a.body).unwrap();
        if **first.entry(h.id.as_str()).or_insert(h) != *h || h.body != body {
            return Err(format!("{} came with another content", h.id));
        }
        let before = last.insert(&a.subject, number).unwrap_or(number);
        if before > number {
            return Err(format!("{number} came after {before}, about {}", a.subject));
        }
    }
    let lost: Vec<&str> = all.iter().map(|a| a.id.as_str()).filter(|id| !first.contains_key(id)).collect();
    if lost.is_empty() { Ok(()) } else { Err(format!("lost: {lost:?}")) }
}

/// The check finds what a fault of the sender would do.
#[tokio::test(flavor = "multi_thread")]
async fn planted_faults_are_found() {
    let server = RabbitServer::shared().await;
    let (exchange, queue) = (unique("out"), unique("heard"));
    subscribe(server, &exchange, &queue, &["#"], None).await;
    let all: Vec<Announcement> = (1..).zip(["a", "b", "a", "b"]).map(|(n, of)| announcement(n, of)).collect();
    let place = Place::sqlite();
    let mut sending = Sending::new(&place, settings(&server.url(), &exchange), &all).await;
    sending.start();
    sending.until("all were sent", |waiting| waiting == 0).await;
    sending.stop().await;
    let told = heard(server, &queue).await;
    assert_eq!(check(&all, &told), Ok(()));
    let fault = |plant: &dyn Fn(&mut Vec<Heard>)| {
        let mut told = told.clone();
        plant(&mut told);
        check(&all, &told).unwrap_err()
    };
    // A row that was marked before the broker confirmed it, and the broker went away.
    assert!(fault(&|told| drop(told.remove(2))).starts_with("lost:"));
    // A second sending with another id, with another content, and after a later one of its subject.
    let again = |told: &mut Vec<Heard>, change: &dyn Fn(&mut Heard)| {
        let mut copy = told[0].clone();
        change(&mut copy);
        told.insert(1, copy);
    };
    let said = fault(&|told| again(told, &|copy| copy.id = copy.id.replacen('8', "9", 1)));
    assert!(said.contains("the id of nothing"), "{said}");
    assert!(fault(&|told| again(told, &|copy| copy.body["name"] = "other".into())).contains("another content"));
    assert!(fault(&|told| told.push(told[0].clone())).contains("came after"));
}
