//! One measurement of several blocks, merged series by series in the order of canonical keys. Rows
//! come in pieces of a group; only pieces that meet in time are merged row by row.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::block::{Block, BlockCursor, BlockRows, Chunk};
use crate::error::{Error, Result};
use crate::memtable::{Run, pick_rows};
use crate::model::{
    CanonicalKey, FieldId, FieldType, Hides, MeasurementId, Presence, Rows, Sequence, SeriesEntry,
    TimeRange, Tombstones, visible,
};
use crate::upkeep::compact::merge::{Taken, stopped};

/// One block's rows of a measurement within a span of time.
pub(super) struct Source<'block> {
    cursor: BlockCursor<'block>,
    fields: Vec<(FieldId, FieldType)>,
    /// Fields were dropped: some rows may have no value any more.
    has_fewer: bool,
    /// Keys not yet merged; read ahead by the run.
    keys: VecDeque<(usize, SeriesEntry)>,
    /// Chunks of the series at hand.
    chunks: VecDeque<Chunk>,
    /// Rows of the series at hand that have been read and not yet been written.
    rows: Option<BlockRows>,
    /// Time of the last row read of the series at hand.
    last_time: Option<i64>,
    block: &'block Block,
    /// What deletes hide of the block, and when of the series at hand.
    hides: Hides,
    hidden: Vec<TimeRange>,
    next_ordinal: usize,
    last_key: Option<Box<[u8]>>,
}

/// Series whose keys are read at once.
const KEYS_AHEAD: usize = 128;

impl<'block> Source<'block> {
    /// What `block` has of measurement `id` in `range`, unless that is nothing.
    pub(super) fn open(
        block: &'block Block,
        id: MeasurementId,
        (range, has_field): (TimeRange, &dyn Fn(MeasurementId, FieldId) -> bool),
    ) -> Result<Option<Source<'block>>> {
        let Some(measurement) = block.measurement(id)? else {
            return Ok(None);
        };
        if measurement.range()?.intersect(range).is_empty() {
            return Ok(None);
        }
        let all = measurement.fields();
        let field_count = all.len();
        let fields: Vec<(FieldId, FieldType)> =
            all.filter(|(field, _)| has_field(id, *field)).collect();
        let ids: Vec<FieldId> = fields.iter().map(|(id, _)| *id).collect();
        Ok(Some(Source {
            cursor: measurement.cursor(&ids, range),
            has_fewer: fields.len() < field_count,
            fields,
            keys: VecDeque::new(),
            chunks: VecDeque::new(),
            rows: None,
            last_time: None,
            block,
            hides: Hides::default(),
            hidden: Vec::new(),
            next_ordinal: 0,
            last_key: None,
        }))
    }

    /// The same without what `tombstones` hide.
    pub(super) fn without(mut self, tombstones: &Tombstones) -> Source<'block> {
        let info = &self.block.meta().info;
        let measurement = self.cursor.measurement().id();
        self.hides = tombstones.hides(info.sequences.last, info.policy, measurement);
        self
    }

    /// The next series, `None` behind the last.
    fn peek(&mut self) -> Result<Option<&SeriesEntry>> {
        if self.keys.is_empty() {
            self.read_keys()?;
        }
        Ok(self.keys.front().map(|(_, entry)| entry))
    }

    fn read_keys(&mut self) -> Result<()> {
        let measurement = self.cursor.measurement();
        let mut walk = measurement.index().keys(self.next_ordinal);
        while self.keys.len() < KEYS_AHEAD {
            let Some((ordinal, entry)) = walk.advance()? else {
                break;
            };
            let in_order = self.last_key.as_ref().is_none_or(|last| *last < entry.key);
            if !in_order || CanonicalKey(&entry.key).tags().is_none() {
                return Err(self.corrupt("the keys of a block are none or not in order"));
            }
            self.last_key = Some(entry.key.clone());
            self.keys.push_back((ordinal, entry));
        }
        self.next_ordinal += self.keys.len();
        Ok(())
    }

    /// Goes to the rows of the series that [`Source::peek`] shows.
    fn enter(&mut self) -> Result<()> {
        if let Some((ordinal, entry)) = self.keys.pop_front() {
            self.hidden = self.hides.ranges(entry.id);
            self.chunks = self.cursor.chunks_at(ordinal)?.into();
            self.rows = None;
            self.last_time = None;
        }
        Ok(())
    }

    /// Has rows of the series at hand ready, where there are more.
    fn fill(&mut self) -> Result<()> {
        while self.rows.is_none() {
            let Some(chunk) = self.chunks.pop_front() else {
                return Ok(());
            };
            self.rows = self.cursor.rows(&chunk)?;
            if let Some(rows) = &self.rows {
                let first = rows.timestamps.first().copied();
                if self.last_time.is_some() && self.last_time >= first {
                    return Err(self.corrupt("the times of a series do not ascend"));
                }
                self.last_time = rows.timestamps.last().copied();
            }
            let rows = self.rows.take().and_then(|rows| shown(rows, &self.hidden));
            self.rows = if self.has_fewer {
                rows.and_then(with_values)
            } else {
                rows
            };
        }
        Ok(())
    }

    /// Takes the rows that are ready, up to and with `limit`.
    fn take(&mut self, limit: i64) -> Option<BlockRows> {
        let rows = self.rows.take()?;
        let end = rows.timestamps.partition_point(|time| *time <= limit);
        if end == rows.timestamps.len() {
            return Some(rows);
        }
        if end > 0 {
            self.rows = Some(rows.slice(end..rows.timestamps.len()));
            return Some(rows.slice(0..end));
        }
        self.rows = Some(rows);
        None
    }

    fn corrupt(&self, what: &str) -> Error {
        self.block.file().corrupt(0, what)
    }
}

