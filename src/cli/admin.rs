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
use crate::log::EventLog;
use crate::model::nearest::did_you_mean;

/// What operators do.
#[derive(Subcommand, Debug)]
pub(crate) enum AdminVerb {
    ForgetPerson(ForgetArgs),
    #[command(flatten)]
    Word(Box<word::WordVerb>),
}

/// Erase a person's name. Events keep a stand-in that means nothing any more; the log still verifies.
///
/// Raw messages hold names too: those of handled messages are deleted as well.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  koschei admin forget-person alice --db koschei.db && koschei log verify --db koschei.db"
)]
pub(crate) struct ForgetArgs {
    /// The person's name in Koji, or the stand-in (p-…)
    person: String,
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
    let log = existing(&args.db.db).await?;
    let erased = log.forget_person(&args.person).await?;
    let Some(id) = erased else {
        let persons = log.all_persons().await?;
        log.close().await;
        let near = did_you_mean(&args.person, persons.iter().map(|(_, name)| name.as_str()));
        return Err(CliError::Rejected(format!(
            "forget `{}`: nobody of that name or stand-in is known{near}",
            args.person
        )));
    };
    let bodies = log.prune_raw(crate::engine::clock::now()).await?;
    log.close().await;
    writeln!(std::io::stdout(), "{id} has no name any more; {bodies} raw messages deleted")?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn check_config(args: &CheckConfigArgs) -> Done {
    let mut config = match &args.file {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    // It may well be shown to somebody.
    config.bus.amqp_url = config.bus.amqp_url.map(|url| crate::log::redacted(&url));
    let text = if args.json {
        serde_json::to_string(&config).expect("a configuration holds only what JSON can say")
    } else {
        toml::to_string(&config).map_err(|e| CliError::Rejected(format!("print the configuration: {e}")))?
    };
    writeln!(std::io::stdout(), "{}", text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}
