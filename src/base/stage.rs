//! Stages on the way from a message to a command, each said in one line when it ends: for who wants to know where the
//! time goes. Said at debug level under a name of their own, so `KOSCHEI_LOG=warn,koschei::stage=debug` shows nothing
//! else; `benches/live` reads them.

/// Says that a stage has ended: its name, and what it was about.
macro_rules! stage {
    ($name:literal $(, $field:ident = $value:expr)*) => {
        tracing::debug!(target: "koschei::stage", $($field = %$value,)* $name)
    };
}

pub(crate) use stage;
