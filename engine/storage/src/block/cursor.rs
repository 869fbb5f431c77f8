//! Reads the rows of one measurement of a block, series by series. Each column keeps the last page
//! it decoded, because series that follow one another in the order of keys share pages.

mod alone;

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use alone::Room;
pub use alone::{AloneChunk, ChunkColumn};

use crate::block::decoded::{SetCache, read_stats};
use crate::block::reader::Measurement;
use crate::codec::{self, DecodeError, Shared};
use crate::error::{Error, Result};
use crate::format::block::array::{PAGE_ENTRIES, unbiased};
use crate::format::block::bytes::{Damage, Taker};
use crate::format::block::directory::FieldEntry;
use crate::format::block::stats::{self, ChunkTimes, StatsPage};
use crate::model::{
    AggregateSet, Bitmap, Column, FieldId, FieldType, FieldWindows, Presence, SeriesId, TimeRange,
    Values, WindowPartial,
};

/// A series' rows in one group: consecutive, in time order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    group: usize,
    /// Rows of the group.
    rows: Range<usize>,
    /// Its number among those with statistics.
    stats: Option<usize>,
    times: ChunkTimes,
}

impl Chunk {
    /// How many rows it has.
    pub fn row_count(&self) -> usize {
        self.rows.len()
    }

    /// From its earliest time to behind its latest: exactly where it has statistics, else a span
    /// that holds them.
    pub fn range(&self) -> TimeRange {
        TimeRange {
            start: self.times.first,
            end: self.times.last.saturating_add(1),
        }
    }

    /// Whether it has statistics and an exact range.
    pub fn has_stats(&self) -> bool {
        self.stats.is_some()
    }
}

/// What the statistics of a chunk say of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldStats {
    /// Nothing: decode the rows.
    Unknown,
    /// No row has a value.
    Absent,
    /// What all its values come to.
    Known(WindowPartial),
}

/// Rows of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockRows {
    /// Their times, strictly ascending.
    pub timestamps: Vec<i64>,
    /// One column per field of the cursor, over these rows; `None` where no row has a value.
    pub columns: Vec<Option<Column>>,
}

impl BlockRows {
    /// Some of the rows.
    ///
    /// # Panics
    /// If there are not that many.
    #[must_use]
    pub fn slice(&self, rows: Range<usize>) -> BlockRows {
        let columns = self.columns.iter();
        BlockRows {
            timestamps: self.timestamps[rows.clone()].to_vec(),
            columns: columns
                .map(|column| slice(column.as_ref()?, rows.clone()))
                .collect(),
        }
    }
}

/// Reads some fields of one measurement within a span of time.
#[derive(Debug)]
pub struct BlockCursor<'block> {
    measurement: Measurement<'block>,
    range: TimeRange,
    times: Option<(usize, Vec<i64>)>,
    time_sets: SetCache,
    fields: Vec<FieldReader>,
    /// The group looked up last: the next series mostly starts in it.
    group: Cell<Option<GroupInfo>>,
    /// Where the next series mostly stands: behind the last one.
    next_ordinal: Cell<usize>,
    /// The same of the next chunk's statistics.
    next_stats: Cell<usize>,
    /// Room for what is read to be added up, and not kept.
    room: Room,
}

/// A group's place in its measurement.
#[derive(Clone, Copy, Debug)]
struct GroupInfo {
    number: usize,
    row_start: u64,
    row_end: u64,
    times: TimeRange,
}

/// One field of the cursor.
#[derive(Debug)]
struct FieldReader {
    /// `None` where the block has no values of it.
    entry: Option<FieldEntry>,
    page: Option<(usize, FieldPage)>,
    sets: SetCache,
    /// `None` inside: no chunk of the page has a value.
    stats: Option<(usize, Option<Arc<StatsPage>>)>,
}

impl FieldReader {
    /// Page `page` of the field's statistics, what is `wanted` of it; `None` where no chunk of it has a
    /// value.
    fn stats_page(
        &mut self,
        measurement: &Measurement<'_>,
        (page, wanted): (usize, AggregateSet),
    ) -> Result<Option<&StatsPage>> {
        let Some(entry) = &self.entry else {
            return Ok(None);
        };
        let known = self.stats.as_ref().is_some_and(|(own, stats)| {
            let holds = |stats: &Arc<StatsPage>| stats.holds().has(wanted);
            *own == page && stats.as_ref().is_none_or(holds)
        });
        if !known {
            self.stats = Some((page, read_stats(measurement, entry, (page, wanted))?));
        }
        Ok(self.stats.as_ref().and_then(|(_, stats)| stats.as_deref()))
    }
}

#[derive(Debug)]
struct FieldPage {
    column: Option<Column>,
}

