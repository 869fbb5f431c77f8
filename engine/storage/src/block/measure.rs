//! One measurement on its way into a block: groups of rows become pages, chunks get statistics,
//! series an index; all is written field by field as soon as enough has gathered.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::block::group::Group;
use crate::block::pages::{ColumnWriter, PageWriter};
use crate::codec::Effort;
use crate::error::Result;
use crate::format::block::STATS_ROWS_MIN;
use crate::format::block::array::PAGE_ENTRIES;
use crate::format::block::directory::{ChunkEntry, DirectoryParts, FieldParts, GroupEntry};
use crate::format::block::stats::{self, ChunkTimes};
use crate::format::sealed::SealedWriter;
use crate::index::IndexBuilder;
use crate::model::{
    Column, FieldId, FieldType, MeasurementId, Presence, Rows, SeriesEntry, SeriesId, WindowPartial,
};

/// Pages in memory before they are written, field by field, encoded or, where they stay cold, not
/// yet; few in tests, so that they
/// write them too.
pub(super) const PENDING_BYTES_MAX: usize = if cfg!(test) { 1 << 14 } else { 32 << 20 };

/// One measurement on its way.
#[derive(Debug)]
pub(super) struct MeasurementWriter {
    pub(super) id: MeasurementId,
    effort: Effort,
    parts: DirectoryParts,
    index: IndexBuilder,
    last: Option<LastRow>,
    group: Group,
    times: ColumnWriter<Vec<i64>>,
    fields: BTreeMap<FieldId, FieldWriter>,
    /// Chunks whose statistics are not yet encoded: their times.
    chunk_times: Vec<ChunkTimes>,
    /// Pages in memory.
    pending_bytes: usize,
    pending_bytes_max: usize,
    /// What the rows of a group and the index take, as of the last group.
    gathered_bytes: usize,
}

#[derive(Debug)]
struct LastRow {
    series: SeriesId,
    key: Vec<u8>,
    timestamp: i64,
}

#[derive(Debug)]
struct FieldWriter {
    field_type: FieldType,
    pages: ColumnWriter<Column>,
    stats: PageWriter,
    /// Statistics of the chunks in `MeasurementWriter::chunk_times`.
    partials: Vec<Option<WindowPartial>>,
}

impl MeasurementWriter {
    pub(super) fn new(
        id: MeasurementId,
        effort: Effort,
        pending_bytes_max: usize,
    ) -> MeasurementWriter {
        MeasurementWriter {
            id,
            effort,
            parts: DirectoryParts::default(),
            index: IndexBuilder::new(effort != Effort::Hot),
            last: None,
            group: Group::default(),
            times: ColumnWriter::new(effort, 0),
            fields: BTreeMap::new(),
            chunk_times: Vec::new(),
            pending_bytes: 0,
            pending_bytes_max,
            gathered_bytes: 0,
        }
    }

