//! Which series have rows in memory, found by their tags.
//!
//! It knows canonical keys (ids and values), no names: who asks translates. Series are only added;
//! the index goes as a whole when its memtables have been flushed. Each series has a slot, a small
//! number in order of arrival; of each tag value the slots are kept ascending. No heap object per
//! series, none per value that only one series has.

use std::fmt;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use hashbrown::{HashMap, HashTable};
use roaring::RoaringBitmap;

use crate::model::{CanonicalKey, MeasurementId, SeriesEntry, SeriesId, TagKeyId, TagPredicate};

type Map<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

/// The series of one database that have rows in memtables.
#[derive(Default)]
pub struct LiveIndex {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    arena: Arena,
    /// By slot.
    series: Vec<(SeriesId, Span)>,
    slots: Map<SeriesId, u32>,
    measurements: Map<MeasurementId, Postings>,
}

/// The slots of one measurement, in all and by tag.
#[derive(Default)]
struct Postings {
    all: RoaringBitmap,
    keys: Map<TagKeyId, KeyPostings>,
}

/// The slots that have one tag key, in all and by value.
#[derive(Default)]
struct KeyPostings {
    having: RoaringBitmap,
    values: Vec<(Span, Slots)>,
    /// Places in `values`, by the hash of the value.
    by_value: HashTable<u32>,
}

enum Slots {
    One(u32),
    Many(RoaringBitmap),
}

impl LiveIndex {
    /// An index of no series.
    pub fn new() -> LiveIndex {
        LiveIndex::default()
    }

    /// Makes `entry` known and says whether it is new; one that is known already changes nothing.
    ///
    /// # Panics
    /// If the key is no canonical key, or at 2^32 series.
    pub fn add(&self, entry: &SeriesEntry) -> bool {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.add(entry)
    }

    /// Those of `series` that are not known, ascending, each once. Cost: a lookup for each series
    /// that differs from the one before it.
    pub fn missing(&self, series: &[SeriesId]) -> Vec<SeriesId> {
        let inner = self.read();
        let mut last = None;
        let mut missing: Vec<SeriesId> = Vec::new();
        for id in series {
            if last != Some(*id) && !inner.slots.contains_key(id) {
                missing.push(*id);
            }
            last = Some(*id);
        }
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    /// The series of `measurement` whose tags satisfy `predicate`, ascending; `names` gives the id
    /// of a tag key. Equal to asking [`TagPredicate::holds`] of each series. Matchers are asked
    /// once for each value of their key, while writers of new series wait.
    pub fn select(
        &self,
        measurement: MeasurementId,
        predicate: &TagPredicate,
        names: &dyn Fn(&[u8]) -> Option<TagKeyId>,
    ) -> Vec<SeriesId> {
        let mut series: Vec<SeriesId> = Vec::new();
        self.select_with(measurement, predicate, names, &mut |id, _| series.push(id));
        series.sort_unstable();
        series
    }

    /// As [`LiveIndex::select`], in any order: calls `found` with each series and its canonical
    /// key, while writers of new series wait.
    pub fn select_with(
        &self,
        measurement: MeasurementId,
        predicate: &TagPredicate,
        names: &dyn Fn(&[u8]) -> Option<TagKeyId>,
        found: &mut dyn FnMut(SeriesId, &[u8]),
    ) {
        let inner = self.read();
        let Some(postings) = inner.measurements.get(&measurement) else {
            return;
        };
        let question = Question {
            arena: &inner.arena,
            postings,
            names,
        };
        for slot in question.slots(predicate) {
            let (id, span) = inner.series[slot as usize];
            found(id, inner.arena.get(span));
        }
    }

    /// The series called `id` with its canonical key, if it is known.
    pub fn entry(&self, id: SeriesId) -> Option<SeriesEntry> {
        let inner = self.read();
        let slot = *inner.slots.get(&id)?;
        let (_, span) = inner.series[slot as usize];
        Some(SeriesEntry {
            id,
            key: inner.arena.get(span).into(),
        })
    }

    /// All series with their keys, ascending by id.
    pub fn entries(&self) -> Vec<SeriesEntry> {
        let inner = self.read();
        let mut entries: Vec<SeriesEntry> = inner
            .series
            .iter()
            .map(|(id, span)| SeriesEntry {
                id: *id,
                key: inner.arena.get(*span).into(),
            })
            .collect();
        entries.sort_unstable_by_key(|entry| entry.id);
        entries
    }

    /// How many series are known.
    pub fn len(&self) -> usize {
        self.read().series.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Anonymous memory of the index, in bytes, near enough for a ledger. Cost: a look at each
    /// tag key.
    pub fn size_bytes(&self) -> usize {
        let inner = self.read();
        let keys = inner
            .measurements
            .values()
            .flat_map(|one| one.keys.values());
        let values: usize = keys
            .map(|key| {
                let posted = key.having.serialized_size() * 2;
                posted
                    + key.values.capacity() * size_of::<(Span, Slots)>()
                    + key.by_value.capacity() * 5
            })
            .sum();
        inner.arena.size_bytes()
            + inner.series.capacity() * size_of::<(SeriesId, Span)>()
            + inner.slots.capacity() * 18
            + values
    }

    // A panic while a series is added leaves it half known at worst, and the write that adds it
    // fails with it: what others see stays sound.
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LiveIndex {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "LiveIndex of {} series", self.len())
    }
}

impl Inner {
    fn add(&mut self, entry: &SeriesEntry) -> bool {
        if self.slots.contains_key(&entry.id) {
            return false;
        }
        let key = CanonicalKey(&entry.key);
        let measurement = key.measurement().expect("a canonical key");
        let tags = key.tags().expect("a canonical key");
        let slot = u32::try_from(self.series.len()).expect("fewer than 2^32 series in memory");
        let span = self.arena.push(&entry.key);
        self.slots.insert(entry.id, slot);
        self.series.push((entry.id, span));
        let postings = self.measurements.entry(measurement).or_default();
        postings.all.insert(slot);
        for (tag_key, value) in tags {
            // Values are not copied: their bytes stand in the key.
            let offset = value.as_ptr().addr() - entry.key.as_ptr().addr();
            let value_span = span.within(offset, value.len());
            let key_postings = postings.keys.entry(tag_key).or_default();
            key_postings.having.insert(slot);
            key_postings.add(&self.arena, value_span, slot);
        }
        true
    }
}

impl KeyPostings {
    fn add(&mut self, arena: &Arena, span: Span, slot: u32) {
        let value = arena.get(span);
        let same = |at: &u32| arena.get(self.values[*at as usize].0) == value;
        if let Some(at) = self.by_value.find(hash(value), same).copied() {
            self.values[at as usize].1.push(slot);
            return;
        }
        let at = u32::try_from(self.values.len()).expect("no more values than series");
        self.values.push((span, Slots::One(slot)));
        let rehash = |at: &u32| hash(arena.get(self.values[*at as usize].0));
        self.by_value.insert_unique(hash(value), at, rehash);
    }

