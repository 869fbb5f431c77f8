//! A hash table of small entries that are kept in the order of their hashes.
//!
//! It knows places, 64 bits in which entries are spread evenly, and nothing else of what it holds.
//! Above a few thousand entries it is cut into shards by the top bits of the place, and each shard
//! grows by a quarter and at another time than its neighbours: memory follows the entries closely,
//! and no single insertion copies more than one shard. Nothing is taken out singly.
//!
//! Invariant of a shard: entries ascend by place, each stands at or behind its home, and no empty
//! slot lies between its home and it. So a search ends at the first larger place, and walking the
//! slots walks the entries in order.

/// What a table holds.
pub(super) trait Entry: Copy {
    /// What an empty slot holds.
    const EMPTY: Self;

    /// Whether this is an empty slot.
    fn is_empty(&self) -> bool;

    /// Where it belongs, spread evenly over all 64 bits.
    fn place(&self) -> u64;

    /// Whether it stands before `other` of the same place.
    fn is_before(&self, other: &Self) -> bool;
}

/// Lookups under way at once, where the first slots of several are loaded before any is compared: enough to cover
/// a cache miss, few enough to stay in the first level.
pub(super) const LOOKUPS_AT_ONCE: usize = 16;

/// Shards of a table that has more than [`WHOLE_MAX`] entries; a power of two.
const SHARDS: usize = 256;
/// Entries up to which a table is one shard.
const WHOLE_MAX: usize = 4096;
/// Homes of a new shard; staggered by up to a quarter.
const HOMES_MIN: u64 = 16;
/// Growth is counted in parts of a home, so that small shards stay staggered.
const PARTS: u64 = 1 << 16;
/// Of sixteen homes, so many are taken at most.
const LOAD: usize = 13;

/// Entries by place.
#[derive(Debug)]
pub(super) struct Table<E> {
    /// None, one or [`SHARDS`].
    shards: Vec<Shard<E>>,
    len: usize,
}

#[derive(Debug)]
struct Shard<E> {
    /// Homes, then room for what those at the end push behind them. The last is always empty.
    slots: Vec<E>,
    /// Homes, in parts.
    parts: u64,
    homes: u64,
    len: usize,
}

impl<E> Default for Table<E> {
    fn default() -> Table<E> {
        Table {
            shards: Vec::new(),
            len: 0,
        }
    }
}

