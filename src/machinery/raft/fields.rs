//! Fields that formats are made of: numbers as varints, flags as one byte, strings behind their
//! length. The messages and the log of this room are made of them (`codec`, `segment`), and so are
//! the commands, questions and snapshots of its state machine. Each format has a version of its
//! own. The fields have none: a change of them would make every file on a disk unreadable.

use bytes::Bytes;
use std::ops::Range;

/// The error of bytes that cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end in the middle of a field.
    #[error("ends too early")]
    Short,
    /// A later version may know it; this one does not.
    #[error("unknown {what} {value}")]
    Unknown {
        /// The kind of the field, e.g. `message`.
        what: &'static str,
        /// The number that was read.
        value: u64,
    },
    /// Everything was read, and bytes are left.
    #[error("{0} bytes left over")]
    Long(usize),
    /// No member that follows the protocol says this.
    #[error("{what} {value} cannot be")]
    Impossible {
        /// The field, e.g. `term`.
        what: &'static str,
        /// The number that was read.
        value: u64,
    },
}

/// Appends a number in 1 to 10 bytes, seven bits each, least first (protobuf's varint).
pub fn put_u64(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Appends a signed number; small ones of either sign stay small (zigzag).
pub fn put_i64(out: &mut Vec<u8>, n: i64) {
    put_u64(out, ((n << 1) ^ (n >> 63)) as u64);
}

/// Appends a length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads what the `put_` functions wrote. Byte strings are shared with the input, not copied.
pub struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    /// A reader that stands before the first byte.
    pub fn new(bytes: Bytes) -> Reader {
        Reader { bytes, at: 0 }
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// `Short` at the end of the input. As with every error of a reader, the caller gives up the
    /// whole input: where its next part begins is not known.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        let byte = *self.bytes.get(self.at).ok_or(DecodeError::Short)?;
        self.at += 1;
        Ok(byte)
    }

    /// Reads a number of 1 to 10 bytes, as [`put_u64`] wrote it.
    ///
    /// # Errors
    /// `Short` if the input ends within it, `Unknown` if it has more than 64 bits or 10 bytes.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                break; // of the last byte one bit counts
            }
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(DecodeError::Unknown { what: "number", value: n })
    }

    /// Reads a signed number, as [`put_i64`] wrote it.
    ///
    /// # Errors
    /// Those of [`Reader::u64`].
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        let n = self.u64()?;
        Ok((n >> 1) as i64 ^ -((n & 1) as i64))
    }

    /// Reads a byte that is 0 (false) or 1 (true).
    ///
    /// # Errors
    /// `Short` at the end of the input, `Unknown` for any other byte.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            n => Err(DecodeError::Unknown { what: "flag", value: n.into() }),
        }
    }

    /// Reads a byte string, as [`put_bytes`] wrote it. It shares the memory of the input.
    ///
    /// # Errors
    /// Those of [`Reader::u64`], and `Short` if the string is longer than what is left.
    pub fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let string = self.string()?;
        Ok(self.bytes.slice(string))
    }

    /// Reads a byte string as [`bytes`](Reader::bytes) does, and only lends it.
    pub(super) fn slice(&mut self) -> Result<&[u8], DecodeError> {
        let string = self.string()?;
        Ok(&self.bytes[string])
    }

    /// Returns the range of the next byte string, and moves behind it.
    fn string(&mut self) -> Result<Range<usize>, DecodeError> {
        let len = usize::try_from(self.u64()?).map_err(|_| DecodeError::Short)?;
        let end =
            self.at.checked_add(len).filter(|end| *end <= self.bytes.len()).ok_or(DecodeError::Short)?;
        Ok(std::mem::replace(&mut self.at, end)..end)
    }

    /// Reads a count of things that take at least a byte each, so that a false count cannot ask for
    /// memory.
    ///
    /// # Errors
    /// Those of [`Reader::u64`], and `Short` if the count is larger than the number of bytes left.
    pub fn count(&mut self) -> Result<usize, DecodeError> {
        let n = self.u64()?;
        if n > self.left() as u64 { Err(DecodeError::Short) } else { Ok(n as usize) }
    }

    /// Bytes of the whole input, also of what was read.
    pub fn total(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes that are not read yet.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Checks that the whole input was read.
    ///
    /// # Errors
    /// `Long` with the number of bytes left: the input is not what the caller took it for.
    pub fn end(&self) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            n => Err(DecodeError::Long(n)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn signed_numbers(n: i64) {
            let mut out = vec![];
            put_i64(&mut out, n);
            prop_assert_eq!(Reader::new(out.into()).i64(), Ok(n));
        }
    }

    /// Two inputs that differ must not be read as one number.
    #[test]
    fn a_number_of_more_than_64_bits_is_refused() {
        let read = |last: u8| {
            let mut bytes = vec![0xff; 9];
            bytes.push(last);
            Reader::new(bytes.into()).u64()
        };
        assert_eq!((read(0), read(1)), (Ok(u64::MAX >> 1), Ok(u64::MAX)));
        for last in [2, 3, 0x7f, 0x80, 0x81, 0xff] {
            let refused = read(last);
            assert!(
                matches!(refused, Err(DecodeError::Unknown { what: "number", .. })),
                "{last}: {refused:?}"
            );
        }
    }

    /// A format's version is outside of its fields: these bytes are on the disks of members.
    #[test]
    fn fields_are_written_as_ever() {
        let mut out = vec![];
        put_u64(&mut out, 300);
        put_i64(&mut out, -2);
        put_bytes(&mut out, b"key");
        assert_eq!(out, [0xac, 0x02, 3, 3, b'k', b'e', b'y']);
    }
}
