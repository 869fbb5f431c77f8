//! Opens a block and finds things in it. Opening reads the footer only; what is read later is
//! checked then.

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::block::cursor::BlockCursor;
use crate::block::decoded::{DecodedPages, SetCache};
use crate::block::times::Times;
use crate::codec::{self, DecodeError, Shared};
use crate::env::{Env, ReadFile};
use crate::error::{Error, ErrorKind, Result};
use crate::format::block::array::unbiased;
use crate::format::block::bytes::{Damage, Taker};
use crate::format::block::directory::Directory;
use crate::format::block::stats;
use crate::format::block::{
    BlockMeta, Footer, GROUP_ROWS_MAX, MEASUREMENT_BYTES, MeasurementEntry, SECTION_MEASUREMENTS,
    Span, block_path,
};
use crate::format::header::{FileHeader, FileKind};
use crate::format::sealed::SealedReader;
use crate::index::{InvertedIndex, SeriesWalk, TagKeyNames};
use crate::model::{
    FieldId, FieldType, MeasurementId, SeriesEntry, SeriesId, TagPredicate, TimeRange,
};

/// Length of the footer's length at the end of the contents, bytes.
const LENGTH_BYTES: u64 = 4;

/// A block, open for reading; many may read at once.
#[derive(Debug)]
pub struct Block {
    file: SealedReader,
    footer: Footer,
    measurements: Span,
    meta: BlockMeta,
    decoded: Option<Arc<DecodedPages>>,
}

impl Block {
    /// Opens the block that `meta`, an entry of the manifest of data directory `directory_id`,
    /// tells of. Cost: reads header, footer and checksums, 30 us for 1 GiB.
    ///
    /// # Errors
    /// `Corrupt` where the file is damaged or is not what the manifest says; `Conflict` where it
    /// belongs elsewhere or a newer build wrote it; `NotFound` where there is none; `Io`.
    pub fn open(env: &dyn Env, directory_id: u128, meta: &BlockMeta) -> Result<Block> {
        Block::open_as(env.open_read(&block_path(meta.file_id)), directory_id, meta)
    }

    /// The same, never mapped: for those who read it once, front to back.
    ///
    /// # Errors
    /// As [`Block::open`].
    pub fn open_unmapped(env: &dyn Env, directory_id: u128, meta: &BlockMeta) -> Result<Block> {
        let file = env.open_unmapped(&block_path(meta.file_id));
        Block::open_as(file, directory_id, meta)
    }

    fn open_as(
        file: io::Result<Arc<dyn ReadFile>>,
        directory_id: u128,
        meta: &BlockMeta,
    ) -> Result<Block> {
        let path = block_path(meta.file_id);
        let file = file.map_err(|source| {
            if source.kind() == io::ErrorKind::NotFound {
                Error::new(ErrorKind::NotFound, "the block's file is missing").at(&path, 0)
            } else {
                Error::io("open block", &path, source)
            }
        })?;
        let mut block = Block::from_file(file, directory_id, meta.file_id)?;
        // Retention may have clipped what the manifest says of the times, nothing else.
        let own = BlockMeta {
            range: meta.range,
            ..block.meta
        };
        let range = meta.range.intersect(block.meta.range);
        if own == *meta && range == meta.range && !range.is_empty() {
            block.meta = own;
            return Ok(block);
        }
        let message = format!(
            "the block is not the one that the manifest names: {:?} in place of {meta:?}",
            block.meta
        );
        Err(Error::corrupt(&path, 0, message))
    }

