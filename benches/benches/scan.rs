//! Rows into memory and out again: push, merge, scan and aggregate, per row of ten float fields.
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
    AggregateRequest, AggregateSet, Column, DatabaseId, FieldId, FieldInfo, FieldType,
    MeasurementId, PolicyId, Presence, Rows, ScanRequest, Sequence, SeriesId, TimeRange, Values,
};
use silverback_storage::scan::{self, Check};
use silverback_storage::snapshot::{PolicyStores, Snapshot};

const HOSTS: u64 = 1_000;
const FIELDS: u32 = 10;
const STEP_NS: i64 = 10_000_000_000;

/// `steps` rows of each host from step `start` on, in order of time, as an agent's batches come.
fn batch(start: i64, steps: i64) -> Rows {
    let mut series = Vec::new();
    let mut timestamps = Vec::new();
    for step in start..start + steps {
        for host in 0..HOSTS {
            // Hosts report in an order of their own.
            series.push(SeriesId(host * 389 % HOSTS + 1));
            timestamps.push(1_700_000_000_000_000_000 + step * STEP_NS);
        }
    }
    let column = |field: u32| {
        let value = |row: u32| f64::from(row * 7 % 1000) + f64::from(field);
        let rows = u32::try_from(timestamps.len()).unwrap();
        Column {
            values: Values::Float((0..rows).map(value).collect()),
            presence: Presence::All,
        }
    };
    Rows {
        measurement: MeasurementId(1),
        columns: (1..=FIELDS)
            .map(|field| (FieldId(field), column(field)))
            .collect(),
        series,
        timestamps,
    }
}

fn run(batch_number: u64) -> Run {
    Run::new(
        batch(batch_number.cast_signed() * 10, 10),
        Sequence(batch_number + 1),
    )
}

fn snapshot(batches: u64) -> Snapshot {
    let memtable = Memtable::new();
    for number in 0..batches {
        memtable.push(Arc::new(run(number)), Duration::ZERO);
    }
    let fields = (1..=FIELDS).map(|id| {
        let field = FieldInfo {
            id: FieldId(id),
            name: format!("field{id}").into_bytes().into(),
            field_type: FieldType::Float,
        };
        (MeasurementId(1), field)
    });
    let mut catalog = DatabaseCatalog::new(DatabaseId(1), "db");
    let names = Names {
        measurements: vec![(MeasurementId(1), b"cpu"[..].into())],
        fields: fields.collect(),
        ..Names::default()
    };
    catalog.define(&names).unwrap();
    let stores = PolicyStores {
        memtables: vec![Arc::new(memtable)],
        ..PolicyStores::default()
    };
    let policies = BTreeMap::from([(PolicyId(1), stores)]);
    let indexes = vec![Arc::new(LiveIndex::new())];
    Snapshot::new(Sequence(batches), Arc::new(catalog), policies, indexes)
}

fn request() -> ScanRequest {
    ScanRequest {
        policy: PolicyId(1),
        measurement: MeasurementId(1),
        series: (1..=HOSTS).map(SeriesId).collect(),
        fields: (1..=FIELDS).map(FieldId).collect(),
        range: TimeRange::ALL,
        descending: false,
        filter: None,
    }
}

fn no_check() -> Check {
    Arc::new(|| Ok(()))
}

fn writes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("memtable");
    group
        .sample_size(10)
        .throughput(Throughput::Elements(10_000 * 64));
    let runs: Vec<Arc<Run>> = (0..64).map(|number| Arc::new(run(number))).collect();
    group.bench_function(
        "push, 64 batches of 10,000 rows, and their first read",
        |bench| {
            bench.iter_batched(
                Memtable::new,
                |memtable| {
                    for run in &runs {
                        memtable.push(Arc::clone(run), Duration::ZERO);
                    }
                    black_box(memtable.settled_runs(MeasurementId(1)));
                    memtable
                },
                BatchSize::LargeInput,
            );
        },
    );
    group.throughput(Throughput::Elements(10_000 * 16));
    group.bench_function("merge, 16 runs in arrival order", |bench| {
        bench.iter(|| Run::merge(black_box(&runs[..16])));
    });
    let sorted: Vec<Arc<Run>> = runs[..16].iter().map(Run::sorted).collect();
    group.bench_function("merge, 16 sorted runs", |bench| {
        bench.iter(|| Run::merge(black_box(&sorted)));
    });
    group.finish();
}

fn reads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scan");
    group.sample_size(10);
    // 16 batches are one sorted run, 31 are that and fifteen small ones.
    for batches in [16, 31] {
        let snapshot = snapshot(batches);
        group.throughput(Throughput::Elements(10_000 * batches));
        group.bench_function(format!("rows of {batches} batches"), |bench| {
            bench.iter(|| {
                let mut cursor = scan::rows(&snapshot, request(), no_check()).unwrap();
                let mut rows = 0;
                while let Some(piece) = cursor.next_rows().unwrap() {
                    rows += piece.timestamps.len();
                }
                rows
            });
        });
        let edges: Arc<[i64]> = (0..=10)
            .map(|at| 1_700_000_000_000_000_000 + at * 32 * STEP_NS)
            .collect();
        group.bench_function(format!("windows of {batches} batches"), |bench| {
            bench.iter(|| {
                let request = AggregateRequest {
                    scan: request(),
                    wanted: vec![AggregateSet::ALL; request().fields.len()],
                    edges: edges.clone(),
                };
                let mut cursor = scan::aggregates(&snapshot, request, no_check()).unwrap();
                let mut windows = 0;
                while let Some(series) = cursor.next_windows().unwrap() {
                    windows += series.windows.len();
                }
                windows
            });
        });
    }
    group.finish();
}

criterion_group!(benches, writes, reads);
criterion_main!(benches);
