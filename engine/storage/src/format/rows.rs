//! The payload of one write: rows bound to ids, each column encoded hot. The log stores it, replay
//! makes runs of it. Page: `docs/format/rows.md`.
//!
//! Knows no sequence and no checksum: the record around it has both. What it decodes is sound in
//! itself: columns span their rows, fields ascend, no id is 0. Whether the ids still exist, only
//! the manifest knows.

use crate::codec::{self, COUNT_MAX, Cursor, DecodeError, Effort, push_len};
use crate::model::{
    Column, DatabaseId, FieldId, FieldType, MeasurementId, PolicyId, Presence, Rows, SeriesId,
    TIMESTAMP_MAX, TIMESTAMP_MIN, Values, push_varint,
};

/// The most rows of one payload.
pub const ROWS_MAX: usize = COUNT_MAX;

/// The most values of one payload, series and times counted as values: what bounds the memory that
/// a few bad bytes can make a reader take.
pub const VALUES_MAX: usize = 1 << 24;

/// The least bytes a column takes.
const COLUMN_BYTES_MIN: usize = 2;

/// How many values `rows` count as against [`VALUES_MAX`].
pub fn weight(rows: &Rows) -> usize {
    weight_of(rows.len(), rows.columns.len())
}

fn weight_of(rows: usize, columns: usize) -> usize {
    rows.saturating_mul(columns.saturating_add(2))
}

/// Appends the payload of a write of `rows` to `policy` of `database`. Cost: about 2 ns a value for
/// small whole numbers in batches of thousands of rows.
///
/// # Panics
/// If there are more than [`ROWS_MAX`] rows or they weigh more than [`VALUES_MAX`]: a writer splits
/// what is larger. If rows contradict themselves.
pub fn encode_rows(database: DatabaseId, policy: PolicyId, rows: &[Rows], out: &mut Vec<u8>) {
    let count: usize = rows.iter().map(Rows::len).sum();
    let weight: usize = rows.iter().map(weight).sum();
    assert!(
        count <= ROWS_MAX && weight <= VALUES_MAX,
        "a writer splits {count} rows that weigh {weight}"
    );
    push_varint(out, u64::from(database.0));
    push_varint(out, u64::from(policy.0));
    push_len(out, rows.len());
    for rows in rows {
        encode_group(rows, out);
    }
}

fn encode_group(rows: &Rows, out: &mut Vec<u8>) {
    assert_eq!(rows.series.len(), rows.len(), "each row has a series");
    push_varint(out, u64::from(rows.measurement.0));
    push_len(out, rows.len());
    push_len(out, rows.columns.len());
    codec::encode_ids(&rows.series, Effort::Hot, out);
    codec::encode_timestamps(&rows.timestamps, Effort::Hot, out);
    let mut last = 0;
    for (field, column) in &rows.columns {
        assert!(field.0 > last, "fields ascend");
        push_varint(out, u64::from(field.0 - last));
        last = field.0;
        out.push(column.values.field_type().code());
        codec::encode_presence(&column.presence, rows.len(), out);
        assert_eq!(
            present(&column.presence, rows.len()),
            column.values.len(),
            "each row that has a value finds it"
        );
        codec::encode_values(&column.values, Effort::Hot, out);
    }
}

fn present(presence: &Presence, rows: usize) -> usize {
    match presence {
        Presence::All => rows,
        Presence::Some(bits) => bits.count_ones(),
    }
}

/// What one payload held: where it was written, and the rows.
pub type DecodedRows = (DatabaseId, PolicyId, Vec<Rows>);

/// What [`encode_rows`] wrote.
///
/// # Errors
/// If `bytes` are not exactly one payload. No more than a small multiple of [`VALUES_MAX`] words is
/// allocated before that shows.
pub fn decode_rows(bytes: &[u8]) -> Result<DecodedRows, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let database = DatabaseId(take_id(&mut cursor)?);
    let policy = PolicyId(take_id(&mut cursor)?);
    let groups = cursor.len(cursor.remaining())?;
    let mut all = Vec::new();
    let mut rows_left = ROWS_MAX;
    let mut weight_left = VALUES_MAX;
    for _ in 0..groups {
        let rows = take_group(&mut cursor, rows_left, weight_left)?;
        rows_left -= rows.len();
        weight_left -= weight(&rows);
        all.push(rows);
    }
    cursor.finish()?;
    Ok((database, policy, all))
}

fn take_id(cursor: &mut Cursor<'_>) -> Result<u32, DecodeError> {
    match u32::try_from(cursor.varint()?) {
        Ok(id) if id > 0 => Ok(id),
        _ => Err(DecodeError::Invalid("an id is out of range")),
    }
}

fn take_group(
    cursor: &mut Cursor<'_>,
    rows_left: usize,
    weight_left: usize,
) -> Result<Rows, DecodeError> {
    let measurement = MeasurementId(take_id(cursor)?);
    let count = cursor.len(rows_left)?;
    let columns = cursor.len(cursor.remaining() / COLUMN_BYTES_MIN)?;
    if weight_of(count, columns) > weight_left {
        return Err(DecodeError::Invalid("a payload holds too many values"));
    }
    let mut series: Vec<SeriesId> = Vec::new();
    codec::take_ids(cursor, count, &mut series)?;
    if series.iter().any(|series| series.0 == 0) {
        return Err(DecodeError::Invalid("an id is out of range"));
    }
    let mut timestamps: Vec<i64> = Vec::new();
    codec::take_ids(cursor, count, &mut timestamps)?;
    let legal = TIMESTAMP_MIN..=TIMESTAMP_MAX;
    if timestamps.iter().any(|time| !legal.contains(time)) {
        return Err(DecodeError::Invalid("a timestamp is out of range"));
    }
    let mut rows = Rows {
        measurement,
        series,
        timestamps,
        columns: Vec::with_capacity(columns),
    };
    let mut last = 0;
    for _ in 0..columns {
        let (field, column) = take_column(cursor, count, last)?;
        last = field.0;
        rows.columns.push((field, column));
    }
    Ok(rows)
}

fn take_column(
    cursor: &mut Cursor<'_>,
    rows: usize,
    last: u32,
) -> Result<(FieldId, Column), DecodeError> {
    let field = last
        .checked_add(take_id(cursor)?)
        .ok_or(DecodeError::Invalid("an id is out of range"))?;
    let field_type = FieldType::from_code(cursor.byte()?)
        .ok_or(DecodeError::Invalid("a field has an unknown type"))?;
    let presence = codec::take_presence(cursor, rows)?;
    let mut values = Values::new(field_type);
    codec::take_values(cursor, present(&presence, rows), &mut values)?;
    Ok((FieldId(field), Column { values, presence }))
}

#[cfg(test)]
mod tests;
