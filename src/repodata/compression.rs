//! Bounded decompression.
//!
//! A file may hold several streams one after the other. What follows the last one and is not another (padding, mostly
//! zeros) is passed over, as zlib's `gzread` does: the checksum has told already that the file is the one that was
//! meant.

use std::io::{self, BufRead, BufReader, Read};

use super::error::RepodataError;

/// Memory an xz stream may ask for. Its header chooses the dictionary size, so it has to be bounded; `xz -9` needs 65
/// MiB.
const XZ_MEMORY_MAX: u64 = 256 << 20;
/// Binary logarithm of the largest zstd window accepted, 128 MiB: what `zstd -d` accepts without being asked.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// How a metadata file is packed, by the name `repomd.xml` gives it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// Not packed.
    Plain,
    /// `.gz`
    Gzip,
    /// `.bz2`
    Bzip2,
    /// `.xz`
    Xz,
    /// `.zst`
    Zstd,
}

impl Compression {
    /// From a file name; `Err` is the suffix that is not known.
    pub fn of(name: &str) -> Result<Self, &str> {
        match name.rsplit('/').next().and_then(|file| file.rsplit_once('.')).map_or("", |(_, suffix)| suffix) {
            "gz" => Ok(Self::Gzip),
            "xz" => Ok(Self::Xz),
            "zst" => Ok(Self::Zstd),
            "bz2" => Ok(Self::Bzip2),
            "lzma" => Err("lzma"),
            _ => Ok(Self::Plain),
        }
    }

    /// A reader of the unpacked bytes that fails once more than `limit` were read.
    /// `file` names the input in errors.
    pub fn reader<'a>(self, packed: &'a [u8], limit: u64, file: &str) -> Result<Unpacked<'a>, RepodataError> {
        let damaged = |source| RepodataError::Damaged { file: file.to_owned(), source };
        let inner: Box<dyn Read + Send + 'a> = match self {
            Self::Plain => Box::new(packed),
            Self::Gzip | Self::Bzip2 | Self::Xz | Self::Zstd => {
                Box::new(Streams { compression: self, now: self.stream(packed).map_err(damaged)? })
            }
        };
        Ok(BufReader::with_capacity(64 << 10, Bounded { inner, left: limit, limit }))
    }
}

impl Compression {
    fn stream(self, packed: &[u8]) -> io::Result<Box<dyn Stream<'_> + '_>> {
        Ok(match self {
            Self::Plain => Box::new(packed),
            Self::Gzip => Box::new(flate2::bufread::GzDecoder::new(packed)),
            Self::Bzip2 => Box::new(bzip2::bufread::BzDecoder::new(packed)),
            Self::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY_MAX, 0).map_err(io::Error::other)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(packed, stream))
            }
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Box::new(decoder.single_frame())
            }
        })
    }

    /// What every stream begins with.
    const fn magic(self) -> &'static [u8] {
        match self {
            Self::Plain => &[],
            Self::Gzip => &[0x1f, 0x8b],
            Self::Bzip2 => b"BZh",
            Self::Xz => &[0xfd, b'7', b'z', b'X', b'Z', 0],
            Self::Zstd => &[0x28, 0xb5, 0x2f, 0xfd],
        }
    }
}

/// One packed stream, which knows where it ends.
trait Stream<'a>: Read + Send {
    /// What follows it, once it has been read to its end.
    fn rest(&self) -> &'a [u8];
}

impl<'a> Stream<'a> for &'a [u8] {
    fn rest(&self) -> &'a [u8] {
        self
    }
}

impl<'a> Stream<'a> for flate2::bufread::GzDecoder<&'a [u8]> {
    fn rest(&self) -> &'a [u8] {
        self.get_ref()
    }
}

impl<'a> Stream<'a> for bzip2::bufread::BzDecoder<&'a [u8]> {
    fn rest(&self) -> &'a [u8] {
        self.get_ref()
    }
}

impl<'a> Stream<'a> for liblzma::bufread::XzDecoder<&'a [u8]> {
    fn rest(&self) -> &'a [u8] {
        self.get_ref()
    }
}

impl<'a> Stream<'a> for zstd::stream::read::Decoder<'_, &'a [u8]> {
    fn rest(&self) -> &'a [u8] {
        self.get_ref()
    }
}

/// One stream after the other.
struct Streams<'a> {
    compression: Compression,
    now: Box<dyn Stream<'a> + 'a>,
}

impl Read for Streams<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.now.read(out)?;
            if n > 0 || out.is_empty() {
                return Ok(n);
            }
            let rest = self.now.rest();
            if !rest.starts_with(self.compression.magic()) {
                return Ok(0);
            }
            self.now = self.compression.stream(rest)?;
        }
    }
}

/// Unpacked bytes, buffered and bounded.
pub(crate) type Unpacked<'a> = BufReader<Bounded<'a>>;

/// A reader that yields at most so many bytes, then an error.
pub struct Bounded<'a> {
    inner: Box<dyn Read + Send + 'a>,
    left: u64,
    limit: u64,
}

/// The error a [`Bounded`] reader ends with.
#[derive(Debug, thiserror::Error)]
#[error("more than {limit} bytes after decompression")]
struct BombError {
    limit: u64,
}

/// The bound that was reached, if that is what an I/O error means.
pub(crate) fn is_bomb(error: &io::Error) -> Option<u64> {
    error.get_ref()?.downcast_ref::<BombError>().map(|e| e.limit)
}

impl Read for Bounded<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        self.left = self
            .left
            .checked_sub(n as u64)
            .ok_or_else(|| io::Error::new(io::ErrorKind::FileTooLarge, BombError { limit: self.limit }))?;
        Ok(n)
    }
}

/// Reads to the end. For small files (comps, `repomd.xml`).
pub(crate) fn read_all(mut reader: impl BufRead, file: &str) -> Result<Vec<u8>, RepodataError> {
    let mut bytes = Vec::new();
    match reader.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(source) => match is_bomb(&source) {
            Some(limit) => Err(RepodataError::Bomb { file: file.to_owned(), limit }),
            None => Err(RepodataError::Damaged { file: file.to_owned(), source }),
        },
    }
}
