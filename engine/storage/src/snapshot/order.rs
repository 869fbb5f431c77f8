//! Series in the order of their tags. A million of them lie all over memory, and most open alike: of each
//! the bytes in which it can differ from the others are gathered into one integer, and integers are sorted.

use std::collections::BTreeMap;

use crate::index::sorted_packed;
use crate::model::{SeriesId, TagSet};

/// As many sets or fewer are compared as they are; few in tests, so that those are packed too.
const COMPARED_MAX: usize = if cfg!(test) { 3 } else { 64 };

/// Bits of an integer that sets are sorted by; few in tests, so that they sort by what is left too.
const PACKED_BITS: u32 = if cfg!(test) { 20 } else { 96 };

/// Sets that agree in all that was packed are packed again by what is left, so often at most.
const ROUNDS_MAX: usize = 16;

/// Bits that say what a set has at a tag which others lack.
const PRESENCE_BITS: u32 = 2;
/// In the order of sets: no tag any more, this one, one that comes later.
const ENDED: u128 = 0;
const HERE: u128 = 1;
const LATER: u128 = 2;

/// Sorts `series` by tags. Memory: some 50 bytes a series while it does.
pub(super) fn sort_by_tags(series: Vec<(SeriesId, TagSet)>) -> Vec<(SeriesId, TagSet)> {
    let order = order_by_tags(&series);
    let mut series: Vec<_> = series.into_iter().map(Some).collect();
    let sorted = order.into_iter().map(|place| {
        let one = series[place as usize].take();
        one.expect("each place stands there once")
    });
    sorted.collect()
}

/// The places in `series`, in the order of the tags.
///
/// # Panics
/// If there are 2^32 series or more.
pub(super) fn order_by_tags(series: &[(SeriesId, TagSet)]) -> Vec<u32> {
    let count = u32::try_from(series.len()).expect("fewer than 2^32 series");
    let mut places: Vec<u32> = (0..count).collect();
    sort_places(series, &mut places, 0);
    places
}

/// Sorts places; what `round` rounds have packed is the same in all of them.
fn sort_places(series: &[(SeriesId, TagSet)], places: &mut [u32], round: usize) {
    let tags = |place: u32| &series[place as usize].1;
    if places.len() <= COMPARED_MAX || round == ROUNDS_MAX {
        places.sort_unstable_by(|one, other| tags(*one).cmp(tags(*other)));
        return;
    }
    let columns = columns(places.iter().map(|place| tags(*place)));
    let pack = |place: &u32| pack(&columns, tags(*place)) << 32 | u128::from(*place);
    let packed = places.iter().map(pack).collect();
    let sorted = sorted_packed(packed, |tied| {
        let is_stuck = tied.len() == places.len();
        let round = if is_stuck { ROUNDS_MAX } else { round + 1 };
        sort_places(series, tied, round);
    });
    places.copy_from_slice(&sorted);
}

/// A tag of the sets that are sorted, and what of it is packed.
struct Column<'set> {
    key: &'set [u8],
    /// How many sets have it.
    count: usize,
    /// A value of it, and how many bytes of that all values open with.
    first: &'set [u8],
    shared: usize,
    /// The length of the longest value.
    longest: usize,
    /// Whether some sets lack it.
    is_lacking: bool,
    /// Whether a value ends in a zero: it is not told from one that ends before that.
    is_ambiguous: bool,
    /// Bytes of a value that are packed, behind those that all share.
    packed: usize,
}

/// The columns that are packed, in the order of keys: as many as fit, the last perhaps in part.
fn columns<'set>(sets: impl ExactSizeIterator<Item = &'set TagSet>) -> Vec<Column<'set>> {
    let set_count = sets.len();
    let mut columns: Vec<Column<'_>> = Vec::new();
    let mut numbers: BTreeMap<&[u8], usize> = BTreeMap::new();
    // The columns of the last set, which the next one mostly has as well.
    let mut last: Vec<usize> = Vec::new();
    for set in sets {
        last.resize(set.len(), usize::MAX);
        for ((key, value), number) in set.iter().zip(&mut last) {
            if columns.get(*number).is_none_or(|column| column.key != key) {
                *number = *numbers.entry(key).or_insert(columns.len());
            }
            match columns.get_mut(*number) {
                Some(column) => column.note(value),
                None => columns.push(Column::new(key, value)),
            }
        }
    }
    columns.sort_unstable_by_key(|column| column.key);
    let mut bits = PACKED_BITS;
    let mut fitting = 0;
    for column in &mut columns {
        column.is_lacking = column.count < set_count;
        let Some(left) = bits.checked_sub(column.presence_bits()) else {
            break;
        };
        let different = column.longest - column.shared;
        column.packed = different.min(left as usize / 8);
        bits = left - 8 * u32::try_from(column.packed).expect("it is below the bits left");
        fitting += 1;
        if column.packed < different || column.is_ambiguous {
            break;
        }
    }
    columns.truncate(fitting);
    columns
}

