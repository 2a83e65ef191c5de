//! The running service: starting, stopping, readiness, systemd, Kerberos.
//!
//! [`kerberos`] settles the environment before anything is opened. [`live_hub`] opens each configured
//! hub. [`bus`] reads the settings of the message bus. [`start`] starts every loop and waits for all of
//! them at the end. [`serve`] is the loop that owns the writer. [`retention`] deletes old message
//! bodies. [`systemd`] tells the service manager that the service is ready and alive. [`signals`] stops
//! it.

pub(crate) mod bus;
mod error;
pub(crate) mod jetstream;
pub(crate) mod kerberos;
pub(crate) mod live_hub;
pub mod retention;
pub mod serve;
pub(crate) mod signals;
pub(crate) mod start;
pub(crate) mod systemd;

pub use error::StartError;
