//! The sets that pages share, as a reader needs them: series that are read in an order of their own
//! take turns among a few.

use crate::block::reader::Measurement;
use crate::codec::Shared;
use crate::error::Result;
use crate::format::block::bytes::Damage;
use crate::format::block::directory::Pages;
use crate::format::block::stats;

/// Sets of one column that are kept at most: one for 32 MiB of pages.
const SETS_MAX: usize = 16;

/// The sets that were read last, the newest at the end.
#[derive(Debug, Default)]
pub(super) struct SetCache(Vec<(usize, Shared)>);

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
            let span = measurement.entry(|_, bytes| sets.get(bytes, at))?;
            let block = measurement.block();
            let bytes = block.file().read(span.offset..span.end())?;
            let shared = Shared::decode(&bytes)
                .map_err(|error| block.corrupt(span.offset, stats::damage(error)))?;
            if self.0.len() == SETS_MAX {
                self.0.remove(0);
            }
            self.0.push((at, shared));
            self.0.len() - 1
        };
        Ok(&self.0[place].1)
    }
}