impl<'set> Column<'set> {
    fn new(key: &'set [u8], value: &'set [u8]) -> Column<'set> {
        Column {
            key,
            count: 1,
            first: value,
            shared: value.len(),
            longest: value.len(),
            is_lacking: false,
            is_ambiguous: value.ends_with(&[0]),
            packed: 0,
        }
    }

    fn note(&mut self, value: &[u8]) {
        self.count += 1;
        self.longest = self.longest.max(value.len());
        self.is_ambiguous |= value.ends_with(&[0]);
        if !value.starts_with(&self.first[..self.shared]) {
            let alike = self.first.iter().zip(value);
            self.shared = alike.take_while(|(one, other)| one == other).count();
        }
    }

    fn presence_bits(&self) -> u32 {
        if self.is_lacking { PRESENCE_BITS } else { 0 }
    }

    /// Appends to `word` what of `value` is packed, zeros behind its end: a longer one stands behind one
    /// that it opens with.
    fn push(&self, word: u128, value: &[u8]) -> u128 {
        let bytes = value.get(self.shared..).unwrap_or_default();
        let bytes = bytes.iter().chain(std::iter::repeat(&0));
        let bytes = bytes.take(self.packed);
        bytes.fold(word, |word, byte| word << 8 | u128::from(*byte))
    }
}

/// A number that is smaller where the set is; equal ones may be of sets that differ.
fn pack(columns: &[Column<'_>], set: &TagSet) -> u128 {
    let mut tags = set.iter().peekable();
    columns.iter().fold(0, |word, column| {
        let own = match tags.peek() {
            Some((key, value)) if !column.is_lacking || *key == column.key => Some(*value),
            Some(_) | None => None,
        };
        let word = match (column.is_lacking, own.is_some(), tags.peek().is_some()) {
            (false, ..) => word,
            (true, true, _) => word << PRESENCE_BITS | HERE,
            (true, false, true) => word << PRESENCE_BITS | LATER,
            (true, false, false) => word << PRESENCE_BITS | ENDED,
        };
        if own.is_some() {
            tags.next();
        }
        column.push(word, own.unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Few keys, values that open alike, that differ late, that end early or in zeros.
    fn value() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(0_u8..2, 1..4),
            prop::collection::vec(prop_oneof![Just(b'x'), Just(b'y')], 1..9),
            (0_u32..30).prop_map(|number| format!("host_{number}").into_bytes()),
        ]
    }

    fn set() -> impl Strategy<Value = TagSet> {
        prop::collection::btree_map(0_usize..4, value(), 0..4).prop_map(|tags| {
            let key = |number: usize| ["a", "ab", "b", "c"][number].as_bytes().into();
            let tags = tags.into_iter();
            let tags = tags.map(|(number, value)| (key(number), value.into_boxed_slice()));
            TagSet::new(tags.collect()).expect("each key stands there once")
        })
    }

    proptest! {
        #[test]
        fn series_stand_in_the_order_of_their_tags(
            sets in prop_oneof![
                prop::collection::vec(set(), 0..40),
                prop::collection::vec(value(), 0..40).prop_map(|values| {
                    let set = |value: Vec<u8>| {
                        let mut pairs = [(&b"dc"[..], &b"eu"[..]), (&b"host"[..], &value[..])];
                        TagSet::from_pairs(&mut pairs).expect("each key stands there once")
                    };
                    values.into_iter().map(set).collect()
                }),
            ],
        ) {
            let series = (1..).map(SeriesId).zip(sets);
            let series: Vec<(SeriesId, TagSet)> = series.collect();
            let sorted = sort_by_tags(series.clone());
            prop_assert!(sorted.windows(2).all(|pair| pair[0].1 <= pair[1].1));
            let mut again = sorted;
            again.sort_unstable_by_key(|(id, _)| *id);
            prop_assert_eq!(again, series);
        }
    }

    #[test]
    fn sets_that_each_round_tells_from_one_other_are_sorted_all_the_same() {
        let set = |own: usize| {
            let mut value = [b'a'; 200];
            value[own] = b'b';
            TagSet::from_pairs(&mut [(&b"k"[..], &value[..])]).expect("one key")
        };
        let series = (0..200).map(|own| (SeriesId(1 + own as u64), set(own)));
        let sorted = sort_by_tags(series.collect());
        assert!(sorted.iter().rev().map(|(id, _)| id.0).eq(1..=200));
    }
}
