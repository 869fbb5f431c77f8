//! The canonical key of a series: what is hashed, stored and compared. Names stand in it as ids, so
//! that a rename changes no key.
//!
//! Layout: measurement id (u32, little endian), then for each tag, ascending by tag key id: tag key
//! id (varint), length of the value (varint), the value's bytes.

use std::ops::Range;

use crate::model::{MeasurementId, TagKeyId};

/// A view of canonical key bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanonicalKey<'key>(pub &'key [u8]);

impl<'key> CanonicalKey<'key> {
    /// The bytes that stand for `measurement` and `tags`, which may come in any order.
    pub fn encode(measurement: MeasurementId, tags: &mut [(TagKeyId, &[u8])]) -> Box<[u8]> {
        tags.sort_unstable_by_key(|(key, _)| *key);
        let mut bytes =
            Vec::with_capacity(4 + tags.iter().map(|(_, v)| v.len() + 4).sum::<usize>());
        bytes.extend_from_slice(&measurement.0.to_le_bytes());
        for (key, value) in tags {
            push_varint(&mut bytes, u64::from(key.0));
            push_varint(&mut bytes, value.len() as u64);
            bytes.extend_from_slice(value);
        }
        bytes.into_boxed_slice()
    }

    /// The measurement, or `None` if the bytes are no key.
    pub fn measurement(&self) -> Option<MeasurementId> {
        let id = self.0.first_chunk::<4>()?;
        Some(MeasurementId(u32::from_le_bytes(*id)))
    }

    /// Whether the bytes are a key.
    pub fn is_sound(&self) -> bool {
        self.each_tag(|_, _| ()).is_some()
    }

    /// The tags, ascending by tag key id, or `None` if the bytes are no key.
    pub fn tags(&self) -> Option<Vec<(TagKeyId, &'key [u8])>> {
        let mut tags: Vec<(TagKeyId, &[u8])> = Vec::new();
        self.each_tag(|key, value| tags.push((key, value)))?;
        Some(tags)
    }

    /// Calls `found` with each tag, ascending by tag key id; `None` if the bytes are no key: then it
    /// was called with those before the fault.
    pub fn each_tag(&self, mut found: impl FnMut(TagKeyId, &'key [u8])) -> Option<()> {
        self.each_place(|key, place| found(key, &self.0[place]))
    }

    /// The same with where a value lies in the key's bytes.
    pub fn each_place(&self, mut found: impl FnMut(TagKeyId, Range<usize>)) -> Option<()> {
        let mut rest = self.0.get(4..)?;
        let mut last = None;
        while !rest.is_empty() {
            let key = TagKeyId(u32::try_from(take_varint(&mut rest)?).ok()?);
            let len = usize::try_from(take_varint(&mut rest)?).ok()?;
            if len > rest.len() || last >= Some(key) {
                return None;
            }
            let start = self.0.len() - rest.len();
            found(key, start..start + len);
            (last, rest) = (Some(key), &rest[len..]);
        }
        Some(())
    }
}

/// Appends `value`, seven bits to a byte, lowest first, the top bit saying that more follow.
pub fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push((value & 0x7f) as u8);
}

/// Takes a varint off the front of `bytes`, or `None` if there is none or it passes 64 bits.
#[inline]
pub fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    // Lengths and ids are mostly small.
    match *bytes {
        [first @ ..0x80, rest @ ..] => {
            *bytes = rest;
            Some(u64::from(*first))
        }
        _ => take_long_varint(bytes),
    }
}

fn take_long_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(first & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_sorted_by_tag_key() {
        let bytes = CanonicalKey::encode(
            MeasurementId(7),
            &mut [(TagKeyId(300), b"x"), (TagKeyId(2), b"")],
        );
        let key = CanonicalKey(&bytes);
        assert_eq!(key.measurement(), Some(MeasurementId(7)));
        assert_eq!(
            key.tags(),
            Some(vec![(TagKeyId(2), &b""[..]), (TagKeyId(300), &b"x"[..])])
        );
    }

    #[test]
    fn every_cut_of_a_key_is_a_shorter_key_or_none() {
        let bytes = CanonicalKey::encode(MeasurementId(1), &mut [(TagKeyId(1), b"abc")]);
        for end in 0..bytes.len() {
            let cut = CanonicalKey(&bytes[..end]);
            assert!(end == 4 || cut.tags().is_none(), "cut at {end}");
        }
    }

    #[test]
    fn varints_of_all_lengths_read_back() {
        for value in (0..64).map(|bit| 1_u64 << bit).chain([0, u64::MAX]) {
            let mut bytes = Vec::new();
            push_varint(&mut bytes, value);
            let mut rest = &bytes[..];
            assert_eq!(take_varint(&mut rest), Some(value));
            assert!(rest.is_empty());
        }
        assert_eq!(take_varint(&mut &[0xff; 10][..]), None);
    }
}
