//! Blocks of the devops shape (ten gauges a series, every ten seconds): values per second written,
//! scanned and answered from statistics. Each bench's name carries the bytes a value takes.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use silverback_storage::block::{Block, BlockWriter, DecodedPages, FieldStats};
use silverback_storage::budget::Budget;
use silverback_storage::codec::Effort;
use silverback_storage::env::{Env, RealEnv, RealOptions};
use silverback_storage::format::block::{BlockInfo, BlockMeta, SequenceRange};
use silverback_storage::format::definitions::Names;
use silverback_storage::manifest::catalog::DatabaseCatalog;
use silverback_storage::model::{
    AggregateRequest, AggregateSet, CanonicalKey, Column, DatabaseId, FieldId, FieldInfo,
    FieldType, MeasurementId, PolicyId, Presence, Rows, ScanRequest, Sequence, SeriesEntry,
    SeriesId, TagKeyId, TagPredicate, TimeRange, Values,
};
use silverback_storage::scan::aggregates;
use silverback_storage::snapshot::{PolicyStores, Snapshot};

const FIELDS: u32 = 10;
const MEASUREMENT: MeasurementId = MeasurementId(1);
const STEP_NS: i64 = 10_000_000_000;
const HOUR_NS: i64 = 3_600_000_000_000;

/// A fixed sequence that looks random.
struct Noise(u64);

impl Noise {
    fn below(&mut self, below: i32) -> i32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let high = i32::try_from(self.0 >> 33).expect("31 bits");
        high % below
    }
}

/// A folder that goes when the bench ends.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

struct Shape {
    name: &'static str,
    series: u64,
    rows: i64,
    effort: Effort,
    /// Integers, or the same as floats.
    integers: bool,
}

const SHAPES: [Shape; 4] = [
    Shape {
        name: "flush of ten minutes",
        series: 4000,
        rows: 60,
        effort: Effort::Hot,
        integers: false,
    },
    Shape {
        name: "day, compacted",
        series: 100,
        rows: 8640,
        effort: Effort::Cold,
        integers: false,
    },
    Shape {
        name: "half a day of integers, flushed",
        series: 100,
        rows: 4320,
        effort: Effort::Hot,
        integers: true,
    },
    Shape {
        name: "half a day of integers, compacted",
        series: 100,
        rows: 4320,
        effort: Effort::Cold,
        integers: true,
    },
];

/// The rows of `shape`, some series to a piece.
fn pieces(shape: &Shape) -> Vec<(Rows, Vec<SeriesEntry>)> {
    let mut noise = Noise(1);
    let at_once = (8192 / shape.rows).max(1).unsigned_abs();
    let mut pieces = Vec::new();
    for first in (0..shape.series).step_by(usize::try_from(at_once).expect("it is small")) {
        let mut rows = Rows {
            measurement: MEASUREMENT,
            series: Vec::new(),
            timestamps: Vec::new(),
            columns: Vec::new(),
        };
        let mut columns = vec![Vec::new(); FIELDS as usize];
        let mut entries = Vec::new();
        for number in first..(first + at_once).min(shape.series) {
            let host = format!("host_{number:06}");
            let rack = format!("{}", number % 100);
            let key = CanonicalKey::encode(
                MEASUREMENT,
                &mut [
                    (TagKeyId(1), b"eu-central-1"),
                    (TagKeyId(2), host.as_bytes()),
                    (TagKeyId(3), rack.as_bytes()),
                ],
            );
            let id = SeriesId(number + 1);
            entries.push(SeriesEntry { id, key });
            let mut gauges = [50; FIELDS as usize];
            for row in 0..shape.rows {
                rows.series.push(id);
                rows.timestamps
                    .push(1_600_000_000_000_000_000 + row * STEP_NS);
                for (gauge, column) in gauges.iter_mut().zip(&mut columns) {
                    *gauge = (*gauge + noise.below(5) - 2).clamp(0, 100);
                    column.push(*gauge);
                }
            }
        }
        rows.columns = (1..)
            .map(FieldId)
            .zip(columns)
            .map(|(id, values)| {
                let values = if shape.integers {
                    Values::Integer(values.into_iter().map(i64::from).collect())
                } else {
                    Values::Float(values.into_iter().map(f64::from).collect())
                };
                let presence = Presence::All;
                (id, Column { values, presence })
            })
            .collect();
        pieces.push((rows, entries));
    }
    pieces
}

fn write(env: &Arc<dyn Env>, shape: &Shape, pieces: &[(Rows, Vec<SeriesEntry>)]) -> BlockMeta {
    let info = BlockInfo {
        database: DatabaseId(1),
        policy: PolicyId(1),
        level: 0,
        sequences: SequenceRange {
            first: Sequence(1),
            last: Sequence(2),
        },
    };
    let mut writer = BlockWriter::create(env, 1, 7, info, shape.effort).expect("there is room");
    writer
        .begin_measurement(MEASUREMENT)
        .expect("there is room");
    for (rows, series) in pieces {
        writer.push(rows, series).expect("there is room");
    }
    let meta = writer.finish().expect("there is room");
    meta.expect("there are rows")
}

fn scan(block: &Block, fields: &[FieldId]) -> usize {
    let measurement = block.measurement(MEASUREMENT).expect("it is whole");
    let measurement = measurement.expect("it is there");
    let count = measurement.series_count();
    let mut cursor = measurement.cursor(fields, TimeRange::ALL);
    let mut values = 0;
    for ordinal in 0..count {
        for chunk in cursor.chunks_at(ordinal).expect("it is whole") {
            let rows = cursor.rows(&chunk).expect("it is whole");
            let rows = black_box(rows.expect("all times are wanted"));
            values += rows.timestamps.len() * rows.columns.len();
        }
    }
    values
}

