//! Checksums as `repomd.xml` writes them.

use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

/// Algorithms `createrepo_c` writes and libsolv accepts; md5 is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChecksumKind {
    /// `sha` or `sha1`, in old repositories.
    Sha1,
    /// Rare.
    Sha224,
    /// The usual one.
    Sha256,
    /// Rare.
    Sha384,
    /// Used by some vendors.
    Sha512,
}

impl ChecksumKind {
    /// From the `type` attribute.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "sha" | "sha1" => Self::Sha1,
            "sha224" => Self::Sha224,
            "sha256" => Self::Sha256,
            "sha384" => Self::Sha384,
            "sha512" => Self::Sha512,
            _ => return None,
        })
    }

    /// As written in `repomd.xml`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Lower-case hex digest. O(bytes).
    pub fn digest(self, bytes: &[u8]) -> String {
        match self {
            Self::Sha1 => hex::encode(sha1::Sha1::digest(bytes)),
            Self::Sha224 => hex::encode(Sha224::digest(bytes)),
            Self::Sha256 => hex::encode(Sha256::digest(bytes)),
            Self::Sha384 => hex::encode(Sha384::digest(bytes)),
            Self::Sha512 => hex::encode(Sha512::digest(bytes)),
        }
    }
}

/// Algorithm and expected digest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checksum {
    /// The algorithm, as written; known ones are [`ChecksumKind`].
    pub kind: String,
    /// Hex digits, lower case.
    pub hex: String,
}
