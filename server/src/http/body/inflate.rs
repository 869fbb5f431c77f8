//! gzip, one member or several, into a bounded buffer.

use std::io::{self, Read as _};

use flate2::bufread::MultiGzDecoder;

use crate::app::ledger::Buffer;
use crate::http::reply::Refusal;

/// Bytes inflated at a time: they stay in the first caches until they are appended.
const STEP_BYTES: usize = 64 << 10;

/// Appends what `body` holds to `inflated`.
///
/// # Errors
/// 413 behind `bytes_max` bytes, 400 where the body is no gzip: the texts are those of Go's reader.
pub(super) fn inflate(body: &[u8], bytes_max: usize, inflated: &mut Buffer) -> Result<(), Refusal> {
    if body.is_empty() {
        return Err(Refusal::invalid("EOF"));
    }
    if !b"\x1f\x8b".starts_with(&body[..body.len().min(2)]) {
        return Err(Refusal::invalid("gzip: invalid header"));
    }
    inflated.reserve(promised(body).min(bytes_max))?;
    let mut reader = MultiGzDecoder::new(body);
    let mut step = vec![0; STEP_BYTES];
    loop {
        match reader.read(&mut step) {
            Ok(0) => return Ok(()),
            Ok(size) if size > bytes_max - inflated.len() => return Err(Refusal::too_large()),
            Ok(size) => inflated.append(&step[..size])?,
            Err(error) => return Err(Refusal::invalid(words(&error))),
        }
    }
}

/// The size that the last member states of itself: a hint, no more than deflate can reach.
fn promised(body: &[u8]) -> usize {
    let Some(size) = body.last_chunk::<4>() else {
        return 0;
    };
    let stated = usize::try_from(u32::from_le_bytes(*size)).unwrap_or(0);
    stated.min(body.len().saturating_mul(1032))
}

/// What Go's reader says.
fn words(error: &io::Error) -> &'static str {
    let text = error.to_string();
    if error.kind() == io::ErrorKind::UnexpectedEof {
        "unexpected EOF"
    } else if text.contains("header") {
        "gzip: invalid header"
    } else if text.contains("checksum") {
        "gzip: invalid checksum"
    } else {
        "flate: corrupt input"
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use silverback::storage::budget::Budget;

    use super::*;
    use crate::app::ledger::Ledger;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(text).unwrap();
        writer.finish().unwrap()
    }

    fn inflated(body: &[u8], bytes_max: usize) -> Result<Vec<u8>, String> {
        let ledger = Ledger::new(1 << 24, &Budget::new(1 << 30));
        let mut buffer = ledger.buffer();
        let outcome = inflate(body, bytes_max, &mut buffer);
        outcome
            .map(|()| buffer.to_vec())
            .map_err(|refusal| refusal.text())
    }

    #[test]
    fn several_members_are_one_body() {
        let body = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(inflated(&body, 100).unwrap(), b"one two");
    }

    #[test]
    fn the_limit_is_on_what_comes_out() {
        let body = gzip(&vec![b'x'; 1_000_000]);
        assert!(body.len() < 20_000, "{}", body.len());
        assert_eq!(inflated(&body, 1_000_000).unwrap().len(), 1_000_000);
        assert_eq!(
            inflated(&body, 999_999).unwrap_err(),
            "Request Entity Too Large"
        );
    }

    #[test]
    fn damage_is_told_in_gos_words() {
        let good = gzip(b"m f=1 1\nm f=2 2\n");
        assert_eq!(inflated(b"", 100).unwrap_err(), "EOF");
        assert_eq!(
            inflated(b"not gzip", 100).unwrap_err(),
            "gzip: invalid header"
        );
        for cut in 1..good.len() {
            assert_eq!(
                inflated(&good[..cut], 100).unwrap_err(),
                "unexpected EOF",
                "{cut}"
            );
        }
        let mut checksum = good.clone();
        let at = checksum.len() - 6;
        checksum[at] ^= 1;
        assert_eq!(
            inflated(&checksum, 100).unwrap_err(),
            "gzip: invalid checksum"
        );
        let mut data = good.clone();
        data[10] = 0xff;
        assert_eq!(inflated(&data, 100).unwrap_err(), "flate: corrupt input");
        let trailing = [good.as_slice(), b"garbage that is no member"].concat();
        assert_eq!(
            inflated(&trailing, 100).unwrap_err(),
            "gzip: invalid header"
        );
    }
}
