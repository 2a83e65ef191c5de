//! `koschei admin …` and `koschei check-config`.

mod group;
mod known;
mod token;
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

/// The commands of operators.
#[derive(Subcommand, Debug)]
pub(crate) enum AdminVerb {
    ForgetPerson(ForgetArgs),
    Token(token::TokenArgs),
    Group(Box<group::GroupArgs>),
    #[command(flatten)]
    Word(Box<word::WordVerb>),
}

/// Erase a person's name from the log.
///
/// Events keep a stand-in that no longer leads to the name, so the log still verifies.
///
/// Raw messages that name the person are deleted, including messages that were set aside. Then
/// freed space and the write-ahead log are rewritten. That needs disk space for a second copy of
/// the database, and minutes for a large one; a running service waits meanwhile. If something
/// cannot be erased now, the command says what and exits with 4; run it again then, as often as
/// necessary. Backups, recordings, buses and PostgreSQL's write-ahead log are not touched: erase
/// the name there yourself.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei admin forget-person alice --db koschei.db\n  koschei admin forget-person \
        p-6f1c29d04b7e83a5 --db koschei.db")]
pub(crate) struct ForgetArgs {
    /// Name of the person in Koji, or the stand-in (p-…)
    person: String,
    /// Erase the name even if the log knows only a similar one
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    db: DbArgs,
}

/// Check a configuration and print the settings in effect, defaults included.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei check-config koschei.toml")]
pub(crate) struct CheckConfigArgs {
    /// Configuration file; without one, the defaults are printed
    file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(verb: &AdminVerb) -> Done {
    match verb {
        AdminVerb::ForgetPerson(args) => forget(args).await,
        AdminVerb::Token(args) => token::run(args).await,
        AdminVerb::Group(args) => group::run(args).await,
        AdminVerb::Word(verb) => word::run(verb).await,
    }
}

async fn forget(args: &ForgetArgs) -> Done {
    let who = &args.person;
    if who.trim().is_empty() {
        return Err(CliError::Rejected("forget a person: the name is empty; give a name or a stand-in".to_owned()));
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
        None => writeln!(out, "the log knows nobody as `{}`", who.escape_debug())?,
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
    Err(CliError::Unavailable(format!("erase the name everywhere: {}", left.join("; "))))
}

/// Refuses an unknown name if a known one differs only by a letter or two.
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
            "forget `{}`: the log knows no such name or stand-in{near} To forget it anyway, add --force",
            who.escape_debug()
        ))),
    }
}

/// Says what is left, and how to finish.
fn what_is_left(left: &Left) -> String {
    match left {
        Left::Waiting(n) => format!(
            "{n} messages that are not handled yet name the person, so they were kept; run this again when `koschei \
                serve`, `follow` or `ingest` has handled them"
        ),
        Left::Read => {
            "another process uses the database, so its write-ahead log and freed space could not be rewritten and \
                may still contain the name; run this again when that process (an export, a backup, a shell) has \
                ended"
                .to_owned()
        }
        Left::Store(e) => format!(
            "freed space of the database may still contain the name, because it could not be rewritten ({}); \
                rewriting needs room for a second copy, for SQLite also in the temporary directory (SQLITE_TMPDIR); \
                make room and run this again",
            crate::model::causes::with_causes(e)
        ),
    }
}

pub(super) fn check_config(args: &CheckConfigArgs) -> Done {
    let mut config = match &args.file {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    // The output may be shown to others, so passwords in addresses are hidden.
    let addresses = config.hubs.iter_mut().flat_map(|h| [&mut h.server, &mut h.topurl, &mut h.weburl]);
    for url in addresses.chain([&mut config.bus.amqp_url, &mut config.announce.amqp_url]).flatten() {
        *url = crate::log::redacted(url);
    }
    let text = if args.json {
        serde_json::to_string(&config).expect("a configuration is valid JSON")
    } else {
        toml::to_string(&config).map_err(|e| CliError::Rejected(format!("print the configuration: {e}")))?
    };
    writeln!(crate::cli::out::stdout(), "{}", text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}
