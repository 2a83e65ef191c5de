//! `koschei admin token`: logins and API tokens of people.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::base::clock;
use crate::base::secret::Secret;
use crate::cli::open::{existing, reading};
use crate::cli::{CliError, DbArgs, Done};
use crate::log::credentials::Scope;
use crate::log::{Credential, CredentialKind, Credentials as _, EventLog as _};

/// Longest life of a token, in days.
const DAYS_MAX: i64 = 366;
/// Longest name of a person or team, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// Make, list and revoke logins and API tokens of people
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei admin token list")]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    verb: TokenVerb,
}

#[derive(Subcommand, Debug)]
enum TokenVerb {
    Make(MakeArgs),
    List(ListArgs),
    Revoke(RevokeArgs),
}

/// Make a token for a person, and print it once
///
/// With it, programs do what the person may (`Authorization: Bearer TOKEN`). With the scope `admin`, the
/// person can log in with it at `/login`. Only its hash is stored, beside the log and never in it.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei admin token make alice --scope write --days 90 --label \"nightly script\"")]
struct MakeArgs {
    /// Name of the person
    person: String,
    /// What it may be used for: `read`, `write` (also change packages), `admin` (also everything else the
    /// person may)
    #[arg(long, value_name = "SCOPE", default_value = "admin", value_parser = ["read", "write", "admin"])]
    scope: String,
    /// Days until it ends
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=DAYS_MAX))]
    days: u16,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "")]
    label: String,
    /// A team that the person is in; may be given several times
    #[arg(long = "team", value_name = "TEAM")]
    teams: Vec<String>,
    #[command(flatten)]
    db: DbArgs,
}

/// List sessions and tokens
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei admin token list --person alice")]
struct ListArgs {
    /// Only of this person
    #[arg(long, value_name = "NAME")]
    person: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    db: DbArgs,
}

/// End a session or token, or all of a person, at once
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei admin token revoke --person alice")]
struct RevokeArgs {
    /// The id that `list` prints
    #[arg(required_unless_present = "person")]
    id: Option<String>,
    /// All of this person
    #[arg(long, value_name = "NAME", conflicts_with = "id")]
    person: Option<String>,
    #[command(flatten)]
    db: DbArgs,
}

/// A session or token, as it is printed.
#[derive(Serialize)]
struct Listed {
    id: String,
    kind: &'static str,
    person: String,
    label: String,
    scopes: Vec<String>,
    made_at: String,
    expires_at: String,
}

impl From<Credential> for Listed {
    fn from(c: Credential) -> Self {
        let kind = match c.kind {
            CredentialKind::Session => "session",
            CredentialKind::Token => "token",
        };
        let (made_at, expires_at) = (c.made_at.to_string(), c.expires_at.to_string());
        Self { id: c.id, kind, person: c.person, label: c.label, scopes: c.scopes, made_at, expires_at }
    }
}

pub(super) async fn run(args: &TokenArgs) -> Done {
    match &args.verb {
        TokenVerb::Make(args) => make(args).await,
        TokenVerb::List(args) => list(args).await,
        TokenVerb::Revoke(args) => revoke(args).await,
    }
}

async fn make(args: &MakeArgs) -> Done {
    let is_name = |n: &str| !n.trim().is_empty() && n.len() <= NAME_BYTES_MAX && !n.chars().any(char::is_control);
    if let Some(bad) = std::iter::once(&args.person).chain(&args.teams).find(|n| !is_name(n)) {
        let what = format!("make a token: `{}` is no name of a person or team", bad.escape_debug());
        return Err(CliError::Rejected(what));
    }
    let (now, secret) = (clock::now(), Secret::draw());
    let asked = Scope::ALL.into_iter().find(|s| s.as_str() == args.scope).unwrap_or(Scope::Read);
    let token = Credential {
        id: secret.id.clone(),
        kind: CredentialKind::Token,
        person: args.person.clone(),
        label: args.label.chars().take(100).collect(),
        teams: args.teams.clone(),
        scopes: Scope::ALL.into_iter().filter(|s| *s <= asked).map(|s| s.as_str().to_owned()).collect(),
        made_at: now,
        expires_at: now.plus_secs(i64::from(args.days) * 86_400),
    };
    let log = existing(&args.db.db).await?;
    let stored = log.put_credential(&token, &secret.hash).await;
    log.close().await;
    stored?;
    eprintln!("koschei: token {} of {} ends at {}; it is shown only now", token.id, token.person, token.expires_at);
    writeln!(crate::cli::out::stdout(), "{}", secret.text)?;
    Ok(ExitCode::SUCCESS)
}

async fn list(args: &ListArgs) -> Done {
    let log = reading(&args.db.db).await?;
    let found = log.credentials(args.person.as_deref()).await;
    log.close().await;
    let mut out = crate::cli::out::stdout().lock();
    for c in found?.into_iter().map(Listed::from) {
        if args.json {
            writeln!(out, "{}", serde_json::to_string(&c).expect("it is valid JSON"))?;
        } else {
            let scopes = if c.scopes.is_empty() { "-".to_owned() } else { c.scopes.join(",") };
            writeln!(out, "{}  {:7}  {}  {scopes}  until {}  {}", c.id, c.kind, c.person, c.expires_at, c.label)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn revoke(args: &RevokeArgs) -> Done {
    let log = existing(&args.db.db).await?;
    let done = match (&args.id, &args.person) {
        (_, Some(person)) => log.revoke_all(person).await,
        (Some(id), None) => log.revoke(id, None).await.map(u64::from),
        (None, None) => Ok(0),
    };
    log.close().await;
    let done = done?;
    if done == 0 && args.id.is_some() {
        return Err(CliError::Rejected(
            "revoke: there is no such session or token; `koschei admin token list` has all".to_owned(),
        ));
    }
    writeln!(crate::cli::out::stdout(), "{done} ended")?;
    Ok(ExitCode::SUCCESS)
}
