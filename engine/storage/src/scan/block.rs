//! A block as a place that holds rows: a piece is a chunk, decoded when the scan reaches it and not
//! at all where its statistics are enough.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::block::{Block, BlockCursor, Chunk, FieldStats};
use crate::error::Result;
use crate::model::{ScanRequest, SeriesId, TimeRange};
use crate::scan::piece::{Decoded, Partials, Piece, Pieces, Store};

/// The rows of a block that one request asks for. Series that are read one after another share
/// decoded pages, so the cursor lives as long as the scan; only one series' pieces use it at a time.
#[derive(Debug)]
pub(super) struct BlockStore<'snapshot> {
    block: &'snapshot Block,
    cursor: Arc<Mutex<BlockCursor<'snapshot>>>,
    field_count: usize,
    range: TimeRange,
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
            field_count: request.fields.len(),
            range,
        }))
    }
}

impl<'snapshot> Store<'snapshot> for BlockStore<'snapshot> {
    fn open(
        &self,
        series: SeriesId,
        _range: TimeRange,
        descending: bool,
    ) -> Result<Option<Box<dyn Pieces + 'snapshot>>> {
        let mut chunks = lock(&self.cursor).chunks(series)?;
        if !descending {
            chunks.reverse();
        }
        if chunks.is_empty() {
            return Ok(None);
        }
        Ok(Some(Box::new(BlockPieces {
            cursor: Arc::clone(&self.cursor),
            field_count: self.field_count,
            range: self.range,
            chunks,
        })))
    }

    fn check_intact(&self) -> Result<()> {
        self.block.check_intact()
    }
}

/// The chunks of one series.
#[derive(Debug)]
struct BlockPieces<'snapshot> {
    cursor: Arc<Mutex<BlockCursor<'snapshot>>>,
    field_count: usize,
    range: TimeRange,
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

    fn next_piece(&mut self) -> Result<Piece> {
        let chunk = self
            .chunks
            .pop()
            .expect("asked only where there is a piece");
        let rows = lock(&self.cursor).rows(&chunk)?;
        Ok(Piece::Decoded(match rows {
            Some(rows) => Decoded {
                timestamps: rows.timestamps,
                columns: rows.columns,
            },
            None => Decoded::default(),
        }))
    }

    fn summary(&mut self) -> Result<Option<Partials>> {
        let chunk = self.chunks.last();
        let Some(chunk) = chunk.filter(|chunk| self.is_whole(chunk)) else {
            return Ok(None);
        };
        let mut cursor = lock(&self.cursor);
        let mut partials: Partials = Vec::with_capacity(self.field_count);
        for field in 0..self.field_count {
            partials.push(match cursor.stats(chunk, field)? {
                FieldStats::Unknown => return Ok(None),
                FieldStats::Absent => None,
                FieldStats::Known(partial) => Some(partial),
            });
        }
        Ok(Some(partials))
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
