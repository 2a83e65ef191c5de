//! Reads numbers and texts from bytes that may be anything.

use super::ColumnError;

/// Bytes that are not read yet.
#[derive(Clone, Copy, Default)]
pub(super) struct Bytes<'b> {
    pub(super) rest: &'b [u8],
}

impl<'b> Bytes<'b> {
    pub(super) fn byte(&mut self) -> Result<u8, ColumnError> {
        let (&first, rest) = self.rest.split_first().ok_or_else(|| ColumnError::new("a column ends too early"))?;
        self.rest = rest;
        Ok(first)
    }

    pub(super) fn number(&mut self) -> Result<u64, ColumnError> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(first.into());
        }
        let mut n = u64::from(first & 0x7f);
        for shift in (7..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                break;
            }
            n |= part << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(ColumnError::new("a number has more than 64 bits"))
    }

    pub(super) fn length(&mut self) -> Result<usize, ColumnError> {
        usize::try_from(self.number()?).map_err(|_| ColumnError::new("a length is too large"))
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'b [u8], ColumnError> {
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or_else(|| ColumnError::new("a length goes beyond the end"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn text(&mut self) -> Result<&'b str, ColumnError> {
        let length = self.length()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| ColumnError::new("a text is not UTF-8"))
    }
}
