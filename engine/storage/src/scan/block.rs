//! A block as a place that holds rows: a piece is a chunk, decoded when the scan reaches it and not
//! at all where its statistics are enough.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::block::{Block, BlockCursor, Chunk};
use crate::error::Result;
use crate::model::{FieldWindows, RowFilter, ScanRequest, SeriesId, TimeRange};
use crate::scan::entries::Entries;
use crate::scan::piece::{Decoded, Piece, Pieces, Store};

/// Values that are read in the time that it takes to find a series and its statistics, about: 0.6 us.
const SERIES_VALUES: u64 = 512;

/// The rows of a block that one request asks for. Series that are read one after another share
/// decoded pages, so the cursor lives as long as the scan; only one series' pieces use it at a time.
#[derive(Debug)]
pub(super) struct BlockStore<'snapshot> {
    block: &'snapshot Block,
    cursor: Arc<Mutex<BlockCursor<'snapshot>>>,
    range: TimeRange,
    filter: Option<Arc<dyn RowFilter>>,
}

impl<'snapshot> BlockStore<'snapshot> {
    /// The store of `block`, or `None` where it has nothing that `request` asks for.
    ///
    /// # Errors
    /// `Corrupt` or `Io` where the block's directory cannot be read.
    pub(super) fn new(
        block: &'snapshot Block,
        request: &ScanRequest,
    ) -> Result<Option<BlockStore<'snapshot>>> {
        let range = block.meta().range.intersect(request.range);
        if range.is_empty() {
            return Ok(None);
        }
        let Some(measurement) = block.measurement(request.measurement)? else {
            return block.check_intact().map(|()| None);
        };
        if !measurement
            .fields()
            .any(|(field, _)| request.fields.contains(&field))
        {
            return Ok(None);
        }
        // Retention may have cut the block's range: rows before it count as dropped.
        let cursor = measurement.cursor(&request.fields, range);
        block.check_intact()?;
        Ok(Some(BlockStore {
            block,
            cursor: Arc::new(Mutex::new(cursor)),
            range,
            filter: request.filter.clone(),
        }))
    }
}

impl<'snapshot> Store<'snapshot> for BlockStore<'snapshot> {
    fn open(
        &self,
        (number, series): (usize, SeriesId),
        _range: TimeRange,
        descending: bool,
        into: &mut dyn FnMut(Box<dyn Pieces + 'snapshot>),
    ) -> Result<()> {
        let mut chunks = lock(&self.cursor).chunks(series)?;
        if !descending {
            chunks.reverse();
        }
        if !chunks.is_empty() {
            into(Box::new(BlockPieces {
                cursor: Arc::clone(&self.cursor),
                range: self.range,
                filter: self.filter.clone(),
                number,
                chunks,
            }));
        }
        Ok(())
    }

    fn values(&self, series: &[SeriesId], in_one_window: &dyn Fn(TimeRange) -> bool) -> u64 {
        let whole = self.block.meta().range;
        let found = (series.len() as u64).saturating_mul(SERIES_VALUES);
        if self.range == whole && in_one_window(whole) {
            return found;
        }
        let cursor = lock(&self.cursor);
        let measurement = cursor.measurement();
        let share = |all: u128, some: u128, of: u128| all * some.min(of) / of.max(1);
        let width = |range: TimeRange| u128::from(range.end.abs_diff(range.start));
        let rows = u128::from(measurement.row_count()) * cursor.field_count() as u128;
        let rows = share(
            rows,
            series.len() as u128,
            measurement.series_count() as u128,
        );
        let rows = share(rows, width(self.range), width(whole));
        u64::try_from(rows).map_or(u64::MAX, |rows| rows.saturating_add(found))
    }

    fn check_intact(&self) -> Result<()> {
        self.block.check_intact()
    }
}

/// The chunks of one series.
#[derive(Debug)]
struct BlockPieces<'snapshot> {
    cursor: Arc<Mutex<BlockCursor<'snapshot>>>,
    range: TimeRange,
    filter: Option<Arc<dyn RowFilter>>,
    /// Of the series in the request.
    number: usize,
    /// Those not read yet, the next one last.
    chunks: Vec<Chunk>,
}

impl BlockPieces<'_> {
    /// Whether the chunk's statistics tell of what the scan may see of it.
    fn is_whole(&self, chunk: &Chunk) -> bool {
        chunk.has_stats() && chunk.range().intersect(self.range) == chunk.range()
    }
}

impl Pieces for BlockPieces<'_> {
    fn span(&self) -> Option<(i64, i64)> {
        let chunk = self.chunks.last()?;
        let range = if self.is_whole(chunk) {
            chunk.range()
        } else {
            // The span of all series of the group, mostly: no row outside the scan's range is read.
            chunk.range().intersect(self.range)
        };
        Some((range.start, range.end - 1))
    }

    fn next_piece(&mut self, alone: bool) -> Result<Piece> {
        let chunk = self
            .chunks
            .pop()
            .expect("asked only where there is a piece");
        let mut cursor = lock(&self.cursor);
        let found = match self.filter.as_deref().filter(|_| alone) {
            Some(filter) => cursor.chosen_rows(&chunk, (filter, self.number))?,
            None => cursor.rows(&chunk)?.map(|rows| (rows, None)),
        };
        let Some((rows, chosen)) = found else {
            return Ok(Piece::Decoded(Decoded::default()));
        };
        let all = Decoded {
            timestamps: rows.timestamps,
            columns: rows.columns,
        };
        Ok(Piece::Decoded(match chosen {
            Some(chosen) => all.pick(&chosen),
            None => all,
        }))
    }

    fn summary(&mut self, into: &mut [FieldWindows]) -> Result<bool> {
        let chunk = self.chunks.last();
        let Some(chunk) = chunk.filter(|chunk| self.is_whole(chunk)) else {
            return Ok(false);
        };
        lock(&self.cursor).push_stats(chunk, into)
    }

    fn add_rows(&mut self, entries: &mut Entries<'_>) -> Result<Option<usize>> {
        let Some(chunk) = self.chunks.last() else {
            return Ok(None);
        };
        let mut cursor = lock(&self.cursor);
        let Some(alone) = cursor.alone(chunk)? else {
            return Ok(None);
        };
        entries.begin(alone.times());
        for field in 0..cursor.fields() {
            let wanted = entries.wanted(field);
            let column = cursor.column_alone(&alone, (field, wanted))?;
            entries.push(field, alone.times(), &column);
        }
        entries.end();
        cursor.measurement().block().check_intact()?;
        Ok(Some(alone.times().len()))
    }

    fn skip_piece(&mut self) {
        self.chunks.pop();
    }
}

/// The cursor. A panic while a page is decoded leaves it as it was before.
fn lock<'cursor, 'snapshot>(
    cursor: &'cursor Mutex<BlockCursor<'snapshot>>,
) -> MutexGuard<'cursor, BlockCursor<'snapshot>> {
    cursor.lock().unwrap_or_else(PoisonError::into_inner)
}
