//! What must hold of a server before a log is kept there, and what each of our connections is told.
//!
//! Servers, databases and roles have defaults of their own (`ALTER DATABASE … SET`), and poolers ignore what a
//! connection asks for as it begins. So nothing is taken for granted: what we rely on is set on each connection, and
//! what cannot be set is looked at and refused.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::log::Options;
use crate::log::error::{OpenError, StoreError};

const BACKEND: &str = "SELECT pg_backend_pid()";
const ABOUT: &str = "SELECT current_user::text, current_schema()::text, current_setting('search_path'), \
     current_setting('server_encoding'), current_setting('synchronous_commit'), \
     coalesce(has_schema_privilege(current_schema(), 'CREATE'), false), quote_ident(current_schema())";

/// What a server says about itself and us.
#[derive(Clone, Debug)]
pub(super) struct About {
    role: String,
    /// Where our tables are, or will be.
    schema: String,
    may_create: bool,
    settings: String,
}

impl About {
    /// Asks, and refuses what cannot work. Two connections are made for it: behind a pooler that has no sessions both
    /// are the same one.
    ///
    /// # Errors
    /// [`OpenError`]: rejected for what the operator has to change, unavailable when the server does not answer.
    pub(super) async fn ask(url: &str, connect: &PgConnectOptions, options: &Options) -> Result<Self, OpenError> {
        let fail = |e| failed(url, e);
        let (mut one, mut two) = (dial(url, connect, options).await?, dial(url, connect, options).await?);
        let (first,): (i32,) = simple(&mut one).await.map_err(fail)?;
        let (second,): (i32,) = simple(&mut two).await.map_err(fail)?;
        if first == second {
            return Err(OpenError::Pooled { url: url.to_owned() });
        }
        two.close().await.map_err(fail)?;
        type Row = (String, Option<String>, String, String, String, bool, Option<String>);
        let told: Row = sqlx::query_as(ABOUT).persistent(false).fetch_one(&mut one).await.map_err(fail)?;
        one.close().await.map_err(fail)?;
        let (role, schema, search_path, encoding, synchronous, may_create, quoted) = told;
        if !["UTF8", "SQL_ASCII"].contains(&encoding.as_str()) {
            return Err(OpenError::Encoding { url: url.to_owned(), encoding });
        }
        let (Some(schema), Some(quoted)) = (schema, quoted) else {
            return Err(OpenError::NoSchema { url: url.to_owned(), role, search_path });
        };
        let settings = settings(options, &quoted, &synchronous);
        Ok(Self { role, schema, may_create, settings })
    }

    /// Whether tables may be made.
    ///
    /// # Errors
    /// [`OpenError::MayNotCreate`].
    pub(super) fn may_create(&self, url: &str) -> Result<(), OpenError> {
        if self.may_create {
            return Ok(());
        }
        Err(OpenError::MayNotCreate { url: url.to_owned(), role: self.role.clone(), schema: self.schema.clone() })
    }

    /// Statements for each connection.
    pub(super) fn settings(&self) -> AssertSqlSafe<String> {
        AssertSqlSafe(self.settings.clone())
    }
}

/// What each connection is told. Isolation: numbers are given under a lock, and whoever gets it must see what was
/// committed before. Schema: another search path later must not lead to other tables. A connection that died without a
/// word must not keep its locks: the server ends a transaction that nobody goes on with, and asks whether we are there.
/// Commits are on the server's disk when they are acknowledged; stricter settings stay.
fn settings(options: &Options, schema: &str, synchronous: &str) -> String {
    let wait = options.busy_timeout.as_millis().max(1);
    let idle = options.answer_timeout.as_millis().max(1);
    let read_only = if options.read_only { "on" } else { "off" };
    let synchronous = if synchronous == "off" { "SET synchronous_commit = on;" } else { "" };
    format!(
        "SET lock_timeout = {wait}; SET default_transaction_read_only = {read_only}; \
         SET default_transaction_isolation = 'read committed'; SET search_path = {schema}; \
         SET idle_in_transaction_session_timeout = {idle}; {KEEPALIVES} {synchronous}"
    )
}

/// A client that is gone is noticed after two minutes instead of the two hours that are usual. Without effect on a
/// socket of the same machine.
const KEEPALIVES: &str =
    "SET tcp_keepalives_idle = 60; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 6;";

/// Parameters of a URL that the driver heeds. It passes over others without a word we could hear, such as a misspelt
/// `sslmode`.
const PARAMETERS: [&str; 19] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "",
];

/// Refuses a URL with parameters that would be ignored.
///
/// # Errors
/// [`OpenError::Parameter`].
pub(super) fn check_parameters(shown: &str, url: &str) -> Result<(), OpenError> {
    let query = url.split_once('?').map_or("", |(_, query)| query.split('#').next().unwrap_or_default());
    let names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    let is_known =
        |name: &str| PARAMETERS.contains(&name) || name.starts_with("options[") || name.starts_with("options%5B");
    match names.into_iter().find(|name| !is_known(name)) {
        None => Ok(()),
        Some(name) => Err(OpenError::Parameter { url: shown.to_owned(), parameter: name.to_owned() }),
    }
}

async fn simple(connection: &mut PgConnection) -> Result<(i32,), sqlx::Error> {
    use sqlx::Row as _;
    // Not prepared: a pooler without sessions would fail at that, and say something else.
    let row = sqlx::raw_sql(BACKEND).fetch_one(connection).await?;
    Ok((row.try_get(0)?,))
}

/// A pool would try again and again to reach a server that is not there; a first connection says at once why not.
async fn dial(url: &str, connect: &PgConnectOptions, options: &Options) -> Result<PgConnection, OpenError> {
    let patience = options.busy_timeout.max(Duration::from_millis(1));
    let dialled = tokio::time::timeout(patience, PgConnection::connect_with(connect)).await;
    dialled.unwrap_or(Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))).map_err(|e| failed(url, e))
}

fn failed(url: &str, error: sqlx::Error) -> OpenError {
    let db = error.as_database_error();
    // What pgbouncer says to options in the address.
    if db.is_some_and(|e| e.message().contains("unsupported startup parameter")) {
        return OpenError::Pooled { url: url.to_owned() };
    }
    OpenError::Store { url: url.to_owned(), source: StoreError::new("connect")(error) }
}