    /// The block that `file` is, whatever a manifest says of it.
    ///
    /// # Errors
    /// As [`Block::open`].
    pub fn from_file(file: Arc<dyn ReadFile>, directory_id: u128, file_id: u64) -> Result<Block> {
        let path = block_path(file_id);
        let header = FileHeader::new(FileKind::Block, directory_id, file_id);
        let file = SealedReader::open(file, &path, &header)?;
        let end = file.contents_bytes();
        let corrupt = |damage: Damage| Error::corrupt(&path, end, damage.0);
        let cut = || corrupt(Damage("the block ends before its footer"));
        let at = end.checked_sub(LENGTH_BYTES).ok_or_else(cut)?;
        let length = file.read(at..end)?;
        let length = length.first_chunk().copied().ok_or_else(cut)?;
        let length = u64::from(u32::from_le_bytes(length));
        let start = at.checked_sub(length).ok_or_else(cut)?;
        let footer = Footer::decode(&file.read(start..at)?).map_err(corrupt)?;
        let measurements = footer
            .section(SECTION_MEASUREMENTS)
            .ok_or_else(|| corrupt(Damage("the block has no list of measurements")))?;
        let whole = measurements.len.is_multiple_of(MEASUREMENT_BYTES as u64);
        if !whole || measurements.end() > start {
            return Err(corrupt(Damage("the list of measurements has no place")));
        }
        let meta = footer.meta(file_id, file.size_bytes());
        Ok(Block {
            file,
            footer,
            measurements,
            meta,
            decoded: None,
        })
    }

    /// Keeps what is worth it of what is decoded among that of other blocks.
    #[must_use]
    pub fn with_decoded(mut self, decoded: &Arc<DecodedPages>) -> Block {
        self.decoded = Some(Arc::clone(decoded));
        self
    }

    pub(super) fn decoded(&self) -> Option<&DecodedPages> {
        self.decoded.as_deref()
    }

    /// What the manifest says of the block; its range may be narrower than the rows'.
    pub fn meta(&self) -> &BlockMeta {
        &self.meta
    }

    /// Whether any field has values of `field_type`.
    pub fn holds(&self, field_type: FieldType) -> bool {
        self.footer.holds(field_type)
    }

    /// The framed file, for those who check every byte or count damage.
    pub fn file(&self) -> &SealedReader {
        &self.file
    }

    /// The measurements that have rows here, ascending.
    ///
    /// # Errors
    /// `Corrupt` where the block's bytes are damaged; `Io`.
    pub fn measurements(&self) -> Result<Vec<MeasurementId>> {
        let list = self.list()?;
        (0..list.len() / MEASUREMENT_BYTES)
            .map(|index| Ok(self.entry(&list, index)?.id))
            .collect()
    }

    /// What the block holds of measurement `id`, if anything. Cost: a binary search, and per field.
    ///
    /// # Errors
    /// As [`Block::measurements`].
    pub fn measurement(&self, id: MeasurementId) -> Result<Option<Measurement<'_>>> {
        let list = self.list()?;
        let count = list.len() / MEASUREMENT_BYTES;
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(&list, middle)?.id < id {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if low == count {
            return Ok(None);
        }
        let entry = self.entry(&list, low)?;
        if entry.id != id {
            return Ok(None);
        }
        Measurement::open(self, entry).map(Some)
    }

    fn list(&self) -> Result<Cow<'_, [u8]>> {
        self.file
            .read(self.measurements.offset..self.measurements.end())
    }

    fn entry(&self, list: &[u8], index: usize) -> Result<MeasurementEntry> {
        let entry = MeasurementEntry::decode(list, index);
        entry.map_err(|damage| self.corrupt(self.measurements.offset, damage))
    }

    /// Whether all that was read of the block so far was what the file holds: see
    /// [`SealedReader::check_intact`].
    ///
    /// # Errors
    /// `Corrupt` where the file was cut, or its disk failed, under its readers; `Io`.
    pub fn check_intact(&self) -> Result<()> {
        self.file.check_intact()
    }

    pub(super) fn corrupt(&self, offset: u64, damage: Damage) -> Error {
        self.file.corrupt(offset, damage.0)
    }
}

/// What a block holds of one measurement.
#[derive(Debug)]
pub struct Measurement<'block> {
    block: &'block Block,
    id: MeasurementId,
    at: u64,
    bytes: Cow<'block, [u8]>,
    directory: Directory,
}

