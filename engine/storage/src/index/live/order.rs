//! Series in the order of their canonical keys, without making the keys: the values of each tag are
//! ranked, and a series is sorted by the ranks of its values, which mostly fit one integer.

use std::cmp::Ordering;

use crate::index::live::LiveIndex;
use crate::index::live::store::{Shape, Store};
use crate::index::live::values::Values;
use crate::index::sorted::{PREFIX_BYTES, shared_len, sorted_by_text, sorted_packed};
use crate::model::{SeriesId, TagKeyId, push_varint, take_varint};

/// Ids of tag keys below this are ordered alike as numbers and as varints.
const SHORT_IDS: u32 = 128;
/// Bits of an integer that series are sorted by; few in tests, so that they sort by what is left too.
const PACKED_BITS: u32 = if cfg!(test) { 6 } else { 96 };

impl LiveIndex {
    /// The places in `ids`, all of one measurement, of the series that are known, in the order of
    /// canonical keys. Memory: some 20 bytes for each series and each value of a tag. Writers of new
    /// series wait.
    ///
    /// # Panics
    /// If there are 2^32 ids or more.
    pub fn key_order(&self, ids: &[SeriesId]) -> Vec<u32> {
        self.read().key_order(ids)
    }
}

/// A tag of the series that are sorted.
struct Column {
    key: TagKeyId,
    /// The rank of each value, by its number.
    ranks: Vec<u32>,
    /// How many bits a code takes.
    bits: u32,
}

impl Store {
    fn key_order(&self, ids: &[SeriesId]) -> Vec<u32> {
        let places = 0..u32::try_from(ids.len()).expect("fewer than 2^32 series");
        let slots: Vec<(u32, u32)> = places
            .zip(ids)
            .filter_map(|(place, id)| Some((self.slot(*id)?, place)))
            .collect();
        let shapes = self.shapes_of(&slots);
        let is_short = |shape: &&Shape| shape.keys.iter().all(|(key, _)| key.0 < SHORT_IDS);
        let mut order = if shapes.len() == 1 || shapes.iter().all(is_short) {
            self.order_by_ranks(&slots, &shapes)
        } else {
            self.order_by_keys(&slots)
        };
        for index in &mut order {
            *index = slots[*index as usize].1;
        }
        order
    }

    fn shapes_of(&self, slots: &[(u32, u32)]) -> Vec<&Shape> {
        let mut is_used = vec![false; self.shapes.len()];
        for (slot, _) in slots {
            let mut record = self.record(*slot);
            is_used[next(&mut record) as usize] = true;
        }
        let used = self.shapes.iter().zip(is_used);
        used.filter_map(|(shape, is_used)| is_used.then_some(shape))
            .collect()
    }

    /// For tag keys whose ids are not ordered as their varints are.
    fn order_by_keys(&self, slots: &[(u32, u32)]) -> Vec<u32> {
        let mut key = Vec::new();
        let keyed = (0_u32..).zip(slots).map(|(index, (slot, _))| {
            self.key(*slot, &mut key);
            (key.clone().into_boxed_slice(), index)
        });
        let mut keyed: Vec<(Box<[u8]>, u32)> = keyed.collect();
        keyed.sort_unstable();
        keyed.into_iter().map(|(_, index)| index).collect()
    }

    fn order_by_ranks(&self, slots: &[(u32, u32)], shapes: &[&Shape]) -> Vec<u32> {
        let mut keys: Vec<(TagKeyId, u32)> = shapes
            .iter()
            .flat_map(|shape| &shape.keys)
            .copied()
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let columns: Vec<Column> = keys
            .into_iter()
            .map(|(key, column)| {
                let ranks = self.columns[column as usize].ranks();
                // Two more than ranks, for a series that lacks the tag.
                let codes = ranks.len() + 1;
                let bits = usize::BITS - codes.leading_zeros();
                Column { key, ranks, bits }
            })
            .collect();
        let mut left = PACKED_BITS;
        let fitting = columns.iter().take_while(|column| {
            let fits = column.bits <= left;
            left -= if fits { column.bits } else { 0 };
            fits
        });
        let packed_columns = &columns[..fitting.count()];
        let pack = |(index, (slot, _)): (u32, &(u32, u32))| {
            let mut codes = Codes::new(self, *slot);
            let packed = packed_columns.iter().fold(0_u128, |packed, column| {
                packed << column.bits | u128::from(codes.next(column))
            });
            packed << 32 | u128::from(index)
        };
        let packed = (0_u32..).zip(slots).map(pack).collect();
        let compare = |one: u32, other: u32| {
            let codes = |index: u32| Codes::new(self, slots[index as usize].0);
            let (mut one, mut other) = (codes(one), codes(other));
            let unequal = columns
                .iter()
                .map(|column| one.next(column).cmp(&other.next(column)))
                .find(|order| order.is_ne());
            unequal.unwrap_or(Ordering::Equal)
        };
        sorted_packed(packed, |tied| {
            tied.sort_unstable_by(|one, other| compare(*one, *other));
        })
    }
}

/// Numbers that are ordered as what a key has at each tag is: nothing any more, a value, or
/// another tag.
struct Codes<'store> {
    record: &'store [u8],
    keys: std::slice::Iter<'store, (TagKeyId, u32)>,
}

impl<'store> Codes<'store> {
    fn new(store: &'store Store, slot: u32) -> Codes<'store> {
        let mut record = store.record(slot);
        let shape = &store.shapes[next(&mut record) as usize];
        Codes {
            record,
            keys: shape.keys.iter(),
        }
    }

    /// The code at `column`, which comes behind the last.
    fn next(&mut self, column: &Column) -> u32 {
        match self.keys.as_slice().first() {
            None => 0,
            Some((key, _)) if *key == column.key => {
                self.keys.next();
                column.ranks[next(&mut self.record) as usize] + 1
            }
            Some(_) => u32::MAX >> (u32::BITS - column.bits),
        }
    }
}

/// The next number of a record.
fn next(record: &mut &[u8]) -> u32 {
    let number = take_varint(record).expect("a record has a number for each key");
    u32::try_from(number).expect("numbers have 32 bits")
}

impl Values {
    /// The rank of each value, by its number, in the order that keys have them: by the bytes of
    /// its length, then by its own.
    fn ranks(&self) -> Vec<u32> {
        let count = u32::try_from(self.len()).expect("values have 32 bits");
        let shared = shared_len((0..count).map(|number| self.get(number)));
        let prefix = |number: u32| {
            let value = self.get(number);
            let mut bytes = Vec::with_capacity(PREFIX_BYTES);
            push_varint(&mut bytes, value.len() as u64);
            bytes.extend(value[shared..].iter().take(PREFIX_BYTES));
            let mut prefix = [0; PREFIX_BYTES];
            for (byte, own) in prefix.iter_mut().zip(bytes) {
                *byte = own;
            }
            prefix
        };
        let whole = |number: u32| {
            let value = self.get(number);
            let mut len = Vec::new();
            push_varint(&mut len, value.len() as u64);
            (len, value)
        };
        let compare = |one: u32, other: u32| whole(one).cmp(&whole(other));
        let mut ranks = vec![0; self.len()];
        for (rank, number) in (0..).zip(sorted_by_text(count, prefix, compare)) {
            ranks[number as usize] = rank;
        }
        ranks
    }
}
