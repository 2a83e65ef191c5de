//! What programs get. Pages give these answers when they are asked for JSON.

pub(super) mod status;
