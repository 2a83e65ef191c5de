//! What programs get. [`status`] is what pages answer if the request asks for JSON. [`v1`] is the
//! interface of the original Koschei. [`v2`] is ours: everything that the pages show.

pub(super) mod status;
pub(super) mod v1;
pub(super) mod v2;
