//! Doors for the fuzzer, one per decoder: each takes any bytes and must return. What decodes must
//! also come back from its own encoding.

use crate::codec::{self, Effort};
use crate::format::rows;
use crate::model::{FieldType, Presence, Values};

/// The most values a fuzzed stream claims: more finds nothing new and costs time.
const COUNT_MAX: usize = 1 << 14;

/// Every value stream: two bytes of count, one of type, then the stream.
///
/// # Panics
/// If a decoder does, or if what it gives does not survive encoding.
pub fn fuzz_codec(data: &[u8]) {
    let Some(([low, high, kind], stream)) = data.split_first_chunk::<3>() else {
        return;
    };
    let count = usize::from(u16::from_le_bytes([*low, *high])) % COUNT_MAX;
    match FieldType::from_code(kind % 8) {
        Some(field_type) => {
            if let Ok(values) = codec::decode_values(field_type, stream, count) {
                check_values(&values);
            }
        }
        None if kind % 8 == 0 => {
            if let Ok(presence) = codec::decode_presence(stream, count) {
                check_presence(&presence, count);
            }
        }
        None => {
            if let Ok(times) = codec::decode_timestamps(stream, count) {
                check_times(&times);
            }
        }
    }
}

fn check_values(values: &Values) {
    for effort in [Effort::Hot, Effort::Cold] {
        let mut bytes = Vec::new();
        codec::encode_values(values, effort, &mut bytes);
        let again = codec::decode_values(values.field_type(), &bytes, values.len());
        assert_eq!(again.as_ref(), Ok(values), "{effort:?}");
    }
}

fn check_presence(presence: &Presence, rows: usize) {
    let mut bytes = Vec::new();
    codec::encode_presence(presence, rows, &mut bytes);
    assert_eq!(
        codec::decode_presence(&bytes, rows).as_ref(),
        Ok(presence),
        "presence comes back"
    );
}

fn check_times(times: &[i64]) {
    for effort in [Effort::Hot, Effort::Cold] {
        let mut bytes = Vec::new();
        codec::encode_timestamps(times, effort, &mut bytes);
        let again = codec::decode_timestamps(&bytes, times.len());
        assert_eq!(again.as_deref(), Ok(times), "{effort:?}");
        bytes.clear();
        codec::encode_ids(times, effort, &mut bytes);
        let again = codec::decode_ids::<i64>(&bytes, times.len());
        assert_eq!(again.as_deref(), Ok(times), "{effort:?}");
    }
}

/// The payload of a write. What decodes into little memory is encoded and decoded again.
///
/// # Panics
/// As [`fuzz_codec`].
pub fn fuzz_rows(data: &[u8]) {
    const WEIGHT_MAX: usize = 1 << 16;
    let Ok((database, policy, decoded)) = rows::decode_rows(data) else {
        return;
    };
    let weight: usize = decoded.iter().map(rows::weight).sum();
    if weight > WEIGHT_MAX {
        return;
    }
    let mut bytes = Vec::new();
    rows::encode_rows(database, policy, &decoded, &mut bytes);
    assert_eq!(
        rows::decode_rows(&bytes),
        Ok((database, policy, decoded)),
        "rows come back"
    );
}
