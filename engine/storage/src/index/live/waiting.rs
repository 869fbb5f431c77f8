//! Series that a log left, found as they stand there by who does not wait until the index has them.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::format::definitions::SeriesList;
use crate::index::live::LiveIndex;
use crate::index::live::store::Store;
use crate::model::{CanonicalKey, SeriesId, TagKeyId, TagPredicate, Wanted};

const SOUND: &str = "it was found sound before it was handed over";

/// Series whose slots are looked for under one hold of the lock: to get hold of it takes as long as some thousand of
/// them while others add series.
const SLOTS_AT_ONCE: usize = 1 << 14;

/// Series, as a record of the log has them.
#[derive(Debug)]
pub struct Handed {
    /// How many there are.
    pub count: usize,
    /// Their ids and canonical keys, read before and found sound.
    pub series: Vec<u8>,
}

impl Handed {
    /// Their ids and canonical keys.
    pub(super) fn series(&self) -> impl Iterator<Item = (SeriesId, &[u8])> {
        self.placed().map(|(_, id, key)| (id, key))
    }

    /// The same, each behind where it begins.
    fn placed(&self) -> impl Iterator<Item = (u32, SeriesId, &[u8])> {
        let mut list = SeriesList::of(self.count, &self.series);
        std::iter::from_fn(move || {
            let (_, rest) = list.parts();
            let start = u32::try_from(self.series.len() - rest.len());
            let (id, key) = list.next()?.expect(SOUND);
            Some((start.expect("a record is far below 4 GiB"), id, key))
        })
    }

    /// The canonical key of the series that begins at `start`.
    fn key(&self, start: u32) -> CanonicalKey<'_> {
        let one = SeriesList::of(1, &self.series[start as usize..]).next();
        let (_, key) = one.expect(SOUND).expect(SOUND);
        CanonicalKey(key)
    }
}

/// Series found as they wait. They stay what they are while they are put in.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiters {
    batches: Vec<Arc<Handed>>,
    /// Ascending, each once.
    found: Vec<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    id: SeriesId,
    batch: u32,
    start: u32,
}

impl Waiters {
    /// Those in `batches` that are wanted. Cost: a look at each tag of each.
    pub(super) fn of(batches: Vec<Arc<Handed>>, wanted: &Wanted<'_>) -> Waiters {
        let mut found = Vec::new();
        let mut look = Look::new(wanted);
        for (number, batch) in (0..).zip(&batches) {
            for (start, id, key) in batch.placed() {
                if look.passes(key) {
                    let batch = number;
                    found.push(Place { id, batch, start });
                }
            }
        }
        if !found.is_sorted_by(|one, other| one.id < other.id) {
            found.sort_unstable_by_key(|one| one.id);
            found.dedup_by_key(|one| one.id);
        }
        Waiters { batches, found }
    }

    /// Leaves those out that have a slot of which `is_found` by now.
    pub(super) fn leave_out(&mut self, index: &LiveIndex, is_found: impl Fn(u32) -> bool) {
        let is_left = |store: &Store, one: &Place| !store.slot(one.id).is_some_and(&is_found);
        let mut left = Vec::with_capacity(self.found.len());
        for step in self.found.chunks(SLOTS_AT_ONCE) {
            let store = index.store();
            left.extend(step.iter().filter(|one| is_left(&store, one)));
        }
        self.found = left;
    }

    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = SeriesId> {
        self.found.iter().map(|one| one.id)
    }

    /// Their ids and canonical keys.
    pub(super) fn series(&self) -> impl Iterator<Item = (SeriesId, CanonicalKey<'_>)> {
        let key = |one: &Place| self.batches[one.batch as usize].key(one.start);
        self.found.iter().map(move |one| (one.id, key(one)))
    }

