//! A predicate asked of the live index. No lock is held for longer than some thousand values take, or a millisecond.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use roaring::RoaringBitmap;

use crate::index::live::store::Store;
use crate::index::live::values::Values;
use crate::index::live::waiting::{Waiters, cost};
use crate::index::live::{Handed, LiveIndex};
use crate::model::{MeasurementId, SeriesId, TagKeyId, TagPredicate, ValueMatcher, Wanted};

/// Values or series looked at under one hold of the lock.
const STEP: usize = 1024;

/// So many looks are taken at what waits, for one tag or for none, before whoever asks puts it in: a look at two
/// million series takes a fifth to a half of what it takes to put them in, and a question to each of many
/// measurements would look at all of them for each.
const LOOKS_MAX: usize = 8;

/// Series that a live index found. They stay what they are while others are added.
#[derive(Clone, Debug, Default)]
pub struct LiveSelection {
    slots: RoaringBitmap,
    /// Those that had no slot yet when the others were found.
    waiting: Waiters,
}

impl From<RoaringBitmap> for LiveSelection {
    fn from(slots: RoaringBitmap) -> LiveSelection {
        let waiting = Waiters::default();
        LiveSelection { slots, waiting }
    }
}

impl LiveIndex {
    /// The series that are wanted, of those there are when this begins: all whose tag keys are
    /// known and of which [`TagPredicate::holds`]. A matcher that does not know its values is asked
    /// once for each value of its key, and of what a log left for each series. Writers of new series wait
    /// for some thousand of them at most. Nobody waits for the index to have those that a log left: the
    /// first who ask look at each of these, the next puts them in.
    pub fn select(&self, wanted: &Wanted<'_>) -> LiveSelection {
        // Before the store: what is put in between is in both.
        let batches = self.batches_to_look_at(wanted.predicate);
        if batches.is_empty() {
            self.catch_up();
        }
        let slots = self.slots(wanted);
        let mut waiting = Waiters::default();
        if !batches.is_empty() {
            waiting = Waiters::of(batches, wanted);
            waiting.leave_out(self, |slot| slots.contains(slot));
        }
        LiveSelection { slots, waiting }
    }

    /// What waits, if to look at it is better than to put it in.
    fn batches_to_look_at(&self, predicate: &TagPredicate) -> Vec<Arc<Handed>> {
        if !self.is_behind.load(Ordering::Acquire) {
            return Vec::new();
        }
        let cost = cost(predicate);
        let more = |spent: usize| spent.checked_add(cost).filter(|sum| *sum <= LOOKS_MAX);
        let relaxed = Ordering::Relaxed;
        if self.looks.fetch_update(relaxed, relaxed, more).is_err() {
            return Vec::new();
        }
        self.waiting().batches.iter().map(Arc::clone).collect()
    }

    /// The same of those that have a slot.
    fn slots(&self, wanted: &Wanted<'_>) -> RoaringBitmap {
        let all = all_of(&self.store(), wanted);
        if all.is_empty() {
            return all;
        }
        let question = Question {
            index: self,
            wanted,
            all: &all,
        };
        let mut found = question.slots(wanted.predicate);
        found &= &all;
        found
    }

    /// Calls `found` with the id of each series of `selection`, in the order of their arrival, and then those that
    /// have no slot, ascending.
    pub fn ids(&self, selection: &LiveSelection, found: &mut dyn FnMut(SeriesId)) {
        self.in_steps(selection, &mut |store, slot| found(store.id(slot)));
        selection.waiting.ids().for_each(found);
    }

    /// The same with the canonical keys.
    pub fn keys(&self, selection: &LiveSelection, found: &mut dyn FnMut(SeriesId, &[u8])) {
        let mut key = Vec::new();
        self.in_steps(selection, &mut |store, slot| {
            store.key(slot, &mut key);
            found(store.id(slot), &key);
        });
        for (id, key) in selection.waiting.series() {
            found(id, key.0);
        }
    }

    /// Those of `selection` whose series `passes`, asked while no lock is held.
    pub fn filter(
        &self,
        selection: &LiveSelection,
        passes: &mut dyn FnMut(SeriesId) -> bool,
    ) -> LiveSelection {
        let mut left = RoaringBitmap::new();
        let mut slots = selection.slots.iter().peekable();
        while slots.peek().is_some() {
            let store = self.store();
            let step = slots.by_ref().take(STEP).map(|slot| (slot, store.id(slot)));
            let step: Vec<(u32, SeriesId)> = step.collect();
            drop(store);
            left.extend(
                step.into_iter()
                    .filter(|(_, id)| passes(*id))
                    .map(|(slot, _)| slot),
            );
        }
        LiveSelection {
            slots: left,
            waiting: selection.waiting.filter(passes),
        }
    }

    /// Calls `found` with each value that a tag of a measurement has among `selection`, in any order, and twice with
    /// one that series with and without a slot have.
    pub fn values(
        &self,
        column: (MeasurementId, TagKeyId),
        selection: &LiveSelection,
        found: &mut dyn FnMut(&[u8]),
    ) {
        self.each_value(column, &mut |values, number| {
            let value = values.get(number);
            if !value.is_empty() && values.is_in(number, &selection.slots) {
                found(value);
            }
        });
        selection
            .waiting
            .values(column.1)
            .into_iter()
            .for_each(found);
    }

