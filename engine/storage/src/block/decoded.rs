//! The sets that pages share, and pages of statistics, as readers need them: decoded once, and kept as long
//! as there is room.

use std::sync::Arc;

use crate::block::reader::Measurement;
use crate::budget::Kept;
use crate::codec::Shared;
use crate::error::Result;
use crate::format::block::array::PAGE_ENTRIES;
use crate::format::block::bytes::Damage;
use crate::format::block::directory::{FieldEntry, Pages};
use crate::format::block::stats::{self, StatsPage};
use crate::model::AggregateSet;

/// Sets of one column that a reader keeps at most: one for 32 MiB of pages.
const SETS_MAX: usize = 16;

/// A field's statistics are kept where they have so many pages at most: of more a single query would push
/// out all others.
const STATS_PAGES_MAX: usize = 8;

/// What was read last of all blocks of a store, by file and offset. A query of few rows mostly pays for the
/// tables of its sets, one of the newest values for statistics: here they outlive it.
pub type DecodedPages = Kept<(u64, u64), Decoded>;

/// What bytes of a block were decoded to.
#[derive(Clone, Debug)]
pub enum Decoded {
    /// A set that pages share.
    Set(Arc<Shared>),
    /// A page of a field's statistics.
    Stats(Arc<StatsPage>),
}

/// The sets of one column that were read last, the newest at the end: series that are read in an order
/// of their own take turns among a few.
#[derive(Debug, Default)]
pub(super) struct SetCache(Vec<(usize, Arc<Shared>)>);

impl SetCache {
    /// The set that a page names `number`: 0 is none, else it is counted from 1 among `sets`.
    pub(super) fn get(
        &mut self,
        measurement: &Measurement<'_>,
        sets: &Pages,
        number: u64,
    ) -> Result<&Shared> {
        if number == 0 {
            return Ok(Shared::none());
        }
        let at = usize::try_from(number - 1).unwrap_or(usize::MAX);
        if at >= sets.len() {
            return Err(measurement.corrupt(Damage("a page names a set that is none")));
        }
        let known = self.0.iter().position(|(own, _)| *own == at);
        let place = if let Some(place) = known {
            place
        } else {
            let shared = read(measurement, sets, at)?;
            if self.0.len() == SETS_MAX {
                self.0.remove(0);
            }
            self.0.push((at, shared));
            self.0.len() - 1
        };
        Ok(&self.0[place].1)
    }
}

/// Set `at` of `sets`, from those that are kept or from the block.
fn read(measurement: &Measurement<'_>, sets: &Pages, at: usize) -> Result<Arc<Shared>> {
    let span = measurement.entry(|_, bytes| sets.get(bytes, at))?;
    let block = measurement.block();
    let place = (block.meta().file_id, span.offset);
    let kept = block.decoded();
    if let Some(Decoded::Set(shared)) = kept.and_then(|kept| kept.get(place)) {
        return Ok(shared);
    }
    let bytes = block.file().read(span.offset..span.end())?;
    let shared =
        Shared::decode(&bytes).map_err(|error| block.corrupt(span.offset, stats::damage(error)))?;
    let shared = Arc::new(shared);
    if let Some(kept) = kept {
        // What is kept outlives the reader who would have noticed.
        block.check_intact()?;
        let bytes = shared.decoded_bytes();
        kept.put(place, Decoded::Set(Arc::clone(&shared)), bytes);
    }
    Ok(shared)
}

/// Page `page` of a field's statistics, what is `wanted` of it at least; `None` where no chunk of it has a
/// value.
pub(super) fn read_stats(
    measurement: &Measurement<'_>,
    entry: &FieldEntry,
    (page, wanted): (usize, AggregateSet),
) -> Result<Option<Arc<StatsPage>>> {
    let span = measurement.entry(|_, bytes| entry.stats.get(bytes, page))?;
    if span.len == 0 {
        return Ok(None);
    }
    let block = measurement.block();
    let place = (block.meta().file_id, span.offset);
    let kept = block
        .decoded()
        .filter(|_| entry.stats.len() <= STATS_PAGES_MAX);
    let mut wanted = wanted;
    if let Some(Decoded::Stats(stats)) = kept.and_then(|kept| kept.get(place)) {
        if stats.holds().has(wanted) {
            return Ok(Some(stats));
        }
        // Queries that want different things share one.
        wanted = wanted.with(stats.holds());
    }
    let chunks = measurement.directory().chunk_rows.len() - page * PAGE_ENTRIES;
    let bytes = block.file().read(span.offset..span.end())?;
    let stats = StatsPage::decode(&bytes, (entry.field_type, wanted), chunks.min(PAGE_ENTRIES))
        .map_err(|damage| block.corrupt(span.offset, damage))?;
    block.check_intact()?;
    let stats = Arc::new(stats);
    if let Some(kept) = kept {
        let bytes = stats.decoded_bytes();
        kept.put(place, Decoded::Stats(Arc::clone(&stats)), bytes);
    }
    Ok(Some(stats))
}
