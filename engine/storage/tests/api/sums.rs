//! Sums are exact, however wide the numbers are.

use std::sync::Arc;

use silverback_storage::env::SimEnv;
use silverback_storage::model::{
    AggregateRequest, AggregateSet, FieldValue, PolicySpec, ScanRequest, Sum, TagPredicate,
    TimeRange,
};
use silverback_storage::scan;

use crate::support::{open, row, write};

#[test]
fn sums_of_whole_numbers_of_any_width_are_exact() {
    const ROWS: i64 = 9000;
    let env = SimEnv::new(1);
    let db = open(&env).unwrap();
    db.create_database("db", &PolicySpec::default()).unwrap();
    // As many as are added at once stand beside each other with one magnitude, and leave 64 bits together.
    let value = |bits: u32, time: i64| match time / 4500 {
        0 => (1_i64 << bits) - 1 - time,
        _ => -(1_i64 << bits) + time,
    };
    for bits in 46..63 {
        let name = format!("m{bits}");
        let one = |time| {
            row(
                &name,
                &[],
                time,
                &[("f", FieldValue::Integer(value(bits, time)))],
            )
        };
        write(&db, "db", &(0..ROWS).map(one).collect::<Vec<_>>()).unwrap();
    }
    for place in ["memory", "blocks"] {
        let snapshot = db.snapshot("db").unwrap();
        for bits in 46..63 {
            let measurement = snapshot
                .catalog()
                .measurement(format!("m{bits}").as_bytes());
            let measurement = measurement.unwrap();
            let series = snapshot.series(measurement.id, &TagPredicate::All, None, TimeRange::ALL);
            let edges = [0, 4500, ROWS];
            let request = AggregateRequest {
                scan: ScanRequest {
                    policy: snapshot.catalog().policies()[0].id,
                    measurement: measurement.id,
                    series: series.unwrap().iter().map(|(id, _)| *id).collect(),
                    fields: vec![measurement.field(b"f").unwrap().id],
                    range: TimeRange::ALL,
                    descending: false,
                    filter: None,
                },
                wanted: vec![AggregateSet::SUM],
                edges: edges.into(),
            };
            let mut cursor = scan::aggregates(&snapshot, request, Arc::new(|| Ok(()))).unwrap();
            let found = cursor.next_windows().unwrap().unwrap();
            for (at, window) in edges.windows(2).enumerate() {
                let sum = (window[0]..window[1])
                    .map(|time| i128::from(value(bits, time)))
                    .sum();
                let own = found.columns[0].sum(at);
                assert_eq!(own, Some(Sum::Integer(sum)), "{bits} bits in {place}");
            }
        }
        drop(snapshot);
        db.flush().unwrap();
    }
}
