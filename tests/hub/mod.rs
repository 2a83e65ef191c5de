//! A Koji hub for tests: XML-RPC over HTTP with Koji's semantics for the calls Koschei uses, its tables, its messages,
//! its files.
//!
//! A test seeds it with facts through [`Hub::change`] (what people and builders do, in Koji's words), talks to it at
//! [`Hub::url`], takes what would have gone over the bus with [`Hub::take_messages`], and compares Koschei's state with
//! [`Hub::dump`]. No recorded reply is read here: every answer is computed from the tables. Values are encoded by
//! [`value`], not by the code under test.
//!
//! Nothing happens by itself. Builders and kojira move when a test says so ([`Hub::work`]), or in the background after
//! [`Hub::start_builders`].
#![allow(dead_code, unused_imports, reason = "not every binary that includes it uses everything")]

pub mod bus;
pub mod caller;
pub mod calls;
pub mod clock;
pub mod dump;
pub mod fault;
pub mod files;
pub mod ops;
pub mod pki;
pub mod ports;
pub mod repodata;
pub mod rows;
pub mod seed;
pub mod server;
pub mod session;
pub mod settings;
pub mod spec;
pub mod srpm;
pub mod state;
pub mod trouble;
pub mod tx;
pub mod value;
pub mod world;

pub use bus::BusMessage;
pub use caller::Caller;
pub use dump::{Dump, DumpTask};
pub use fault::Fault;
pub use ops::exec::{Contents, Outcome, Plan, RootFor, Rule};
pub use ops::tags::Inherit;
pub use ops::tasks::NewTask;
pub use pki::Pki;
pub use server::Login;
pub use settings::Settings;
pub use spec::{NewBuild, NewRpm};
pub use state::{Hub, Logged};
pub use trouble::{FileLie, Gate, Lie};
pub use tx::Tx;
pub use value::V;
pub use world::World;
