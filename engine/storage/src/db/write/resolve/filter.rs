//! Taking rejected rows out of a batch: the rare case, so one row at a time.

use crate::db::write::resolve::{RejectReason, RejectedRow, check_rows};
use crate::model::{
    Batch, Bitmap, Column, MeasurementRows, Presence, Strings, TIMESTAMP_MIN, Values,
};

/// Takes the rows before `earliest` out of a batch. Cost: a look at each time.
///
/// # Source
/// `InfluxDB` 1.x refuses them point by point. It stores one all the same where another of its
/// request lies in the same shard: that is not followed.
pub(in crate::db) fn reject_late(batch: &mut Batch<'_>, earliest: i64) -> Vec<RejectedRow> {
    let mut rejected = Vec::new();
    if earliest <= TIMESTAMP_MIN {
        return rejected;
    }
    for rows in &mut batch.rows {
        check_rows(rows);
        if rows.timestamps.iter().all(|time| *time >= earliest) {
            continue;
        }
        let keep: Vec<bool> = rows
            .timestamps
            .iter()
            .map(|time| *time >= earliest)
            .collect();
        let late = rows.lines.iter().zip(&keep).filter(|(_, keep)| !**keep);
        rejected.extend(late.map(|(line, _)| RejectedRow {
            line: *line,
            reason: RejectReason::BeyondRetention,
        }));
        keep_rows(rows, &keep);
    }
    batch.rows.retain(|rows| !rows.timestamps.is_empty());
    rejected
}

/// Keeps the rows whose place in `keep` is true, in every column.
pub(super) fn keep_rows(rows: &mut MeasurementRows, keep: &[bool]) {
    retain(&mut rows.keys, keep);
    retain(&mut rows.timestamps, keep);
    retain(&mut rows.lines, keep);
    for field in &mut rows.fields {
        keep_column(&mut field.column, keep);
    }
}

fn keep_column(column: &mut Column, keep: &[bool]) {
    match &column.presence {
        Presence::All => keep_values(&mut column.values, keep),
        Presence::Some(bits) => {
            let dense: Vec<bool> = (0..keep.len())
                .filter(|row| bits.get(*row))
                .map(|row| keep[row])
                .collect();
            let mut kept = Bitmap::default();
            for row in (0..keep.len()).filter(|row| keep[*row]) {
                kept.push(bits.get(row));
            }
            keep_values(&mut column.values, &dense);
            column.presence = Presence::Some(kept);
        }
    }
}

fn keep_values(values: &mut Values, keep: &[bool]) {
    match values {
        Values::Float(values) => retain(values, keep),
        Values::Integer(values) => retain(values, keep),
        Values::Unsigned(values) => retain(values, keep),
        Values::Boolean(values) => retain(values, keep),
        Values::String(values) => {
            let mut kept = Strings::default();
            for index in (0..keep.len()).filter(|index| keep[*index]) {
                kept.push(values.get(index));
            }
            *values = kept;
        }
    }
}

/// Keeps the values whose place in `keep` is true.
pub(super) fn retain<T>(values: &mut Vec<T>, keep: &[bool]) {
    assert_eq!(values.len(), keep.len(), "each row is kept or not");
    let mut keep = keep.iter();
    values.retain(|_| *keep.next().expect("as many as values"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::registry::Known;
    use crate::model::{
        FieldColumn, FieldType, FieldValue, KeyHash, KeyRef, MeasurementId, SeriesId,
    };

    const COUNT: u32 = 70;

    fn known(row: u32) -> Known {
        Known {
            series: SeriesId(u64::from(row) + 1),
            measurement: MeasurementId(1),
        }
    }

    fn text(row: u32) -> FieldValue {
        FieldValue::String(row.to_string().into_bytes().into())
    }

    /// Every third row has a string, all have a number.
    fn rows() -> MeasurementRows {
        let mut strings = FieldColumn::absent(b"s", FieldType::String, 0);
        let mut whole = FieldColumn::absent(b"w", FieldType::Unsigned, 0);
        for row in 0..COUNT {
            if row % 3 == 0 {
                strings.push(row as usize, &text(row));
            }
            whole.push(row as usize, &FieldValue::Unsigned(row.into()));
        }
        strings.pad(COUNT as usize);
        let key = KeyRef {
            offset: 0,
            len: 0,
            hash: KeyHash(0),
        };
        MeasurementRows {
            measurement: b"m"[..].into(),
            keys: vec![key; COUNT as usize],
            timestamps: (0..i64::from(COUNT)).collect(),
            lines: (0..COUNT).collect(),
            fields: vec![strings, whole],
        }
    }

    #[test]
    fn rejected_rows_leave_every_column_and_take_no_other_value_along() {
        let mut rows = rows();
        let mut found: Vec<Known> = (0..COUNT).map(known).collect();
        let keep: Vec<bool> = (0..COUNT).map(|row| row % 4 != 0).collect();
        retain(&mut found, &keep);
        keep_rows(&mut rows, &keep);
        let kept: Vec<u32> = (0..COUNT).filter(|row| row % 4 != 0).collect();
        assert_eq!(rows.lines, kept);
        assert_eq!(rows.keys.len(), kept.len());
        for (place, row) in kept.into_iter().enumerate() {
            assert_eq!(rows.timestamps[place], i64::from(row));
            assert_eq!(found[place], known(row));
            let value = rows.fields[0].column.get(place);
            assert_eq!(value, (row % 3 == 0).then_some(text(row)));
            let value = rows.fields[1].column.get(place);
            assert_eq!(value, Some(FieldValue::Unsigned(row.into())));
        }
    }
}
