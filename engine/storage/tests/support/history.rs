//! A naive model that knows what may be found after any failure: of each cell the last value that
//! was acknowledged, and what was attempted since.

use std::collections::BTreeMap;

use silverback_storage::error::Result;
use silverback_storage::model::FieldValue;

use crate::support::{Cell, Contents, Row};

/// What one cell may be found as.
#[derive(Clone, Debug, Default)]
struct History {
    /// The last acknowledged value; `None` for absent.
    acknowledged: Option<FieldValue>,
    /// What was attempted since and not acknowledged.
    maybe: Vec<Option<FieldValue>>,
}

/// What may be found, after whatever was attempted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    cells: BTreeMap<Cell, History>,
}

impl Model {
    /// Notes a write, before it is known how it ends.
    pub(crate) fn write(&mut self, database: &str, rows: &[Row], outcome: &Result<()>) {
        for row in rows {
            for (field, value) in &row.fields {
                let cell = (
                    database.to_owned(),
                    row.measurement.clone(),
                    row.tags.clone(),
                    row.time,
                    field.clone(),
                );
                self.cells
                    .entry(cell)
                    .or_default()
                    .note(Some(value.clone()), outcome);
            }
        }
    }

    /// Notes that the cells for which `gone` holds were dropped.
    pub(crate) fn drop_where(&mut self, gone: impl Fn(&Cell) -> bool, outcome: &Result<()>) {
        for (cell, history) in &mut self.cells {
            if gone(cell) {
                history.note(None, outcome);
            }
        }
    }

    /// Notes that the measurement `from` was renamed to `to`, of which there was none.
    pub(crate) fn rename(
        &mut self,
        database: &str,
        (from, to): (&str, &str),
        outcome: &Result<()>,
    ) {
        let own = |cell: &&Cell| cell.0 == database && cell.1 == from;
        let cells: Vec<Cell> = self.cells.keys().filter(own).cloned().collect();
        for cell in cells {
            let mut renamed = cell.clone();
            to.clone_into(&mut renamed.1);
            let history = self.cells.entry(cell).or_default();
            let before = history.clone();
            if outcome.is_ok() {
                *history = History::default();
            } else {
                history.maybe.push(None);
            }
            let target = self.cells.entry(renamed).or_default();
            if outcome.is_ok() {
                *target = before;
            } else {
                target.maybe.push(before.acknowledged);
                target.maybe.extend(before.maybe);
            }
        }
    }

    /// What is wrong with what was found, if anything is.
    pub(crate) fn fault(&self, found: &Contents) -> Option<String> {
        for (cell, value) in found {
            let allowed = self
                .cells
                .get(cell)
                .is_some_and(|history| history.allows(Some(value)));
            if !allowed {
                let history = self.cells.get(cell);
                return Some(format!("{cell:?} is {value:?}; it may be {history:?}"));
            }
        }
        let missing = self
            .cells
            .iter()
            .find(|(cell, history)| !found.contains_key(*cell) && !history.allows(None));
        missing.map(|(cell, history)| format!("{cell:?} is missing; it may be {history:?}"))
    }

    /// What was found is what there is from now on: the unknown is settled.
    pub(crate) fn settle(&mut self, found: &Contents) {
        for (cell, history) in &mut self.cells {
            history.acknowledged = found.get(cell).cloned();
            history.maybe.clear();
        }
    }

    /// How many cells hold a value for certain.
    pub(crate) fn certain_count(&self) -> usize {
        let certain =
            |history: &&History| history.acknowledged.is_some() && history.maybe.is_empty();
        self.cells.values().filter(certain).count()
    }
}

impl History {
    fn note(&mut self, value: Option<FieldValue>, outcome: &Result<()>) {
        if outcome.is_ok() {
            self.acknowledged = value;
            self.maybe.clear();
        } else {
            self.maybe.push(value);
        }
    }

    fn allows(&self, value: Option<&FieldValue>) -> bool {
        self.acknowledged.as_ref() == value
            || self.maybe.iter().any(|maybe| maybe.as_ref() == value)
    }
}
