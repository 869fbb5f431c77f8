//! Taking numbers off bytes that may lie: checked, nothing panics, nothing allocates.

use std::fmt;

use crate::model::take_varint;

/// What is wrong with bytes. Where they lie is the caller's to add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage(pub &'static str);

impl fmt::Display for Damage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }
}

const CUT: Damage = Damage("the bytes end early");

/// What has not been taken yet of some bytes.
#[derive(Clone, Copy, Debug)]
pub struct Taker<'bytes> {
    all: &'bytes [u8],
    rest: &'bytes [u8],
}

impl<'bytes> Taker<'bytes> {
    /// All of `bytes`.
    pub fn new(bytes: &'bytes [u8]) -> Self {
        Taker {
            all: bytes,
            rest: bytes,
        }
    }

    /// How many bytes have been taken.
    pub fn position(&self) -> usize {
        self.all.len() - self.rest.len()
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// If there are not that many.
    pub fn take(&mut self, len: usize) -> Result<&'bytes [u8], Damage> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(CUT)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// If there are not that many.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(CUT)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// The next byte.
    ///
    /// # Errors
    /// If there is none.
    pub fn byte(&mut self) -> Result<u8, Damage> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// The next four bytes, lowest first.
    ///
    /// # Errors
    /// If there are not that many.
    pub fn u32(&mut self) -> Result<u32, Damage> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// The next eight bytes, lowest first.
    ///
    /// # Errors
    /// If there are not that many.
    pub fn u64(&mut self) -> Result<u64, Damage> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// The next varint.
    ///
    /// # Errors
    /// If there is none.
    pub fn varint(&mut self) -> Result<u64, Damage> {
        take_varint(&mut self.rest).ok_or(CUT)
    }

    /// A varint that counts something in memory.
    ///
    /// # Errors
    /// If there is none, or it passes `max`.
    pub fn count(&mut self, max: usize) -> Result<usize, Damage> {
        match usize::try_from(self.varint()?) {
            Ok(count) if count <= max => Ok(count),
            _ => Err(Damage("a count passes its bound")),
        }
    }

    /// As many bytes as the next varint says.
    ///
    /// # Errors
    /// If there are not that many.
    pub fn prefixed(&mut self) -> Result<&'bytes [u8], Damage> {
        let len = self.count(self.rest.len())?;
        self.take(len)
    }
}
