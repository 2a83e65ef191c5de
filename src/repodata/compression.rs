//! Decompresses metadata files and bounds how much they unpack to.
//!
//! A file may hold several compressed streams in a row. Bytes after the last stream that do not
//! begin another one (padding, mostly zeros) are ignored, as zlib's `gzread` does. That is safe:
//! the checksum has already shown that the file is the intended one.

use std::io::{self, BufRead, BufReader, Read};

use super::error::RepodataError;

/// Most memory that an xz stream may request. The stream's header chooses the dictionary size, so
/// it needs a bound. `xz -9` needs 65 MiB.
const XZ_MEMORY_MAX: u64 = 256 << 20;
/// Binary logarithm of the largest zstd window we accept (128 MiB). `zstd -d` has the same default.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Compression of a metadata file, recognised by the file name in `repomd.xml`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// Not compressed.
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
    /// Recognises the compression from a file name. Returns the suffix as the error if we do not
    /// support it.
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

    /// Returns a reader of the unpacked bytes. Reading fails after more than `limit` bytes. `file`
    /// names the input in errors.
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

    /// The bytes that every stream of this compression begins with.
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

/// One compressed stream. It knows where it ends.
trait Stream<'a>: Read + Send {
    /// Returns the input after this stream, once the stream has been read to its end.
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

/// Reads several streams in a row as one.
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

/// A buffered reader of unpacked bytes with a bound.
pub(crate) type Unpacked<'a> = BufReader<Bounded<'a>>;

/// A reader that yields at most `limit` bytes and then fails.
pub struct Bounded<'a> {
    inner: Box<dyn Read + Send + 'a>,
    left: u64,
    limit: u64,
}

/// The error of a [`Bounded`] reader that has reached its limit.
#[derive(Debug, thiserror::Error)]
#[error("more than {limit} bytes after decompression")]
struct BombError {
    limit: u64,
}

/// Returns the limit if this I/O error is a [`Bounded`] reader that has reached it.
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

/// Reads a small file (comps, `repomd.xml`) to its end.
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
