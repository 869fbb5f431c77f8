//! What the columns of a measurement weigh on disk, for those who measure.

use crate::block::reader::Measurement;
use crate::error::Result;
use crate::format::block::directory::Pages;
use crate::model::FieldId;

impl Measurement<'_> {
    /// What the pages of field `id` and what they share take, bytes, without its statistics; 0 where
    /// there is no such field. Cost: an entry of the directory for each group.
    ///
    /// # Errors
    /// `Corrupt` where the block's bytes are damaged.
    pub fn field_bytes(&self, id: FieldId) -> Result<u64> {
        let directory = self.directory();
        directory.field(id).map_or(Ok(0), |index| {
            let field = &directory.fields[index];
            Ok(self.pages_bytes(&field.pages)? + self.pages_bytes(&field.sets)?)
        })
    }

    /// What the times of all rows take, bytes. Cost: as [`Measurement::field_bytes`].
    ///
    /// # Errors
    /// As [`Measurement::field_bytes`].
    pub fn times_bytes(&self) -> Result<u64> {
        let directory = self.directory();
        Ok(self.pages_bytes(&directory.times)? + self.pages_bytes(&directory.time_sets)?)
    }

    fn pages_bytes(&self, pages: &Pages) -> Result<u64> {
        (0..pages.len()).try_fold(0, |sum, page| {
            let span = self.entry(|_, bytes| pages.get(bytes, page))?;
            Ok(sum + span.len)
        })
    }
}
