//! Entry point.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use koschei::cli::resolve;
use koschei::model::Classified;

#[derive(Parser)]
#[command(name = "koschei", version, about)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Resolve(Box<resolve::ResolveArgs>),
}

fn main() -> ExitCode {
    let Verb::Resolve(args) = Cli::parse().verb;
    resolve::run(&args).unwrap_or_else(|error| {
        eprintln!("koschei: failed to {error}");
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            eprintln!("  because: {cause}");
            source = cause.source();
        }
        ExitCode::from(error.class().exit_code())
    })
}