    fn in_steps(&self, selection: &LiveSelection, visit: &mut dyn FnMut(&Store, u32)) {
        let mut slots = selection.slots.iter().peekable();
        while slots.peek().is_some() {
            let store = self.store();
            for slot in slots.by_ref().take(STEP) {
                visit(&store, slot);
            }
        }
    }

    /// Visits the values of a tag key, in the order of their arrival.
    fn each_value(
        &self,
        (measurement, key): (MeasurementId, TagKeyId),
        visit: &mut dyn FnMut(&Values, u32),
    ) {
        let mut next = 0;
        loop {
            let store = self.store();
            let Some(values) = store.values(measurement, key) else {
                return;
            };
            let end = values.len().min(next + STEP);
            for number in next..end {
                visit(values, u32::try_from(number).expect("values have 32 bits"));
            }
            if end == values.len() {
                return;
            }
            next = end;
        }
    }
}

impl LiveSelection {
    /// How many series it has.
    pub fn len(&self) -> u64 {
        self.slots.len() + self.waiting.len() as u64
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The slots of all series of the measurement whose tag keys are known.
fn all_of(store: &Store, wanted: &Wanted<'_>) -> RoaringBitmap {
    let mut all = RoaringBitmap::new();
    for shape in &store.shapes {
        let is_known = shape.keys.iter().all(|(key, _)| (wanted.is_known)(*key));
        if shape.measurement == wanted.measurement && is_known {
            all |= &shape.slots;
        }
    }
    all
}

/// A predicate asked of one measurement.
struct Question<'index> {
    index: &'index LiveIndex,
    wanted: &'index Wanted<'index>,
    all: &'index RoaringBitmap,
}

impl Question<'_> {
    /// Those of `all` of which `predicate` holds, and maybe some that are not in `all`.
    fn slots(&self, predicate: &TagPredicate) -> RoaringBitmap {
        match predicate {
            TagPredicate::All => self.all.clone(),
            TagPredicate::None => RoaringBitmap::new(),
            TagPredicate::Equal { key, value } => self.with_values(key, &[value]),
            TagPredicate::Matches { key, matcher } => match matcher.values() {
                Some(values) => {
                    let values: Vec<&[u8]> = values.iter().map(|value| &**value).collect();
                    self.with_values(key, &values)
                }
                None => self.matching(key, &**matcher),
            },
            TagPredicate::SameValue(one, other) => self.same_value(one, other),
            TagPredicate::Not(inner) => self.all - self.slots(inner),
            TagPredicate::And(all) => {
                let mut slots = self.all.clone();
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

    fn key(&self, name: &[u8]) -> Option<TagKeyId> {
        (self.wanted.names)(name)
    }

    /// Those that do not have `key`.
    fn lacking(&self, key: Option<TagKeyId>) -> RoaringBitmap {
        let mut lacking = self.all.clone();
        if let Some(key) = key {
            for shape in &self.index.store().shapes {
                if shape
                    .keys
                    .binary_search_by_key(&key, |(own, _)| *own)
                    .is_ok()
                {
                    lacking -= &shape.slots;
                }
            }
        }
        lacking
    }

    fn with_values(&self, name: &[u8], values: &[&[u8]]) -> RoaringBitmap {
        let key = self.key(name);
        let mut slots = RoaringBitmap::new();
        if values.iter().any(|value| value.is_empty()) {
            slots = self.lacking(key);
        }
        let store = self.index.store();
        let Some(own) = key.and_then(|key| store.values(self.wanted.measurement, key)) else {
            return slots;
        };
        for number in values.iter().filter_map(|value| own.find(value)) {
            own.add_to(number, &mut slots);
        }
        slots
    }

    fn matching(&self, name: &[u8], matcher: &dyn ValueMatcher) -> RoaringBitmap {
        let key = self.key(name);
        let passes_empty = matcher.matches(b"");
        let mut slots = if passes_empty {
            self.lacking(key)
        } else {
            RoaringBitmap::new()
        };
        let Some(key) = key else {
            return slots;
        };
        let prefix = matcher.prefix();
        let column = (self.wanted.measurement, key);
        self.index.each_value(column, &mut |values, number| {
            let value = values.get(number);
            let passes = if value.is_empty() {
                passes_empty
            } else {
                value.starts_with(prefix) && matcher.matches(value)
            };
            if passes {
                values.add_to(number, &mut slots);
            }
        });
        slots
    }

    fn same_value(&self, one: &[u8], other: &[u8]) -> RoaringBitmap {
        let (one, other) = (self.key(one), self.key(other));
        if one == other {
            return self.all.clone();
        }
        let mut slots = self.lacking(one) & self.lacking(other);
        let (Some(one), Some(other)) = (one, other) else {
            return slots;
        };
        let mut next = 0;
        loop {
            let store = self.index.store();
            let values = |key| store.values(self.wanted.measurement, key);
            let (Some(one), Some(other)) = (values(one), values(other)) else {
                return slots;
            };
            let end = one.len().min(next + STEP);
            for number in next..end {
                let number = u32::try_from(number).expect("values have 32 bits");
                if let Some(same) = other.find(one.get(number)) {
                    let (mut having, mut others) = (RoaringBitmap::new(), RoaringBitmap::new());
                    one.add_to(number, &mut having);
                    other.add_to(same, &mut others);
                    slots |= having & others;
                }
            }
            if end == one.len() {
                return slots;
            }
            next = end;
        }
    }
}
