//! Bindings to the system's GSSAPI library (RFC 2743). They make and check tokens of a login with
//! Kerberos.
//!
//! Why this is sound:
//!
//! * [`Context`] owns what the library allocated for it, and frees it once, in `Drop`. It is never
//!   shared: each step takes `&mut self`. The library allows moving a context between threads as
//!   long as one thread uses it at a time (MIT "Developing with GSSAPI", Heimdal likewise). Hence
//!   it is `Send` and not `Sync`.
//! * What differs between libraries (buffers, names, identifiers) stays in `shim.c`, which is
//!   compiled against the installed headers. The shim returns bytes from `malloc`. They are copied
//!   here and freed at once.
//! * Texts with a NUL byte never reach the library. The shim terminates error texts within their
//!   buffer.
//!
//! Calls may ask a KDC, so they belong on threads that may block.
#![expect(unsafe_code, reason = "GSSAPI is a C library; this is the one module that calls it")]

use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr::NonNull;

/// Maximum length of an error text, in bytes. The library's own texts have some hundred.
const PROBLEM_MAX: usize = 1024;

#[repr(C)]
struct Raw {
    _private: [u8; 0],
}

/// `struct koschei_bytes`: null, or memory from `malloc`.
#[repr(C)]
struct Bytes {
    at: *mut u8,
    length: usize,
}

type Step = unsafe extern "C" fn(*mut Raw, *const u8, usize, *mut Bytes, *mut c_char, usize) -> c_int;

unsafe extern "C" {
    fn koschei_gss_credentials(problem: *mut c_char, room: usize) -> c_int;
    fn koschei_gss_initiator(
        service: *const c_char,
        principal: *const c_char,
        problem: *mut c_char,
        room: usize,
    ) -> *mut Raw;
    fn koschei_gss_acceptor(problem: *mut c_char, room: usize) -> *mut Raw;
    fn koschei_gss_initiate(
        gss: *mut Raw,
        token: *const u8,
        length: usize,
        out: *mut Bytes,
        problem: *mut c_char,
        room: usize,
    ) -> c_int;
    fn koschei_gss_accept(
        gss: *mut Raw,
        token: *const u8,
        length: usize,
        out: *mut Bytes,
        problem: *mut c_char,
        room: usize,
    ) -> c_int;
    fn koschei_gss_peer(gss: *const Raw, out: *mut Bytes, problem: *mut c_char, room: usize) -> c_int;
    fn koschei_gss_free(gss: *mut Raw);
    fn koschei_bytes_free(bytes: Bytes);
}

/// The library's error on one line: its general words and those of Kerberos.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GssError(String);

impl GssError {
    /// Makes an error with our own words. White space and control characters become single spaces.
    pub(crate) fn new(problem: &str) -> Self {
        let words = problem.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
        Self(words.collect::<Vec<_>>().join(" "))
    }

    /// Checks whether no KDC answered. Error codes differ between libraries. These words do not.
    pub fn no_kdc(&self) -> bool {
        ["Cannot contact any KDC", "Cannot resolve network address for KDC", "unable to reach any KDC"]
            .iter()
            .any(|words| self.0.contains(words))
    }
}

/// Buffer for the library's error text.
struct Problem([c_char; PROBLEM_MAX]);

impl Problem {
    const fn new() -> Self {
        Self([0; PROBLEM_MAX])
    }

    fn into_error(self) -> GssError {
        // SAFETY: the array was zeroed, and the shim writes a terminated text into it.
        let text = unsafe { CStr::from_ptr(self.0.as_ptr()) };
        GssError::new(&text.to_string_lossy())
    }
}

fn text(text: &str) -> Result<CString, GssError> {
    CString::new(text).map_err(|_| GssError::new("a name with a NUL byte"))
}

/// Copies bytes that the shim returned, and frees them.
fn owned(bytes: Bytes) -> Vec<u8> {
    let copy = if bytes.at.is_null() {
        Vec::new()
    } else {
        // SAFETY: the pointer is not null, so it points to `length` bytes that the shim filled.
        unsafe { std::slice::from_raw_parts(bytes.at, bytes.length) }.to_vec()
    };
    // SAFETY: the pointer is null or from `malloc`, and `bytes` is not used again.
    unsafe { koschei_bytes_free(bytes) };
    copy
}

/// A security context, for either side.
struct Context(NonNull<Raw>);

// SAFETY: see the head of this file.
unsafe impl Send for Context {}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the context is ours alone, and is not used again.
        unsafe { koschei_gss_free(self.0.as_ptr()) };
    }
}

