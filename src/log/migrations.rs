//! Lists the migrations. Both dialects have the same numbers and names. They are applied in order,
//! each in the transaction that records it.
//!
//! A released migration is never edited. The checksum would show it.

use super::error::OpenError;

/// One migration of the schema.
#[derive(Debug)]
pub struct Migration {
    /// Number of the migration, counting up from 1.
    pub number: i64,
    /// Name of the migration, as in its file name.
    pub name: &'static str,
    /// Statements for SQLite.
    pub sqlite: &'static str,
    /// Statements for PostgreSQL.
    pub postgres: &'static str,
}

macro_rules! migrations {
    ($($number:literal $name:literal $file:literal;)*) => {
        /// All migrations, in order.
        pub const MIGRATIONS: &[Migration] = &[$(Migration {
            number: $number,
            name: $name,
            sqlite: include_str!(concat!("../../migrations/sqlite/", $file)),
            postgres: include_str!(concat!("../../migrations/postgres/", $file)),
        },)*];
    };
}

migrations! {
    1 "log" "0001_log.sql";
    2 "snapshots" "0002_snapshots.sql";
    3 "no_statistics_of_names" "0003_no_statistics_of_names.sql";
    4 "snapshot_hash" "0004_snapshot_hash.sql";
    5 "payload_blocks" "0005_payload_blocks.sql";
    6 "announcements" "0006_announcements.sql";
    7 "announcements_held" "0007_announcements_held.sql";
    8 "credentials" "0008_credentials.sql";
}

/// Returns the checksum recorded with an applied migration: BLAKE3 of its text, in hex.
pub(super) fn checksum(sql: &str) -> String {
    blake3::hash(sql.as_bytes()).to_hex().to_string()
}

/// An applied migration as recorded in the database: number, name and checksum.
pub(super) type Applied = (i64, String, String);

/// Checks the applied migrations, and returns those still to be applied. `sql` selects the dialect.
pub(super) fn outstanding(
    url: &str,
    applied: &[Applied],
    upto: i64,
    sql: fn(&Migration) -> &'static str,
) -> Result<&'static [Migration], OpenError> {
    for (number, name, sum) in applied {
        let url = url.to_owned();
        match MIGRATIONS.iter().find(|m| m.number == *number) {
            None => return Err(OpenError::NewerMigration { url, number: *number, name: name.clone() }),
            Some(known) if checksum(sql(known)) != *sum => {
                return Err(OpenError::ChangedMigration { url, number: *number, name: name.clone() });
            }
            Some(_) => {}
        }
    }
    let wanted = MIGRATIONS.iter().filter(|m| m.number <= upto).count();
    Ok(MIGRATIONS.get(applied.len()..wanted).unwrap_or_default())
}
