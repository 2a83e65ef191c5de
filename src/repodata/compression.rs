//! Bounded decompression.

use std::io::{self, BufRead, BufReader, Read};

use super::error::RepodataError;

/// Memory an xz stream may ask for. Its header chooses the dictionary size, so it has to be bounded; `xz -9` needs 65 MiB.
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
            "bz2" => Err("bz2"),
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
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
            Self::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY_MAX, liblzma::stream::CONCATENATED)
                    .map_err(|e| damaged(io::Error::other(e)))?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(packed, stream))
            }
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(damaged)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(damaged)?;
                Box::new(decoder)
            }
        };
        Ok(BufReader::with_capacity(64 << 10, Bounded { inner, left: limit, limit }))
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
