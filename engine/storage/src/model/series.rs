//! Series: a measurement and a sorted tag set; and the keyed hash that finds one.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::model::{push_varint, take_varint};

/// A tag: key and value, unescaped bytes.
pub type Tag = (Box<[u8]>, Box<[u8]>);

/// Tags sorted by key, each key once. Keys and values are unescaped bytes, values never empty. One
/// piece of memory, however many tags there are.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct TagSet {
    count: u32,
    /// Of each tag: length of key and of value (varints), key, value. Copies of the set share it.
    bytes: Arc<[u8]>,
}

impl TagSet {
    /// The set of `tags` in any order, or the key that stands in it twice.
    ///
    /// # Errors
    /// The first key that occurs more than once.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a set takes the place of the list it is made of"
    )]
    pub fn new(tags: Vec<Tag>) -> Result<TagSet, Box<[u8]>> {
        let mut pairs: Vec<(&[u8], &[u8])> =
            tags.iter().map(|(key, value)| (&**key, &**value)).collect();
        TagSet::from_pairs(&mut pairs)
    }

    /// The same of tags that lie elsewhere; sorts them.
    ///
    /// # Errors
    /// As [`TagSet::new`].
    ///
    /// # Panics
    /// At 2^32 tags.
    pub fn from_pairs(tags: &mut [(&[u8], &[u8])]) -> Result<TagSet, Box<[u8]>> {
        tags.sort_unstable();
        if let Some(pair) = tags.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(pair[0].0.into());
        }
        Ok(TagSet::from_sorted(tags.iter().copied()))
    }

    /// The same of tags that come sorted by key, each key once.
    ///
    /// # Panics
    /// At 2^32 tags.
    pub(crate) fn from_sorted<'tag>(
        tags: impl Iterator<Item = (&'tag [u8], &'tag [u8])> + Clone,
    ) -> TagSet {
        let size = (tags.clone()).map(|(key, value)| key.len() + value.len() + 4);
        let mut bytes = Vec::with_capacity(size.sum());
        let mut count = 0_u32;
        for (key, value) in tags {
            push_varint(&mut bytes, key.len() as u64);
            push_varint(&mut bytes, value.len() as u64);
            bytes.extend_from_slice(key);
            bytes.extend_from_slice(value);
            count = count
                .checked_add(1)
                .expect("a series has fewer than 2^32 tags");
        }
        TagSet {
            count,
            bytes: bytes.into(),
        }
    }

    /// The value of `key`, if the set has it. Cost: a look at the tags before it.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let found = self.iter().find(|(own, _)| *own >= key);
        found.filter(|(own, _)| *own == key).map(|(_, value)| value)
    }

    /// The value of `key` to keep, empty where the set lacks it: it shares the set's memory. Cost: as
    /// [`TagSet::get`].
    pub fn value(&self, key: &[u8]) -> TagValue {
        let mut tags = self.iter();
        let found = tags.find(|(own, _)| *own >= key);
        let Some((_, value)) = found.filter(|(own, _)| *own == key) else {
            return TagValue::default();
        };
        let end = self.bytes.len() - tags.rest.len();
        TagValue {
            bytes: Arc::clone(&self.bytes),
            place: end - value.len()..end,
        }
    }

    /// Keys and values, sorted by key.
    pub fn iter(&self) -> Tags<'_> {
        Tags {
            left: self.count as usize,
            rest: &self.bytes,
        }
    }

    /// How many tags there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Memory besides the set itself, bytes.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// The value of a tag.
#[derive(Clone, Default)]
pub struct TagValue {
    bytes: Arc<[u8]>,
    /// Where it stands.
    place: Range<usize>,
}

impl Deref for TagValue {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.place.clone()]
    }
}

impl PartialEq for TagValue {
    fn eq(&self, other: &TagValue) -> bool {
        **self == **other
    }
}

impl Eq for TagValue {}

impl Ord for TagValue {
    fn cmp(&self, other: &TagValue) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl PartialOrd for TagValue {
    fn partial_cmp(&self, other: &TagValue) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for TagValue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", String::from_utf8_lossy(self))
    }
}

impl Ord for TagSet {
    fn cmp(&self, other: &TagSet) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for TagSet {
    fn partial_cmp(&self, other: &TagSet) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for TagSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let tags = self.iter().map(|(key, value)| (text(key), text(value)));
        out.debug_map().entries(tags).finish()
    }
}

impl<'set> IntoIterator for &'set TagSet {
    type Item = (&'set [u8], &'set [u8]);
    type IntoIter = Tags<'set>;

    fn into_iter(self) -> Tags<'set> {
        self.iter()
    }
}

/// Walks the tags of a set.
#[derive(Clone, Debug)]
pub struct Tags<'set> {
    left: usize,
    rest: &'set [u8],
}

impl<'set> Iterator for Tags<'set> {
    type Item = (&'set [u8], &'set [u8]);

