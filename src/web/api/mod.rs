//! What programs get. [`status`] is what pages answer if the request asks for JSON. [`v1`] is the
//! interface of the original Koschei.

pub(super) mod status;
pub(super) mod v1;
