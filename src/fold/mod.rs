//! State and how events change it.
