//! The windows of one group, gathered from series after series.

use std::sync::Arc;

use silverback_storage::model::{FieldWindows, WindowBatch};

use crate::exec::Context;
use crate::result::QueryError;

/// The windows of a group that are not empty, and a column of aggregates for each field asked for.
/// Made once and cleared from group to group.
#[derive(Debug)]
pub(super) struct GroupWindows {
    /// Edges of all windows there may be.
    edges: Arc<[i64]>,
    /// The numbers of the windows found, in the order in which they came.
    numbers: Vec<u32>,
    /// `None` where no measurement so far has the field.
    columns: Vec<Option<FieldWindows>>,
    /// For each window there may be the place behind its own in `numbers`, 0 where it has none; empty
    /// as long as one series is all there is.
    places: Vec<u32>,
    /// Room for where the windows of a series go.
    targets: Vec<usize>,
}

impl GroupWindows {
    pub(super) fn new(edges: Arc<[i64]>) -> GroupWindows {
        GroupWindows {
            edges,
            numbers: Vec::new(),
            columns: Vec::new(),
            places: Vec::new(),
            targets: Vec::new(),
        }
    }

    /// Memory that places of `windows` windows take, bytes.
    pub(super) fn places_bytes(windows: usize) -> usize {
        windows * size_of::<u32>()
    }

    /// Lets go of all windows.
    pub(super) fn clear(&mut self) {
        if !self.places.is_empty() {
            for number in &self.numbers {
                self.places[*number as usize] = 0;
            }
        }
        self.numbers.clear();
        self.columns.clear();
    }

    /// Adds the windows of the series that stands at `place` of `batch`, which may be taken out of it.
    /// `present`: which of the fields asked for it has a column of.
    pub(super) fn add(
        &mut self,
        context: &Context<'_>,
        (batch, place): (&mut WindowBatch, usize),
        present: &[bool],
    ) -> Result<(), QueryError> {
        let entries = batch.entries(place);
        let old = self.numbers.len();
        if self.numbers.is_empty() {
            self.numbers
                .extend_from_slice(&batch.windows[entries.clone()]);
            self.targets.clear();
            self.targets.extend(0..entries.len());
        } else {
            self.place(&batch.windows[entries.clone()]);
        }
        let new = self.numbers.len() - old;
        let bytes = |column: &FieldWindows| {
            new * column.entry_bytes() + column.string_bytes(entries.clone())
        };
        let held: usize = batch.columns.iter().map(bytes).sum();
        context.charge(held + new * size_of::<u32>())?;
        self.columns.resize_with(present.len(), || None);
        let mut found = batch.columns.iter_mut();
        for (own, present) in self.columns.iter_mut().zip(present) {
            let Some(column) = present.then(|| found.next()).flatten() else {
                if let Some(own) = own {
                    (0..new).for_each(|_| own.push_absent());
                }
                continue;
            };
            if old == 0 && entries.len() == column.len() {
                let empty = column.alike();
                *own = Some(std::mem::replace(column, empty));
                continue;
            }
            let own = own.get_or_insert_with(|| {
                let mut late = column.alike();
                (0..old).for_each(|_| late.push_absent());
                late
            });
            own.merge((column, entries.clone()), &self.targets);
        }
        Ok(())
    }

    /// Finds the places of windows of a further series, and gives them to those that have none.
    fn place(&mut self, windows: &[u32]) {
        if self.places.is_empty() {
            self.places.resize(self.edges.len().saturating_sub(1), 0);
        }
        let known = self
            .numbers
            .first()
            .map(|number| self.places[*number as usize]);
        if known == Some(0) {
            // The first series has been taken as it was.
            for (number, place) in self.numbers.iter().zip(1..) {
                self.places[*number as usize] = place;
            }
        }
        self.targets.clear();
        for window in windows {
            let place = &mut self.places[*window as usize];
            if *place == 0 {
                self.numbers.push(*window);
                *place = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
            }
            self.targets.push(*place as usize - 1);
        }
    }