/// The rows that do not lie in `hidden`; `None` where there is none.
fn shown(rows: BlockRows, hidden: &[TimeRange]) -> Option<BlockRows> {
    match visible(hidden, &rows.timestamps) {
        None => Some(rows),
        Some(kept) => picked(&rows, &kept),
    }
}

/// The rows that have a value; `None` where there is none.
fn with_values(rows: BlockRows) -> Option<BlockRows> {
    let has_value = |row: usize| {
        let mut columns = rows.columns.iter().flatten();
        columns.any(|column| match &column.presence {
            Presence::All => true,
            Presence::Some(bits) => bits.get(row),
        })
    };
    let all = (0_u32..).zip(0..rows.timestamps.len());
    let kept: Vec<u32> = all
        .filter(|(_, row)| has_value(*row))
        .map(|(row, _)| row)
        .collect();
    if kept.len() == rows.timestamps.len() {
        return Some(rows);
    }
    picked(&rows, &kept)
}

fn picked(rows: &BlockRows, kept: &[u32]) -> Option<BlockRows> {
    let columns = rows.columns.iter().map(|column| {
        let column = pick_rows(column.as_ref()?, kept);
        (!column.values.is_empty()).then_some(column)
    });
    (!kept.is_empty()).then(|| BlockRows {
        columns: columns.collect(),
        timestamps: kept
            .iter()
            .map(|row| rows.timestamps[*row as usize])
            .collect(),
    })
}

/// Writes all series of `sources`, oldest source first; `push` takes rows of one series, in order of time.
/// `proceed` is told what went through and says whether to go on.
pub(super) fn write_measurement(
    id: MeasurementId,
    sources: &mut [Source<'_>],
    proceed: &dyn Fn(Taken) -> bool,
    push: &mut dyn FnMut(&Rows, &SeriesEntry) -> Result<()>,
) -> Result<()> {
    check_types(sources)?;
    loop {
        let mut next: Option<SeriesEntry> = None;
        for source in &mut *sources {
            if let Some(entry) = source.peek()?
                && next.as_ref().is_none_or(|next| entry.key < next.key)
            {
                next = Some(entry.clone());
            }
        }
        let Some(entry) = next else {
            return Ok(());
        };
        let mut own: Vec<&mut Source<'_>> = Vec::new();
        for source in &mut *sources {
            match source.peek()? {
                Some(other) if other.key == entry.key && other.id == entry.id => {
                    source.enter()?;
                    own.push(source);
                }
                Some(other) if other.key == entry.key => {
                    return Err(source.corrupt("a key stands for two series"));
                }
                Some(_) | None => {}
            }
        }
        write_series(id, &entry, &mut own, &mut |rows: &Rows| {
            let own = rows.len() as u64;
            push(rows, &entry)?;
            let taken = Taken {
                rows: own,
                bytes: 8 * own * (rows.columns.len() as u64 + 1),
            };
            if proceed(taken) {
                Ok(())
            } else {
                Err(stopped())
            }
        })?;
    }
}

/// A field has one type, whatever the blocks say.
fn check_types(sources: &[Source<'_>]) -> Result<()> {
    let mut types: BTreeMap<FieldId, FieldType> = BTreeMap::new();
    for source in sources {
        for (field, field_type) in &source.fields {
            if types
                .insert(*field, *field_type)
                .is_some_and(|known| known != *field_type)
            {
                return Err(source.corrupt("a field has another type than in another block"));
            }
        }
    }
    Ok(())
}

/// Writes the rows of one series. Each round takes what ends before any source has more to give.
fn write_series(
    id: MeasurementId,
    entry: &SeriesEntry,
    sources: &mut [&mut Source<'_>],
    push: &mut dyn FnMut(&Rows) -> Result<()>,
) -> Result<()> {
    loop {
        let mut limit = i64::MAX;
        for source in &mut *sources {
            source.fill()?;
            if let (Some(rows), false) = (&source.rows, source.chunks.is_empty()) {
                limit = limit.min(rows.timestamps.last().copied().unwrap_or(limit));
            }
        }
        let mut parts = Vec::new();
        for source in &mut *sources {
            if let Some(rows) = source.take(limit) {
                parts.push(bind(id, entry, &source.fields, rows));
            }
        }
        if parts.is_empty() {
            return Ok(());
        }
        let mut by_time: Vec<&Rows> = parts.iter().collect();
        by_time.sort_by_key(|rows| rows.timestamps[0]);
        let apart = by_time
            .windows(2)
            .all(|pair| pair[0].timestamps.last() < pair[1].timestamps.first());
        if apart {
            for rows in by_time {
                push(rows)?;
            }
        } else {
            let runs: Vec<Arc<Run>> = (parts.into_iter().zip(1..))
                .map(|(rows, age)| Arc::new(Run::new(rows, Sequence(age))))
                .collect();
            push(&Run::merge(&runs).rows())?;
        }
    }
}

/// Rows of a block as rows of their series.
fn bind(
    measurement: MeasurementId,
    entry: &SeriesEntry,
    fields: &[(FieldId, FieldType)],
    rows: BlockRows,
) -> Rows {
    let columns = fields.iter().zip(rows.columns);
    Rows {
        measurement,
        series: vec![entry.id; rows.timestamps.len()],
        timestamps: rows.timestamps,
        columns: columns
            .filter_map(|((id, _), column)| Some((*id, column?)))
            .collect(),
    }
}
