//! Where messages come from and commands go.
