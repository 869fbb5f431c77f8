//! Rows of many series, one after another.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::memtable::pick_rows;
use crate::model::{Column, FieldType, ScanRequest, SeriesRows};
use crate::scan::Check;
use crate::scan::check_intact;
use crate::scan::merge::{Merge, Step};
use crate::scan::piece::Store;
use crate::scan::shared::Cursor;

/// The pieces of a scan: see [`crate::scan::rows`].
pub struct RowCursor<'snapshot> {
    request: ScanRequest,
    types: Arc<[FieldType]>,
    /// Oldest first.
    stores: Vec<Box<dyn Store<'snapshot> + 'snapshot>>,
    check: Check,
    /// The series being read, if one is.
    merge: Option<Merge<'snapshot>>,
    /// Number of the next series to be read.
    next: usize,
    /// Behind the last to be read.
    end: usize,
}

impl<'snapshot> RowCursor<'snapshot> {
    pub(super) fn new(
        request: ScanRequest,
        types: Arc<[FieldType]>,
        stores: Vec<Box<dyn Store<'snapshot> + 'snapshot>>,
        check: Check,
    ) -> Self {
        let end = request.series.len();
        RowCursor {
            request,
            types,
            stores,
            check,
            merge: None,
            next: 0,
            end,
        }
    }

    /// The next rows, or `None` when all have been given: in the order of the request's series,
    /// each series' rows in time order. After an error there is no next.
    ///
    /// # Errors
    /// `Corrupt` where stored bytes are damaged, `Io` where they cannot be read; what the check
    /// says.
    pub fn next_rows(&mut self) -> Result<Option<SeriesRows>> {
        loop {
            if let Some(merge) = &mut self.merge {
                (self.check)()?;
                if let Some(Step::Rows(timestamps, columns)) = merge.step(None)? {
                    let rows = SeriesRows {
                        index: self.next - 1,
                        timestamps,
                        columns,
                    };
                    match self.chosen(rows) {
                        Some(rows) => return Ok(Some(rows)),
                        None => continue,
                    }
                }
            }
            let Some(series) = self.request.series[..self.end].get(self.next) else {
                self.merge = None;
                check_intact(&self.stores)?;
                return Ok(None);
            };
            let way = (self.request.range, self.request.descending);
            let series = (self.next, *series);
            self.merge = Some(Merge::open(&self.stores, series, way, &self.types)?);
            self.next += 1;
        }
    }
}

impl RowCursor<'_> {
    /// Those of `rows` that count; `None` where none does.
    fn chosen(&self, rows: SeriesRows) -> Option<SeriesRows> {
        let Some(filter) = &self.request.filter else {
            return Some(rows);
        };
        let columns: Vec<Option<&Column>> = rows.columns.iter().map(Some).collect();
        let Some(chosen) = filter.chosen(rows.index, rows.timestamps.len(), &columns) else {
            return Some(rows);
        };
        if chosen.len() == rows.timestamps.len() {
            return Some(rows);
        }
        (!chosen.is_empty()).then(|| SeriesRows {
            index: rows.index,
            timestamps: (chosen.iter())
                .map(|row| rows.timestamps[*row as usize])
                .collect(),
            columns: (rows.columns.iter())
                .map(|column| pick_rows(column, &chosen))
                .collect(),
        })
    }
}

impl Cursor for RowCursor<'_> {
    type Item = SeriesRows;

    fn seek(&mut self, series: Range<usize>) {
        debug_assert!(self.merge.is_none(), "a morsel is read to its end");
        self.next = series.start;
        self.end = series.end;
        for store in &mut self.stores {
            store.seek(series.clone());
        }
    }

    fn next_item(&mut self) -> Result<Option<SeriesRows>> {
        self.next_rows()
    }

    fn values(&self) -> u64 {
        let series = &self.request.series;
        let stores = self.stores.iter();
        stores.map(|store| store.values(series, &|_| false)).sum()
    }

    fn bytes(item: &SeriesRows) -> usize {
        let values = item.columns.iter().map(|column| column.values.size_bytes());
        values.sum::<usize>() + 8 * item.timestamps.len()
    }
}

impl fmt::Debug for RowCursor<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (next, all) = (self.next, self.request.series.len());
        write!(out, "RowCursor at series {next} of {all}")
    }
}
