//! Whether there is any series of a kind, without counting them.

use roaring::RoaringBitmap;

use crate::block::Block;
use crate::error::Result;
use crate::model::{SeriesRequest, Wanted};
use crate::snapshot::Snapshot;
use crate::snapshot::shown::ShownChunks;

impl Snapshot {
    /// Whether [`Snapshot::series`] gives any. Cost: a look at the index of one block after another until
    /// one has such a series, and at each of its series that a delete touches until one shows a row.
    ///
    /// # Errors
    /// As [`Snapshot::series`], where none is found in what can be read.
    pub fn has_series(&self, request: SeriesRequest<'_>) -> Result<bool> {
        let mut met = None;
        for policy in self.policies.keys() {
            if request.policy.is_some_and(|wanted| wanted != *policy) {
                continue;
            }
            for block in self.blocks(*policy) {
                if block.meta().range.intersect(request.range).is_empty() {
                    continue;
                }
                match self.block_has(block, request) {
                    Ok(true) => return Ok(true),
                    Ok(false) => {}
                    Err(error) => drop(met.get_or_insert(error)),
                }
            }
        }
        // Behind the blocks: it may have to sort rows.
        if self.live_has(request) {
            return Ok(true);
        }
        met.map_or(Ok(()), Err)?;
        self.check_blocks(request.policy, request.range)?;
        Ok(false)
    }

    fn block_has(&self, block: &Block, request: SeriesRequest<'_>) -> Result<bool> {
        let Some(own) = block.measurement(request.measurement)? else {
            return Ok(false);
        };
        let info = self.info(request.measurement);
        let names = |name: &[u8]| self.catalog.tag_key_in(info, name);
        let ordinals: RoaringBitmap = own.index().select(request.predicate, &names)?;
        let mut shown = ShownChunks::new(block, request.measurement, &self.tombstones)?;
        let mut found = !ordinals.is_empty();
        if shown.is_touched() {
            found = false;
            for ordinal in &ordinals {
                found = shown.shows(own.index().series_id(ordinal as usize)?)?;
                if found {
                    break;
                }
            }
        }
        block.check_intact()?;
        Ok(found)
    }

    fn live_has(&self, request: SeriesRequest<'_>) -> bool {
        if !self.is_live(request.measurement, request.policy, request.range) {
            return false;
        }
        let info = self.info(request.measurement);
        let names = |name: &[u8]| self.catalog.tag_key_in(info, name);
        let wanted = Wanted {
            measurement: request.measurement,
            predicate: request.predicate,
            names: &names,
            is_known: &|key| self.catalog.tag_key_name(key).is_some(),
        };
        let shown = self.shown_runs(request.measurement, request.policy);
        self.indexes.iter().any(|index| {
            let selection = index.select(&wanted);
            if !shown.is_touched() {
                return !selection.is_empty();
            }
            let mut found = false;
            // Once one is found the others are passed over.
            index.filter(&selection, &mut |id| {
                found = found || shown.shows(id);
                false
            });
            found
        })
    }
}
