//! Pieces of rows: from the columns of a scan to the values of a plan's variables.

use std::cmp::Ordering;
use std::ops::Range;

use silverback_storage::model::{FieldValue, Presence, ScanRequest, SeriesRows, TimeRange};

use crate::exec::groups::PreparedMeasurement;
use crate::exec::selection::{Filter, chosen};
use crate::exec::{Context, Flow, Visit};
use crate::functions::arithmetic::cast;
use crate::result::QueryError;
use crate::source::RowScan;

/// A request for rows of some series of a measurement. Rows that its filter does not let through may come
/// all the same.
pub(super) fn request(
    own: &PreparedMeasurement<'_>,
    members: Range<usize>,
    range: TimeRange,
    descending: bool,
) -> ScanRequest {
    let series = own.series[members.clone()].iter();
    ScanRequest {
        policy: own.input.policy,
        measurement: own.input.info.id,
        series: series.map(|series| series.id).collect(),
        fields: own.fields.clone(),
        range,
        descending,
        filter: Filter::of(own, members),
    }
}

/// A walk over the rows of one piece that count. Values of a column are dense: each has a place of its own.
#[derive(Debug)]
pub(super) struct Walk {
    rows: SeriesRows,
    row: usize,
    dense: Vec<usize>,
    /// The rows that count, behind this one; `None`: all do.
    chosen: Option<std::vec::IntoIter<u32>>,
}

impl Walk {
    /// Over `rows` of series `index`.
    pub(super) fn new(own: &PreparedMeasurement<'_>, index: usize, rows: SeriesRows) -> Walk {
        let dense = vec![0; rows.columns.len()];
        let chosen = chosen(own, index, &rows).map(IntoIterator::into_iter);
        let mut walk = Walk {
            rows,
            row: 0,
            dense,
            chosen,
        };
        let first = walk.next_from(0);
        walk.skip_to(first);
        walk
    }

    /// The time of the row that stands next.
    pub(super) fn timestamp(&self) -> Option<i64> {
        self.rows.timestamps.get(self.row).copied()
    }

    /// Puts the fields of the next row into `slots` and steps over it.
    pub(super) fn take(&mut self, own: &PreparedMeasurement<'_>, slots: &mut [Option<FieldValue>]) {
        for (variable, place, wanted) in &own.columns {
            let column = &self.rows.columns[*place];
            slots[*variable] = if column.presence.has(self.row) {
                let value = column.values.get(self.dense[*place]);
                if value.field_type() == *wanted {
                    Some(value)
                } else {
                    cast(&value, *wanted)
                }
            } else {
                None
            };
        }
        let next = self.next_from(self.row + 1);
        self.skip_to(next);
    }

    /// The next row that counts; rows before `row` have been taken.
    fn next_from(&mut self, row: usize) -> usize {
        let end = self.rows.timestamps.len();
        match &mut self.chosen {
            Some(chosen) => chosen.next().map_or(end, |row| row as usize),
            None => row,
        }
    }

    fn skip_to(&mut self, row: usize) {
        for (place, column) in self.dense.iter_mut().zip(&self.rows.columns) {
            *place += match &column.presence {
                Presence::All => row - self.row,
                Presence::Some(bits) => (self.row..row).filter(|row| bits.get(*row)).count(),
            };
        }
        self.row = row;
    }
}

/// Calls `found` with each variable that is a tag and the value that series `index` has; `None` where it lacks
/// the tag. Cost: one walk over its tags.
pub(super) fn each_tag<'own>(
    own: &'own PreparedMeasurement<'_>,
    index: usize,
    mut found: impl FnMut(usize, Option<&'own [u8]>),
) {
    let mut tags = own.series[index].tags.iter();
    let mut next = tags.next();
    for (variable, key) in &own.tags {
        // One comparison for each tag: most series have the same keys.
        let value = loop {
            let Some((other, value)) = next else {
                break None;
            };
            match other.cmp(key) {
                Ordering::Less => next = tags.next(),
                Ordering::Equal => break Some(value),
                Ordering::Greater => break None,
            }
        };
        found(*variable, value.filter(|value| !value.is_empty()));
    }
}

/// Puts the tags of a series into `slots`.
pub(super) fn put_tags(
    own: &PreparedMeasurement<'_>,
    index: usize,
    slots: &mut [Option<FieldValue>],
) {
    each_tag(own, index, |variable, value| {
        match (&mut slots[variable], value) {
            // What stood there is written over where it is as long.
            (Some(FieldValue::String(own)), Some(value)) if own.len() == value.len() => {
                own.copy_from_slice(value);
            }
            (slot, value) => *slot = value.map(|value| FieldValue::String(value.into())),
        }
    });
}

/// The rows of all series of an input, one series behind another, taken group by group.
pub(super) struct RowStream<'p> {
    own: &'p PreparedMeasurement<'p>,
    scan: Box<dyn RowScan + 'p>,
    pending: Option<SeriesRows>,
}

impl<'p> RowStream<'p> {
    pub(super) fn new(
        own: &'p PreparedMeasurement<'p>,
        range: TimeRange,
    ) -> Result<RowStream<'p>, QueryError> {
        let scan = own
            .input
            .source
            .scan(request(own, 0..own.series.len(), range, false))?;
        Ok(RowStream {
            own,
            scan,
            pending: None,
        })
    }

    /// The next piece of the series in `members`, which lie behind those asked for before.
    pub(super) fn next_piece(
        &mut self,
        context: &Context<'_>,
        members: &Range<usize>,
    ) -> Result<Option<SeriesRows>, QueryError> {
        loop {
            let piece = match self.pending.take() {
                Some(piece) => piece,
                None => match self.scan.next_rows()? {
                    Some(piece) => piece,
                    None => return Ok(None),
                },
            };
            if piece.index >= members.end {
                self.pending = Some(piece);
                return Ok(None);
            }
            context.piece(piece.timestamps.len())?;
            if piece.index >= members.start {
                return Ok(Some(piece));
            }
        }
    }

    /// Visits the rows of the series in `members`, which lie behind those asked for before.
    pub(super) fn visit(
        &mut self,
        context: &Context<'_>,
        members: &Range<usize>,
        slots: &mut [Option<FieldValue>],
        visit: &mut Visit<'_>,
    ) -> Result<Flow, QueryError> {
        while let Some(piece) = self.next_piece(context, members)? {
            let index = piece.index;
            put_tags(self.own, index, slots);
            let mut walk = Walk::new(self.own, index, piece);
            while let Some(timestamp) = walk.timestamp() {
                walk.take(self.own, slots);
                if visit(timestamp, slots)? == Flow::Enough {
                    return Ok(Flow::Enough);
                }
            }
        }
        Ok(Flow::More)
    }
}
