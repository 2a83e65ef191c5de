//! Checks what a server must fulfil before a log is kept there, and sets up each connection.
//!
//! Servers, databases and roles have their own defaults (`ALTER DATABASE … SET`), and poolers
//! ignore what a connection requests at its start. So this module assumes no setting. It sets the
//! required ones on each connection. If a requirement cannot be set, it is checked, and the
//! database is refused if it does not hold.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::log::Options;
use crate::log::error::{OpenError, StoreError};

const BACKEND: &str = "SELECT pg_backend_pid()";
const ABOUT: &str = "SELECT current_user::text, current_schema()::text, current_setting('search_path'), \
     current_setting('server_encoding'), current_setting('synchronous_commit'), \
     coalesce(has_schema_privilege(current_schema(), 'CREATE'), false), quote_ident(current_schema())";

/// Properties of a server and of this program's role there.
#[derive(Clone, Debug)]
pub(super) struct About {
    role: String,
    /// The schema with the log's tables, or for them.
    schema: String,
    may_create: bool,
    settings: String,
}

impl About {
    /// Queries the server, and refuses what cannot work. It makes two connections: behind a pooler
    /// without sessions, both are the same one.
    ///
    /// # Errors
    /// Returns [`OpenError`]: rejected if the operator has to change something, unavailable if the
    /// server does not respond.
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

    /// Checks whether the role may create tables.
    ///
    /// # Errors
    /// Returns [`OpenError::MayNotCreate`] if it may not.
    pub(super) fn may_create(&self, url: &str) -> Result<(), OpenError> {
        if self.may_create {
            return Ok(());
        }
        Err(OpenError::MayNotCreate { url: url.to_owned(), role: self.role.clone(), schema: self.schema.clone() })
    }

    /// Returns the statements for each connection.
    pub(super) fn settings(&self) -> AssertSqlSafe<String> {
        AssertSqlSafe(self.settings.clone())
    }
}

/// Returns the settings of each connection, as statements:
///
/// - Isolation: numbers are assigned under a lock, and the next holder must see what was committed
///   before.
/// - Schema: a later change of the search path must not lead to other tables.
/// - Timeouts: a connection that died silently must not keep its locks. The server ends an idle
///   transaction and checks whether the client is still there.
/// - Durability: commits are on the server's disk when they are acknowledged. Stricter settings
///   stay.
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

/// The server notices a lost client after two minutes instead of the usual two hours. This has no
/// effect on a socket of the same machine.
const KEEPALIVES: &str =
    "SET tcp_keepalives_idle = 60; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 6;";

/// Parameters of a URL that the driver supports. It silently ignores others, such as a misspelt
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
/// Returns [`OpenError::Parameter`] for the first such parameter.
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
    // Do not prepare the statement. Behind a pooler without sessions that would fail with a
    // misleading error.
    let row = sqlx::raw_sql(BACKEND).fetch_one(connection).await?;
    Ok((row.try_get(0)?,))
}

/// Makes a single connection. If the server is not there, it fails at once with the reason, while a
/// pool would try again and again.
async fn dial(url: &str, connect: &PgConnectOptions, options: &Options) -> Result<PgConnection, OpenError> {
    let patience = options.busy_timeout.max(Duration::from_millis(1));
    let dialled = tokio::time::timeout(patience, PgConnection::connect_with(connect)).await;
    dialled.unwrap_or(Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))).map_err(|e| failed(url, e))
}

fn failed(url: &str, error: sqlx::Error) -> OpenError {
    let db = error.as_database_error();
    // This is pgbouncer's error for options in the address.
    if db.is_some_and(|e| e.message().contains("unsupported startup parameter")) {
        return OpenError::Pooled { url: url.to_owned() };
    }
    OpenError::Store { url: url.to_owned(), source: StoreError::new("connect")(error) }
}
