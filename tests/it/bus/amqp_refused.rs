//! Brokers that refuse the login or the configuration: the error says what to do. Also logins by
//! certificate that succeed.

use std::path::PathBuf;

use koschei::bus::amqp::{AmqpError, AmqpSettings, AmqpSource, Binding, Queue, Tls};
use koschei::model::{Class, Classified};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

use crate::bus::amqp::{LONG, place};
use crate::rabbitmq_server::{RabbitServer, THEIRS, unique};

/// Returns the class and the text of the error, with its causes.
async fn refused(settings: AmqpSettings) -> (Class, String) {
    let error = AmqpSource::open(settings).await.unwrap_err();
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
    let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    assert!(!text.contains("secret"), "{text}");
    (error.class(), text)
}

fn said(found: &(Class, String), expected: &[&str]) {
    assert_eq!(found.0, Class::Rejected, "{}", found.1);
    for part in expected {
        assert!(found.1.contains(part), "`{part}` is not in: {}", found.1);
    }
}

#[tokio::test]
async fn logins_that_fail() {
    let server = RabbitServer::shared().await;
    let settings = |user, vhost| AmqpSettings::new(&server.url_for(user, vhost), "queue");
    let wrong_password = refused(settings("guest:secret", "/")).await;
    said(
        &wrong_password,
        &["connect to the message broker at amqp://127.0.0.1:", "check user and password in amqp_url"],
    );
    said(&refused(settings("nobody:secret", "/")).await, &["check user and password"]);
    said(&refused(settings("guest:guest", "nowhere")).await, &["vhost nowhere not found", "check the virtual host"]);
    said(
        &refused(settings("limited:limited", "/koji")).await,
        &["refused for user 'limited'", "check the virtual host"],
    );
    let nobody_there = refused(AmqpSettings::new("amqp://127.0.0.1:1", "queue")).await;
    assert_eq!(nobody_there.0, Class::Unavailable, "{}", nobody_there.1);
    assert!(nobody_there.1.contains("Connection refused"), "{}", nobody_there.1);
}

#[tokio::test]
async fn queues_that_cannot_be_had() {
    let server = RabbitServer::shared().await;
    let (publisher, settings) = place(server).await;
    let drop_in = |change: fn(&mut AmqpSettings)| {
        let mut changed = settings.clone();
        change(&mut changed);
        refused(changed)
    };
    let missing = drop_in(|s| s.queue.passive = true).await;
    said(&missing, &["look for queue", "NOT_FOUND", "let Koschei declare it (passive_declares = false)"]);
    drop(AmqpSource::open(settings.clone()).await.unwrap());
    let other = drop_in(|s| s.queue.durable = false).await;
    said(&other, &["declare queue", "inequivalent arg 'durable'", "use these settings", "passive_declares = true"]);
    let exchange = drop_in(|s| s.bindings = vec![Binding::koji("nowhere")]).await;
    said(&exchange, &["bind queue", "to exchange nowhere", "check its name"]);
    let nonsense = drop_in(|s| s.queue.arguments = toml::from_str("x-max-priority = 'much'").unwrap()).await;
    said(&nonsense, &["declare queue", "x-max-priority"]);

    // A user with hardly any permission.
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    publisher.channel.queue_declare(THEIRS.into(), options, FieldTable::default()).await.unwrap();
    let limited = |queue: Queue, bindings| {
        let mut settings = AmqpSettings::new(&server.url_for("limited:limited", "/"), "");
        (settings.queue, settings.bindings) = (queue, bindings);
        settings
    };
    let theirs = |passive| Queue { passive, ..Queue::durable(THEIRS) };
    said(&refused(limited(Queue::durable("ours"), vec![])).await, &["declare queue ours", "ask for the permission"]);
    let unbound = refused(limited(theirs(true), vec![Binding::koji("amq.topic")])).await;
    said(&unbound, &["bind queue theirs to exchange amq.topic", "configure no bindings"]);
    let source = AmqpSource::open(limited(theirs(true), vec![])).await.unwrap();
    assert!(source.fetch(1, std::time::Duration::ZERO).await.unwrap().is_empty());
    let unreadable = Queue { passive: true, ..Queue::durable(&settings.queue.name) };
    said(&refused(limited(unreadable, vec![])).await, &["ask for the messages", "read permission for the queue"]);
}

