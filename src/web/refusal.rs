//! Why a page cannot be shown.

use crate::log::LogError;
use crate::model::{Class, Classified};

/// Why a page cannot be shown.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The request is invalid; the text says what is valid.
    BadRequest(String),
    /// The user may not do that; the text says who may.
    Forbidden(String),
    /// The thing does not exist; similar names and their addresses.
    NotFound(String, Vec<(String, String)>),
    /// The log is still being read.
    NotYet,
    /// A part does not answer now.
    Unavailable(String),
    /// A fault of the service; the text is only for the journal.
    Broken(String),
}

impl Refusal {
    pub(super) fn not_found(what: impl Into<String>) -> Self {
        Self::NotFound(what.into(), Vec::new())
    }
}

impl From<LogError> for Refusal {
    fn from(error: LogError) -> Self {
        match error.class() {
            Class::Unavailable => Self::Unavailable("the log does not answer".to_owned()),
            Class::Rejected | Class::Broken => Self::Broken(error.to_string()),
        }
    }
}

impl From<axum::extract::rejection::QueryRejection> for Refusal {
    fn from(rejection: axum::extract::rejection::QueryRejection) -> Self {
        let why = rejection.body_text();
        let why = why.rsplit(": ").next().unwrap_or_default().to_owned();
        Self::BadRequest(format!("the parameters of the address are not understood: {why}"))
    }
}

impl From<axum::extract::rejection::PathRejection> for Refusal {
    fn from(_: axum::extract::rejection::PathRejection) -> Self {
        Self::BadRequest("the name in the address is not text".to_owned())
    }
}

/// Returns the beginning of a text from the request, for an error message.
pub(super) fn short(text: &str) -> String {
    crate::view::text::one_line(text, 60)
}
