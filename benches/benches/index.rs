//! The live index: series added, counted, and the values of a tag listed.
#![expect(clippy::unwrap_used, reason = "a bench may stop where it cannot go on")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use silverback_storage::format::definitions::Names;
use silverback_storage::index::LiveIndex;
use silverback_storage::manifest::catalog::DatabaseCatalog;
use silverback_storage::memtable::{Memtable, Run};
use silverback_storage::model::{
    CanonicalKey, Column, DatabaseId, FieldId, FieldInfo, FieldType, MeasurementId, PolicyId,
    Presence, Rows, Sequence, SeriesEntry, SeriesId, SeriesRequest, TagKeyId, TagPredicate,
    TimeRange, Values,
};
use silverback_storage::snapshot::{PolicyStores, Snapshot};

const SERIES: u64 = 100_000;
const TAGS: u32 = 10;
const MEASUREMENT: MeasurementId = MeasurementId(1);

/// Series of ten tags, the first of them its own.
fn entries() -> Vec<SeriesEntry> {
    let entry = |id: u64| {
        let text = |tag: u64| match tag {
            1 => format!("host_{id}"),
            tag => format!("value_{}", id * 31 % (tag * 10)),
        };
        let values: Vec<String> = (1..=u64::from(TAGS)).map(text).collect();
        let keys = (1..=TAGS).map(TagKeyId);
        let mut tags: Vec<(TagKeyId, &[u8])> =
            keys.zip(values.iter().map(String::as_bytes)).collect();
        SeriesEntry {
            id: SeriesId(id),
            key: CanonicalKey::encode(MEASUREMENT, &mut tags),
        }
    };
    (1..=SERIES).map(entry).collect()
}

fn snapshot(entries: &[SeriesEntry]) -> Snapshot {
    let mut catalog = DatabaseCatalog::new(DatabaseId(1), "db");
    let field = FieldInfo {
        id: FieldId(1),
        name: b"value"[..].into(),
        field_type: FieldType::Integer,
    };
    let names = (1..=TAGS).map(|tag| (TagKeyId(tag), format!("tag{tag}").into_bytes().into()));
    catalog
        .define(&Names {
            measurements: vec![(MEASUREMENT, b"cpu"[..].into())],
            tag_keys: names.collect(),
            fields: vec![(MEASUREMENT, field)],
            pairs: (1..=TAGS).map(|tag| (MEASUREMENT, TagKeyId(tag))).collect(),
        })
        .unwrap();
    let index = LiveIndex::new();
    for entry in entries {
        index.add(entry);
    }
    let rows = Rows {
        measurement: MEASUREMENT,
        series: vec![SeriesId(1)],
        timestamps: vec![1],
        columns: vec![(
            FieldId(1),
            Column {
                values: Values::Integer(vec![1]),
                presence: Presence::All,
            },
        )],
    };
    let memtable = Memtable::new();
    memtable.push(Arc::new(Run::new(rows, Sequence(1))), Duration::ZERO);
    let stores = PolicyStores {
        memtables: vec![Arc::new(memtable)],
        ..PolicyStores::default()
    };
    Snapshot::new(
        Sequence(1),
        Arc::new(catalog),
        BTreeMap::from([(PolicyId(1), stores)]),
        vec![Arc::new(index)],
    )
}

fn index(criterion: &mut Criterion) {
    let entries = entries();
    let mut group = criterion.benchmark_group("live index");
    group
        .sample_size(10)
        .throughput(Throughput::Elements(SERIES));
    group.bench_function("add 100,000 series of ten tags", |bench| {
        bench.iter_batched(
            LiveIndex::new,
            |index| {
                for entry in &entries {
                    index.add(entry);
                }
                index
            },
            BatchSize::LargeInput,
        );
    });
    let snapshot = snapshot(&entries);
    group.throughput(Throughput::Elements(1));
    group.bench_function("count all", |bench| {
        bench.iter(|| {
            let request = SeriesRequest {
                measurement: MEASUREMENT,
                predicate: black_box(&TagPredicate::All),
                policy: None,
                range: TimeRange::ALL,
            };
            snapshot.series_count(request).unwrap()
        });
    });
    group.bench_function("values of a tag", |bench| {
        bench.iter(|| {
            let request = SeriesRequest {
                measurement: MEASUREMENT,
                predicate: &TagPredicate::All,
                policy: None,
                range: TimeRange::ALL,
            };
            snapshot.tag_values(request, black_box(b"tag2")).unwrap()
        });
    });
    group.finish();
}

criterion_group!(benches, index);
criterion_main!(benches);
