//! A Koji hub for tests: XML-RPC over HTTP with Koji's semantics for the calls that Koschei uses,
//! with tables, messages and files.
//!
//! A test says with [`NewWorld`] what the hub has when the test begins. [`Hub::change`] then does
//! what people and builders do, in Koji's words. The test calls the hub at [`Hub::url`], takes the
//! bus's messages with [`Hub::take_messages`], and compares Koschei's state with [`Hub::dump`]. The
//! hub reads no recorded replies: it computes every answer from the tables. [`value`] encodes the
//! answers, not the code under test.
//!
//! Nothing happens by itself. Builders and kojira work when a test says so ([`Hub::work`]), or in
//! the background after [`Hub::start_builders`].
#![allow(dead_code, unused_imports, reason = "not every binary that includes it uses everything")]

pub mod bus;
pub mod caller;
pub mod calls;
pub mod clock;
pub mod dump;
pub mod fault;
pub mod files;
pub mod new_world;
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
pub use new_world::NewWorld;
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
