//! Logs the stages between a message and a command, one line when each ends. They show where the
//! time goes.
//!
//! They are logged at debug level under a target of their own.
//! `KOSCHEI_LOG=warn,koschei::stage=debug` shows only these below warnings. `benches/live` reads
//! them.

/// Logs that a stage has ended: its name and its subject.
macro_rules! stage {
    ($name:literal $(, $field:ident = $value:expr)*) => {
        tracing::debug!(target: "koschei::stage", $($field = %$value,)* $name)
    };
}

pub(crate) use stage;
