//! Entry point: sets up logging and runs the command line.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use koschei::cli::{Cli, journal, run, warning_of_arguments};
use mimalloc::MiMalloc;
use rustix::fs::Mode;
use rustix::process::umask;
use tracing_subscriber::EnvFilter;

/// Returns the memory of a repository to the system when the next one is there. That of the C
/// library keeps most of it: see decision 002.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let said = std::env::var("KOSCHEI_LOG").ok();
    let filter = EnvFilter::try_new(journal::filter(said.as_deref())).unwrap_or_else(|e| {
        eprintln!("koschei: warning: KOSCHEI_LOG is not understood ({e}); warnings are shown");
        EnvFilter::new(journal::filter(None))
    });
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).init();
    // Files that we create contain names of people, and may contain more. Other users must not read
    // them.
    let before = umask(Mode::empty());
    umask(before | Mode::from_bits_truncate(0o027));
    let cli = Cli::parse();
    if let Some(warning) = warning_of_arguments(std::env::args_os().map(|a| a.to_string_lossy().into_owned())) {
        eprintln!("koschei: warning: {warning}");
    }
    run(cli)
}
