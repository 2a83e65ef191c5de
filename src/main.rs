//! Entry point: logging, then the command line.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use koschei::cli::{Cli, run};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // What the AMQP client logs as errors reaches us as values, and is said once where it is handled.
    let filter = EnvFilter::try_from_env("KOSCHEI_LOG").unwrap_or_else(|_| EnvFilter::new("warn,lapin=off"));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).init();
    run(Cli::parse())
}
