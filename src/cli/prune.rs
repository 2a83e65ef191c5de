//! `koschei log prune`.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use super::open::existing;
use super::{DbArgs, Done};
use crate::base::clock;
use crate::config::{RAW_DAYS, RAW_DAYS_MAX};
use crate::log::EventLog;
use crate::service::retention::kept_since;

/// Delete raw messages that were handled and are old; the log keeps their facts.
///
/// A running service does this by itself (`raw_days`). Messages that wait or were set aside stay.
/// The ids of all messages stay too, so that no message is taken in twice.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei log prune --db koschei.db\n  koschei log prune --days 0 --db koschei.db")]
pub(crate) struct PruneArgs {
    #[command(flatten)]
    db: DbArgs,
    /// Number of days to keep raw messages
    #[arg(
        long,
        value_name = "N",
        default_value_t = RAW_DAYS,
        value_parser = clap::value_parser!(u32).range(..=i64::from(RAW_DAYS_MAX))
    )]
    days: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &PruneArgs) -> Done {
    let log = existing(&args.db.db).await?;
    let pruned = log.prune_raw(kept_since(clock::now(), args.days)).await;
    log.close().await;
    let pruned = pruned?;
    let mut out = crate::cli::out::stdout();
    match args.json {
        true => writeln!(out, "{}", serde_json::json!({ "deleted": pruned }))?,
        false => writeln!(out, "{pruned} raw messages deleted")?,
    }
    Ok(ExitCode::SUCCESS)
}
