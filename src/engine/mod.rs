//! The one appender.