    fn find(&self, arena: &Arena, value: &[u8]) -> Option<&Slots> {
        let same = |at: &u32| arena.get(self.values[*at as usize].0) == value;
        let at = self.by_value.find(hash(value), same)?;
        Some(&self.values[*at as usize].1)
    }
}

impl Slots {
    fn push(&mut self, slot: u32) {
        match self {
            Slots::One(only) => *self = Slots::Many([*only, slot].into_iter().collect()),
            Slots::Many(slots) => {
                slots.insert(slot);
            }
        }
    }

    fn add_to(&self, all: &mut RoaringBitmap) {
        match self {
            Slots::One(slot) => {
                all.insert(*slot);
            }
            Slots::Many(slots) => *all |= slots,
        }
    }

    fn and(&self, other: &Slots) -> RoaringBitmap {
        let (mut own, mut others) = (RoaringBitmap::new(), RoaringBitmap::new());
        self.add_to(&mut own);
        other.add_to(&mut others);
        own & others
    }
}

/// A predicate asked of one measurement.
struct Question<'index> {
    arena: &'index Arena,
    postings: &'index Postings,
    names: &'index dyn Fn(&[u8]) -> Option<TagKeyId>,
}

impl Question<'_> {
    fn slots(&self, predicate: &TagPredicate) -> RoaringBitmap {
        match predicate {
            TagPredicate::All => self.postings.all.clone(),
            TagPredicate::None => RoaringBitmap::new(),
            TagPredicate::Equal { key, value } => self.with_values(key, &[value]),
            TagPredicate::Matches { key, matcher } => match matcher.values() {
                Some(values) => {
                    let values: Vec<&[u8]> = values.iter().map(|value| &**value).collect();
                    self.with_values(key, &values)
                }
                None => self.matching(key, &|value| matcher.matches(value)),
            },
            TagPredicate::SameValue(one, other) => self.same_value(one, other),
            TagPredicate::Not(inner) => &self.postings.all - self.slots(inner),
            TagPredicate::And(all) => {
                let mut slots = self.postings.all.clone();
                for one in all {
                    if slots.is_empty() {
                        break;
                    }
                    slots &= self.slots(one);
                }
                slots
            }
            TagPredicate::Or(any) => {
                let mut slots = RoaringBitmap::new();
                for one in any {
                    slots |= self.slots(one);
                }
                slots
            }
        }
    }

    fn key(&self, name: &[u8]) -> Option<&KeyPostings> {
        self.postings.keys.get(&(self.names)(name)?)
    }

    fn lacking(&self, key: Option<&KeyPostings>) -> RoaringBitmap {
        match key {
            None => self.postings.all.clone(),
            Some(key) => &self.postings.all - &key.having,
        }
    }

    fn with_values(&self, name: &[u8], values: &[&[u8]]) -> RoaringBitmap {
        let key = self.key(name);
        let mut slots = RoaringBitmap::new();
        for value in values {
            if value.is_empty() {
                slots |= self.lacking(key);
            }
            if let Some(found) = key.and_then(|key| key.find(self.arena, value)) {
                found.add_to(&mut slots);
            }
        }
        slots
    }

    fn matching(&self, name: &[u8], matches: &dyn Fn(&[u8]) -> bool) -> RoaringBitmap {
        let key = self.key(name);
        let mut slots = if matches(b"") {
            self.lacking(key)
        } else {
            RoaringBitmap::new()
        };
        for (span, found) in key.iter().flat_map(|key| &key.values) {
            if matches(self.arena.get(*span)) {
                found.add_to(&mut slots);
            }
        }
        slots
    }

    fn same_value(&self, one: &[u8], other: &[u8]) -> RoaringBitmap {
        let (one, other) = (self.key(one), self.key(other));
        let mut slots = self.lacking(one) & self.lacking(other);
        if let (Some(one), Some(other)) = (one, other) {
            for (span, having) in &one.values {
                if let Some(found) = other.find(self.arena, self.arena.get(*span)) {
                    slots |= having.and(found);
                }
            }
        }
        slots
    }
}

