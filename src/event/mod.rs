//! Everything that can be stored.
