//! RabbitMQ as a source of messages, tested against a real broker: what arrives, in which form, and
//! what happens when something breaks.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::TcpListener;
use std::time::Duration;

use koschei::bus::amqp::{AmqpAck, AmqpSettings, AmqpSource, Binding, Queue};
use koschei::message::{Entry, Message};
use koschei::model::{Class, Classified};
use lapin::BasicProperties;
use serde_json::Value;

use crate::rabbitmq_server::{Publisher, RabbitServer, properties, unique};

const EVENTS: &str = include_str!("../../data/koji/events.jsonl");

/// More time than any machine needs. Only a failing test waits this long.
pub(crate) const LONG: Duration = Duration::from_secs(300);

/// Makes an exchange and a queue for one test.
pub(crate) async fn place(server: &RabbitServer) -> (Publisher, AmqpSettings) {
    let (exchange, queue) = (unique("exchange"), unique("queue"));
    let publisher = server.publisher().await;
    publisher.exchange(&exchange).await;
    let mut settings = AmqpSettings::new(&server.url(), &queue);
    settings.bindings = vec![Binding::koji(&exchange)];
    (publisher, settings)
}

pub(crate) fn exchange(settings: &AmqpSettings) -> &str {
    &settings.bindings[0].exchange
}

/// Publishes a message with this id about a tag.
async fn publish(publisher: &Publisher, settings: &AmqpSettings, id: &str) {
    let properties = BasicProperties::default().with_message_id(id.into()).with_delivery_mode(2);
    publisher.publish(exchange(settings), "org.example.buildsys.tag", properties, b"{}").await;
}

fn id(entry: &Entry) -> &str {
    match entry {
        Entry::Message(message) => &message.id,
        Entry::Unreadable(unreadable) => &unreadable.id,
    }
}

fn ids(fetched: &[(Entry, AmqpAck)]) -> BTreeSet<String> {
    fetched.iter().map(|(entry, _)| id(entry).to_owned()).collect()
}

fn acks(fetched: Vec<(Entry, AmqpAck)>) -> impl Iterator<Item = AmqpAck> {
    fetched.into_iter().map(|(_, ack)| ack)
}

/// Fetches until this many messages have come.
pub(crate) async fn fetch(source: &AmqpSource, count: usize) -> Vec<(Entry, AmqpAck)> {
    let mut all = Vec::new();
    while all.len() < count {
        let batch = source.fetch(count - all.len(), LONG).await.unwrap();
        assert!(!batch.is_empty(), "{} of {count} came", all.len());
        all.extend(batch);
    }
    all
}

fn message(entry: &Entry) -> &Message {
    match entry {
        Entry::Message(message) => message,
        Entry::Unreadable(unreadable) => panic!("{}", unreadable.reason),
    }
}

#[tokio::test]
async fn a_message_arrives_as_the_recorder_saw_it() {
    let server = RabbitServer::shared().await;
    let publisher = server.publisher().await;
    // Configured as for a real hub: the exchange that every broker has, and Koji's topics with any
    // prefix.
    let mut settings = AmqpSettings::new(&server.url(), &unique("queue"));
    settings.client_properties = BTreeMap::from([("app".to_owned(), "tests".to_owned())]);
    let source = AmqpSource::open(settings).await.unwrap();
    // One message of each topic, then some that we do not bind.
    let mut first = BTreeMap::new();
    for line in EVENTS.lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        first.entry(value["topic"].as_str().unwrap().to_owned()).or_insert(value);
    }
    for topic in ["org.example.compose.done", "buildsys.tag.elsewhere", "org.fedoraproject.lab.xbuildsys.tag"] {
        publisher.publish("amq.topic", topic, BasicProperties::default(), b"{}").await;
    }
    for line in first.values() {
        publisher.line("amq.topic", &line.to_string()).await;
    }
    // The topics of real hubs have another prefix, or none.
    publisher.publish("amq.topic", "buildsys.repo.done", BasicProperties::default(), b"{}").await;

    let fetched = fetch(&source, 8).await;
    let (last, recorded) = fetched.split_last().unwrap();
    assert_eq!(message(&last.0).topic, "buildsys.repo.done");
    first.retain(|topic, _| !topic.ends_with("rpm.sign"));
    assert_eq!(recorded.len(), first.len());
    for (entry, _) in recorded {
        let message = message(entry);
        assert_eq!(Entry::parse(message.raw.clone(), message.line), *entry, "it reads the same as a line");
        let mut arrived: Value = serde_json::from_slice(&message.raw).unwrap();
        let mut expected = first.remove(&message.topic).unwrap();
        // Remove what the recorder added, and what describes the delivery.
        for member in ["seen_at", "class", "schema_error"] {
            expected.as_object_mut().unwrap().remove(member);
        }
        for line in [&mut arrived, &mut expected] {
            line.as_object_mut().unwrap().remove("redelivered");
        }
        assert_eq!(arrived, expected);
    }
    source.ack_all(acks(fetched)).await.unwrap();
    assert_eq!(source.backlog().await.unwrap(), 0);
}

