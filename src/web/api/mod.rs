//! What programs get. Pages give these answers if the request asks for JSON.

pub(super) mod status;
