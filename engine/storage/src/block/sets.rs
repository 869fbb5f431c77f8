//! The sets that pages share, as readers need them: decoded once, and kept as long as there is room.

use std::sync::Arc;

use crate::block::reader::Measurement;
use crate::budget::Kept;
use crate::codec::Shared;
use crate::error::Result;
use crate::format::block::bytes::Damage;
use crate::format::block::directory::Pages;
use crate::format::block::stats;

/// Sets of one column that a reader keeps at most: one for 32 MiB of pages.
const SETS_MAX: usize = 16;

/// Sets of all blocks of a store that were read last, by file and offset. A query of few rows mostly pays
/// for the tables of its sets: here they outlive it.
pub type DecodedSets = Kept<(u64, u64), Arc<Shared>>;

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
    let kept = block.sets();
    if let Some(shared) = kept.and_then(|kept| kept.get(place)) {
        return Ok(shared);
    }
    let bytes = block.file().read(span.offset..span.end())?;
    let shared =
        Shared::decode(&bytes).map_err(|error| block.corrupt(span.offset, stats::damage(error)))?;
    let shared = Arc::new(shared);
    if let Some(kept) = kept {
        // What is kept outlives the reader who would have noticed.
        block.check_intact()?;
        kept.put(place, Arc::clone(&shared), shared.decoded_bytes());
    }
    Ok(shared)
}