#[tokio::test]
async fn messages_come_again_until_they_are_acknowledged() {
    let server = RabbitServer::shared().await;
    let (publisher, settings) = place(server).await;
    let source = AmqpSource::open(settings.clone()).await.unwrap();
    assert!(source.fetch(10, Duration::ZERO).await.unwrap().is_empty());
    for id in ["a", "b", "c", "d"] {
        publish(&publisher, &settings, id).await;
    }
    let mut first = fetch(&source, 4).await;
    assert_eq!(first.iter().map(|(entry, _)| id(entry)).collect::<Vec<_>>(), ["a", "b", "c", "d"], "in their order");
    source.ack_all(first.drain(..1).map(|(_, ack)| ack)).await.unwrap();
    // A crash before the commit of the others: they were not acknowledged.
    drop((first, source));

    let source = AmqpSource::open(settings.clone()).await.unwrap();
    let again = fetch(&source, 3).await;
    assert_eq!(ids(&again), ["b", "c", "d"].map(str::to_owned).into());
    for (entry, _) in &again {
        let raw: Value = serde_json::from_slice(&message(entry).raw).unwrap();
        assert_eq!(raw["redelivered"], true);
    }
    source.ack_all(acks(again)).await.unwrap();
    drop(source);

    let source = AmqpSource::open(settings.clone()).await.unwrap();
    publish(&publisher, &settings, "e").await;
    assert_eq!(ids(&fetch(&source, 1).await), ["e".to_owned()].into(), "what was acknowledged does not come again");
}

#[tokio::test]
async fn no_more_is_taken_than_prefetch_allows() {
    let server = RabbitServer::shared().await;
    let (publisher, mut settings) = place(server).await;
    settings.prefetch = 5;
    let source = AmqpSource::open(settings.clone()).await.unwrap();
    for n in 0..20 {
        publish(&publisher, &settings, &n.to_string()).await;
    }
    let taken = fetch(&source, 5).await;
    assert_eq!(source.backlog().await.unwrap(), 15, "the rest is still the broker's");
    source.ack_all(acks(taken)).await.unwrap();
    let taken = fetch(&source, 5).await;
    assert_eq!(source.backlog().await.unwrap(), 10);
    assert_eq!(taken.iter().map(|(entry, _)| id(entry)).collect::<Vec<_>>(), ["5", "6", "7", "8", "9"]);
}

#[tokio::test]
async fn a_fetch_is_bounded_and_waits_for_the_first_message() {
    let server = RabbitServer::shared().await;
    let (publisher, settings) = place(server).await;
    let source = AmqpSource::open(settings.clone()).await.unwrap();
    let sending = async {
        for id in ["a", "b", "c"] {
            publish(&publisher, &settings, id).await;
        }
    };
    let (fetched, ()) = tokio::join!(source.fetch(2, LONG), sending);
    let fetched = fetched.unwrap();
    assert!((1..=2).contains(&fetched.len()), "{fetched:?}");
    assert_eq!(id(&fetched[0].0), "a");
}

#[tokio::test]
async fn odd_messages_are_set_aside_and_go_away() {
    let server = RabbitServer::shared().await;
    let (publisher, settings) = place(server).await;
    let source = AmqpSource::open(settings.clone()).await.unwrap();
    let send = async |topic: &str, properties: BasicProperties, body: &[u8]| {
        publisher.publish(exchange(&settings), topic, properties, body).await;
    };
    let tag = "org.example.buildsys.tag";
    let with_id = || BasicProperties::default().with_message_id("same".into());
    send(tag, with_id(), &vec![b'x'; 50 << 20]).await;
    send(tag, with_id(), b"hello").await;
    send(tag, with_id().with_content_encoding("gzip".into()), b"\x1f\x8b\x08\x00").await;
    send(tag, with_id(), b"").await;
    send(tag, BasicProperties::default(), b"{\"tag\": \"f99\"}").await;
    send(tag, BasicProperties::default().with_priority(7), b"{\"tag\": \"f99\"}").await;
    let large = format!("{{\"tag\": \"{}\"}}", "f".repeat(7 << 20));
    send(tag, with_id(), large.as_bytes()).await;

    let fetched = fetch(&source, 7).await;
    let reasons: Vec<String> = fetched
        .iter()
        .map(|(entry, _)| match entry {
            Entry::Message(message) => format!("message {}", message.raw.len() > 7 << 20),
            Entry::Unreadable(unreadable) => unreadable.reason.clone(),
        })
        .collect();
    let expected = [
        "52428800 bytes long, more than the 8388608 a message may have",
        "topic org.example.buildsys.tag: the body is not JSON: expected value at line 1 column 1",
        "topic org.example.buildsys.tag: the body is not UTF-8 (invalid utf-8 sequence of 1 bytes from index 1); its \
            encoding is said to be gzip",
        "topic org.example.buildsys.tag: the body is not JSON: EOF while parsing a value at line 1 column 0",
        "message false",
        "message false",
        "message true",
    ];
    assert_eq!(reasons, expected);
    let Entry::Unreadable(overlong) = &fetched[0].0 else { panic!() };
    assert_eq!((overlong.raw.len(), overlong.length), (1024, 50 << 20));
    let ids: Vec<&str> = fetched.iter().map(|(entry, _)| id(entry)).collect();
    assert!(ids[..6].iter().all(|id| id.starts_with("line:")), "{ids:?}");
    assert_eq!(ids[4], ids[5], "the same content without an id is the same message");
    assert_eq!(ids[..5].iter().collect::<BTreeSet<_>>().len(), 5);
    source.ack_all(acks(fetched)).await.unwrap();
    drop(source);
    let source = AmqpSource::open(settings.clone()).await.unwrap();
    publish(&publisher, &settings, "next").await;
    assert_eq!(id(&fetch(&source, 1).await[0].0), "next", "nothing of them comes again");
}

