//! The command line: parses arguments, runs a verb, and prints errors for people. The work of the
//! verbs is in other rooms.
//!
//! Exit status: 0 success; 1 damaged data or a defect; 2 wrong usage; 3 invalid input; 4 something
//! did not answer; 5 a check found a problem; 130 interrupted (`ingest`).

mod admin;
mod announcements;
mod as_of;
mod broken;
mod causes;
mod commands;
mod doctor;
mod follow;
mod history;
mod in_order;
mod ingest;
pub mod journal;
mod log;
mod log_import;
mod open;
mod out;
mod parked;
mod prune;
mod render;
mod replay;
pub mod repo_arg;
mod repos;
pub mod resolve;
mod saying;
mod serve;
mod sources;
mod status;
mod web;
mod why;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::ConfigError;
use crate::intake::IntakeError;
use crate::log::LogError;
use crate::model::secrets::holds_password;
use crate::model::{Class, Classified};
use crate::service::StartError;

/// Exit status of a check that found something.
pub const FOUND: u8 = 5;

/// Finds out which update broke the build of which package, from Koji's events.
#[derive(Parser, Debug)]
#[command(
    name = "koschei",
    version,
    about,
    after_help = "Exit status: 0 success, 1 damaged data or a defect, 2 wrong usage, 3 invalid input, 4 something \
        did not answer, 5 a check found a problem, 130 interrupted (ingest).\n\nExample:\n  koschei ingest --from \
        events.jsonl --archive recording/ --db demo.db && koschei status --db demo.db"
)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Ingest(Box<ingest::IngestArgs>),
    Serve(serve::ServeArgs),
    Follow(Box<follow::FollowArgs>),
    Replay(replay::ReplayArgs),
    Web(web::WebArgs),
    Status(status::StatusArgs),
    Why(why::WhyArgs),
    Broken(broken::BrokenArgs),
    Causes(causes::CausesArgs),
    Cause(causes::CauseArgs),
    Suspects(causes::SuspectsArgs),
    Announcements(announcements::AnnouncementsArgs),
    History(history::HistoryArgs),
    Commands(commands::CommandsArgs),
    Resolve(Box<resolve::ResolveArgs>),
    /// Inspect and maintain a log.
    #[command(after_help = "Example:\n  koschei log verify --db koschei.db\n  koschei log tail -n 20 --follow")]
    Log {
        #[command(subcommand)]
        verb: log::LogVerb,
    },
    /// Run operator commands: track packages, set priorities, pause, cancel.
    #[command(after_help = "Example:\n  koschei admin forget-person alice --db koschei.db")]
    Admin {
        #[command(subcommand)]
        verb: admin::AdminVerb,
    },
    CheckConfig(admin::CheckConfigArgs),
    Doctor(doctor::DoctorArgs),
}

/// The log a verb works on.
#[derive(Args, Clone, Debug)]
pub(crate) struct DbArgs {
    /// Log to use: a file (SQLite), sqlite:PATH or `postgres://USER@HOST/DATABASE`
    #[arg(long, value_name = "URL", env = "KOSCHEI_DB", hide_env_values = true, default_value = "koschei.db")]
    pub(crate) db: String,
}

/// An error of a verb.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// From the intake of messages or the delivery of commands.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// From the log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// From starting the service.
    #[error(transparent)]
    Start(#[from] StartError),
    /// From the configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// From `resolve`.
    #[error(transparent)]
    Resolve(#[from] resolve::ResolveCliError),
    /// The caller gave something that does not exist or is invalid.
    #[error("{0}")]
    Rejected(String),
    /// A process, a server or a disk that the verb needs does not do its part.
    #[error("{0}")]
    Unavailable(String),
    /// The address for pages or metrics cannot be used.
    #[error("listen on {at}")]
    Listen {
        /// The address.
        at: std::net::SocketAddr,
        /// The reason.
        source: std::io::Error,
    },
    /// Standard output or a file cannot be written.
    #[error("write output")]
    Output(#[from] std::io::Error),
}

impl Classified for CliError {
    fn class(&self) -> Class {
        match self {
            Self::Log(e) => e.class(),
            Self::Intake(e) => e.class(),
            Self::Start(e) => e.class(),
            Self::Config(e) => e.class(),
            Self::Resolve(e) => e.class(),
            // The process that uses the address now may end.
            Self::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => Class::Unavailable,
            Self::Rejected(_) | Self::Listen { .. } => Class::Rejected,
            Self::Unavailable(_) | Self::Output(_) => Class::Unavailable,
        }
    }
}

macro_rules! through {
    ($variant:ident: $($error:ty),+) => {$(
        impl From<$error> for CliError {
            fn from(error: $error) -> Self {
                Self::$variant(error.into())
            }
        }
    )+};
}

through!(Log: crate::event::DecodeError);
through!(Log: crate::log::OpenError, crate::log::ReadError, crate::log::StoreError, crate::log::AppendError);
through!(Intake: crate::bus::RecordingError);

/// Parses the value of a yes/no option. The value is always given, so that both can be set.
pub(crate) fn yes_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" | "true" | "on" => Ok(true),
        "no" | "false" | "off" => Ok(false),
        _ => Err("must be `yes` or `no`".to_owned()),
    }
}