    /// The places of all windows found, ascending by window.
    pub(super) fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.numbers.len()).collect();
        if !self.numbers.is_sorted() {
            order.sort_unstable_by_key(|place| self.numbers[*place]);
        }
        order
    }

    /// When the window at `place` starts.
    pub(super) fn start(&self, place: usize) -> i64 {
        self.edges[self.numbers[place] as usize]
    }

    /// The column of field `field`, if any series had it.
    pub(super) fn column(&self, field: usize) -> Option<&FieldWindows> {
        self.columns.get(field)?.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use silverback_storage::model::{
        AggregateSet, Extreme, FieldType, FieldValue, Sum, WindowPartial,
    };

    use super::*;
    use crate::result::QueryOptions;

    /// Series one behind another, each with a value of one field in some windows.
    fn batch(series: &[&[(u32, i64)]]) -> WindowBatch {
        let mut batch = WindowBatch {
            columns: vec![FieldWindows::new(FieldType::Integer, AggregateSet::SUM)],
            ..WindowBatch::default()
        };
        for (index, windows) in series.iter().enumerate() {
            batch.series.push((index, batch.windows.len()));
            for (window, value) in *windows {
                let extreme = Extreme {
                    value: FieldValue::Integer(*value),
                    timestamp: 0,
                };
                batch.windows.push(*window);
                batch.columns[0].push(&WindowPartial {
                    count: 1,
                    sum: Sum::Integer(i128::from(*value)),
                    min: None,
                    max: None,
                    first: extreme.clone(),
                    last: extreme,
                });
            }
        }
        batch
    }

    fn shown(windows: &GroupWindows, field: usize) -> Vec<(i64, Option<Sum>)> {
        let column = windows.column(field).unwrap();
        let order = windows.order().into_iter();
        order
            .map(|place| (windows.start(place), column.sum(place)))
            .collect()
    }

    #[test]
    fn series_of_a_group_meet_in_their_windows_and_the_next_group_begins_anew() {
        let options = QueryOptions::default();
        let context = Context::new(&options);
        let mut windows = GroupWindows::new([0, 10, 20, 30, 40].into());
        let sum = |at, value| (at, Some(Sum::Integer(value)));
        for _ in 0..3 {
            windows.clear();
            let mut first = batch(&[&[(1, 5), (3, 7)], &[(0, 1), (1, 2)], &[(2, 4), (3, 4)]]);
            for place in 0..3 {
                windows.add(&context, (&mut first, place), &[true]).unwrap();
            }
            let all = [sum(0, 1), sum(10, 7), sum(20, 4), sum(30, 11)];
            assert_eq!(shown(&windows, 0), all);
            windows.clear();
            let mut second = batch(&[&[(3, 1)], &[(3, 1), (2, 9)][..1]]);
            for place in 0..2 {
                windows
                    .add(&context, (&mut second, place), &[true])
                    .unwrap();
            }
            assert_eq!(shown(&windows, 0), [sum(30, 2)]);
        }
    }

    #[test]
    fn a_field_that_only_some_series_have_is_absent_in_the_others_windows() {
        let options = QueryOptions::default();
        let context = Context::new(&options);
        let mut windows = GroupWindows::new([0, 10, 20].into());
        let (mut one, mut other) = (batch(&[&[(1, 5)]]), batch(&[&[(0, 3), (1, 4)]]));
        windows
            .add(&context, (&mut one, 0), &[true, false])
            .unwrap();
        windows
            .add(&context, (&mut other, 0), &[false, true])
            .unwrap();
        let sum = |value| Some(Sum::Integer(value));
        assert_eq!(shown(&windows, 0), [(0, None), (10, sum(5))]);
        assert_eq!(shown(&windows, 1), [(0, sum(3)), (10, sum(4))]);
    }
}
