//! Pieces of rows: from the columns of a scan to the values of a plan's variables.

use std::ops::Range;

use silverback_storage::model::{
    FieldValue, Presence, ScanRequest, SeriesId, SeriesRows, TimeRange,
};

use crate::exec::groups::PreparedMeasurement;
use crate::exec::{Context, Flow, Visit};
use crate::functions::arithmetic::cast;
use crate::result::QueryError;
use crate::source::RowScan;

/// A request for rows of some series of a measurement.
pub(super) fn request(
    own: &PreparedMeasurement<'_>,
    members: Range<usize>,
    range: TimeRange,
    descending: bool,
) -> ScanRequest {
    let series: Vec<SeriesId> = own.series[members].iter().map(|series| series.id).collect();
    ScanRequest {
        policy: own.input.policy,
        measurement: own.input.info.id,
        series,
        fields: own.fields.clone(),
        range,
        descending,
    }
}

/// A walk over the rows of one piece. Values of a column are dense: each has a place of its own.
#[derive(Debug)]
pub(super) struct Walk {
    rows: SeriesRows,
    row: usize,
    dense: Vec<usize>,
}

impl Walk {
    pub(super) fn new(rows: SeriesRows) -> Walk {
        let dense = vec![0; rows.columns.len()];
        Walk {
            rows,
            row: 0,
            dense,
        }
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
        self.step();
    }

    fn step(&mut self) {
        for (place, column) in self.dense.iter_mut().zip(&self.rows.columns) {
            let present = match &column.presence {
                Presence::All => true,
                Presence::Some(bits) => bits.get(self.row),
            };
            *place += usize::from(present);
        }
        self.row += 1;
    }
}

/// Puts the tags of a series into `slots`.
pub(super) fn put_tags(
    own: &PreparedMeasurement<'_>,
    index: usize,
    slots: &mut [Option<FieldValue>],
) {
    for (variable, key) in &own.tags {
        let value = own.series[index]
            .tags
            .get(key)
            .filter(|value| !value.is_empty());
        slots[*variable] = value.map(|value| FieldValue::String(value.into()));
    }
}

/// Whether a row of series `index` counts.
pub(super) fn passes(
    own: &PreparedMeasurement<'_>,
    index: usize,
    slots: &[Option<FieldValue>],
) -> bool {
    own.filter_of(index)
        .is_none_or(|filter| filter.holds(&[slots, &[]]))
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

    /// Visits the rows of the series in `members`, which lie behind those asked for before.
    pub(super) fn visit(
        &mut self,
        context: &Context<'_>,
        members: &Range<usize>,
        slots: &mut [Option<FieldValue>],
        visit: &mut Visit<'_>,
    ) -> Result<Flow, QueryError> {
        loop {
            let piece = match self.pending.take() {
                Some(piece) => piece,
                None => match self.scan.next_rows()? {
                    Some(piece) => piece,
                    None => return Ok(Flow::More),
                },
            };
            if piece.index >= members.end {
                self.pending = Some(piece);
                return Ok(Flow::More);
            }
            context.piece(piece.timestamps.len())?;
            if piece.index < members.start {
                continue;
            }
            let index = piece.index;
            put_tags(self.own, index, slots);
            let mut walk = Walk::new(piece);
            while let Some(timestamp) = walk.timestamp() {
                walk.take(self.own, slots);
                if passes(self.own, index, slots) && visit(timestamp, slots)? == Flow::Enough {
                    return Ok(Flow::Enough);
                }
            }
        }
    }
}
