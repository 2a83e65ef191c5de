//! Faults: the hub's answers in place of a value.

/// Koji's fault number and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub code: i64,
    pub message: String,
}

macro_rules! faults {
    ($($name:ident $code:literal;)*) => {
        impl Fault {
            $(pub fn $name(message: impl Into<String>) -> Self { Self { code: $code, message: message.into() } })*
        }
    };
}

faults! {
    python 1;
    generic 1000;
    auth 1002;
    tag 1003;
    not_allowed 1004;
    build 1005;
    expired 1007;
    sequence 1008;
    retry 1009;
    buildroot 1012;
    offline 1014;
    parameter 1019;
    gssapi 1023;
}

impl Fault {
    pub fn not_logged_in() -> Self {
        Self::not_allowed("you must be logged in for this operation")
    }
}