    /// The values that they have of a tag, ascending.
    pub(super) fn values(&self, key: TagKeyId) -> BTreeSet<&[u8]> {
        let mut values = BTreeSet::new();
        let mut last: &[u8] = b"";
        for (_, own) in self.series() {
            let mut value: &[u8] = b"";
            own.each_tag(|tag, one| {
                if tag == key {
                    value = one;
                }
            });
            // Of many tags all series have the same value.
            if !value.is_empty() && value != last {
                values.insert(value);
                last = value;
            }
        }
        values
    }

    pub(super) fn filter(&self, passes: &mut dyn FnMut(SeriesId) -> bool) -> Waiters {
        let found = self.found.iter().copied();
        Waiters {
            batches: self.batches.clone(),
            found: found.filter(|one| passes(one.id)).collect(),
        }
    }
}

/// What a look at the series that wait costs, in looks for one tag.
pub(super) fn cost(predicate: &TagPredicate) -> usize {
    let all = |some: &[TagPredicate]| some.iter().map(cost).sum::<usize>().max(1);
    match predicate {
        TagPredicate::All
        | TagPredicate::None
        | TagPredicate::Equal { .. }
        | TagPredicate::Matches { .. } => 1,
        TagPredicate::SameValue(..) => 2,
        TagPredicate::Not(inner) => cost(inner),
        TagPredicate::And(some) | TagPredicate::Or(some) => all(some),
    }
}

/// A predicate asked of canonical keys.
struct Look<'wanted, 'key> {
    wanted: &'wanted Wanted<'wanted>,
    /// The names that the predicate has, with their ids, and their values in the key at hand.
    tags: Vec<(&'wanted [u8], Option<TagKeyId>)>,
    values: Vec<&'key [u8]>,
    /// The tag keys of a key before, all known: those of the next one are mostly the same.
    known: Vec<TagKeyId>,
}

impl<'wanted, 'key> Look<'wanted, 'key> {
    fn new(wanted: &'wanted Wanted<'wanted>) -> Look<'wanted, 'key> {
        let mut names = BTreeSet::new();
        note_names(wanted.predicate, &mut names);
        let tags = names.into_iter().map(|name| (name, (wanted.names)(name)));
        let tags: Vec<_> = tags.collect();
        Look {
            wanted,
            values: vec![b""; tags.len()],
            tags,
            known: Vec::new(),
        }
    }

    /// Whether the series of `key` is wanted.
    fn passes(&mut self, key: &'key [u8]) -> bool {
        let key = CanonicalKey(key);
        if key.measurement() != Some(self.wanted.measurement) {
            return false;
        }
        self.values.fill(b"");
        let mut place = 0;
        let mut is_known = true;
        key.each_tag(|tag, value| {
            if is_known && self.known.get(place) != Some(&tag) {
                self.known.truncate(place);
                is_known = (self.wanted.is_known)(tag);
                self.known.extend(is_known.then_some(tag));
            }
            place += 1;
            let tags = self.tags.iter().zip(&mut self.values);
            for (_, own) in tags.filter(|((_, own), _)| *own == Some(tag)) {
                *own = value;
            }
        });
        let value = |name: &[u8]| {
            let place = self.tags.iter().position(|(own, _)| *own == name);
            place.map_or(&b""[..], |place| self.values[place])
        };
        is_known && self.wanted.predicate.holds_of(&value)
    }
}

/// Adds the names of tag keys that a predicate has to `names`.
fn note_names<'name>(predicate: &'name TagPredicate, names: &mut BTreeSet<&'name [u8]>) {
    match predicate {
        TagPredicate::All | TagPredicate::None => {}
        TagPredicate::Equal { key, .. } | TagPredicate::Matches { key, .. } => {
            names.insert(key);
        }
        TagPredicate::SameValue(one, other) => names.extend([&**one, &**other]),
        TagPredicate::Not(inner) => note_names(inner, names),
        TagPredicate::And(some) | TagPredicate::Or(some) => {
            for one in some {
                note_names(one, names);
            }
        }
    }
}
