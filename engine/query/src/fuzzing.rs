//! What fuzz targets and ordinary tests both run: one function a parser. Each ends in a value or an
//! error for any bytes; what it checks besides is said there.

use silverback_storage::model::{KeyHasher, KeyParser};

use crate::influxql::ast::Statement;
use crate::influxql::parse_query;
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

/// `InfluxQL`: no panic, no deep stack; what is printed of a text reads as the same tree.
///
/// # Panics
/// If it does not.
pub fn fuzz_influxql(data: &[u8]) {
    const TEXT_MAX: usize = 1 << 16;
    let text = String::from_utf8_lossy(data);
    let Ok(statements) = parse_query(&text, &[], TEXT_MAX) else {
        return;
    };
    for statement in &statements {
        // Passwords are not printed, and the placeholder is no text of the language.
        if matches!(
            statement,
            Statement::CreateUser { .. } | Statement::SetPassword { .. }
        ) {
            continue;
        }
        let printed = statement.to_string();
        let again = parse_query(&printed, &[], 16 * TEXT_MAX)
            .unwrap_or_else(|error| unreachable!("{text:?} prints as {printed:?}: {error}"));
        let same = std::slice::from_ref(statement) == again;
        assert!(same, "{text:?} prints as {printed:?}");
    }
}
