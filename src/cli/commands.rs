//! `koschei commands`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::open::existing;
use super::{DbArgs, Done};
use crate::bus::CommandSink;
use crate::engine::outbox;
use crate::log::EventLog;
use crate::telemetry::Metrics;

/// Deliver the rebuild commands that wait in the outbox, one JSON object a line, and note them as delivered.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei commands --db koschei.db --to commands.jsonl\n  koschei commands --peek")]
pub(crate) struct CommandsArgs {
    #[command(flatten)]
    db: DbArgs,
    /// Where to: a file, or - for standard output
    #[arg(long, value_name = "DEST", default_value = "-")]
    to: PathBuf,
    /// Only show them; they stay in the outbox
    #[arg(long)]
    peek: bool,
}

pub(super) async fn run(args: &CommandsArgs) -> Done {
    let log = existing(&args.db.db).await?;
    if args.peek {
        for c in log.pending_commands(crate::log::PAGE_MAX).await? {
            writeln!(std::io::stdout(), "{}", c.payload)?;
        }
    } else {
        let mut sink = CommandSink::open(&args.to).map_err(crate::engine::EngineError::from)?;
        let n = outbox::deliver(&log, &mut sink, &Metrics::new()).await?;
        eprintln!("{n} commands delivered");
    }
    log.close().await;
    Ok(ExitCode::SUCCESS)
}