/// Result of a verb.
pub(crate) type Done = Result<ExitCode, CliError>;

/// Returns a warning if an argument contains a password. Every user of the machine can see
/// arguments (`ps`).
pub fn warning_of_arguments(arguments: impl IntoIterator<Item = String>) -> Option<&'static str> {
    let value = |argument: &str| match argument.split_once('=') {
        Some((option, value)) if option.starts_with('-') => holds_password(value),
        _ => holds_password(argument),
    };
    arguments.into_iter().any(|argument| value(&argument)).then_some(
        "an argument contains a password, which every user of this machine can read (ps); give the address in \
            KOSCHEI_DB, KOSCHEI_AMQP or KOSCHEI_NATS, or the password in a file (PGPASSFILE, --nats-credentials, \
            --fedora-messaging)",
    )
}

/// Runs the verb. Prints an error and its causes on standard error.
pub fn run(cli: Cli) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(4).build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("koschei: failed to start: {e}");
            return ExitCode::from(Class::Unavailable.exit_code());
        }
    };
    let done = runtime.block_on(async {
        match cli.verb {
            Verb::Ingest(args) => Box::pin(ingest::run(&args)).await,
            Verb::Serve(args) => Box::pin(serve::run(&args)).await,
            Verb::Follow(args) => Box::pin(follow::run(&args)).await,
            Verb::Replay(args) => Box::pin(replay::run(&args)).await,
            Verb::Web(args) => Box::pin(web::run(&args)).await,
            Verb::Status(args) => Box::pin(status::run(&args)).await,
            Verb::Why(args) => Box::pin(why::run(&args)).await,
            Verb::Broken(args) => Box::pin(broken::run(&args)).await,
            Verb::Causes(args) => Box::pin(causes::causes(&args)).await,
            Verb::Cause(args) => Box::pin(causes::cause(&args)).await,
            Verb::Suspects(args) => Box::pin(causes::suspects(&args)).await,
            Verb::Announcements(args) => Box::pin(announcements::run(&args)).await,
            Verb::History(args) => Box::pin(history::run(&args)).await,
            Verb::Commands(args) => Box::pin(commands::run(&args)).await,
            Verb::Resolve(args) => resolve::run(&args).map_err(CliError::from),
            Verb::Log { verb } => Box::pin(log::run(&verb)).await,
            Verb::Admin { verb } => Box::pin(admin::run(&verb)).await,
            Verb::CheckConfig(args) => admin::check_config(&args),
            Verb::Doctor(args) => Box::pin(doctor::run(&args)).await,
        }
    });
    done.unwrap_or_else(|error| {
        // A reader that closes the pipe early is not an error.
        if let CliError::Output(e) = &error
            && e.kind() == std::io::ErrorKind::BrokenPipe
        {
            return ExitCode::SUCCESS;
        }
        report(&error);
        ExitCode::from(error.class().exit_code())
    })
}

/// Formats an error with its causes in one line.
pub(crate) fn with_causes(what: &str, error: &dyn std::error::Error) -> String {
    format!("{what}: {}", crate::model::causes::with_causes(error))
}

fn report(error: &CliError) {
    for (i, text) in crate::model::causes::causes(error).iter().enumerate() {
        match i {
            0 => eprintln!("koschei: failed to {}", out::visible(text)),
            _ => eprintln!("  because: {}", out::visible(text)),
        }
    }
}
