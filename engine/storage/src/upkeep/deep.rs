//! Reads a block as all its readers together would: every key, posting, page and statistic, and
//! compares what says the same thing twice. For those who trust checksums alone too little: they
//! find bytes that changed, not bytes that were written wrong.

use std::collections::BTreeMap;

use crate::block::{Block, BlockCursor, Chunk, FieldStats, Measurement};
use crate::error::{Error, Result};
use crate::memtable::Slice;
use crate::model::{
    CanonicalKey, Column, Extreme, FieldId, FieldValue, MeasurementId, SeriesId, Sum, TagKeyId,
    TagPredicate, TimeRange, WindowPartial,
};
use crate::scan::partial;

/// What the registries say of a canonical key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// They give it this id.
    As(SeriesId),
    /// They do not know it.
    Unknown,
    /// Its measurement was dropped: they need not know it.
    Dropped,
}

/// Asked what the registries say of a canonical key.
pub type FindSeries<'call> = &'call dyn Fn(&[u8]) -> Result<Registered>;

/// Sums of floats may differ by what their order rounds away, as a share of the sum of sizes.
const FLOAT_SUM_TOLERANCE: f64 = 1e-9;

/// What a block holds, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeepCount {
    /// Series, once for each measurement.
    pub series: u64,
    /// Rows.
    pub rows: u64,
    /// Values decoded.
    pub values: u64,
    /// Statistics compared with the values.
    pub statistics: u64,
}

/// Reads and compares all that `block` holds. Cost: decodes all of it; memory: the tags of one
/// measurement's series.
///
/// # Errors
/// `Corrupt` for the first thing that is wrong; `Io`.
pub fn deep_check(block: &Block, find: FindSeries<'_>) -> Result<DeepCount> {
    let mut count = DeepCount::default();
    for id in block.measurements()? {
        let Some(measurement) = block.measurement(id)? else {
            return Err(wrong(block, "a measurement that is listed is not found"));
        };
        keys(block, (id, &measurement), find)?;
        rows(block, measurement, &mut count)?;
    }
    if count.rows != block.meta().row_count {
        return Err(wrong(block, "the footer states another count of rows"));
    }
    Ok(count)
}

fn wrong(block: &Block, what: &str) -> Error {
    block.file().corrupt(0, what)
}

