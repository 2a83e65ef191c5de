//! Pure rules: who is due, priority, architectures, load, retries.
