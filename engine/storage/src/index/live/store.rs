//! What a live index keeps: of each series its id, its shape, and the number of each tag's value.

use std::ops::Range;

use hashbrown::HashMap;
use roaring::RoaringBitmap;

use crate::index::live::arena::{Arena, Steps};
use crate::index::live::values::{SLOTS_MAX, Values};
use crate::index::numbered::Numbered;
use crate::index::table::Table;
use crate::model::{CanonicalKey, MeasurementId, SeriesId, TagKeyId, push_varint, take_varint};

type Map<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

/// Series by slot, which is their number in the order of arrival.
#[derive(Debug, Default)]
pub(super) struct Store {
    ids: Steps<SeriesId>,
    /// Series whose ids and slots go up together, ascending.
    stretches: Vec<Stretch>,
    /// The slots of all other series.
    by_id: Table<Numbered>,
    /// Of each slot: its shape and the numbers of its values, varints.
    records: Arena,
    starts: Steps<u32>,
    pub(super) shapes: Vec<Shape>,
    by_keys: Map<(MeasurementId, Vec<TagKeyId>), u32>,
    last_shape: u32,
    pub(super) columns: Vec<Values>,
    by_column: Map<(MeasurementId, TagKeyId), u32>,
    /// Written for a record and cleared.
    buffer: Vec<u8>,
    /// The tags of the keys at hand: key, and where the value lies in the bytes of its canonical key.
    tags: Vec<(TagKeyId, Range<usize>)>,
    /// The numbers of their values.
    numbers: Vec<u32>,
}

/// Stretches that are kept: ids are mostly given and added in order, but after a flush those of old
/// series come as they are written to.
const STRETCHES_MAX: usize = 1024;

/// Series that were added one after another, as their ids were given.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    id: u64,
    slot: u32,
    len: u32,
}

/// Series of one measurement that have the same tag keys.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) measurement: MeasurementId,
    /// Ascending, each with its column.
    pub(super) keys: Vec<(TagKeyId, u32)>,
    pub(super) slots: RoaringBitmap,
}

impl Shape {
    /// Whether it is that of a series with this key and these tags.
    fn is_of(&self, key: &[u8], tags: &[(TagKeyId, Range<usize>)]) -> bool {
        let own = self.keys.iter().map(|(key, _)| key);
        CanonicalKey(key).measurement() == Some(self.measurement)
            && own.eq(tags.iter().map(|(key, _)| key))
    }
}

impl Store {
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn id(&self, slot: u32) -> SeriesId {
        self.ids.get(slot as usize)
    }

    pub(super) fn ids_from(&self, slot: usize) -> Vec<SeriesId> {
        (slot..self.len()).map(|slot| self.ids.get(slot)).collect()
    }

    pub(super) fn slot(&self, id: SeriesId) -> Option<u32> {
        let behind = self.stretches.partition_point(|one| one.id <= id.0);
        if let Some(before) = behind.checked_sub(1) {
            let stretch = self.stretches[before];
            let offset = id.0 - stretch.id;
            if offset < u64::from(stretch.len) {
                let offset = u32::try_from(offset).expect("it is below a length of 32 bits");
                return Some(stretch.slot + offset);
            }
        }
        let place = Numbered::place_of(spread(id));
        let found = self
            .by_id
            .find(place, |entry| self.id(entry.number()) == id);
        found.map(|entry| entry.number())
    }

    /// Adds those of `series` that are not known; how many that were.
    pub(super) fn add_all(&mut self, series: &[(SeriesId, &[u8])]) -> usize {
        let old = self.len();
        let mut rest = series;
        while !rest.is_empty() {
            if self.slot(rest[0].0).is_some() {
                rest = &rest[1..];
                continue;
            }
            let (shape, count) = self.alike(rest);
            let (alike, behind) = rest.split_at(count);
            self.add_alike(shape, alike);
            rest = behind;
        }
        self.len() - old
    }

    /// The shape of the first of `series`, and how many have it one after another, are not known, and differ.
    /// Their tags are noted.
    fn alike(&mut self, series: &[(SeriesId, &[u8])]) -> (u32, usize) {
        self.tags.clear();
        let first = series[0].1;
        self.parse(first);
        let shape = self.shape(first);
        let columns = self.tags.len();
        let mut count = 1;
        for pair in series.windows(2) {
            let [(before, _), (id, key)] = pair else {
                break;
            };
            if id <= before || self.slot(*id).is_some() {
                break;
            }
            let start = self.tags.len();
            self.parse(key);
            if !self.shapes[shape as usize].is_of(key, &self.tags[start..]) {
                self.tags.truncate(start);
                break;
            }
            count += 1;
        }
        debug_assert_eq!(self.tags.len(), count * columns, "they have one shape");
        (shape, count)
    }

    /// Appends the tags of a key to those that are noted.
    fn parse(&mut self, key: &[u8]) {
        let walked = CanonicalKey(key).each_place(|key, place| self.tags.push((key, place)));
        walked.expect("a canonical key");
    }