impl<E: Entry> Table<E> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn size_bytes(&self) -> usize {
        let slots = self.shards.iter().map(|shard| shard.slots.capacity());
        slots.sum::<usize>() * size_of::<E>() + self.shards.capacity() * size_of::<Shard<E>>()
    }

    /// All entries, ascending by place.
    pub(super) fn iter(&self) -> impl Iterator<Item = &E> {
        let slots = self.shards.iter().flat_map(|shard| &shard.slots);
        slots.filter(|entry| !entry.is_empty())
    }

    /// As many neighbourhoods there are.
    pub(super) const NEIGHBOURHOODS: usize = SHARDS;

    /// A number below [`Table::NEIGHBOURHOODS`]: entries whose places have the same lie near each other in memory.
    pub(super) fn neighbourhood(place: u64) -> usize {
        split_place(place, SHARDS).0
    }

    /// The first slot that a search for `place` looks at: reading it early covers its cache miss.
    pub(super) fn first(&self, place: u64) -> Option<&E> {
        let (shard, rest) = self.shard(place)?;
        shard.slots.get(shard.home(rest))
    }

    /// The entry of `place` that `is` accepts.
    pub(super) fn find(&self, place: u64, is: impl Fn(&E) -> bool) -> Option<&E> {
        let (shard, rest) = self.shard(place)?;
        for entry in shard.slots.get(shard.home(rest)..)? {
            if entry.is_empty() || entry.place() > place {
                return None;
            }
            if entry.place() == place && is(entry) {
                return Some(entry);
            }
        }
        None
    }

    /// Puts an entry in, behind those of its place that do not stand after it. The caller knows
    /// that it is not there.
    pub(super) fn insert(&mut self, entry: E) {
        if self.shards.is_empty() {
            self.shards.push(Shard::new(0));
        }
        if self.shards.len() == 1 && self.len == WHOLE_MAX {
            self.split();
        }
        let shards = self.shards.len();
        let (index, rest) = split_place(entry.place(), shards);
        self.shards[index].insert(entry, rest, shards);
        self.len += 1;
    }

    /// Is cut into shards now, if so many more entries will be: until then those of one place crowd the only one.
    pub(super) fn expect(&mut self, count: usize) {
        if self.shards.len() <= 1 && self.len + count > WHOLE_MAX {
            self.split();
        }
    }

    /// Makes room for `count` entries around `place`: so many single insertions would grow again and again.
    pub(super) fn reserve_around(&mut self, place: u64, count: usize) {
        let shards = self.shards.len();
        let (index, _) = split_place(place, shards);
        if let Some(shard) = self.shards.get_mut(index) {
            let wanted = shard.len + count;
            if shard.room() < wanted {
                shard.grow(wanted, shards);
            }
        }
    }

    /// Takes out every entry of the shard that `place` lies in.
    pub(super) fn clear_around(&mut self, place: u64) {
        if self.shards.is_empty() {
            return;
        }
        let (index, _) = split_place(place, self.shards.len());
        self.len -= self.shards[index].len;
        self.shards[index] = Shard::new(index);
    }

    fn shard(&self, place: u64) -> Option<(&Shard<E>, u64)> {
        let (index, rest) = split_place(place, self.shards.len());
        Some((self.shards.get(index)?, rest))
    }

    /// From one shard to all of them.
    fn split(&mut self) {
        let whole = std::mem::take(&mut self.shards);
        self.shards = (0..SHARDS).map(Shard::new).collect();
        for entry in whole.iter().flat_map(|shard| &shard.slots) {
            if !entry.is_empty() {
                let (index, rest) = split_place(entry.place(), SHARDS);
                self.shards[index].insert(*entry, rest, SHARDS);
            }
        }
    }
}

/// Which of `shards` a place lies in, and where in it, spread over 64 bits again.
#[inline]
fn split_place(place: u64, shards: usize) -> (usize, u64) {
    if shards == SHARDS {
        let index = place >> (64 - SHARDS.trailing_zeros());
        let index = usize::try_from(index).expect("there are few shards");
        (index, place << SHARDS.trailing_zeros())
    } else {
        (0, place)
    }
}

impl<E: Entry> Shard<E> {
    /// A shard without slots, which grows when its neighbours do not.
    fn new(index: usize) -> Shard<E> {
        let own = (index % SHARDS) as u64;
        let parts = HOMES_MIN * PARTS + HOMES_MIN * PARTS / 4 * own / SHARDS as u64;
        Shard {
            slots: Vec::new(),
            parts: parts / 5 * 4,
            homes: 0,
            len: 0,
        }
    }

    /// Where a search begins; as monotonous as places are.
    #[inline]
    fn home(&self, rest: u64) -> usize {
        let product = u128::from(rest) * u128::from(self.homes);
        usize::try_from(product >> 64).expect("homes are counted in memory")
    }

    /// How many entries it takes before it grows.
    fn room(&self) -> usize {
        usize::try_from(self.homes).expect("homes lie in memory") * LOAD / 16
    }

    fn insert(&mut self, entry: E, rest: u64, shards: usize) {
        loop {
            if self.len < self.room() && self.try_insert(entry, rest) {
                self.len += 1;
                return;
            }
            self.grow(self.len + 1, shards);
        }
    }

    /// Whether there was room between its home and the end.
    fn try_insert(&mut self, entry: E, rest: u64) -> bool {
        let place = entry.place();
        let stands_before =
            |other: &E| other.place() < place || other.place() == place && other.is_before(&entry);
        let mut at = self.home(rest);
        while !self.slots[at].is_empty() && stands_before(&self.slots[at]) {
            at += 1;
        }
        let free = self.slots[at..].iter().position(E::is_empty);
        let free = at + free.expect("the last slot is empty");
        if free + 1 == self.slots.len() {
            return false;
        }
        self.slots.copy_within(at..free, at + 1);
        self.slots[at] = entry;
        true
    }

