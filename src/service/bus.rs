//! The settings of the bus, from our configuration and from a file of Fedora Messaging.

use std::path::Path;

use super::StartError;
use crate::bus::{AmqpSettings, FedoraMessaging, PublishSettings, amqp};
use crate::config::{BusConfig, Config};

/// Returns the settings of the bus. `None` means that no bus is configured and only polling finds
/// changes.
pub(crate) fn settings(bus: &BusConfig) -> Result<Option<AmqpSettings>, StartError> {
    if !bus.is_there() {
        return Ok(None);
    }
    let mut settings = match &bus.fedora_messaging {
        Some(path) => from_file(path, bus.queue.as_deref())?,
        None => AmqpSettings::new("", bus.queue.as_deref().unwrap_or(amqp::QUEUE)),
    };
    if let Some(url) = &bus.amqp_url {
        settings.url.clone_from(url);
    }
    if bus.ca_cert.is_some() {
        settings.tls.ca_cert.clone_from(&bus.ca_cert);
    }
    if let (Some(cert), Some(key)) = (&bus.cert, &bus.key) {
        settings.tls.certificate = Some((cert.clone(), key.clone()));
    }
    Ok(Some(settings))
}

/// Returns where and how changes of state are announced: `bus`, and what `[announce]` says besides.
/// `None` means that nothing is announced.
pub(crate) fn announcing(config: &Config, bus: Option<&AmqpSettings>) -> Result<Option<PublishSettings>, StartError> {
    const WHAT: &str = "announce changes (`[announce]`)";
    let own = &config.announce;
    if !own.enabled {
        return Ok(None);
    }
    let mut amqp = bus.cloned().unwrap_or_else(|| AmqpSettings::new("", ""));
    if let Some(url) = &own.amqp_url {
        amqp.url.clone_from(url);
    } else if bus.is_none() {
        let what = format!("{WHAT}: give the broker's address, `amqp_url`, there or in `[bus]`");
        return Err(StartError::Rejected(what));
    }
    if own.ca_cert.is_some() {
        amqp.tls.ca_cert.clone_from(&own.ca_cert);
    }
    match (&own.cert, &own.key) {
        (Some(cert), Some(key)) => amqp.tls.certificate = Some((cert.clone(), key.clone())),
        (None, None) => {}
        (Some(_), None) | (None, Some(_)) => {
            return Err(StartError::Rejected(format!("{WHAT}: `cert` and `key` go together; give both or none")));
        }
    }
    amqp.bindings.clear();
    amqp.connection_name.push_str(" (announcements)");
    let (exchange, topic_prefix) = match &config.bus.fedora_messaging {
        // Its warnings were shown when the bus was read.
        Some(path) => {
            let file = FedoraMessaging::read(path, config.bus.queue.as_deref());
            let file = file.map_err(|e| StartError::because("use the configuration of Fedora Messaging", &e))?;
            (file.publish_exchange, file.topic_prefix)
        }
        None => (amqp::EXCHANGE.to_owned(), String::new()),
    };
    let settings = PublishSettings {
        amqp,
        exchange: own.exchange.clone().unwrap_or(exchange),
        topic_prefix: own.topic_prefix.clone().unwrap_or(topic_prefix),
    };
    settings.check().map_err(|e| StartError::because(WHAT, &e))?;
    Ok(Some(settings))
}

fn from_file(path: &Path, queue: Option<&str>) -> Result<AmqpSettings, StartError> {
    let file = FedoraMessaging::read(path, queue)
        .map_err(|e| StartError::because("use the configuration of Fedora Messaging", &e))?;
    for warning in &file.warnings {
        eprintln!("koschei: warning: {}: {warning}", path.display());
    }
    Ok(file.amqp)
}
