//! Writes a block front to back in bounded memory: a group of rows, the pages not yet on their way
//! to the disk (32 MiB), and some tens of bytes for each series of the measurement at hand.

use std::ops::Range;
use std::sync::Arc;

use crate::block::measure::{MeasurementWriter, PENDING_BYTES_MAX};
use crate::budget::{Budget, Charge, Class};
use crate::codec::Effort;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::format::block::stats::ChunkTimes;
use crate::format::block::{
    BlockInfo, BlockMeta, Footer, MeasurementEntry, SECTION_MEASUREMENTS, Span, block_path,
    block_temporary_path,
};
use crate::format::header::{FileHeader, FileKind};
use crate::format::sealed::{self, SealedWriter};
use crate::model::{MeasurementId, Rows, SeriesEntry};

/// Writes one block. It has its final name, durably, once [`BlockWriter::finish`] returns; dropped
/// before that, it leaves nothing.
#[derive(Debug)]
pub struct BlockWriter {
    env: Arc<dyn Env>,
    file_id: u64,
    info: BlockInfo,
    effort: Effort,
    file: Option<SealedWriter>,
    current: Option<MeasurementWriter>,
    done: Vec<MeasurementEntry>,
    row_count: u64,
    times: Option<ChunkTimes>,
    field_types: u8,
    pending_bytes_max: usize,
    /// What is held, where somebody counts it.
    charge: Option<Charge>,
}

impl BlockWriter {
    /// Starts block `file_id` of data directory `directory_id`, under a temporary name.
    ///
    /// # Errors
    /// `Io` or `NoSpace`.
    pub fn create(
        env: &Arc<dyn Env>,
        file_id: u64,
        directory_id: u128,
        info: BlockInfo,
        effort: Effort,
    ) -> Result<BlockWriter> {
        let path = block_temporary_path(file_id);
        let file = env
            .create(&path)
            .map_err(|source| Error::io("make block", &path, source))?;
        let header = FileHeader::new(FileKind::Block, directory_id, file_id);
        Ok(BlockWriter {
            env: Arc::clone(env),
            file_id,
            info,
            effort,
            file: Some(SealedWriter::new(file, &path, &header)),
            current: None,
            done: Vec::new(),
            row_count: 0,
            times: None,
            field_types: 0,
            pending_bytes_max: PENDING_BYTES_MAX,
            charge: None,
        })
    }

    /// The same with less memory for pages on their way: what many of them together may take is
    /// shared between them. Smaller stretches of each field follow one another then.
    #[must_use]
    pub fn with_pending_bytes_max(mut self, bytes: usize) -> BlockWriter {
        self.pending_bytes_max = bytes.min(self.pending_bytes_max);
        self
    }

    /// The same, counting what it holds of rows, pages and keys.
    #[must_use]
    pub fn counted_in(mut self, budget: &Arc<Budget>) -> BlockWriter {
        self.charge = Some(budget.charge(Class::Upkeep, 0));
        self
    }

    /// Ends the measurement at hand and starts `measurement`. One without rows leaves no trace.
    ///
    /// # Errors
    /// `Io` or `NoSpace`; `Limit` where a key is too long to be kept.
    ///
    /// # Panics
    /// If measurements do not come in ascending order.
    pub fn begin_measurement(&mut self, measurement: MeasurementId) -> Result<()> {
        self.end_measurement()?;
        let last = self.done.last().map(|entry| entry.id);
        assert!(last < Some(measurement), "measurements come in order");
        self.current = Some(MeasurementWriter::new(
            measurement,
            self.effort,
            self.pending_bytes_max,
        ));
        Ok(())
    }