    /// Grows, to take `wanted` entries.
    fn grow(&mut self, wanted: usize, shards: usize) {
        let old = std::mem::take(&mut self.slots);
        'larger: loop {
            self.parts = self.parts / 4 * 5;
            self.homes = self.parts / PARTS;
            if self.room() < wanted {
                continue;
            }
            let homes = usize::try_from(self.homes).expect("homes lie in memory");
            self.slots = vec![E::EMPTY; homes + homes / 32 + 8];
            // They come in order: each goes to its home, or behind the one before it.
            let mut free = 0;
            for entry in old.iter().filter(|entry| !entry.is_empty()) {
                let (_, rest) = split_place(entry.place(), shards);
                let at = self.home(rest).max(free);
                if at + 1 >= self.slots.len() {
                    continue 'larger;
                }
                self.slots[at] = *entry;
                free = at + 1;
            }
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    impl Entry for (u64, u32) {
        const EMPTY: (u64, u32) = (0, 0);

        fn is_empty(&self) -> bool {
            self.1 == 0
        }

        fn place(&self) -> u64 {
            self.0
        }

        fn is_before(&self, other: &(u64, u32)) -> bool {
            self.1 < other.1
        }
    }

    /// Spreads numbers over all places, the same at every call.
    fn spread(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    proptest! {
        #[test]
        fn a_table_holds_what_was_put_in_and_in_order(
            places in prop::collection::vec(
                prop_oneof![any::<u64>(), 0..3_u64, u64::MAX - 2..=u64::MAX],
                0..400,
            ),
        ) {
            let mut table = Table::default();
            let mut expected = BTreeSet::new();
            for (place, number) in places.into_iter().zip(1_u32..) {
                prop_assert_eq!(table.find(place, |(_, own)| *own == number), None);
                table.insert((place, number));
                expected.insert((place, number));
            }
            prop_assert_eq!(table.len(), expected.len());
            prop_assert!(table.iter().eq(&expected));
            for (place, number) in &expected {
                prop_assert!(table.find(*place, |(_, own)| own == number).is_some());
            }
        }
    }

    #[test]
    fn a_large_table_stays_in_order_and_little_larger_than_its_entries() {
        let mut table = Table::default();
        for number in 1..=200_000_u32 {
            table.insert((spread(number.into()), number));
            if number % 10_000 == 0 {
                let each = table.size_bytes() * 16 / (number as usize * size_of::<(u64, u32)>());
                assert!(each <= 28, "{each} sixteenths of an entry each at {number}");
            }
        }
        assert_eq!(table.iter().count(), 200_000);
        assert!(table.iter().is_sorted());
        for number in 1..=400_000_u32 {
            let found = table.find(spread(number.into()), |(_, own)| *own == number);
            assert_eq!(found.is_some(), number <= 200_000, "{number}");
        }
    }

    #[test]
    fn no_insertion_waits_for_the_whole_table() {
        let mut table = Table::default();
        let mut last = 0;
        let mut grown = 0;
        for number in 1..=300_000_u32 {
            table.insert((spread(number.into()), number));
            let size = table.size_bytes();
            if number as usize > 2 * WHOLE_MAX && size != last {
                grown += 1;
                // A new shard is a 256th of the table, give or take.
                assert!(size - last < size / 256, "{} of {size} bytes", size - last);
            }
            last = size;
        }
        assert!(grown > 1000, "shards grow one by one: {grown}");
    }

    #[test]
    fn clearing_a_shard_leaves_the_others() {
        let mut table = Table::default();
        for number in 1..=50_000_u32 {
            table.insert((spread(number.into()), number));
        }
        table.clear_around(0);
        assert_eq!(table.iter().count(), table.len());
        assert!(table.iter().all(|(place, _)| place >> 56 != 0));
        assert!((49_000..50_000).contains(&table.len()), "{}", table.len());
        table.insert((5, 1));
        assert!(table.find(5, |_| true).is_some());
    }
}
