//! All integration tests in one binary, with a folder per room. Linking is the slowest part of
//! running them.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests fail by panicking and are not a library")]

mod bus;
mod cli;
mod decide;
#[path = "../hub/mod.rs"]
mod hub;
mod koji;
mod log;
mod net;
mod resolve;
mod serve;
mod support;
mod testhub;
mod web;
mod writer;

use support::{
    cuttable, executor, feed, files_server, koji_stub, live, log_place, nats_server, prometheus_server,
    rabbitmq_server, recorded, servers, story, subscriber, tiny, web_site,
};