    /// Appends rows of the measurement at hand, sorted by (series, time), one per series and time,
    /// behind what came before; `series` are those the rows have, each once, in the order of
    /// canonical keys. A series may go on from the last call.
    ///
    /// # Errors
    /// As [`BlockWriter::begin_measurement`].
    ///
    /// # Panics
    /// If the rows are of another measurement, out of order, or of a series not in `series`.
    pub fn push(&mut self, rows: &Rows, series: &[SeriesEntry]) -> Result<()> {
        let current = self.current.as_mut().expect("a measurement has begun");
        let file = self.file.as_mut().expect("the block is not finished");
        assert_eq!(
            rows.measurement, current.id,
            "rows of the measurement at hand"
        );
        let mut entries = series.iter();
        let mut start = 0;
        while start < rows.len() {
            let id = rows.series[start];
            let len = rows.series[start..]
                .iter()
                .take_while(|own| **own == id)
                .count();
            let entry = entries.next().expect("each series of the rows has its key");
            assert_eq!(entry.id, id, "rows and series come in one order");
            current.push_series(entry, (rows, start..start + len), file)?;
            start += len;
        }
        let held = current.held_bytes();
        if let Some(charge) = &mut self.charge
            && charge.bytes() != held
        {
            charge.resize(held);
        }
        Ok(())
    }

    /// As [`BlockWriter::push`]: `range` of `rows`, all of series `entry`.
    ///
    /// # Errors
    /// As [`BlockWriter::begin_measurement`].
    ///
    /// # Panics
    /// As [`BlockWriter::push`].
    pub fn push_series(
        &mut self,
        rows: &Rows,
        range: Range<usize>,
        entry: &SeriesEntry,
    ) -> Result<()> {
        let current = self.current.as_mut().expect("a measurement has begun");
        let file = self.file.as_mut().expect("the block is not finished");
        current.push_series(entry, (rows, range), file)
    }

    fn end_measurement(&mut self) -> Result<()> {
        let Some(current) = self.current.take() else {
            return Ok(());
        };
        let file = self.file.as_mut().expect("the block is not finished");
        let id = current.id;
        if let Some(parts) = current.finish(file)? {
            for field in &parts.fields {
                self.field_types |= 1 << field.field_type.code();
            }
            for group in &parts.groups {
                let times = self.times.get_or_insert(ChunkTimes {
                    first: group.time_first,
                    last: group.time_last,
                });
                times.first = times.first.min(group.time_first);
                times.last = times.last.max(group.time_last);
            }
            self.row_count += parts.row_count;
            let mut bytes = Vec::new();
            parts.encode(&mut bytes);
            let directory = append(file, &bytes)?;
            self.done.push(MeasurementEntry { id, directory });
        }
        Ok(())
    }

    /// Writes what is left, syncs the file, gives it its name and syncs the folder. The manifest is
    /// the caller's. Without any row there is no block: `None`.
    ///
    /// # Errors
    /// `Io` or `NoSpace`; `Limit` where a key is too long to be kept.
    ///
    /// # Panics
    /// Never: it is called once.
    pub fn finish(mut self) -> Result<Option<BlockMeta>> {
        self.end_measurement()?;
        let Some(times) = self.times else {
            return Ok(None);
        };
        let file = self.file.as_mut().expect("the block is not finished");
        let mut list = Vec::new();
        self.done.iter().for_each(|entry| entry.encode(&mut list));
        let list = append(file, &list)?;
        let footer = Footer {
            info: self.info,
            field_types: self.field_types,
            time_first: times.first,
            time_last: times.last,
            row_count: self.row_count,
            sections: vec![(SECTION_MEASUREMENTS, list)],
        };
        let mut bytes = Vec::new();
        footer.encode(&mut bytes);
        let len = u32::try_from(bytes.len()).expect("a footer is small");
        bytes.extend_from_slice(&len.to_le_bytes());
        append(file, &bytes)?;
        let file = self.file.take().expect("the block is not finished");
        let sealed = file.finish().and_then(|size_bytes| {
            let (temporary, name) = (block_temporary_path(self.file_id), block_path(self.file_id));
            sealed::publish(&*self.env, &temporary, &name)?;
            Ok(size_bytes)
        });
        match sealed {
            Ok(size_bytes) => Ok(Some(footer.meta(self.file_id, size_bytes))),
            Err(error) => {
                self.remove();
                Err(error)
            }
        }
    }

    /// Takes the temporary file away; what cannot be removed is removed at the next start.
    fn remove(&self) {
        self.env.remove(&block_temporary_path(self.file_id)).ok();
    }
}

impl Drop for BlockWriter {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            self.remove();
        }
    }
}

fn append(file: &mut SealedWriter, bytes: &[u8]) -> Result<Span> {
    let offset = file.position();
    file.write(bytes)?;
    Ok(Span {
        offset,
        len: bytes.len() as u64,
    })
}
