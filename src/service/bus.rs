//! The settings of the bus, from our configuration and from a file of Fedora Messaging.

use std::path::Path;

use super::StartError;
use crate::bus::{AmqpSettings, FedoraMessaging, amqp};
use crate::config::BusConfig;

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

fn from_file(path: &Path, queue: Option<&str>) -> Result<AmqpSettings, StartError> {
    let file = FedoraMessaging::read(path, queue)
        .map_err(|e| StartError::because("use the configuration of Fedora Messaging", &e))?;
    for warning in &file.warnings {
        eprintln!("koschei: warning: {}: {warning}", path.display());
    }
    Ok(file.amqp)
}
