//! Secrets that we give to people and programs. Only their hashes are stored.

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
