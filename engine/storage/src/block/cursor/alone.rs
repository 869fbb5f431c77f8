//! A chunk that is all of its group: nobody else wants its pages, so that no more of them is decoded than
//! is asked for, and nothing is kept.

use std::ops::Range;

use super::{BlockCursor, BlockRows, Chunk, FieldReader, OpenPage, read_page, wanted, with_page};
use crate::block::times::Times;
use crate::codec::{self, DecodeError, Repeat};
use crate::error::Result;
use crate::format::block::bytes::Damage;
use crate::model::{AggregateSet, Column, FieldType, Presence, RowFilter, Values};

/// A chunk whose values are to be added up where they are decoded.
#[derive(Debug)]
pub struct AloneChunk {
    group: usize,
    /// Rows of the group that lie in the cursor's range.
    rows: Range<usize>,
    /// Their times.
    times: Times,
}

impl AloneChunk {
    /// The times of its rows, one at least.
    pub fn times(&self) -> &Times {
        &self.times
    }
}

/// A field's values in a chunk, in the form that takes least to add them up.
#[derive(Debug)]
pub enum ChunkColumn<'room> {
    /// No row has one.
    Absent,
    /// Every row has one; nothing else was asked for.
    Counted,
    /// Every row has one: words and how often each stands in a row, in order.
    Repeats(&'room [Repeat]),
    /// The values.
    Values(&'room Column),
}

/// Room that is used again and again.
#[derive(Debug, Default)]
pub(super) struct Room {
    column: Option<Column>,
    repeats: Vec<Repeat>,
}

/// What a page was read as.
enum Read {
    Counted,
    Repeats,
    Values,
}

impl Room {
    /// Reads `rows` of `page`, of which `wanted` is asked; `None` where none has a value.
    fn read(
        &mut self,
        page: OpenPage<'_, '_>,
        (field_type, wanted): (FieldType, AggregateSet),
        rows: Range<usize>,
    ) -> std::result::Result<Option<Read>, DecodeError> {
        if page.presence != Presence::All {
            self.column = page.column(field_type, rows)?;
            return Ok(self.column.is_some().then_some(Read::Values));
        }
        if wanted == AggregateSet::COUNT {
            return Ok(Some(Read::Counted));
        }
        let (all, stream, shared) = (page.all, page.stream, page.shared);
        self.repeats.clear();
        let typed = (field_type, stream);
        if codec::decode_repeats(typed, (all, rows.clone()), shared, &mut self.repeats)? {
            return Ok(Some(Read::Repeats));
        }
        let known = self.column.take();
        let known = known.filter(|column| column.values.field_type() == field_type);
        let mut values = known.map_or_else(|| Values::new(field_type), |column| column.values);
        if rows.len() == all {
            codec::decode_values_into_with(stream, all, shared, &mut values)?;
        } else {
            codec::decode_values_range_with(stream, (all, rows), shared, &mut values)?;
        }
        self.column = Some(Column {
            values,
            presence: Presence::All,
        });
        Ok(Some(Read::Values))
    }
}

impl BlockCursor<'_> {
    /// Opens `chunk` to be added up, where that takes less than its rows do: it is all of its group, some of
    /// its rows lie in the cursor's range, and some field has a value in each.
    ///
    /// # Errors
    /// As [`BlockCursor::chunks`].
    pub fn alone(&mut self, chunk: &Chunk) -> Result<Option<AloneChunk>> {
        let measurement = &self.measurement;
        let group = chunk.group;
        if chunk.rows != (0..measurement.group_row_count(group)?) {
            return Ok(None);
        }
        let mut has_full = false;
        for FieldReader { entry, sets, .. } in &mut self.fields {
            let Some(entry) = entry else { continue };
            let is_full = |page: OpenPage<'_, '_>| Ok(page.presence == Presence::All);
            has_full = with_page(measurement, (entry, group), sets, is_full)? == Some(true);
            if has_full {
                break;
            }
        }
        if !has_full {
            return Ok(None);
        }
        let mut times = measurement.times_with(group, &mut self.time_sets)?;
        if !times.ascend() {
            return Err(measurement.corrupt(Damage("the times of a series do not ascend")));
        }
        let start = times.count_below(0, self.range.start);
        let end = times.count_below(0, self.range.end);
        let rows = start..end.max(start);
        times.keep(rows.clone());
        Ok((!rows.is_empty()).then_some(AloneChunk { group, rows, times }))
    }

    /// The values of the cursor's field number `field` in `chunk`, of which `wanted` is asked. Once all that is
    /// wanted has been read the block must be asked whether it is intact.
    ///
    /// # Errors
    /// As [`BlockCursor::chunks`].
    ///
    /// # Panics
    /// If the cursor has not that many fields, or the chunk is of another.
    pub fn column_alone(
        &mut self,
        chunk: &AloneChunk,
        (field, wanted): (usize, AggregateSet),
    ) -> Result<ChunkColumn<'_>> {
        let FieldReader { entry, sets, .. } = &mut self.fields[field];
        let Some(entry) = entry else {
            return Ok(ChunkColumn::Absent);
        };
        let room = &mut self.room;
        let typed = (entry.field_type, wanted);
        let read = |page: OpenPage<'_, '_>| room.read(page, typed, chunk.rows.clone());
        let read = with_page(&self.measurement, (entry, chunk.group), sets, read)?;
        Ok(match (read.flatten(), &self.room.column) {
            (Some(Read::Counted), _) => ChunkColumn::Counted,
            (Some(Read::Repeats), _) => ChunkColumn::Repeats(&self.room.repeats),
            (Some(Read::Values), Some(column)) => ChunkColumn::Values(column),
            (None, _) | (Some(Read::Values), None) => ChunkColumn::Absent,
        })
    }

    /// As [`BlockCursor::rows`], and which of the rows a filter chose for the series with this number in its
    /// request, where it was asked: where that may spare decoding others. Columns then end at some row
    /// behind the last chosen one.
    ///
    /// # Errors
    /// As [`BlockCursor::chunks`].
    ///
    /// # Panics
    /// As [`BlockCursor::rows`].
    pub fn chosen_rows(
        &mut self,
        chunk: &Chunk,
        filter: (&dyn RowFilter, usize),
    ) -> Result<Option<(BlockRows, Option<Vec<u32>>)>> {
        let group_rows = self.measurement.group_row_count(chunk.group)?;
        if chunk.rows == (0..group_rows) {
            return self.rows_alone(chunk, Some(filter));
        }
        Ok(self.rows(chunk)?.map(|rows| (rows, None)))
    }

    /// As [`BlockCursor::rows`], of a chunk that is all of its group: nobody else wants its pages, so
    /// that no more of them is decoded than is asked for, and nothing is kept. The fields that a filter
    /// looks at come first, the others then up to the last row that it chooses.
    pub(super) fn rows_alone(
        &mut self,
        chunk: &Chunk,
        filter: Option<(&dyn RowFilter, usize)>,
    ) -> Result<Option<(BlockRows, Option<Vec<u32>>)>> {
        let measurement = &self.measurement;
        let mut timestamps = measurement.timestamps_with(chunk.group, &mut self.time_sets)?;
        let wanted = wanted(measurement, &timestamps, self.range)?;
        if wanted.is_empty() {
            return Ok(None);
        }
        timestamps.truncate(wanted.end);
        timestamps.drain(..wanted.start);
        let mut columns = vec![None; self.fields.len()];
        let mut left: Vec<usize> = (0..columns.len()).collect();
        let mut rows = wanted.clone();
        let mut chosen = None;
        if let Some((filter, series)) = filter {
            left.retain(|place| !filter.places().contains(place));
            self.read_alone(chunk, rows.clone(), (filter.places(), &mut columns))?;
            let seen: Vec<Option<&Column>> = columns.iter().map(Option::as_ref).collect();
            chosen = filter.chosen(series, timestamps.len(), &seen);
            let last = chosen.as_ref().map(|chosen| chosen.last().copied());
            match last {
                Some(None) => {
                    self.measurement.block().check_intact()?;
                    return Ok(None);
                }
                Some(Some(last)) => rows.end = rows.start + last as usize + 1,
                None => {}
            }
        }
        self.read_alone(chunk, rows, (&left, &mut columns))?;
        self.measurement.block().check_intact()?;
        let rows = BlockRows {
            timestamps,
            columns,
        };
        Ok(Some((rows, chosen)))
    }

    /// Reads `rows` of a chunk that is all of its group, of the fields at `places`.
    fn read_alone(
        &mut self,
        chunk: &Chunk,
        rows: Range<usize>,
        (places, columns): (&[usize], &mut [Option<Column>]),
    ) -> Result<()> {
        for place in places {
            let FieldReader { entry, sets, .. } = &mut self.fields[*place];
            if let Some(entry) = entry {
                let rows = (chunk.group, rows.clone());
                columns[*place] = read_page(&self.measurement, entry, rows, sets)?;
            }
        }
        Ok(())
    }
}