/// Without the guard, each of these messages would end the client or the process, and come again.
#[tokio::test]
async fn messages_made_to_break_parsers_are_survived() {
    let server = RabbitServer::shared().await;
    let (publisher, settings) = place(server).await;
    let source = AmqpSource::open(settings.clone()).await.unwrap();
    let sized = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    let headers = |table: &[u8]| [b"\x20\0".as_slice(), &sized(table)].concat();
    let deep = (0..5000).fold(Vec::new(), |inner, _| [b"\x01aF".as_slice(), &sized(&inner)].concat());
    let topic = b"x.buildsys.tag".as_slice();
    server.publish_raw(exchange(&settings), topic, &headers(&deep), b"{\"n\": 1}");
    server.publish_raw(exchange(&settings), topic, &headers(b"\x02k\xe4t\x01"), b"{\"n\": 2}");
    server.publish_raw(exchange(&settings), b"\xe4.buildsys.tag", b"\0\0", b"{\"n\": 3}");
    server.publish_raw(exchange(&settings), topic, b"\0\x80\x02i\xff", b"{\"n\": 4}");
    let fetched = fetch(&source, 4).await;
    let line = |at: usize| serde_json::from_slice::<Value>(&message(&fetched[at].0).raw).unwrap();
    let numbers: Vec<Value> = (0..4).map(|at| line(at)["body"]["n"].clone()).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert_eq!(
        (&line(0)["headers"], &line(1)["headers"]),
        (&serde_json::json!({}), &serde_json::json!({ "k?": true }))
    );
    assert_eq!((&line(2)["topic"], &line(3)["id"]), (&"?.buildsys.tag".into(), &"i?".into()));
    source.ack_all(acks(fetched)).await.unwrap();
    publish(&publisher, &settings, "next").await;
    assert_eq!(id(&fetch(&source, 1).await[0].0), "next");
    assert_eq!(source.connections(), 1);
}

#[tokio::test]
async fn priorities_are_tolerated() {
    let server = RabbitServer::shared().await;
    let (publisher, mut settings) = place(server).await;
    settings.queue.arguments = toml::from_str("x-max-priority = 10").unwrap();
    // The queue exists before anybody takes from it.
    drop(AmqpSource::open(settings.clone()).await.unwrap());
    for (id, priority) in [("low", 0), ("high", 9), ("none", 0)] {
        let properties = BasicProperties::default().with_message_id(id.into()).with_priority(priority);
        publisher.publish(exchange(&settings), "buildsys.tag", properties, b"{}").await;
    }
    let source = AmqpSource::open(settings).await.unwrap();
    assert_eq!(ids(&fetch(&source, 3).await), ["low", "high", "none"].map(str::to_owned).into());
}

#[tokio::test]
async fn a_queue_the_broker_names_is_taken_by_that_name() {
    let server = RabbitServer::shared().await;
    let (publisher, mut settings) = place(server).await;
    settings.queue = Queue { durable: false, exclusive: true, auto_delete: true, ..Queue::durable("") };
    let source = AmqpSource::open(settings.clone()).await.unwrap();
    publish(&publisher, &settings, "a").await;
    let fetched = fetch(&source, 1).await;
    source.ack_all(acks(fetched)).await.unwrap();
    assert_eq!(source.backlog().await.unwrap(), 0);
}