    /// What it takes in memory, about, bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.pending_bytes + self.gathered_bytes
    }

    /// Appends rows of one series.
    pub(super) fn push_series(
        &mut self,
        entry: &SeriesEntry,
        (rows, range): (&Rows, Range<usize>),
        file: &mut SealedWriter,
    ) -> Result<()> {
        let timestamps = &rows.timestamps[range.clone()];
        assert!(timestamps.is_sorted_by(|a, b| a < b), "times ascend");
        let goes_on = self
            .last
            .as_ref()
            .is_some_and(|last| last.series == entry.id);
        match &mut self.last {
            Some(last) if goes_on => {
                assert!(last.timestamp < timestamps[0], "times ascend over calls");
                last.timestamp = timestamps[timestamps.len() - 1];
            }
            last => {
                let mut key = match last.take() {
                    Some(last) => {
                        let in_order = *last.key < *entry.key;
                        assert!(in_order, "series come in the order of keys");
                        last.key
                    }
                    None => Vec::new(),
                };
                key.clear();
                key.extend_from_slice(&entry.key);
                self.index.push(&entry.key)?;
                self.parts.series.push(entry.id.0);
                let row = self.parts.row_count + self.group.timestamps.len() as u64;
                self.parts.series_rows.push(row);
                *last = Some(LastRow {
                    series: entry.id,
                    key,
                    timestamp: timestamps[timestamps.len() - 1],
                });
            }
        }
        let mut start = range.start;
        let mut starts_here = !goes_on;
        while start < range.end {
            if self.group.room() == 0 || starts_here && self.group.suits_an_end() {
                self.cut(file)?;
            }
            if self.group.is_empty() {
                self.group.begins_within = !starts_here;
            }
            if starts_here || self.group.is_empty() {
                self.group.starts.push(self.group.timestamps.len());
                starts_here = false;
            }
            let end = range.end.min(start + self.group.room());
            self.group.append(rows, start..end);
            start = end;
        }
        Ok(())
    }

    /// Encodes the gathered rows as a group.
    fn cut(&mut self, file: &mut SealedWriter) -> Result<()> {
        let mut group = std::mem::take(&mut self.group);
        let times = group.timestamps.iter().copied();
        let (Some(time_first), Some(time_last)) = (times.clone().min(), times.max()) else {
            return Ok(());
        };
        self.gathered_bytes = group.size_bytes() + self.index.size_bytes();
        let page_count = self.parts.groups.len();
        self.parts.groups.push(GroupEntry {
            row: self.parts.row_count,
            time_first,
            time_last,
        });
        let enough = |rows: &Range<usize>| rows.len() >= STATS_ROWS_MIN;
        let chunks: Vec<Range<usize>> = group.slices().filter(enough).collect();
        for (id, column) in &group.columns {
            if column.values.is_empty() && !self.fields.contains_key(id) {
                continue;
            }
            let known = self.parts.chunks.len();
            let field = self.fields.entry(*id).or_insert_with(|| {
                FieldWriter::absent(column.values.field_type(), self.effort, (page_count, known))
            });
            debug_assert_eq!(field.field_type, column.values.field_type());
        }
        for (id, field) in &mut self.fields {
            let column = group.columns.get(id);
            if stats::has_stats(field.field_type) {
                let partials = chunks.iter().map(|rows| {
                    column.and_then(|column| partial_of(column, &group.timestamps, rows.clone()))
                });
                field.partials.extend(partials);
            }
            self.pending_bytes += field.pages.push(group.columns.get_mut(id));
        }
        for rows in chunks {
            let times = ChunkTimes {
                first: group.timestamps[rows.start],
                last: group.timestamps[rows.end - 1],
            };
            self.chunk_times.push(times);
            self.parts.chunks.push(ChunkEntry {
                row: self.parts.row_count + rows.start as u64,
                rows: rows.len() as u64,
                time_first: times.first,
                time_last: times.last,
            });
        }
        self.parts.row_count += group.timestamps.len() as u64;
        self.pending_bytes += self.times.push(Some(&mut group.timestamps));
        self.group = group.cleared();
        self.encode_stats(PAGE_ENTRIES);
        if self.pending_bytes >= self.pending_bytes_max {
            self.write_pages(file)?;
        }
        Ok(())
    }

    /// Encodes pages of statistics while `enough` chunks wait.
    fn encode_stats(&mut self, enough: usize) {
        while self.chunk_times.len() >= enough && !self.chunk_times.is_empty() {
            let count = self.chunk_times.len().min(PAGE_ENTRIES);
            let times: Vec<ChunkTimes> = self.chunk_times.drain(..count).collect();
            for field in self.fields.values_mut() {
                if !stats::has_stats(field.field_type) {
                    continue;
                }
                let partials = field.partials.drain(..count);
                let chunks: Vec<_> = times.iter().copied().zip(partials).collect();
                let (field_type, effort) = (field.field_type, self.effort);
                field
                    .stats
                    .push(|out| stats::encode(&chunks, field_type, effort, out));
            }
        }
    }

    fn write_pages(&mut self, file: &mut SealedWriter) -> Result<()> {
        self.times.write(file)?;
        for field in self.fields.values_mut() {
            field.pages.write(file)?;
        }
        self.pending_bytes = 0;
        Ok(())
    }

    /// Writes all but the directory; `None` where there are no rows.
    pub(super) fn finish(mut self, file: &mut SealedWriter) -> Result<Option<DirectoryParts>> {
        self.cut(file)?;
        if self.parts.row_count == 0 {
            return Ok(None);
        }
        self.encode_stats(1);
        self.write_pages(file)?;
        for field in self.fields.values_mut() {
            field.stats.write(file)?;
        }
        self.parts.index = self.index.finish(file)?;
        (self.parts.times, self.parts.time_sets) = self.times.finish();
        self.parts.fields = self
            .fields
            .into_iter()
            .map(|(id, field)| {
                let (pages, sets) = field.pages.finish();
                FieldParts {
                    id,
                    field_type: field.field_type,
                    pages,
                    sets,
                    stats: field.stats.pages,
                }
            })
            .collect();
        Ok(Some(self.parts))
    }
}

impl FieldWriter {
    /// A field that had no value in the first `pages` groups and `chunks` chunks with statistics.
    fn absent(
        field_type: FieldType,
        effort: Effort,
        (pages, chunks): (usize, usize),
    ) -> FieldWriter {
        let mut field = FieldWriter {
            field_type,
            pages: ColumnWriter::new(effort, pages),
            stats: PageWriter::default(),
            partials: Vec::new(),
        };
        if stats::has_stats(field_type) {
            for _ in 0..chunks / PAGE_ENTRIES {
                field.stats.pages.offsets.push(0);
                field.stats.pages.lengths.push(0);
            }
            field.partials.resize(chunks % PAGE_ENTRIES, None);
        }
        field
    }
}

/// What `rows` of a column come to.
fn partial_of(column: &Column, timestamps: &[i64], rows: Range<usize>) -> Option<WindowPartial> {
    match &column.presence {
        Presence::All => stats::partial_of(&column.values, rows.clone(), &timestamps[rows]),
        Presence::Some(bits) => {
            let dense = bits.rank(rows.start)..bits.rank(rows.end);
            let times: Vec<i64> = rows
                .filter(|row| bits.get(*row))
                .map(|row| timestamps[row])
                .collect();
            stats::partial_of(&column.values, dense, &times)
        }
    }
}