impl<'block> BlockCursor<'block> {
    pub(super) fn new(
        measurement: Measurement<'block>,
        fields: &[FieldId],
        range: TimeRange,
    ) -> BlockCursor<'block> {
        let directory = measurement.directory();
        let fields = fields.iter().map(|id| FieldReader {
            entry: directory.field(*id).map(|index| directory.fields[index]),
            page: None,
            sets: SetCache::default(),
            stats: None,
        });
        let fields = fields.collect();
        BlockCursor {
            measurement,
            range,
            times: None,
            time_sets: SetCache::default(),
            fields,
            group: Cell::new(None),
            next_ordinal: Cell::new(0),
            next_stats: Cell::new(0),
            room: Room::default(),
        }
    }

    /// How many of the cursor's fields have values here.
    pub fn field_count(&self) -> usize {
        let present = |reader: &&FieldReader| reader.entry.is_some();
        self.fields.iter().filter(present).count()
    }

    /// How many fields the cursor reads, whether they have values here or not.
    pub fn fields(&self) -> usize {
        self.fields.len()
    }

    /// The measurement that is read.
    pub fn measurement(&self) -> &Measurement<'block> {
        &self.measurement
    }

    /// The chunks of `series` that may have rows in the cursor's range, in time order. Reads the
    /// directory only.
    ///
    /// # Errors
    /// `Corrupt` where the block's bytes are damaged; `Io`.
    pub fn chunks(&self, series: SeriesId) -> Result<Vec<Chunk>> {
        let index = self.measurement.index();
        let next = self.next_ordinal.get();
        let found = if next < index.series_count() && index.series_id(next)? == series {
            Some(next)
        } else {
            index.ordinal(series)?
        };
        let Some(ordinal) = found else {
            return Ok(Vec::new());
        };
        self.next_ordinal.set(ordinal + 1);
        self.chunks_at(ordinal)
    }

    /// As [`BlockCursor::chunks`], of the series at `ordinal` in the order of canonical keys.
    ///
    /// # Errors
    /// As [`BlockCursor::chunks`]; `Corrupt` too where there are not that many series.
    pub fn chunks_at(&self, ordinal: usize) -> Result<Vec<Chunk>> {
        let measurement = &self.measurement;
        let rows = measurement.series_rows(ordinal)?;
        let mut chunks = Vec::new();
        let mut group = self.group_of(rows.start)?;
        let mut start = rows.start;
        loop {
            let end = rows.end.min(group.row_end);
            if !group.times.intersect(self.range).is_empty() {
                let inner = |row: u64| usize::try_from(row - group.row_start);
                let inner = match (inner(start), inner(end)) {
                    (Ok(start), Ok(end)) => start..end,
                    _ => return Err(measurement.corrupt(Damage("a group has too many rows"))),
                };
                let chunk = Chunk {
                    group: group.number,
                    rows: inner,
                    stats: None,
                    times: ChunkTimes {
                        first: group.times.start,
                        last: group.times.end - 1,
                    },
                };
                let chunk = self.with_stats(chunk, start..end)?;
                if self.range.overlaps(chunk.times.first, chunk.times.last) {
                    chunks.push(chunk);
                }
            }
            start = end;
            if start == rows.end {
                break;
            }
            group = self.group_at(group.number + 1, start)?;
        }
        Ok(chunks)
    }

    /// The group that holds `row`.
    fn group_of(&self, row: u64) -> Result<GroupInfo> {
        let known = self.group.get();
        if let Some(group) = known.filter(|own| own.row_start <= row && row < own.row_end) {
            return Ok(group);
        }
        let after = self
            .measurement
            .entry(|directory, bytes| directory.group_rows.rank(bytes, row))?;
        let number = after.checked_sub(1).ok_or_else(|| {
            let damage = Damage("a series starts before the first group");
            self.measurement.corrupt(damage)
        })?;
        self.group_at(number, row)
    }

    /// Group `number`, which must hold `row`.
    fn group_at(&self, number: usize, row: u64) -> Result<GroupInfo> {
        let rows = self.measurement.group_rows(number)?;
        if !rows.contains(&row) {
            let damage = Damage("the groups do not follow one another");
            return Err(self.measurement.corrupt(damage));
        }
        let group = GroupInfo {
            number,
            row_start: rows.start,
            row_end: rows.end,
            times: self.measurement.group_times(number)?,
        };
        self.group.set(Some(group));
        Ok(group)
    }

    /// The chunk with its number and exact times, if it has statistics.
    fn with_stats(&self, mut chunk: Chunk, rows: Range<u64>) -> Result<Chunk> {
        let found = self.measurement.entry(|directory, bytes| {
            if chunk.rows.len() < crate::format::block::STATS_ROWS_MIN {
                return Ok(None);
            }
            let starts = &directory.chunk_rows;
            let next = self.next_stats.get();
            let at = if next < starts.len() && starts.get(bytes, next)? == rows.start {
                next
            } else {
                // Behind all of them where none starts so early.
                let found = starts.rank(bytes, rows.start)?.checked_sub(1);
                found.unwrap_or(starts.len())
            };
            self.next_stats.set(at + 1);
            if at == starts.len()
                || starts.get(bytes, at)? != rows.start
                || directory.chunk_counts.get(bytes, at)? != rows.end - rows.start
            {
                return Ok(None);
            }
            let times = ChunkTimes {
                first: unbiased(directory.chunk_firsts.get(bytes, at)?),
                last: unbiased(directory.chunk_lasts.get(bytes, at)?),
            };
            if times.first > times.last || times.last == i64::MAX {
                return Err(Damage("a chunk ends before it starts"));
            }
            Ok(Some((at, times)))
        })?;
        if let Some((at, times)) = found {
            chunk.stats = Some(at);
            chunk.times = times;
        }
        Ok(chunk)
    }

    /// What the statistics say of the cursor's field number `field` over all rows of `chunk`,
    /// whether or not they lie in the cursor's range.
    ///
    /// # Errors
    /// As [`BlockCursor::chunks`].
    ///
    /// # Panics
    /// If the cursor has not that many fields.
    pub fn stats(&mut self, chunk: &Chunk, field: usize) -> Result<FieldStats> {
        let reader = &mut self.fields[field];
        let Some(entry) = &reader.entry else {
            return Ok(FieldStats::Absent);
        };
        let Some(at) = chunk.stats.filter(|_| !entry.stats.is_empty()) else {
            return Ok(FieldStats::Unknown);
        };
        let stats = reader.stats_page(&self.measurement, (at / PAGE_ENTRIES, AggregateSet::ALL))?;
        let partial = stats.and_then(|stats| stats.get(at % PAGE_ENTRIES, chunk.times));
        Ok(partial.map_or(FieldStats::Absent, FieldStats::Known))
    }

    /// Appends what the statistics say over all rows of `chunk` to `into`: an entry to the column of each
    /// field. Where they say nothing of one of them nothing is appended: gives false.
    ///
    /// # Errors
    /// As [`BlockCursor::chunks`].
    ///
    /// # Panics
    /// If the cursor has not as many fields, or they are of other types.
    pub fn push_stats(&mut self, chunk: &Chunk, into: &mut [FieldWindows]) -> Result<bool> {
        let unknown = |reader: &FieldReader| {
            let entry = reader.entry.as_ref();
            entry.is_some_and(|entry| entry.stats.is_empty())
        };
        let Some(at) = chunk.stats else {
            return Ok(false);
        };
        if self.fields.iter().any(unknown) {
            return Ok(false);
        }
        for (reader, own) in self.fields.iter_mut().zip(into) {
            let page = (at / PAGE_ENTRIES, own.wanted());
            match reader.stats_page(&self.measurement, page)? {
                Some(page) => page.push_to((at % PAGE_ENTRIES, chunk.times), own),
                None => own.push_absent(),
            }
        }
        Ok(true)
    }

    /// The rows of `chunk` that lie in the cursor's range, or `None` where none does. A row may
    /// have a value in none of the fields.
    ///
    /// # Errors
    /// As [`BlockCursor::chunks`].
    ///
    /// # Panics
    /// If the chunk is of another cursor.
    pub fn rows(&mut self, chunk: &Chunk) -> Result<Option<BlockRows>> {
        let group_rows = self.measurement.group_row_count(chunk.group)?;
        if chunk.rows == (0..group_rows) {
            return Ok(self.rows_alone(chunk, None)?.map(|(rows, _)| rows));
        }
        let measurement = &self.measurement;
        let mut is_decoded = false;
        if self
            .times
            .as_ref()
            .is_none_or(|(own, _)| *own != chunk.group)
        {
            let times = measurement.timestamps_with(chunk.group, &mut self.time_sets)?;
            self.times = Some((chunk.group, times));
            is_decoded = true;
        }
        let (_, times) = self.times.as_ref().expect("it has just been set");
        let own = &times[chunk.rows.clone()];
        let wanted = wanted(measurement, own, self.range)?;
        if wanted.is_empty() {
            return Ok(None);
        }
        let timestamps = own[wanted.clone()].to_vec();
        let rows = chunk.rows.start + wanted.start..chunk.rows.start + wanted.end;
        let mut columns = Vec::with_capacity(self.fields.len());
        for reader in &mut self.fields {
            let Some(entry) = &reader.entry else {
                columns.push(None);
                continue;
            };
            if reader
                .page
                .as_ref()
                .is_none_or(|(own, _)| *own != chunk.group)
            {
                let all = 0..group_rows;
                let column = read_page(measurement, entry, (chunk.group, all), &mut reader.sets)?;
                reader.page = Some((chunk.group, FieldPage { column }));
                is_decoded = true;
            }
            let (_, page) = reader.page.as_ref().expect("it has just been set");
            let column = page.column.as_ref();
            columns.push(column.and_then(|column| slice(column, rows.clone())));
        }
        if is_decoded {
            measurement.block().check_intact()?;
        }
        Ok(Some(BlockRows {
            timestamps,
            columns,
        }))
    }
}

