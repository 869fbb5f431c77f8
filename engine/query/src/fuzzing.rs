//! What fuzz targets and ordinary tests both run: one function a parser. Each ends in a value or an
//! error for any bytes; what it checks besides is said there.

use silverback_storage::model::{KeyHasher, KeyParser};

use crate::lineprotocol::{Keys, ParseOptions, Precision, parse};

/// Line protocol: no panic; every row has a key inside the body, a time, and at least one field.
///
/// # Panics
/// If a row has none of its fields or a key that is not in the body.
pub fn fuzz_lineprotocol(data: &[u8]) {
    let options = ParseOptions {
        hasher: KeyHasher::new([1, 2, 3, 4]),
        precision: Precision::Millisecond,
        now_ns: 1_600_000_000_123_456_789,
    };
    let parsed = parse(data, options);
    for rows in &parsed.batch.rows {
        assert_eq!(rows.keys.len(), rows.timestamps.len());
        for (row, key) in rows.keys.iter().enumerate() {
            let start = key.offset as usize;
            let text = &data[start..start + key.len as usize];
            assert_eq!(options.hasher.hash(text), key.hash);
            assert!(
                rows.fields
                    .iter()
                    .any(|field| field.column.presence.has(row)),
                "row {row}"
            );
            if let Ok(key) = Keys.parse(text) {
                assert_eq!(key.measurement, rows.measurement);
            }
        }
    }
}
