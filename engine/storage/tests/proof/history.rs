//! A naive model that knows what may be found after any failure: of each cell the last value that
//! was acknowledged, and what was attempted since.

use std::collections::{BTreeMap, BTreeSet};

use silverback_storage::error::Result;
use silverback_storage::model::FieldValue;

use crate::deletes::SeriesName;
use crate::support::{Cell, Contents, Row};
use crate::world::AGING;

/// What one cell may be found as.
#[derive(Clone, Debug, Default)]
struct History {
    /// The last acknowledged value; `None` for absent.
    acknowledged: Option<FieldValue>,
    /// What was attempted since and not acknowledged, each with the number of its attempt.
    maybe: Vec<(u64, Option<FieldValue>)>,
    /// It was past its time at some moment, and may be gone.
    faded: bool,
}

/// What may be found, after whatever was attempted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    cells: BTreeMap<Cell, History>,
    /// How often it changed.
    attempts: u64,
    /// A field was dropped: a series may be listed that has no other.
    has_bare_series: bool,
}

impl Model {
    /// Notes a write and how it ended.
    pub(crate) fn write(&mut self, database: &str, rows: &[Row], outcome: &Result<()>) {
        self.attempts += 1;
        // Of two values for one cell the later counts.
        let mut cells = BTreeMap::new();
        for row in rows {
            for (field, value) in &row.fields {
                let cell = (
                    database.to_owned(),
                    row.measurement.clone(),
                    row.tags.clone(),
                    row.time,
                    field.clone(),
                );
                cells.insert(cell, value.clone());
            }
        }
        for (cell, value) in cells {
            let history = self.cells.entry(cell).or_default();
            history.note(Some(value), (self.attempts, outcome));
        }
    }

    /// Notes that the cells for which `gone` holds were dropped.
    pub(crate) fn drop_where(&mut self, gone: impl Fn(&Cell) -> bool, outcome: &Result<()>) {
        self.attempts += 1;
        for (cell, history) in &mut self.cells {
            if gone(cell) {
                history.note(None, (self.attempts, outcome));
            }
        }
    }

    /// Notes that names changed: `after` gives a cell's name since then, `None` where the cell is gone.
    pub(crate) fn alter(&mut self, after: impl Fn(&Cell) -> Option<Cell>, outcome: &Result<()>) {
        self.attempts += 1;
        let mut arrived = Vec::new();
        for (cell, history) in &mut self.cells {
            let renamed = after(cell);
            if renamed.as_ref() == Some(cell) {
                continue;
            }
            self.has_bare_series |= renamed.is_none();
            arrived.extend(renamed.map(|renamed| (renamed, history.clone())));
            history.note(None, (self.attempts, outcome));
        }
        for (cell, before) in arrived {
            let history = self.cells.entry(cell).or_default();
            if outcome.is_ok() {
                *history = before;
            } else {
                history.faded |= before.faded;
                history.maybe.push((self.attempts, before.acknowledged));
                history.maybe.extend(before.maybe);
            }
        }
    }

    /// Notes that the cells for which `past` holds may go from now on, each by itself.
    pub(crate) fn fade(&mut self, past: impl Fn(&Cell) -> bool) {
        for (cell, history) in &mut self.cells {
            history.faded |= past(cell);
        }
    }

    /// What is wrong with the series that a database lists beside what was found in it, if anything is.
    pub(crate) fn listed_fault(
        &self,
        database: &str,
        found: &Contents,
        listed: &BTreeSet<SeriesName>,
    ) -> Option<String> {
        let own = found.keys().filter(|cell| cell.0 == database);
        let shown: BTreeSet<SeriesName> =
            own.map(|cell| (cell.1.clone(), cell.2.clone())).collect();
        let missing = shown.difference(listed).next();
        // Of what ages a series may be listed longer than it has points.
        let bare = |(measurement, _): &&SeriesName| measurement != AGING && !self.has_bare_series;
        let strange = listed.difference(&shown).find(bare);
        (missing.is_some() || strange.is_some())
            .then(|| format!("{database} lists {strange:?} without a row, and lacks {missing:?}"))
    }

    /// What is wrong with what was found, if anything is.
    pub(crate) fn fault(&self, found: &Contents) -> Option<String> {
        // Both are sorted by cell: one pass.
        let mut expected = self.cells.iter().peekable();
        let missing = |cell: &Cell, history: &History| {
            let is_missing = !history.allows(None);
            is_missing.then(|| format!("{cell:?} is missing; it may be {history:?}"))
        };
        for (cell, value) in found {
            while let Some((other, history)) = expected.next_if(|(other, _)| *other < cell) {
                if let Some(fault) = missing(other, history) {
                    return Some(fault);
                }
            }
            let own = expected.next_if(|(other, _)| *other == cell);
            let history = own.map(|(_, history)| history);
            if !history.is_some_and(|history| history.allows(Some(value))) {
                return Some(format!("{cell:?} is {value:?}; it may be {history:?}"));
            }
        }
        expected.find_map(|(cell, history)| missing(cell, history))
    }

    /// A cell of an attempt that is there while another of the same attempt is not: whatever ends
    /// the machine, an attempt is whole or not at all.
    pub(crate) fn torn(&self, found: &Contents) -> Option<String> {
        let mut seen: BTreeMap<u64, (bool, &Cell)> = BTreeMap::new();
        for (cell, history) in &self.cells {
            let [(attempt, value)] = &history.maybe[..] else {
                continue;
            };
            if history.faded || history.acknowledged == *value {
                continue;
            }
            let is_done = found.get(cell) == value.as_ref();
            let (other_done, other) = *seen.entry(*attempt).or_insert((is_done, cell));
            if is_done != other_done {
                return Some(format!(
                    "of one attempt {cell:?} is done: {is_done}, {other:?} is done: {other_done}"
                ));
            }
        }
        None
    }

    /// What was found is what there is from now on: the unknown is settled.
    pub(crate) fn settle(&mut self, found: &Contents) {
        self.attempts += 1;
        for (cell, history) in &mut self.cells {
            history.acknowledged = found.get(cell).cloned();
            history.maybe.clear();
        }
    }

    /// What is there for certain.
    pub(crate) fn certain(&self) -> impl Iterator<Item = (&Cell, &FieldValue)> {
        let values = self.cells.iter();
        values.filter_map(|(cell, history)| Some((cell, history.acknowledged.as_ref()?)))
    }

    /// How often anything was attempted: two models of one script that agree in it are equal.
    pub(crate) fn attempts(&self) -> u64 {
        self.attempts
    }
}

impl History {
    fn note(&mut self, value: Option<FieldValue>, (attempt, outcome): (u64, &Result<()>)) {
        if outcome.is_ok() {
            self.acknowledged = value;
            self.maybe.clear();
            self.faded = false;
        } else {
            self.maybe.push((attempt, value));
        }
    }

    fn allows(&self, value: Option<&FieldValue>) -> bool {
        self.acknowledged.as_ref() == value
            || self.faded && value.is_none()
            || self.maybe.iter().any(|(_, maybe)| maybe.as_ref() == value)
    }
}
