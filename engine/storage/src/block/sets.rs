//! The sets that pages share, as a reader needs them: mostly the same one again and again.

use crate::block::reader::Measurement;
use crate::codec::Shared;
use crate::error::Result;
use crate::format::block::bytes::Damage;
use crate::format::block::directory::Pages;
use crate::format::block::stats;

/// The set that was read last.
#[derive(Debug, Default)]
pub(super) struct SetCache(Option<(usize, Shared)>);

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
        if self.0.as_ref().is_none_or(|(own, _)| *own != at) {
            let span = measurement.entry(|_, bytes| sets.get(bytes, at))?;
            let block = measurement.block();
            let bytes = block.file().read(span.offset..span.end())?;
            let shared = Shared::decode(&bytes)
                .map_err(|error| block.corrupt(span.offset, stats::damage(error)))?;
            self.0 = Some((at, shared));
        }
        let (_, shared) = self.0.as_ref().expect("it has just been set");
        Ok(shared)
    }
}
