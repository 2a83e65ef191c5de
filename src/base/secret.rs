//! Secrets: those that we give to people and programs, of which only hashes are stored, and files with
//! those that others gave us.

use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What every secret begins with, so that a secret in a wrong place is recognised.
const BEGINNING: &str = "koschei_";
/// Number of random bytes.
const BYTES: usize = 32;

/// A new secret, and what is stored of it.
pub struct Secret {
    /// The secret itself: 51 characters that need no escapes in addresses, headers and shells.
    pub text: String,
    /// Its hash.
    pub hash: String,
    /// A public name for it, which says nothing about it.
    pub id: String,
}

impl Secret {
    /// Draws a secret.
    pub fn draw() -> Self {
        let text = format!("{BEGINNING}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; BYTES]>()));
        Self { hash: hash(&text), text, id: hex::encode(rand::random::<[u8; 8]>()) }
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Largest file with a secret of others, in bytes. Real ones have some hundred bytes.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Returns the content of a file with a secret that others gave us.
///
/// # Errors
/// Returns an error if the file cannot be read, or is too large.
pub fn of_file(path: &Path) -> io::Result<String> {
    let size = std::fs::metadata(path)?.len();
    if size > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("{size} bytes long, at most {FILE_BYTES_MAX}")));
    }
    std::fs::read_to_string(path)
}

/// Returns the first line of such a file.
///
/// # Errors
/// Returns the errors of [`of_file`], and one if the line is empty.
pub fn first_line(path: &Path) -> io::Result<String> {
    let text = of_file(path)?;
    let line = text.lines().next().filter(|line| !line.is_empty());
    line.map(str::to_owned).ok_or_else(|| io::Error::other("its first line is empty"))
}

/// Returns the hash of a secret. Secrets are random, so a fast hash is enough: nobody can try them
/// all.
pub fn hash(secret: &str) -> String {
    blake3::hash(secret.as_bytes()).to_hex().to_string()
}

/// Derives a mark from a secret for one purpose. It does not lead back to the secret.
pub fn derived(secret: &str, purpose: &'static str) -> String {
    hex::encode(&blake3::derive_key(purpose, secret.as_bytes())[..16])
}

/// Compares two texts without telling by the time where they differ.
pub fn same(a: &str, b: &str) -> bool {
    blake3::hash(a.as_bytes()) == blake3::hash(b.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_do_not_show() {
        let (one, two) = (Secret::draw(), Secret::draw());
        assert!(one.text != two.text && one.id != two.id && one.hash == hash(&one.text));
        assert_eq!(one.text.len(), 51);
        assert!(!format!("{one:?}").contains(&one.text) && !one.hash.contains(&one.text));
        assert_ne!(derived(&one.text, "a"), derived(&one.text, "b"));
        assert!(same(&one.text, &one.text) && !same(&one.text, &two.text));
    }
}