#[tokio::test]
async fn a_deleted_queue_is_made_again() {
    let server = RabbitServer::shared().await;
    let (publisher, settings) = place(server).await;
    let source = AmqpSource::open(settings.clone()).await.unwrap();
    publish(&publisher, &settings, "before").await;
    let held = fetch(&source, 1).await;
    publisher.delete_queue(&settings.queue.name).await;
    // Publish until a message arrives. A message that comes while there is no queue is lost.
    let arrived = loop {
        publish(&publisher, &settings, "after").await;
        match source.fetch(10, Duration::from_millis(100)).await {
            Ok(fetched) if fetched.is_empty() => (),
            Ok(fetched) => break fetched,
            Err(error) => assert_eq!(error.class(), Class::Unavailable, "{error}"),
        }
    };
    assert_eq!(ids(&arrived), ["after".to_owned()].into());
    assert_eq!(source.connections(), 2, "whoever reconciles can see it");
    let error = source.ack_all(acks(held)).await.unwrap_err();
    assert_eq!(error.class(), Class::Unavailable, "{error}");
    source.ack_all(acks(arrived)).await.unwrap();
}

#[tokio::test]
async fn a_queue_that_stays_away_is_said_and_waited_for() {
    let server = RabbitServer::shared().await;
    let (publisher, mut settings) = place(server).await;
    drop(AmqpSource::open(settings.clone()).await.unwrap());
    let made = settings.clone();
    settings.queue.passive = true;
    let source = AmqpSource::open(settings.clone()).await.unwrap();
    publisher.delete_queue(&settings.queue.name).await;
    let error = loop {
        match source.fetch(10, Duration::from_millis(50)).await {
            Err(error) if error.class() == Class::Rejected => break error.to_string(),
            Err(error) => assert_eq!(error.class(), Class::Unavailable, "{error}"),
            Ok(fetched) => assert!(fetched.is_empty()),
        }
    };
    assert!(error.contains("look for queue") && error.contains("passive_declares = false"), "{error}");
    // Somebody makes the queue again.
    drop(AmqpSource::open(made).await.unwrap());
    let arrived = loop {
        match source.fetch(10, Duration::from_millis(50)).await {
            Ok(fetched) if fetched.is_empty() => publish(&publisher, &settings, "after").await,
            Ok(fetched) => break fetched,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(ids(&arrived), ["after".to_owned()].into());
}

#[tokio::test]
async fn a_restart_of_the_broker_loses_nothing_and_doubles_nothing() {
    let server = RabbitServer::restartable().await;
    let (publisher, settings) = place(&server).await;
    let source = AmqpSource::open(settings.clone()).await.unwrap();
    for id in ["a", "b", "c", "d"] {
        publish(&publisher, &settings, id).await;
    }
    let mut first = fetch(&source, 4).await;
    source.ack_all(first.drain(..2).map(|(_, ack)| ack)).await.unwrap();
    drop(publisher);
    for end in [RabbitServer::stop, RabbitServer::kill] {
        end(&server);
        // Wait until the end of the connection is noticed.
        let error = loop {
            match source.fetch(10, Duration::from_millis(50)).await {
                Ok(fetched) => assert!(fetched.is_empty(), "{fetched:?}"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.class(), Class::Unavailable, "{error}");
        let error = source.ack_all(acks(std::mem::take(&mut first))).await;
        server.restart().await;

        first = fetch(&source, 2).await;
        assert_eq!(
            ids(&first),
            ["c", "d"].map(str::to_owned).into(),
            "what was acknowledged is gone, the rest is there"
        );
        drop(error);
    }
    let error = source.fetch(10, Duration::ZERO).await.unwrap();
    assert!(error.is_empty(), "{error:?}");
    source.ack_all(acks(first)).await.unwrap();
    let publisher = server.publisher().await;
    publish(&publisher, &settings, "e").await;
    assert_eq!(ids(&fetch(&source, 1).await), ["e".to_owned()].into());
    assert_eq!(source.connections(), 3);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_hung_up_on() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut settings = AmqpSettings::new(&format!("amqp://{}", listener.local_addr().unwrap()), "queue");
    settings.timeout = Duration::from_millis(200);
    let accepting = tokio::task::spawn_blocking(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).unwrap();
        said
    });
    let error = AmqpSource::open(settings).await.unwrap_err();
    assert_eq!(error.class(), Class::Unavailable, "{error}");
    // The server ends only when the client does.
    let said = tokio::time::timeout(LONG, accepting).await.expect("it was hung up").unwrap();
    assert_eq!(said, b"AMQP\x00\x00\x09\x01");
}

#[test]
fn recorded_properties_are_published_whole() {
    let line: Value = serde_json::from_str(EVENTS.lines().next().unwrap()).unwrap();
    let properties = properties(&line);
    assert_eq!(properties.headers().as_ref().unwrap().inner().len(), line["headers"].as_object().unwrap().len());
}
