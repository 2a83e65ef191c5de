//! `koschei admin …` and `koschei check-config`.

mod known;
mod word;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::open::existing;
use super::{CliError, DbArgs, Done};
use crate::config::Config;
use crate::log::{AnyLog, Erasure, EventLog, Left};
use crate::model::nearest::{WRONG_MAX, did_you_mean, distance};

/// What operators do.
#[derive(Subcommand, Debug)]
pub(crate) enum AdminVerb {
    ForgetPerson(ForgetArgs),
    #[command(flatten)]
    Word(Box<word::WordVerb>),
}

/// Erase a person's name. Events keep a stand-in that means nothing any more; the log still verifies.
///
/// Raw messages that name the person are deleted as well, those set aside included, and freed space and the write-ahead
/// log are written anew: that takes the database's size once more on the disk, and for a large one minutes, in which a
/// running service waits. What cannot be erased now is said, with exit code 4; run it again then, as often as you like.
/// Backups, recordings, buses and PostgreSQL's write-ahead log are yours to see to.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei admin forget-person alice --db koschei.db\n  koschei admin forget-person \
        p-6f1c29d04b7e83a5 --db koschei.db")]
pub(crate) struct ForgetArgs {
    /// The person's name in Koji, or the stand-in (p-…)
    person: String,
    /// Also where nobody of that name is known, and somebody of a similar one is
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    db: DbArgs,
}

/// Read a configuration and print what is in effect, defaults included.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei check-config koschei.toml")]
pub(crate) struct CheckConfigArgs {
    /// The file; default: none, which shows the defaults
    file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(verb: &AdminVerb) -> Done {
    match verb {
        AdminVerb::ForgetPerson(args) => forget(args).await,
        AdminVerb::Word(verb) => word::run(verb).await,
    }
}

async fn forget(args: &ForgetArgs) -> Done {
    let who = &args.person;
    if who.trim().is_empty() {
        return Err(CliError::Rejected("forget nobody: give a name or a stand-in".to_owned()));
    }
    let log = existing(&args.db.db).await?;
    if !args.force
        && let Err(slip) = slip(&log, who).await
    {
        log.close().await;
        return Err(slip);
    }
    let done = log.forget_person(who).await;
    log.close().await;
    let done = done?;
    let mut out = crate::cli::out::stdout();
    match &done.id {
        Some(id) => writeln!(out, "{id} has no name any more")?,
        None => writeln!(out, "nobody is known as `{}` (any more)", who.escape_debug())?,
    }
    let Erasure { bodies, parked, reasons, .. } = &done;
    writeln!(out, "{bodies} raw messages deleted ({parked} of them had been set aside), {reasons} reasons replaced")?;
    writeln!(
        out,
        "not touched: backups, recordings, what a bus keeps, and PostgreSQL's write-ahead log and its archive"
    )?;
    if done.left.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let left: Vec<String> = done.left.iter().map(what_is_left).collect();
    Err(CliError::Unavailable(format!("forget them everywhere: {}", left.join("; "))))
}

/// Refuses a name nobody has, where somebody has one that is only a letter or two different.
async fn slip(log: &AnyLog, who: &str) -> Result<(), CliError> {
    let persons = log.all_persons().await?;
    if persons.iter().any(|(id, name)| who == name || who == id.as_str()) {
        return Ok(());
    }
    let wrong = |name: &str| distance(&who.to_lowercase(), &name.to_lowercase());
    let close = |name: &&str| wrong(name) <= WRONG_MAX && 2 * wrong(name) < who.len();
    let near = did_you_mean(who, persons.iter().map(|(_, name)| name.as_str()).filter(close));
    match near.is_empty() {
        true => Ok(()),
        false => Err(CliError::Rejected(format!(
            "forget `{}`: nobody of that name or stand-in is known{near} If not, say --force",
            who.escape_debug()
        ))),
    }
}

/// What is left, and how to finish.
fn what_is_left(left: &Left) -> String {
    match left {
        Left::Waiting(n) => format!(
            "{n} messages that wait to be handled name them, and were kept for that; run this again when `koschei \
             serve`, `follow` or `ingest` has handled them"
        ),
        Left::Read => {
            "somebody reads the database or writes to it, so that its write-ahead log and freed space, where the name \
             may still stand, could not be written anew; run this again when they have ended (an export, a backup, a \
             shell)"
                .to_owned()
        }
        Left::Store(e) => format!(
            "the name may still stand in freed space of the database, which could not be written anew ({}); it takes \
             room for another copy, for SQLite also in the temporary directory (SQLITE_TMPDIR); see to that and run \
             this again",
            crate::model::causes::with_causes(e)
        ),
    }
}

pub(super) fn check_config(args: &CheckConfigArgs) -> Done {
    let mut config = match &args.file {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    // It may well be shown to somebody.
    let addresses = config.hubs.iter_mut().flat_map(|h| [&mut h.server, &mut h.topurl, &mut h.weburl]);
    for url in addresses.chain([&mut config.bus.amqp_url]).flatten() {
        *url = crate::log::redacted(url);
    }
    let text = if args.json {
        serde_json::to_string(&config).expect("a configuration holds only what JSON can say")
    } else {
        toml::to_string(&config).map_err(|e| CliError::Rejected(format!("print the configuration: {e}")))?
    };
    writeln!(crate::cli::out::stdout(), "{}", text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}
