//! The boundary to the system's GSSAPI library (RFC 2743): tokens of a login with Kerberos, and the check of such a
//! token.
//!
//! Why it is sound:
//! * [`Context`] owns what the library allocated for it and frees it once, in `Drop`. It is never shared: each step
//!   takes `&mut self`. The library lets a context move between threads as long as one uses it at a time (MIT
//!   "Developing with GSSAPI", Heimdal likewise), hence `Send` and not `Sync`.
//! * What differs between libraries (buffers, names, identifiers) stays in `shim.c`, which is compiled against the
//!   headers that are there. It hands out bytes from `malloc`, copied here and freed at once.
//! * Texts with a NUL byte never reach the library. Problems are terminated within their buffer by the shim.
//!
//! Its calls may ask a KDC, so they belong on threads that may wait.
#![expect(unsafe_code, reason = "GSSAPI is a C library; this is the one module that calls it")]

use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr::NonNull;

/// Longest text of a problem, in bytes; the library's own have some hundred.
const PROBLEM_MAX: usize = 1024;

#[repr(C)]
struct Raw {
    _private: [u8; 0],
}

/// `struct koschei_bytes`: null, or from `malloc`.
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

/// What the library complained of: its own words, the general ones and those of Kerberos, on one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GssError(String);

impl GssError {
    /// A complaint in words of our own; white space and control characters become single spaces.
    pub(crate) fn new(problem: &str) -> Self {
        let words = problem.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
        Self(words.collect::<Vec<_>>().join(" "))
    }

    /// Whether no KDC answered. Codes of the mechanism differ between libraries; these words do not.
    pub fn no_kdc(&self) -> bool {
        ["Cannot contact any KDC", "Cannot resolve network address for KDC", "unable to reach any KDC"]
            .iter()
            .any(|words| self.0.contains(words))
    }
}

/// Room for the library's complaint.
struct Problem([c_char; PROBLEM_MAX]);

impl Problem {
    const fn new() -> Self {
        Self([0; PROBLEM_MAX])
    }

    fn into_error(self) -> GssError {
        // SAFETY: the array was zeroed and the shim writes a terminated text into it.
        let text = unsafe { CStr::from_ptr(self.0.as_ptr()) };
        GssError::new(&text.to_string_lossy())
    }
}

fn text(text: &str) -> Result<CString, GssError> {
    CString::new(text).map_err(|_| GssError::new("a name with a NUL byte"))
}

/// Takes over what the shim handed out.
fn owned(bytes: Bytes) -> Vec<u8> {
    let copy = if bytes.at.is_null() {
        Vec::new()
    } else {
        // SAFETY: not null, so it points to `length` bytes the shim filled.
        unsafe { std::slice::from_raw_parts(bytes.at, bytes.length) }.to_vec()
    };
    // SAFETY: null or from `malloc`, and `bytes` is not used again.
    unsafe { koschei_bytes_free(bytes) };
    copy
}

/// A security context, whichever side of it.
struct Context(NonNull<Raw>);

// SAFETY: see the head of this file.
unsafe impl Send for Context {}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: ours alone, and not used again.
        unsafe { koschei_gss_free(self.0.as_ptr()) };
    }
}

impl Context {
    fn step(&mut self, step: Step, token: &[u8]) -> Result<(Vec<u8>, bool), GssError> {
        let mut problem = Problem::new();
        let mut out = Bytes { at: std::ptr::null_mut(), length: 0 };
        let (room, at) = (problem.0.len(), problem.0.as_mut_ptr());
        // SAFETY: the context is alive and ours alone; lengths are those of the buffers; the token is only read.
        let outcome = unsafe { step(self.0.as_ptr(), token.as_ptr(), token.len(), &raw mut out, at, room) };
        let answer = owned(out);
        if outcome < 0 { Err(problem.into_error()) } else { Ok((answer, outcome == 1)) }
    }
}

/// The side that logs in, by SPNEGO (RFC 4178), asking the server to prove itself.
pub struct Initiator(Context);

impl Initiator {
    /// For a service as `HTTP@host`, with the credentials of `principal` or the default ones.
    ///
    /// # Errors
    /// The name cannot be read, or there are no credentials of this principal.
    pub fn new(service: &str, principal: Option<&str>) -> Result<Self, GssError> {
        let (service, principal) = (text(service)?, principal.map(text).transpose()?);
        let principal = principal.as_ref().map_or(std::ptr::null(), |principal| principal.as_ptr());
        let mut problem = Problem::new();
        let (room, at) = (problem.0.len(), problem.0.as_mut_ptr());
        // SAFETY: both are terminated texts that live through the call, or null where the shim allows it.
        let raw = unsafe { koschei_gss_initiator(service.as_ptr(), principal, at, room) };
        NonNull::new(raw).map(|raw| Self(Context(raw))).ok_or_else(|| problem.into_error())
    }

    /// One step: the server's token (empty at first) for the next of ours, and whether the server has proved itself.
    ///
    /// # Errors
    /// No ticket, no KDC, or a token that proves nothing.
    pub fn step(&mut self, token: &[u8]) -> Result<(Vec<u8>, bool), GssError> {
        self.0.step(koschei_gss_initiate, token)
    }
}

/// The side that is logged in to, with the keytab of the environment (`KRB5_KTNAME`). For a double of a hub.
pub struct Acceptor(Context);

impl Acceptor {
    /// # Errors
    /// The keytab cannot be used.
    pub fn new() -> Result<Self, GssError> {
        let mut problem = Problem::new();
        let (room, at) = (problem.0.len(), problem.0.as_mut_ptr());
        // SAFETY: the buffer is as long as said.
        let raw = unsafe { koschei_gss_acceptor(at, room) };
        NonNull::new(raw).map(|raw| Self(Context(raw))).ok_or_else(|| problem.into_error())
    }

    /// One step: the client's token for the answer, and whether it is known now who the client is.
    ///
    /// # Errors
    /// The token proves nothing.
    pub fn step(&mut self, token: &[u8]) -> Result<(Vec<u8>, bool), GssError> {
        self.0.step(koschei_gss_accept, token)
    }

    /// The principal that logged in.
    ///
    /// # Errors
    /// Nobody has yet.
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

/// Why there are no credentials of Kerberos, where that is so: a negotiation only says that there is nothing to
/// negotiate with.
pub fn without_credentials() -> Option<GssError> {
    let mut problem = Problem::new();
    let (room, at) = (problem.0.len(), problem.0.as_mut_ptr());
    // SAFETY: the buffer is as long as said.
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
        // Without a keytab there may be no acceptor at all; either way it is an error and not a crash.
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