impl<'block> Measurement<'block> {
    fn open(block: &'block Block, entry: MeasurementEntry) -> Result<Measurement<'block>> {
        let at = entry.directory.offset;
        let bytes = block.file.read(at..entry.directory.end())?;
        let directory = Directory::decode(&bytes).map_err(|damage| block.corrupt(at, damage))?;
        Ok(Measurement {
            block,
            id: entry.id,
            at,
            bytes,
            directory,
        })
    }

    /// The measurement.
    pub fn id(&self) -> MeasurementId {
        self.id
    }

    /// How many series have rows here.
    pub fn series_count(&self) -> usize {
        self.directory.series.len()
    }

    /// How many rows there are.
    pub fn row_count(&self) -> u64 {
        self.directory.row_count
    }

    /// The fields that have values here and their types, ascending by id.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (FieldId, FieldType)> {
        let fields = self.directory.fields.iter();
        fields.map(|field| (field.id, field.field_type))
    }

    /// The series whose tags satisfy `predicate`, in the order of canonical keys; exactly those for
    /// which [`TagPredicate::holds`]. `names` are the tag keys of the database. Cost:
    /// [`InvertedIndex::select`].
    ///
    /// # Errors
    /// As [`Block::measurements`].
    pub fn select(
        &self,
        predicate: &TagPredicate,
        names: TagKeyNames<'_>,
    ) -> Result<Vec<SeriesId>> {
        let index = self.index();
        let ordinals = index.select(predicate, names)?;
        ordinals
            .into_iter()
            .map(|ordinal| index.series_id(ordinal as usize))
            .collect()
    }

    /// All series, in the order of canonical keys.
    ///
    /// # Errors
    /// As [`Block::measurements`].
    pub fn series_ids(&self) -> Result<Vec<SeriesId>> {
        let index = self.index();
        (0..self.series_count())
            .map(|ordinal| index.series_id(ordinal))
            .collect()
    }

    /// Whether `series` has rows here. Cost: a binary search.
    ///
    /// # Errors
    /// As [`Block::measurements`].
    pub fn has_series(&self, series: SeriesId) -> Result<bool> {
        Ok(self.index().ordinal(series)?.is_some())
    }

    /// `series` with its key, if it has rows here. Cost: 10 us; walk them where many are wanted.
    ///
    /// # Errors
    /// As [`Block::measurements`].
    pub fn series_entry(&self, series: SeriesId) -> Result<Option<SeriesEntry>> {
        let Some(ordinal) = self.index().ordinal(series)? else {
            return Ok(None);
        };
        let entry = self.index().keys(ordinal).advance()?;
        Ok(entry.map(|(_, entry)| entry))
    }

