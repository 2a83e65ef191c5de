//! Checksums of metadata files, as `repomd.xml` gives them.

use sha2::digest::DynDigest;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

/// Checksum algorithms that `createrepo_c` has ever written and librepo accepts. They only detect
/// damaged files. They do not prove who wrote a file, so the weak ones are good enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChecksumKind {
    /// Used in very old repositories.
    Md5,
    /// Written as `sha` or `sha1`; used in old repositories.
    Sha1,
    /// Rare.
    Sha224,
    /// The usual algorithm.
    Sha256,
    /// Rare.
    Sha384,
    /// Used by some vendors.
    Sha512,
}

impl ChecksumKind {
    /// Parses the `type` attribute of `repomd.xml`.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "md5" => Self::Md5,
            "sha" | "sha1" => Self::Sha1,
            "sha224" => Self::Sha224,
            "sha256" => Self::Sha256,
            "sha384" => Self::Sha384,
            "sha512" => Self::Sha512,
            _ => return None,
        })
    }

    /// Returns the name that `repomd.xml` uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns the digest in lower-case hex. O(bytes).
    pub fn digest(self, bytes: &[u8]) -> String {
        match self {
            Self::Md5 => hex::encode(md5::Md5::digest(bytes)),
            Self::Sha1 => hex::encode(sha1::Sha1::digest(bytes)),
            Self::Sha224 => hex::encode(Sha224::digest(bytes)),
            Self::Sha256 => hex::encode(Sha256::digest(bytes)),
            Self::Sha384 => hex::encode(Sha384::digest(bytes)),
            Self::Sha512 => hex::encode(Sha512::digest(bytes)),
        }
    }

    /// Starts a digest of bytes that arrive in pieces.
    pub fn digester(self) -> Digester {
        Digester(match self {
            Self::Md5 => Box::new(md5::Md5::new()),
            Self::Sha1 => Box::new(sha1::Sha1::new()),
            Self::Sha224 => Box::new(Sha224::new()),
            Self::Sha256 => Box::new(Sha256::new()),
            Self::Sha384 => Box::new(Sha384::new()),
            Self::Sha512 => Box::new(Sha512::new()),
        })
    }
}

/// A digest being computed.
pub struct Digester(Box<dyn DynDigest + Send + Sync>);

impl Digester {
    /// Adds bytes. O(bytes).
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the digest of all bytes in lower-case hex.
    pub fn finish(self) -> String {
        hex::encode(self.0.finalize())
    }
}

/// A checksum in `repomd.xml`: its algorithm and the expected digest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checksum {
    /// The algorithm as written. [`ChecksumKind`] lists the known ones.
    pub kind: String,
    /// The expected digest: hex digits in lower case.
    pub hex: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_pieces_as_in_one() {
        for kind in ["md5", "sha", "sha1", "sha224", "sha256", "sha384", "sha512"] {
            let kind = ChecksumKind::parse(kind).unwrap();
            let mut digester = kind.digester();
            ["a", "", "bc"].iter().for_each(|piece| digester.update(piece.as_bytes()));
            assert_eq!(digester.finish(), kind.digest(b"abc"), "{kind:?}");
        }
    }
}