fn hash(value: &[u8]) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = foldhash::fast::FixedState::default().build_hasher();
    hasher.write(value);
    hasher.finish()
}

/// Bytes of an [`Arena`].
#[derive(Clone, Copy)]
struct Span {
    chunk: u32,
    offset: u32,
    len: u32,
}

impl Span {
    fn within(self, offset: usize, len: usize) -> Span {
        let short = |value| u32::try_from(value).expect("what lies within a span is no longer");
        Span {
            chunk: self.chunk,
            offset: self.offset + short(offset),
            len: short(len),
        }
    }
}

/// Bytes that are only added: in chunks, so that growing copies nothing.
#[derive(Default)]
struct Arena {
    chunks: Vec<Vec<u8>>,
}

/// Size of a chunk; a longer key has one of its own.
const CHUNK_BYTES: usize = 1 << 16;

impl Arena {
    fn push(&mut self, bytes: &[u8]) -> Span {
        let fits = |chunk: &Vec<u8>| chunk.capacity() - chunk.len() >= bytes.len();
        if !self.chunks.last().is_some_and(fits) {
            self.chunks
                .push(Vec::with_capacity(bytes.len().max(CHUNK_BYTES)));
        }
        let index = self.chunks.len() - 1;
        let chunk = &mut self.chunks[index];
        let offset = chunk.len();
        chunk.extend_from_slice(bytes);
        let short =
            |value| u32::try_from(value).expect("keys in memory stay far below 2^32 chunks");
        Span {
            chunk: short(index),
            offset: short(offset),
            len: short(bytes.len()),
        }
    }

    fn get(&self, span: Span) -> &[u8] {
        let start = span.offset as usize;
        &self.chunks[span.chunk as usize][start..start + span.len as usize]
    }

