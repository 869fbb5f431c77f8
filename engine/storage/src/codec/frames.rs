//! Frames of zstd, unpacked by a context that each thread makes once: making one costs more than most
//! frames do.

use std::cell::RefCell;

use zstd::bulk::Decompressor;

use crate::codec::DecodeError;

const DAMAGED: DecodeError = DecodeError::Invalid("a zstd frame is damaged");

/// The most that a frame unpacks to for each of its bytes: a block of 128 KiB takes four.
const GROWTH_MAX: usize = (128 << 10) / 4;

thread_local! {
    /// About 130 KB for each thread that reads blocks.
    static CONTEXT: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Fills the empty `out` with exactly `size` bytes out of one frame. What the frame itself claims is
/// believed only where it says the same, so that a claim alone allocates no more than a frame can give.
pub(crate) fn decompress(frame: &[u8], size: usize, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    if size / GROWTH_MAX > frame.len() {
        return Err(DAMAGED);
    }
    out.reserve_exact(size);
    let got = CONTEXT.with_borrow_mut(|context| -> std::io::Result<usize> {
        let context = match context {
            Some(context) => context,
            None => context.insert(Decompressor::new()?),
        };
        context.decompress_to_buffer(frame, out)
    });
    match got {
        Ok(got) if got == size && out.len() == size => Ok(()),
        Ok(_) | Err(_) => Err(DAMAGED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_too_short_for_its_claim_takes_no_memory() {
        let mut out = Vec::new();
        assert!(decompress(&[0; 40], 1 << 27, &mut out).is_err());
        assert_eq!(out.capacity(), 0);
    }

    #[test]
    fn a_frame_of_another_size_is_damaged() {
        let frame = zstd::bulk::compress(b"hello", 1).unwrap();
        assert!(decompress(&frame, 5, &mut Vec::new()).is_ok());
        assert!(decompress(&frame, 6, &mut Vec::new()).is_err());
        assert!(decompress(&frame, 4, &mut Vec::new()).is_err());
    }
}