/// Which of a series' rows, of these times, lie in `range`.
fn wanted(measurement: &Measurement<'_>, times: &[i64], range: TimeRange) -> Result<Range<usize>> {
    if !times.is_sorted_by(|a, b| a < b) {
        return Err(measurement.corrupt(Damage("the times of a series do not ascend")));
    }
    let start = times.partition_point(|time| *time < range.start);
    let end = times.partition_point(|time| *time < range.end);
    Ok(start..end.max(start))
}

/// A page of a field: which rows have a value, and the stream of these.
struct OpenPage<'bytes, 'set> {
    /// Rows of the group.
    all: usize,
    presence: Presence,
    stream: &'bytes [u8],
    shared: &'set Shared,
}

impl OpenPage<'_, '_> {
    /// The column of `rows`, or `None` where none has a value.
    fn column(
        self,
        field_type: FieldType,
        rows: Range<usize>,
    ) -> std::result::Result<Option<Column>, DecodeError> {
        let OpenPage {
            all,
            presence,
            stream,
            shared,
        } = self;
        if presence == Presence::All && rows.len() < all {
            let mut values = Values::new(field_type);
            codec::decode_values_range_with(stream, (all, rows), shared, &mut values)?;
            return Ok(Some(Column { values, presence }));
        }
        let count = match &presence {
            Presence::All => all,
            Presence::Some(bits) => bits.count_ones(),
        };
        let values = codec::decode_values_with(field_type, stream, count, shared)?;
        let column = Column { values, presence };
        if rows.len() < all {
            return Ok(slice(&column, rows));
        }
        Ok(Some(column))
    }
}