    /// Walks all series with their keys, in the order of canonical keys. Cost: 0.1 us each.
    pub fn walk(&self) -> SeriesWalk<'_> {
        self.index().keys(0)
    }

    /// The span from the earliest row to behind the latest.
    ///
    /// # Errors
    /// As [`Block::measurements`].
    pub fn range(&self) -> Result<TimeRange> {
        let (mut first, mut last) = (i64::MAX, i64::MIN);
        for group in 0..self.group_count() {
            let times = self.group_times(group)?;
            first = first.min(times.start);
            last = last.max(times.end);
        }
        Ok(TimeRange {
            start: first,
            end: last,
        })
    }

    /// Starts reading `fields` within `range`.
    pub fn cursor(self, fields: &[FieldId], range: TimeRange) -> BlockCursor<'block> {
        BlockCursor::new(self, fields, range)
    }

    /// The index of the measurement's series.
    pub fn index(&self) -> InvertedIndex<'_> {
        InvertedIndex::new(&self.block.file, self.id, (&self.directory, &self.bytes))
    }

    /// The block.
    pub fn block(&self) -> &'block Block {
        self.block
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// An entry of the directory, or the damage that keeps it from being read.
    pub(super) fn entry<T>(
        &self,
        get: impl FnOnce(&Directory, &[u8]) -> std::result::Result<T, Damage>,
    ) -> Result<T> {
        get(&self.directory, &self.bytes).map_err(|damage| self.corrupt(damage))
    }

    /// How many groups the rows are cut into.
    pub fn group_count(&self) -> usize {
        self.directory.group_rows.len()
    }

    /// The rows of group `group`; at least one, at most [`GROUP_ROWS_MAX`].
    pub(super) fn group_rows(&self, group: usize) -> Result<Range<u64>> {
        let rows = self.entry(|directory, bytes| {
            let start = directory.group_rows.get(bytes, group)?;
            let end = if group + 1 < directory.group_rows.len() {
                directory.group_rows.get(bytes, group + 1)?
            } else {
                directory.row_count
            };
            Ok(start..end)
        })?;
        let len = rows.end.checked_sub(rows.start);
        match len {
            Some(len) if len > 0 && len <= GROUP_ROWS_MAX as u64 => Ok(rows),
            _ => Err(self.corrupt(Damage("a group has no rows or too many"))),
        }
    }

    /// How many rows group `group` has.
    ///
    /// # Errors
    /// As [`Measurement::timestamps`].
    pub fn group_row_count(&self, group: usize) -> Result<usize> {
        let rows = self.group_rows(group)?;
        usize::try_from(rows.end - rows.start)
            .map_err(|_| self.corrupt(Damage("a group has too many rows")))
    }

    /// The times of all rows of group `group`, in the order of the block.
    ///
    /// # Errors
    /// As [`Block::measurements`]; `Corrupt` too where there are not that many groups.
    pub fn timestamps(&self, group: usize) -> Result<Vec<i64>> {
        self.timestamps_with(group, &mut SetCache::default())
    }

    /// As [`Measurement::timestamps`], the sets that pages share read once.
    pub(super) fn timestamps_with(&self, group: usize, sets: &mut SetCache) -> Result<Vec<i64>> {
        self.with_times(group, sets, codec::decode_timestamps_with)
    }

    /// The times of all rows of group `group`, as they are kept.
    pub(super) fn times_with(&self, group: usize, sets: &mut SetCache) -> Result<Times> {
        self.with_times(group, sets, |stream, count, shared| {
            Ok(match codec::decode_even(stream, count)? {
                Some((first, step)) => Times::Even { first, step, count },
                None => Times::Each(codec::decode_timestamps_with(stream, count, shared)?),
            })
        })
    }

    /// What `decode` makes of the times of group `group`: their stream, how many they are, and their set.
    fn with_times<T>(
        &self,
        group: usize,
        sets: &mut SetCache,
        decode: impl FnOnce(&[u8], usize, &Shared) -> std::result::Result<T, DecodeError>,
    ) -> Result<T> {
        let count = self.group_row_count(group)?;
        let span = self.entry(|directory, bytes| directory.times.get(bytes, group))?;
        let bytes = self.block.file.read(span.offset..span.end())?;
        let corrupt = |damage: Damage| self.block.corrupt(span.offset, damage);
        let mut taker = Taker::new(&bytes);
        let number = taker.varint().map_err(corrupt)?;
        let shared = sets.get(self, &self.directory.time_sets, number)?;
        let stream = taker.take(taker.remaining()).map_err(corrupt)?;
        decode(stream, count, shared).map_err(|error| corrupt(stats::damage(error)))
    }

    /// From the earliest time of group `group` to behind its latest.
    ///
    /// # Errors
    /// As [`Measurement::timestamps`].
    pub fn group_times(&self, group: usize) -> Result<TimeRange> {
        self.entry(|directory, bytes| {
            let start = unbiased(directory.group_firsts.get(bytes, group)?);
            let last = unbiased(directory.group_lasts.get(bytes, group)?);
            let end = last.checked_add(1).filter(|end| start < *end);
            let end = end.ok_or(Damage("a group ends before it starts"))?;
            Ok(TimeRange { start, end })
        })
    }

    /// The rows of the series at `ordinal`; at least one.
    pub(super) fn series_rows(&self, ordinal: usize) -> Result<Range<u64>> {
        let rows = self.entry(|directory, bytes| {
            let start = directory.series_rows.get(bytes, ordinal)?;
            let end = if ordinal + 1 < directory.series_rows.len() {
                directory.series_rows.get(bytes, ordinal + 1)?
            } else {
                directory.row_count
            };
            Ok(start..end)
        })?;
        if rows.is_empty() || rows.end > self.directory.row_count {
            return Err(self.corrupt(Damage("a series has no rows or too many")));
        }
        Ok(rows)
    }

    pub(super) fn corrupt(&self, damage: Damage) -> Error {
        self.block.corrupt(self.at, damage)
    }
}