    fn size_bytes(&self) -> usize {
        self.chunks.iter().map(Vec::capacity).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{TagSet, ValueMatcher};

    /// Passes values that hold this byte, and the missing one if asked to.
    #[derive(Debug)]
    struct Holds(u8, bool);

    impl ValueMatcher for Holds {
        fn matches(&self, value: &[u8]) -> bool {
            value.contains(&self.0) || value.is_empty() && self.1
        }
    }

    #[derive(Debug)]
    struct Listed(Vec<Box<[u8]>>);

    impl ValueMatcher for Listed {
        fn matches(&self, value: &[u8]) -> bool {
            self.0.iter().any(|one| **one == *value)
        }

        fn values(&self) -> Option<&[Box<[u8]>]> {
            Some(&self.0)
        }
    }

    const NAMES: [&[u8]; 4] = [b"dc", b"host", b"rack", b"unknown"];

    /// The last name has no id: no series ever had it.
    fn names(name: &[u8]) -> Option<TagKeyId> {
        let at = NAMES[..3].iter().position(|one| *one == name)?;
        Some(TagKeyId(u32::try_from(at).unwrap() + 1))
    }

    fn name() -> impl Strategy<Value = Box<[u8]>> {
        prop::sample::select(NAMES.to_vec()).prop_map(Into::into)
    }

    fn value() -> impl Strategy<Value = Box<[u8]>> {
        prop::sample::select(vec!["", "a", "b", "ab", "c"])
            .prop_map(|value| value.as_bytes().into())
    }

    fn predicate() -> impl Strategy<Value = TagPredicate> {
        let leaf = prop_oneof![
            Just(TagPredicate::All),
            Just(TagPredicate::None),
            (name(), value()).prop_map(|(key, value)| TagPredicate::Equal { key, value }),
            (name(), any::<bool>()).prop_map(|(key, empty)| TagPredicate::Matches {
                key,
                matcher: Arc::new(Holds(b'a', empty)),
            }),
            (name(), prop::collection::vec(value(), 0..4)).prop_map(|(key, mut values)| {
                values.sort();
                TagPredicate::Matches {
                    key,
                    matcher: Arc::new(Listed(values)),
                }
            }),
            (name(), name()).prop_map(|(one, other)| TagPredicate::SameValue(one, other)),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                inner
                    .clone()
                    .prop_map(|one| TagPredicate::Not(Box::new(one))),
                prop::collection::vec(inner.clone(), 0..3).prop_map(TagPredicate::And),
                prop::collection::vec(inner, 0..3).prop_map(TagPredicate::Or),
            ]
        })
    }

    fn entry(id: u64, measurement: u32, tags: &TagSet) -> SeriesEntry {
        let mut tags: Vec<(TagKeyId, &[u8])> = tags
            .iter()
            .map(|(key, value)| (names(key).unwrap(), value))
            .collect();
        SeriesEntry {
            id: SeriesId(id),
            key: CanonicalKey::encode(MeasurementId(measurement), &mut tags),
        }
    }

    fn tag_set() -> impl Strategy<Value = TagSet> {
        [value(), value(), value()].prop_map(|values| {
            let tags = NAMES
                .iter()
                .zip(values)
                .filter(|(_, value)| !value.is_empty());
            TagSet::new(tags.map(|(key, value)| ((*key).into(), value)).collect()).unwrap()
        })
    }

    proptest! {
        #[test]
        fn a_selection_is_what_the_predicate_says_of_each_series(
            series in prop::collection::btree_map(1_u64..200, (1_u32..3, tag_set()), 0..60),
            predicate in predicate(),
        ) {
            let index = LiveIndex::new();
            // Highest ids first: ids do not come in order where old series are written again.
            for (id, (measurement, tags)) in series.iter().rev() {
                prop_assert!(index.add(&entry(*id, *measurement, tags)));
                prop_assert!(!index.add(&entry(*id, *measurement, tags)));
            }
            for measurement in 1..=3 {
                let expected: Vec<SeriesId> = series
                    .iter()
                    .filter(|(_, (own, tags))| *own == measurement && predicate.holds(tags))
                    .map(|(id, _)| SeriesId(*id))
                    .collect();
                let found = index.select(MeasurementId(measurement), &predicate, &names);
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn a_series_reads_back_and_a_stranger_is_missing() {
        let index = LiveIndex::new();
        let tags = TagSet::new(vec![(b"host"[..].into(), b"web-1"[..].into())]).unwrap();
        let known = entry(7, 1, &tags);
        assert!(index.add(&known));
        assert_eq!(index.entry(SeriesId(7)), Some(known.clone()));
        assert_eq!(index.entry(SeriesId(8)), None);
        let asked = [9, 7, 8, 8, 9, 7].map(SeriesId);
        assert_eq!(index.missing(&asked), [SeriesId(8), SeriesId(9)]);
        assert_eq!(index.entries(), [known]);
    }

    #[test]
    fn many_series_stay_small_and_apart() {
        let index = LiveIndex::new();
        for id in 1..=20_000 {
            let host = format!("host-{id}").into_bytes();
            let tags = vec![
                (b"host"[..].into(), host.into()),
                (b"dc"[..].into(), b"x"[..].into()),
            ];
            assert!(index.add(&entry(id, 1, &TagSet::new(tags).unwrap())));
        }
        let per_series = index.size_bytes() / 20_000;
        assert!(per_series < 200, "{per_series} bytes a series");
        let one = TagPredicate::Equal {
            key: b"host"[..].into(),
            value: b"host-777"[..].into(),
        };
        assert_eq!(
            index.select(MeasurementId(1), &one, &names),
            [SeriesId(777)]
        );
    }
}
