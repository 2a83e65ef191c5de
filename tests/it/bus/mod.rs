//! Messages from NATS and RabbitMQ into the log, and commands out.

pub(crate) mod amqp;
pub(crate) mod amqp_follow;
pub(crate) mod amqp_refused;
pub(crate) mod announcing;
pub(crate) mod events;
pub(crate) mod follow;
pub(crate) mod follow_trouble;
pub(crate) mod jetstream;
pub(crate) mod listening;
pub(crate) mod nats_trouble;
pub(crate) mod python_package;
pub(crate) mod queue;