impl Context {
    fn step(&mut self, step: Step, token: &[u8]) -> Result<(Vec<u8>, bool), GssError> {
        let mut problem = Problem::new();
        let mut out = Bytes { at: std::ptr::null_mut(), length: 0 };
        let (room, at) = (problem.0.len(), problem.0.as_mut_ptr());
        // SAFETY: the context is alive and ours alone. The lengths are those of the buffers. The
        // token is only read.
        let outcome = unsafe { step(self.0.as_ptr(), token.as_ptr(), token.len(), &raw mut out, at, room) };
        let answer = owned(out);
        if outcome < 0 { Err(problem.into_error()) } else { Ok((answer, outcome == 1)) }
    }
}

/// The side that logs in, with SPNEGO (RFC 4178). It asks the server to prove its identity.
pub struct Initiator(Context);

impl Initiator {
    /// Returns an initiator for a service such as `HTTP@host`, with the credentials of `principal`
    /// or the default ones.
    ///
    /// # Errors
    /// Fails if the name is invalid, or if there are no credentials for this principal.
    pub fn new(service: &str, principal: Option<&str>) -> Result<Self, GssError> {
        let (service, principal) = (text(service)?, principal.map(text).transpose()?);
        let principal = principal.as_ref().map_or(std::ptr::null(), |principal| principal.as_ptr());
        let mut problem = Problem::new();
        let (room, at) = (problem.0.len(), problem.0.as_mut_ptr());
        // SAFETY: both are terminated texts that live through the call, or null where the shim
        // allows it.
        let raw = unsafe { koschei_gss_initiator(service.as_ptr(), principal, at, room) };
        NonNull::new(raw).map(|raw| Self(Context(raw))).ok_or_else(|| problem.into_error())
    }

    /// Takes the server's token (empty at first). Returns our next token, and whether the server
    /// has proved its identity.
    ///
    /// # Errors
    /// Fails if there is no ticket, if no KDC answers, or if the token proves nothing.
    pub fn step(&mut self, token: &[u8]) -> Result<(Vec<u8>, bool), GssError> {
        self.0.step(koschei_gss_initiate, token)
    }
}

/// The side that accepts a login, with the keytab of the environment (`KRB5_KTNAME`). For a test
/// double of a hub.
pub struct Acceptor(Context);

impl Acceptor {
    /// Returns an acceptor.
    ///
    /// # Errors
    /// Fails if the keytab cannot be used.
    pub fn new() -> Result<Self, GssError> {
        let mut problem = Problem::new();
        let (room, at) = (problem.0.len(), problem.0.as_mut_ptr());
        // SAFETY: the buffer has the given length.
        let raw = unsafe { koschei_gss_acceptor(at, room) };
        NonNull::new(raw).map(|raw| Self(Context(raw))).ok_or_else(|| problem.into_error())
    }

    /// Takes the client's token. Returns our answer, and whether the client's identity is now
    /// known.
    ///
    /// # Errors
    /// Fails if the token proves nothing.
    pub fn step(&mut self, token: &[u8]) -> Result<(Vec<u8>, bool), GssError> {
        self.0.step(koschei_gss_accept, token)
    }

    /// Returns the principal that logged in.
    ///
    /// # Errors
    /// Fails if nobody has logged in yet.
    pub fn peer(&self) -> Result<String, GssError> {
        let mut problem = Problem::new();
        let mut out = Bytes { at: std::ptr::null_mut(), length: 0 };
        let (room, at) = (problem.0.len(), problem.0.as_mut_ptr());
        // SAFETY: the context is alive, and only read.
        let outcome = unsafe { koschei_gss_peer(self.0.0.as_ptr(), &raw mut out, at, room) };
        let name = owned(out);
        if outcome < 0 { Err(problem.into_error()) } else { Ok(String::from_utf8_lossy(&name).into_owned()) }
    }
}

/// Returns why there are no Kerberos credentials, if so. The negotiation itself only says that it
/// has nothing to negotiate with.
pub fn without_credentials() -> Option<GssError> {
    let mut problem = Problem::new();
    let (room, at) = (problem.0.len(), problem.0.as_mut_ptr());
    // SAFETY: the buffer has the given length.
    let outcome = unsafe { koschei_gss_credentials(at, room) };
    (outcome < 0).then(|| problem.into_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_service_can_have_is_an_error() {
        assert_eq!(Initiator::new("HTTP@a\0b", None).err(), Some(GssError::new("a name with a NUL byte")));
    }

    #[test]
    fn nobody_has_logged_in_before_the_first_token() {
        // Without a keytab there may be no acceptor at all. Either way it is an error and not a
        // crash.
        if let Ok(acceptor) = Acceptor::new() {
            assert!(acceptor.peer().is_err());
        }
    }

    #[test]
    fn rubbish_is_no_token() {
        if let Ok(mut acceptor) = Acceptor::new() {
            assert!(acceptor.step(b"rubbish").is_err());
        }
    }

    #[test]
    fn words_are_on_one_line() {
        let error = GssError::new(" Cannot contact\n any\u{0}KDC ");
        assert_eq!(error.to_string(), "Cannot contact any KDC");
        assert!(error.no_kdc());
    }
}