    /// Adds series of one shape whose tags are noted. Tag by tag, as values of one lie near each other.
    fn add_alike(&mut self, number: u32, series: &[(SeriesId, &[u8])]) {
        let slot = u32::try_from(self.len()).ok();
        let end = u32::try_from(self.len() + series.len()).ok();
        let slot = slot.filter(|_| end.is_some_and(|end| end <= SLOTS_MAX));
        let slot = slot.expect("fewer than 2^31 series in memory");
        let shape = &self.shapes[number as usize];
        let columns = shape.keys.len();
        self.numbers.clear();
        for (at, (_, column)) in shape.keys.iter().enumerate() {
            let places = self.tags.iter().skip(at).step_by(columns);
            let values = series.iter().zip(places);
            let values: Vec<&[u8]> = values
                .map(|((_, key), (_, place))| &key[place.clone()])
                .collect();
            let start = self.numbers.len();
            self.numbers.resize(start + series.len(), 0);
            self.columns[*column as usize].add_all(&values, slot, &mut self.numbers[start..]);
        }
        for ((at, (id, _)), slot) in series.iter().enumerate().zip(slot..) {
            self.buffer.clear();
            push_varint(&mut self.buffer, number.into());
            for value in self.numbers.iter().skip(at).step_by(series.len()) {
                push_varint(&mut self.buffer, (*value).into());
            }
            self.starts.push(self.records.push(&self.buffer));
            self.ids.push(*id);
            self.note_id(*id, slot);
        }
        // Last: who selects these finds all else of them.
        let slots = &mut self.shapes[number as usize].slots;
        let added = slots.append((slot..).take(series.len()));
        assert!(added.is_ok(), "slots come ascending");
    }

    /// Notes the slot of a new series.
    fn note_id(&mut self, id: SeriesId, slot: u32) {
        let last = self.stretches.last_mut();
        let end = last
            .as_ref()
            .map_or(0, |last| last.id.saturating_add(last.len.into()));
        if let Some(last) = last
            && id.0 == end
            && slot == last.slot + last.len
        {
            last.len += 1;
        } else if id.0 >= end && self.stretches.len() < STRETCHES_MAX {
            let id = id.0;
            self.stretches.push(Stretch { id, slot, len: 1 });
        } else {
            self.by_id.insert(Numbered::new(spread(id), slot));
        }
    }

    /// The shape of a series whose tags alone are noted; mostly that of the last one.
    fn shape(&mut self, key: &[u8]) -> u32 {
        let measurement = CanonicalKey(key).measurement().expect("a canonical key");
        let tags = &self.tags;
        let last = self.shapes.get(self.last_shape as usize);
        if last.is_some_and(|shape| shape.is_of(key, tags)) {
            return self.last_shape;
        }
        let keys = tags.iter().map(|(key, _)| *key).collect();
        let next = u32::try_from(self.shapes.len()).expect("no more shapes than series");
        let number = *self.by_keys.entry((measurement, keys)).or_insert(next);
        self.last_shape = number;
        if number == next {
            let keys = tags.iter().map(|(key, _)| {
                let next = u32::try_from(self.columns.len()).expect("no more columns than tags");
                let column = *self.by_column.entry((measurement, *key)).or_insert(next);
                if column == next {
                    self.columns.push(Values::default());
                }
                (*key, column)
            });
            let keys = keys.collect();
            self.shapes.push(Shape {
                measurement,
                keys,
                slots: RoaringBitmap::new(),
            });
        }
        number
    }

    /// Of `slot`: its shape and the numbers of its values.
    pub(super) fn record(&self, slot: u32) -> &[u8] {
        self.records.get(self.starts.get(slot as usize))
    }

    /// Puts the canonical key of `slot` in place of what is in `key`.
    pub(super) fn key(&self, slot: u32, key: &mut Vec<u8>) {
        let mut record = self.record(slot);
        let mut next = || {
            let number = take_varint(&mut record).expect("a record has a number for each key");
            u32::try_from(number).expect("numbers have 32 bits")
        };
        let shape = &self.shapes[next() as usize];
        key.clear();
        key.extend_from_slice(&shape.measurement.0.to_le_bytes());
        for (tag_key, column) in &shape.keys {
            let value = self.columns[*column as usize].get(next());
            push_varint(key, tag_key.0.into());
            push_varint(key, value.len() as u64);
            key.extend_from_slice(value);
        }
    }

    /// The values of a tag key of a measurement.
    pub(super) fn values(&self, measurement: MeasurementId, key: TagKeyId) -> Option<&Values> {
        let column = *self.by_column.get(&(measurement, key))?;
        Some(&self.columns[column as usize])
    }

    pub(super) fn size_bytes(&self) -> usize {
        let columns: usize = self.columns.iter().map(Values::size_bytes).sum();
        let shapes: usize = self
            .shapes
            .iter()
            .map(|shape| {
                let keys = shape.keys.len() * (size_of::<(TagKeyId, u32)>() + size_of::<u32>());
                keys + shape.slots.serialized_size() + 2 * size_of::<Shape>()
            })
            .sum();
        self.ids.size_bytes()
            + self.stretches.capacity() * size_of::<Stretch>()
            + self.by_id.size_bytes()
            + self.records.size_bytes()
            + self.starts.size_bytes()
            + columns
            + shapes
    }
}

/// Ids come in order: this spreads them over all places, each on one of its own.
fn spread(id: SeriesId) -> u64 {
    id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