/// What `read` makes of the page of `group`, or `None` where no row has a value.
fn with_page<T>(
    measurement: &Measurement<'_>,
    (entry, group): (&FieldEntry, usize),
    sets: &mut SetCache,
    read: impl FnOnce(OpenPage<'_, '_>) -> std::result::Result<T, DecodeError>,
) -> Result<Option<T>> {
    let all = measurement.group_row_count(group)?;
    let span = measurement.entry(|_, bytes| entry.pages.get(bytes, group))?;
    if span.len == 0 {
        return Ok(None);
    }
    let block = measurement.block();
    let bytes = block.file().read(span.offset..span.end())?;
    let corrupt = |damage: Damage| -> Error { block.corrupt(span.offset, damage) };
    let damaged = |error| corrupt(stats::damage(error));
    let mut taker = Taker::new(&bytes);
    let number = taker.varint().map_err(corrupt)?;
    let shared = sets.get(measurement, &entry.sets, number)?;
    let presence = taker.prefixed().map_err(corrupt)?;
    let presence = codec::decode_presence(presence, all).map_err(damaged)?;
    let stream = taker.take(taker.remaining()).map_err(corrupt)?;
    let page = OpenPage {
        all,
        presence,
        stream,
        shared,
    };
    read(page).map(Some).map_err(damaged)
}

/// The column of `rows` of a group, or `None` where none has a value.
fn read_page(
    measurement: &Measurement<'_>,
    entry: &FieldEntry,
    (group, rows): (usize, Range<usize>),
    sets: &mut SetCache,
) -> Result<Option<Column>> {
    let read = |page: OpenPage<'_, '_>| page.column(entry.field_type, rows);
    with_page(measurement, (entry, group), sets, read).map(Option::flatten)
}

/// `rows` of `column`, or `None` where none has a value.
fn slice(column: &Column, rows: Range<usize>) -> Option<Column> {
    let mut values = Values::new(column.values.field_type());
    let presence = match &column.presence {
        Presence::All => {
            values.append(&column.values, rows);
            Presence::All
        }
        Presence::Some(bits) => {
            let dense = bits.rank(rows.start)..bits.rank(rows.end);
            if dense.is_empty() {
                return None;
            }
            let all = dense.len() == rows.len();
            values.append(&column.values, dense);
            if all {
                Presence::All
            } else {
                let mut own = Bitmap::default();
                rows.for_each(|row| own.push(bits.get(row)));
                Presence::Some(own)
            }
        }
    };
    Some(Column { values, presence })
}