    fn next(&mut self) -> Option<(&'set [u8], &'set [u8])> {
        self.left = self.left.checked_sub(1)?;
        let mut len = || {
            let len = take_varint(&mut self.rest).expect("a tag opens with its lengths");
            usize::try_from(len).expect("it lies in memory")
        };
        let (key, value) = (len(), len());
        let (key, rest) = self.rest.split_at(key);
        let (value, rest) = rest.split_at(value);
        self.rest = rest;
        Some((key, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Tags<'_> {}

/// What a series is to its writer: measurement and tags by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey {
    /// The measurement's name, unescaped, never empty.
    pub measurement: Box<[u8]>,
    /// The tags.
    pub tags: TagSet,
}

/// A 128-bit keyed hash of key bytes. Two keys of one data directory with one hash are taken for
/// one: at 10^9 series the chance that any two meet is below 10^-20.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub u128);

/// Hashes key bytes under a data directory's secret, so that no client can aim at collisions.
/// The function is written to disk by way of its results: it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHasher {
    secret: [u64; 4],
}

/// Odd constants with as many ones as zeros, from the binary digits of pi behind the point.
const STEP: [u64; 2] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7345];

/// The product's high half folded onto its low half: one multiplication mixes all 64 bits.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the halves of a product are meant"
)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

impl KeyHasher {
    /// The hasher of a data directory whose manifest holds `secret`.
    pub fn new(secret: [u64; 4]) -> KeyHasher {
        KeyHasher { secret }
    }

    /// The hash of `key`. Cost: two multiplications for every 16 bytes.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> KeyHash {
        let [s0, s1, s2, s3] = self.secret;
        let mut a = s0 ^ key.len() as u64;
        let mut b = s1;
        let mut pairs = key.chunks_exact(16);
        for pair in &mut pairs {
            (a, b) = mix(a, b, (s2, s3), pair);
        }
        let rest = pairs.remainder();
        if !rest.is_empty() {
            let mut last = [0; 16];
            last[..rest.len()].copy_from_slice(rest);
            (a, b) = mix(a, b, (s2, s3), &last);
        }
        let low = fold(a ^ s3, b ^ STEP[0]);
        let high = fold(b ^ s2, a ^ STEP[1]);
        KeyHash(u128::from(high) << 64 | u128::from(low))
    }
}

/// One step over 16 bytes. The lanes take each other's input under different secrets, so that a
/// word that zeroes one lane's product leaves the other's.
#[inline]
fn mix(a: u64, b: u64, secret: (u64, u64), bytes: &[u8]) -> (u64, u64) {
    let word =
        |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("a step has two words"));
    let (low, high) = (word(0), word(8));
    let next_a = fold(a ^ low, secret.0 ^ high).wrapping_add(b ^ STEP[0]);
    let next_b = fold(b ^ high, secret.1 ^ low).wrapping_add(a ^ STEP[1]);
    (next_a, next_b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(key: &str, value: &str) -> Tag {
        (key.as_bytes().into(), value.as_bytes().into())
    }

    #[test]
    fn tags_are_sorted_and_a_double_key_is_named() {
        let tags = TagSet::new(vec![tag("host", "a"), tag("dc", "x")]).unwrap();
        assert_eq!(tags.get(b"dc"), Some(&b"x"[..]));
        assert_eq!(tags.get(b"none"), None);
        assert_eq!(
            TagSet::new(vec![tag("t", "1"), tag("t", "2")]),
            Err(b"t"[..].into())
        );
    }

    #[test]
    fn sets_are_ordered_as_lists_of_pairs_are() {
        let lists: Vec<Vec<Tag>> = vec![
            vec![],
            vec![tag("a", "b")],
            vec![tag("a", "b"), tag("b", "")],
            vec![tag("a", "bb")],
            vec![tag("a", "c"), tag("b", "a")],
            vec![tag("aa", "a")],
            vec![tag("b", &"long ".repeat(50))],
        ];
        assert!(lists.is_sorted());
        for one in &lists {
            let own = TagSet::new(one.clone()).unwrap();
            let read = own.iter().map(|(key, value)| (key.into(), value.into()));
            assert_eq!(read.collect::<Vec<Tag>>(), *one);
            assert_eq!((own.len(), own.iter().len()), (one.len(), one.len()));
            for other in &lists {
                let order = own.cmp(&TagSet::new(other.clone()).unwrap());
                assert_eq!(order, one.cmp(other), "{one:?} and {other:?}");
            }
        }
    }

    #[test]
    fn hashes_differ_by_bytes_length_and_secret() {
        let hasher = KeyHasher::new([1, 2, 3, 4]);
        let mut seen = std::collections::BTreeSet::new();
        for length in 0..100 {
            assert!(
                seen.insert(hasher.hash(&vec![0; length])),
                "zeros of length {length}"
            );
        }
        for index in 0..100 {
            let mut key = vec![b'x'; 100];
            key[index] ^= 1;
            assert!(seen.insert(hasher.hash(&key)), "bit in byte {index}");
        }
        assert_ne!(
            hasher.hash(b"cpu"),
            KeyHasher::new([1, 2, 3, 5]).hash(b"cpu")
        );
    }

    #[test]
    fn the_hash_is_what_it_was_when_it_was_first_written_to_disk() {
        let hasher = KeyHasher::new([11, 22, 33, 44]);
        let bytes: Vec<u8> = (0..=40).collect();
        let hash = hasher.hash(&bytes).0;
        assert_eq!(format!("{hash:032x}"), GOLDEN_HASH);
    }

    const GOLDEN_HASH: &str = "dccc113bfad16a4f2a584841ba734a7b";
}
