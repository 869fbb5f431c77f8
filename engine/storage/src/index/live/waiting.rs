//! Series that a log left, found as they stand there by who does not wait until the index has them.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use crate::format::definitions::SeriesList;
use crate::index::live::LiveIndex;
use crate::model::{CanonicalKey, SeriesId, TagKeyId, TagPredicate, Wanted};

const SOUND: &str = "it was found sound before it was handed over";

/// Series whose slots are looked for under one hold of the lock: to get hold of it takes as long as some thousand of
/// them while others add series.
const SLOTS_AT_ONCE: usize = 1 << 14;

/// The id of no series.
const NOT_WAITING: SeriesId = SeriesId(0);

/// A regular expression is asked of each series that waits, and by the index of each different value.
const REGEX_COST: usize = 4;
/// So many values that pass make an expression that takes long, and are soon found in the index.
const VALUES_MAX: usize = 16;

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
        let mut own = Waiters::default();
        let mut look = Look::new(wanted);
        for handed in batches {
            let batch = u32::try_from(own.batches.len()).expect("fewer than series");
            let before = own.found.len();
            for (start, id, key) in handed.placed() {
                if look.passes(key) {
                    own.found.push(Place { id, batch, start });
                }
            }
            // Others are given back as soon as they are put in.
            if own.found.len() > before {
                own.batches.push(handed);
            }
        }
        let found = &mut own.found;
        if !found.is_sorted_by(|one, other| one.id < other.id) {
            found.sort_unstable_by_key(|one| one.id);
            found.dedup_by_key(|one| one.id);
        }
        own
    }

    /// Leaves those out that have a slot of which `is_found` by now.
    pub(super) fn leave_out(&mut self, index: &LiveIndex, is_found: impl Fn(u32) -> bool) {
        for step in self.found.chunks_mut(SLOTS_AT_ONCE) {
            let store = index.store();
            for one in step {
                if store.slot(one.id).is_some_and(&is_found) {
                    one.id = NOT_WAITING;
                }
            }
        }
        self.found.retain(|one| one.id != NOT_WAITING);
        self.found.shrink_to_fit();
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

    /// The values that they have of a tag, ascending, each once.
    pub(super) fn values(&self, key: TagKeyId) -> Vec<&[u8]> {
        let mut values: Vec<&[u8]> = Vec::new();
        for (_, own) in self.series() {
            let read = own.each_tag(|tag, value| {
                // Of many tags all series have the same value.
                if tag == key && !value.is_empty() && values.last() != Some(&value) {
                    values.push(value);
                }
            });
            read.expect(SOUND);
        }
        values.sort_unstable();
        values.dedup();
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
    cost_beside(predicate).max(1)
}

/// The same beside others.
fn cost_beside(predicate: &TagPredicate) -> usize {
    match predicate {
        TagPredicate::All | TagPredicate::None => 0,
        TagPredicate::Equal { .. } => 1,
        TagPredicate::SameValue(..) => 2,
        TagPredicate::Matches { matcher, .. } => match matcher.values() {
            Some(values) if values.len() > VALUES_MAX => usize::MAX,
            Some(_) | None => REGEX_COST,
        },
        TagPredicate::Not(inner) => cost_beside(inner),
        TagPredicate::And(some) | TagPredicate::Or(some) => {
            let costs = some.iter().map(cost_beside);
            costs.fold(0, usize::saturating_add)
        }
    }
}

/// A predicate asked of canonical keys.
struct Look<'wanted> {
    wanted: &'wanted Wanted<'wanted>,
    /// The names that the predicate has, with their ids.
    tags: Vec<(&'wanted [u8], Option<TagKeyId>)>,
    /// Where the values of these stand in the key at hand.
    places: Vec<Range<usize>>,
    /// The tag keys of a key before, all known: those of the next one are mostly the same.
    known: Vec<TagKeyId>,
}

impl<'wanted> Look<'wanted> {
    fn new(wanted: &'wanted Wanted<'wanted>) -> Look<'wanted> {
        let mut names = BTreeSet::new();
        note_names(wanted.predicate, &mut names);
        let tags = names.into_iter().map(|name| (name, (wanted.names)(name)));
        let tags: Vec<_> = tags.collect();
        Look {
            wanted,
            places: vec![0..0; tags.len()],
            tags,
            known: Vec::new(),
        }
    }

    /// Whether the series of `key` is wanted.
    fn passes(&mut self, key: &[u8]) -> bool {
        if CanonicalKey(key).measurement() != Some(self.wanted.measurement) {
            return false;
        }
        self.places.fill(0..0);
        let mut number = 0;
        let mut is_known = true;
        let read = CanonicalKey(key).each_place(|tag, place| {
            if is_known && self.known.get(number) != Some(&tag) {
                self.known.truncate(number);
                is_known = (self.wanted.is_known)(tag);
                self.known.extend(is_known.then_some(tag));
            }
            number += 1;
            let tags = self.tags.iter().zip(&mut self.places);
            for (_, own) in tags.filter(|((_, own), _)| *own == Some(tag)) {
                *own = place.clone();
            }
        });
        read.expect(SOUND);
        let value = |name: &[u8]| {
            let place = self.tags.iter().position(|(own, _)| *own == name);
            place.map_or(&b""[..], |place| &key[self.places[place].clone()])
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