#[tokio::test]
async fn a_queue_that_is_somebody_elses_for_now_is_waited_for() {
    let server = RabbitServer::shared().await;
    let (_publisher, mut settings) = place(server).await;
    settings.queue = Queue { exclusive: true, ..Queue::durable(&unique("exclusive")) };
    let theirs = AmqpSource::open(settings.clone()).await.unwrap();
    let (class, text) = refused(settings.clone()).await;
    assert_eq!(class, Class::Unavailable, "{text}");
    assert!(text.contains("exclusive"), "{text}");
    drop(theirs);
    let opening = async {
        while let Err(error) = AmqpSource::open(settings.clone()).await {
            assert_eq!(error.class(), Class::Unavailable, "{error}");
        }
    };
    tokio::time::timeout(LONG, opening).await.expect("it is free again");
}

fn by_certificate(server: &RabbitServer, who: &str) -> AmqpSettings {
    let mut settings = AmqpSettings::new(&server.tls_url(), &unique("queue"));
    settings.tls = Tls { ca_cert: Some(server.authority()), certificate: Some(server.client(who)) };
    settings
}

#[tokio::test]
async fn a_certificate_is_a_login() {
    let server = RabbitServer::shared().await;
    let source = AmqpSource::open(by_certificate(server, "koschei")).await.unwrap();
    assert!(source.fetch(1, std::time::Duration::ZERO).await.unwrap().is_empty());
    assert_eq!(source.backlog().await.unwrap(), 0);
    // TLS works with a password too.
    let mut settings = by_certificate(server, "koschei");
    settings.url = settings.url.replace("koschei:@", "guest:guest@");
    settings.tls.certificate = None;
    AmqpSource::open(settings).await.unwrap();
}

#[tokio::test]
async fn certificates_that_do_not_help() {
    let server = RabbitServer::shared().await;
    let changed = |who, change: &dyn Fn(&mut AmqpSettings)| {
        let mut settings = by_certificate(server, who);
        change(&mut settings);
        refused(settings)
    };
    let (port, tls_port) = server.ports();
    said(&changed("stranger", &|_| ()).await, &["the broker needs a user with the name of our certificate's subject"]);
    // The broker may or may not give a reason before it hangs up.
    let forged = changed("forged", &|_| ()).await;
    assert!(forged.1.contains("refuses our certificate"), "{}", forged.1);
    let untrusted = changed("koschei", &|s| s.tls.ca_cert = None).await;
    said(&untrusted, &["UnknownIssuer", "name the file with the authority that issued it (tls ca_cert)"]);
    // The certificate is issued for localhost.
    let elsewhere = changed("koschei", &|s| s.url = s.url.replace("localhost", "127.0.0.1")).await;
    said(&elsewhere, &["the broker's certificate is not trusted: check host name"]);
    let plain = changed("koschei", &|s| s.url = s.url.replace(&tls_port.to_string(), &port.to_string())).await;
    said(&plain, &["does not speak TLS"]);
    let mut settings = AmqpSettings::new(&format!("amqp://127.0.0.1:{tls_port}"), "queue");
    settings.timeout = LONG;
    said(&refused(settings).await, &["whether it wants amqps://"]);

    let missing = |settings: &mut AmqpSettings| settings.tls.ca_cert = Some(PathBuf::from("/nonexistent/ca.pem"));
    said(&changed("koschei", &missing).await, &["read certificates to trust /nonexistent/ca.pem", "No such file"]);
    let no_pem = |settings: &mut AmqpSettings| settings.tls.ca_cert = Some(PathBuf::from("/proc/self/status"));
    said(&changed("koschei", &no_pem).await, &["there is no certificate in it; expected PEM"]);
    let swapped = |settings: &mut AmqpSettings| {
        let (certificate, key) = settings.tls.certificate.take().unwrap();
        settings.tls.certificate = Some((certificate.clone(), certificate));
        drop(key);
    };
    said(&changed("koschei", &swapped).await, &["read the key of our certificate"]);
    let of_another = |settings: &mut AmqpSettings| {
        settings.tls.certificate = Some((server.client("koschei").0, server.client("stranger").1));
    };
    said(&changed("koschei", &of_another).await, &["read our certificate"]);
}

#[tokio::test]
async fn settings_are_checked_before_anything_is_connected() {
    let mut settings = AmqpSettings::new("amqp://127.0.0.1:1", "queue");
    settings.prefetch = 0;
    let error = AmqpSource::open(settings).await.unwrap_err();
    assert!(matches!(error, AmqpError::Settings { setting: "prefetch", .. }), "{error}");
}