/// Keys ascend, their ids lead back to them, the registries agree, and each posting has exactly the
/// series that have its tag.
fn keys(
    block: &Block,
    (id, measurement): (MeasurementId, &Measurement<'_>),
    find: FindSeries<'_>,
) -> Result<()> {
    let index = measurement.index();
    let mut tagged: BTreeMap<(TagKeyId, Box<[u8]>), Vec<u32>> = BTreeMap::new();
    let mut walk = measurement.walk();
    let (mut expected, mut last): (usize, Option<Box<[u8]>>) = (0, None);
    while let Some((ordinal, entry)) = walk.advance()? {
        let key = CanonicalKey(&entry.key);
        let (Some(own), Some(tags)) = (key.measurement(), key.tags()) else {
            return Err(wrong(block, "a key is none"));
        };
        if own != id || ordinal != expected || last.is_some_and(|last| last >= entry.key) {
            return Err(wrong(block, "the keys do not ascend"));
        }
        if index.ordinal(entry.id)? != Some(ordinal) {
            return Err(wrong(block, "the id of a key leads to another key"));
        }
        let registered = find(&entry.key)?;
        if registered != Registered::As(entry.id) && registered != Registered::Dropped {
            return Err(wrong(
                block,
                "the registries have another id for a key, or none",
            ));
        }
        let number = u32::try_from(ordinal).map_err(|_| wrong(block, "too many series"))?;
        for (tag, value) in tags {
            tagged.entry((tag, value.into())).or_default().push(number);
        }
        expected += 1;
        last = Some(entry.key);
    }
    if expected != measurement.series_count() {
        return Err(wrong(block, "the directory states another count of series"));
    }
    for ((tag, value), series) in tagged {
        // The index asks for the id of a name: here the id's digits are the name.
        let key = tag.0.to_string().into_bytes().into();
        let id_of = |name: &[u8]| Some(TagKeyId(std::str::from_utf8(name).ok()?.parse().ok()?));
        let found = index.select(&TagPredicate::Equal { key, value }, &id_of)?;
        if !found.into_iter().eq(series) {
            return Err(wrong(block, "a posting has other series than the keys"));
        }
    }
    Ok(())
}

/// Every row and value, and what statistics say of them.
fn rows(block: &Block, measurement: Measurement<'_>, count: &mut DeepCount) -> Result<()> {
    let fields: Vec<FieldId> = measurement.fields().map(|(id, _)| id).collect();
    let (series, stated) = (measurement.series_count(), measurement.row_count());
    let mut cursor = measurement.cursor(&fields, TimeRange::ALL);
    let before = count.rows;
    for ordinal in 0..series {
        let mut behind = i64::MIN;
        for chunk in cursor.chunks_at(ordinal)? {
            let Some(rows) = cursor.rows(&chunk)? else {
                return Err(wrong(block, "a chunk has no rows"));
            };
            let (Some(first), Some(last)) = (rows.timestamps.first(), rows.timestamps.last())
            else {
                return Err(wrong(block, "a chunk has no rows"));
            };
            let inside = chunk.range().contains(*first) && chunk.range().contains(*last);
            if rows.timestamps.len() != chunk.row_count() || *first < behind || !inside {
                return Err(wrong(
                    block,
                    "the rows of a series are not those of its chunks",
                ));
            }
            behind = last.saturating_add(1);
            count.rows += rows.timestamps.len() as u64;
            for (field, column) in rows.columns.iter().enumerate() {
                let values = column.as_ref().map_or(0, |column| column.values.len());
                count.values += values as u64;
                let column = (rows.timestamps.as_slice(), column.as_ref());
                let is_known = compare((block, &mut cursor), (&chunk, field), column)?;
                count.statistics += u64::from(is_known);
            }
        }
    }
    count.series += series as u64;
    if count.rows - before != stated {
        return Err(wrong(block, "the directory states another count of rows"));
    }
    Ok(())
}

/// Whether the statistics of a chunk's field say what its values say, if there are any.
fn compare(
    (block, cursor): (&Block, &mut BlockCursor<'_>),
    (chunk, field): (&Chunk, usize),
    (times, column): (&[i64], Option<&Column>),
) -> Result<bool> {
    let stated = match cursor.stats(chunk, field)? {
        FieldStats::Unknown => return Ok(false),
        FieldStats::Absent => None,
        FieldStats::Known(partial) => Some(partial),
    };
    let values = partial(times, &Slice::of(column, 0..times.len()));
    let agree = match (&stated, &values) {
        (None, None) => true,
        (Some(stated), Some(values)) => same(stated, values),
        (Some(_), None) | (None, Some(_)) => false,
    };
    if agree {
        return Ok(true);
    }
    let message = format!("statistics say {stated:?} and the values {values:?}");
    Err(wrong(block, &message))
}

fn same(stated: &WindowPartial, values: &WindowPartial) -> bool {
    let extreme = |one: &Extreme, other: &Extreme| {
        one.timestamp == other.timestamp && same_value(&one.value, &other.value)
    };
    let extremes = |one: &Option<Extreme>, other: &Option<Extreme>| match (one, other) {
        (Some(one), Some(other)) => extreme(one, other),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    stated.count == values.count
        && extreme(&stated.first, &values.first)
        && extreme(&stated.last, &values.last)
        && extremes(&stated.min, &values.min)
        && extremes(&stated.max, &values.max)
        && same_sum(stated, values)
}

fn same_sum(stated: &WindowPartial, values: &WindowPartial) -> bool {
    let (Sum::Float(one), Sum::Float(other)) = (&stated.sum, &values.sum) else {
        return stated.sum == values.sum;
    };
    let (one, other) = (one.value(), other.value());
    let size = |extreme: &Option<Extreme>| match extreme.as_ref().map(|extreme| &extreme.value) {
        Some(FieldValue::Float(value)) => value.abs(),
        _ => 0.0,
    };
    #[expect(clippy::cast_precision_loss, reason = "a bound need not be exact")]
    let bound = size(&values.min).max(size(&values.max)) * values.count as f64;
    one.to_bits() == other.to_bits()
        || !one.is_finite() && !other.is_finite()
        || (one - other).abs() <= bound * FLOAT_SUM_TOLERANCE
}

/// The same bits, whatever the value.
fn same_value(one: &FieldValue, other: &FieldValue) -> bool {
    match (one, other) {
        (FieldValue::Float(one), FieldValue::Float(other)) => one.to_bits() == other.to_bits(),
        (one, other) => one == other,
    }
}