/// The sum of each field of each series in each hour, by the scan that queries use, on one thread.
fn hourly(snapshot: &Snapshot, shape: &Shape) -> usize {
    let hours = (shape.rows * STEP_NS + HOUR_NS - 1) / HOUR_NS;
    let request = AggregateRequest {
        scan: ScanRequest {
            policy: PolicyId(1),
            measurement: MEASUREMENT,
            series: (1..=shape.series).map(SeriesId).collect(),
            fields: (1..=FIELDS).map(FieldId).collect(),
            range: TimeRange::ALL,
            descending: false,
            filter: None,
        },
        wanted: vec![AggregateSet::SUM; FIELDS as usize],
        edges: (0..=hours)
            .map(|hour| 1_600_000_000_000_000_000 + hour * HOUR_NS)
            .collect(),
    };
    let mut cursor = aggregates(snapshot, request, Arc::new(|| Ok(()))).expect("it is whole");
    let mut windows = 0;
    while let Some(batch) = cursor.next_windows().expect("it is whole") {
        windows += black_box(batch).windows.len();
    }
    windows
}

/// A database that is this block.
fn snapshot(block: Block, shape: &Shape) -> Snapshot {
    let field_type = if shape.integers {
        FieldType::Integer
    } else {
        FieldType::Float
    };
    let field = |id| FieldInfo {
        id: FieldId(id),
        name: format!("field{id}").into_bytes().into(),
        field_type,
    };
    let names = Names {
        measurements: vec![(MEASUREMENT, b"cpu"[..].into())],
        fields: (1..=FIELDS).map(|id| (MEASUREMENT, field(id))).collect(),
        ..Names::default()
    };
    let mut catalog = DatabaseCatalog::new(DatabaseId(1), "db");
    catalog.define(&names).expect("the names are new");
    let stores = PolicyStores {
        blocks: vec![Arc::new(block)],
        ..PolicyStores::default()
    };
    let policies = [(PolicyId(1), stores)].into();
    Snapshot::new(Sequence(9), Arc::new(catalog), policies, Vec::new())
}

fn statistics(block: &Block, fields: &[FieldId]) -> usize {
    let measurement = block.measurement(MEASUREMENT).expect("it is whole");
    let measurement = measurement.expect("it is there");
    let count = measurement.series_count();
    let mut cursor = measurement.cursor(fields, TimeRange::ALL);
    let mut known = 0;
    for ordinal in 0..count {
        for chunk in cursor.chunks_at(ordinal).expect("it is whole") {
            for field in 0..fields.len() {
                let stats = cursor.stats(&chunk, field).expect("it is whole");
                known += usize::from(matches!(black_box(stats), FieldStats::Known(_)));
            }
        }
    }
    known
}

fn blocks(criterion: &mut Criterion) {
    for shape in SHAPES {
        let name = format!("silverback-bench-block-{}", std::process::id());
        let folder = Folder(std::env::temp_dir().join(name));
        let options = RealOptions { mmap: true };
        let env: Arc<dyn Env> = Arc::new(RealEnv::new(folder.0.clone(), options));
        let lock = env.lock(Path::new("LOCK")).expect("the folder is ours");
        env.create_dir(Path::new("blocks")).expect("it can be made");
        let pieces = pieces(&shape);
        let values = shape.series * shape.rows.unsigned_abs() * u64::from(FIELDS);
        let meta = write(&env, &shape, &pieces);
        let thousandths = meta.size_bytes * 1000 / values;
        let mut group = criterion.benchmark_group(format!(
            "block/{}, {}.{:03} bytes a value",
            shape.name,
            thousandths / 1000,
            thousandths % 1000
        ));
        group.sample_size(10);
        group.throughput(Throughput::Elements(values));
        group.bench_function("write", |bencher| {
            bencher.iter(|| write(&env, &shape, &pieces));
        });
        // As in a database: models outlive the query that decoded them.
        let sets = Arc::new(DecodedPages::new(16 << 20, &Budget::new(1 << 30)));
        let block = || Block::open(&*env, 7, &meta).map(|block| block.with_decoded(&sets));
        let all: Vec<FieldId> = (1..=FIELDS).map(FieldId).collect();
        let whole = block().expect("it is whole");
        group.bench_function("scan all fields", |bencher| {
            bencher.iter(|| scan(&whole, &all));
        });
        group.throughput(Throughput::Elements(values / u64::from(FIELDS)));
        group.bench_function("scan one field", |bencher| {
            bencher.iter(|| scan(&whole, &all[..1]));
        });
        if shape.rows > 256 {
            group.throughput(Throughput::Elements(values));
            group.bench_function("statistics of all fields", |bencher| {
                bencher.iter(|| statistics(&whole, &all));
            });
            let snapshot = snapshot(block().expect("it is whole"), &shape);
            group.bench_function("sums of all fields by the hour", |bencher| {
                bencher.iter(|| hourly(&snapshot, &shape));
            });
        }
        group.finish();
        let equal = TagPredicate::Equal {
            key: b"rack"[..].into(),
            value: b"7"[..].into(),
        };
        let names: &dyn Fn(&[u8]) -> Option<TagKeyId> = &|_| Some(TagKeyId(3));
        criterion.bench_function(&format!("block/{}, select", shape.name), |bencher| {
            bencher.iter(|| {
                let measurement = whole.measurement(MEASUREMENT).expect("it is whole");
                let measurement = measurement.expect("it is there");
                measurement
                    .select(black_box(&equal), names)
                    .expect("it is whole")
            });
        });
        drop(lock);
    }
}

criterion_group!(benches, blocks);
criterion_main!(benches);
