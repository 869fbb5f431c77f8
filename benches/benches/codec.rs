//! Values per second of the codecs, both ways, and of the payload of a write. Each bench's name
//! carries the bytes a value takes.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use silverback_storage::codec::{self, Effort};
use silverback_storage::format::rows::{decode_rows, encode_rows};
use silverback_storage::model::{
    Column, DatabaseId, FieldId, MeasurementId, PolicyId, Presence, Rows, SeriesId, Strings, Values,
};

const COUNT: usize = 8192;

/// A fixed sequence that looks random, 31 bits each.
struct Noise(u64);

impl Noise {
    fn next(&mut self, below: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let high = u32::try_from(self.0 >> 33).expect("31 bits");
        high % below
    }
}

/// A walk within 0..=100 by whole steps, as the cpu gauges of devops benchmarks.
fn walk(noise: &mut Noise) -> Vec<f64> {
    let mut value = 50_i32;
    (0..COUNT)
        .map(|_| {
            let step = noise.next(5).cast_signed() - 2;
            value = (value + step).clamp(0, 100);
            f64::from(value)
        })
        .collect()
}

fn float_columns() -> Vec<(&'static str, Vec<f64>)> {
    let mut noise = Noise(1);
    let n = &mut noise;
    let mut columns = vec![("walk", walk(n))];
    columns.push((
        "tenths",
        (0..COUNT).map(|_| f64::from(n.next(1000)) / 10.0).collect(),
    ));
    columns.push((
        "hundredths",
        (0..COUNT)
            .map(|_| f64::from(n.next(10_000)) / 100.0)
            .collect(),
    ));
    let ratio = (0..COUNT).map(|_| f64::from(n.next(60)) / f64::from(n.next(60) + 1));
    columns.push(("ratio", ratio.collect()));
    let wide = (0..COUNT).map(|_| f64::from(n.next(1 << 30) + 1).sqrt());
    columns.push(("16 digits", wide.collect()));
    let mut held = 0.0;
    let repeating = (0..COUNT).map(|_| {
        if n.next(2) == 0 {
            held = f64::from(n.next(1 << 30)).sqrt();
        }
        held
    });
    columns.push(("repeating", repeating.collect()));
    columns.push(("constant", vec![1.25; COUNT]));
    columns
}

fn integer_columns() -> Vec<(&'static str, Vec<i64>)> {
    let mut noise = Noise(2);
    let mut total = 0;
    let counter = (0..COUNT).map(|_| {
        total += i64::from(30 + noise.next(40));
        total
    });
    let mut columns = vec![("counter", counter.collect::<Vec<i64>>())];
    let gauge = (0..COUNT).map(|_| i64::from(noise.next(100)));
    columns.push(("gauge", gauge.collect()));
    let mut bytes = 0;
    let traffic = (0..COUNT).map(|_| {
        bytes += i64::from(noise.next(1 << 22));
        bytes
    });
    columns.push(("bytes", traffic.collect()));
    let mut errors = 0;
    let rare = (0..COUNT).map(|_| {
        errors += i64::from(noise.next(50) == 0);
        errors
    });
    columns.push(("rare", rare.collect()));
    columns
}

fn time_columns() -> Vec<(&'static str, Vec<i64>)> {
    let mut noise = Noise(3);
    let start = 1_700_000_000_000_000_000;
    let rows = 0..i64::try_from(COUNT).expect("small");
    let regular = rows.clone().map(|row| start + row * 10_000_000_000);
    let jitter = rows
        .clone()
        .map(|row| start + row * 10_000_000_000 + i64::from(noise.next(4_000_000)));
    let mut columns = vec![("regular", regular.collect::<Vec<i64>>())];
    columns.push(("jitter ns", jitter.collect()));
    let jitter = rows
        .clone()
        .map(|row| start + row * 10_000_000_000 + i64::from(noise.next(7)) * 1_000_000);
    columns.push(("jitter ms", jitter.collect()));
    let interleaved = rows.map(|row| start + row / 100 * 10_000_000_000);
    columns.push(("interleaved", interleaved.collect()));
    columns
}

fn string_columns() -> Vec<(&'static str, Strings)> {
    let mut noise = Noise(4);
    let mut states = Strings::default();
    let mut lines = Strings::default();
    for row in 0..COUNT {
        states.push([&b"running"[..], b"sleeping", b"stopped", b"zombie"][noise.next(4) as usize]);
        let line = format!(
            "GET /api/v{}/item/{row} took {} us",
            noise.next(3),
            noise.next(9999)
        );
        lines.push(line.as_bytes());
    }
    vec![("states", states), ("lines", lines)]
}

fn columns() -> Vec<(String, Values)> {
    let mut columns = Vec::new();
    for (name, values) in float_columns() {
        columns.push((format!("float {name}"), Values::Float(values)));
    }
    for (name, values) in integer_columns() {
        columns.push((format!("integer {name}"), Values::Integer(values)));
    }
    let flags = (0..COUNT).map(|row| row % 200 < 3).collect();
    columns.push(("boolean rare".into(), Values::Boolean(flags)));
    for (name, values) in string_columns() {
        columns.push((format!("string {name}"), Values::String(values)));
    }
    columns
}

fn per_value(size: usize, count: usize) -> String {
    let thousandths = size * 1000 / count;
    format!("{}.{:03} B", thousandths / 1000, thousandths % 1000)
}

fn bench_values(criterion: &mut Criterion) {
    for (name, values) in columns() {
        let mut group = criterion.benchmark_group(&name);
        group.throughput(Throughput::Elements(COUNT as u64));
        for effort in [Effort::Hot, Effort::Warm, Effort::Cold] {
            let mut bytes = Vec::new();
            codec::encode_values(&values, effort, &mut bytes);
            let what = format!(
                "{effort:?} codec {} {}",
                bytes[0],
                per_value(bytes.len(), COUNT)
            );
            let mut out = Vec::new();
            group.bench_function(format!("encode {what}"), |bench| {
                bench.iter(|| {
                    out.clear();
                    codec::encode_values(black_box(&values), effort, &mut out);
                });
            });
            let mut decoded = Values::new(values.field_type());
            group.bench_function(format!("decode {what}"), |bench| {
                bench.iter(|| codec::decode_values_into(black_box(&bytes), COUNT, &mut decoded));
            });
        }
    }
}

fn bench_times(criterion: &mut Criterion) {
    for (name, times) in time_columns() {
        let mut group = criterion.benchmark_group(format!("times {name}"));
        group.throughput(Throughput::Elements(COUNT as u64));
        for effort in [Effort::Hot, Effort::Warm, Effort::Cold] {
            let mut bytes = Vec::new();
            codec::encode_timestamps(&times, effort, &mut bytes);
            let what = format!(
                "{effort:?} codec {} {}",
                bytes[0],
                per_value(bytes.len(), COUNT)
            );
            let mut out = Vec::new();
            group.bench_function(format!("encode {what}"), |bench| {
                bench.iter(|| {
                    out.clear();
                    codec::encode_timestamps(black_box(&times), effort, &mut out);
                });
            });
            let mut decoded = Vec::new();
            group.bench_function(format!("decode {what}"), |bench| {
                bench
                    .iter(|| codec::decode_timestamps_into(black_box(&bytes), COUNT, &mut decoded));
            });
        }
    }
}

/// What one series of a page costs where pages span series: 256 of 8,192 values, per value wanted.
fn bench_range(criterion: &mut Criterion) {
    for (name, values) in columns() {
        let mut bytes = Vec::new();
        codec::encode_values(&values, Effort::Cold, &mut bytes);
        let mut group = criterion.benchmark_group(&name);
        let range = 5000..5256;
        group.throughput(Throughput::Elements(range.len() as u64));
        let mut part = Values::new(values.field_type());
        group.bench_function(format!("range Cold codec {}", bytes[0]), |bench| {
            bench.iter(|| {
                codec::decode_values_range(black_box(&bytes), COUNT, range.clone(), &mut part)
            });
        });
    }
}

/// `count` rows of `series` series that report ten whole numbers together.
fn devops(series: usize, count: usize) -> Rows {
    let mut noise = Noise(5);
    let columns = (1..=10).map(|field| {
        let values = (0..count).map(|_| f64::from(noise.next(100))).collect();
        let column = Column {
            values: Values::Float(values),
            presence: Presence::All,
        };
        (FieldId(field), column)
    });
    let columns = columns.collect();
    let time = |row: usize| i64::try_from(row / series).expect("small") * 10_000_000_000;
    Rows {
        measurement: MeasurementId(1),
        series: (0..count)
            .map(|row| SeriesId((row % series + 1) as u64))
            .collect(),
        timestamps: (0..count).map(time).collect(),
        columns,
    }
}

fn bench_rows(criterion: &mut Criterion) {
    for (series, count) in [(100, 5000), (10, 10), (1, 1)] {
        let rows = [devops(series, count)];
        let mut bytes = Vec::new();
        encode_rows(DatabaseId(1), PolicyId(1), &rows, &mut bytes);
        let mut group = criterion.benchmark_group(format!("rows {count} of {series} series"));
        group.throughput(Throughput::Elements(10 * count as u64));
        let size = per_value(bytes.len(), 10 * count);
        let mut out = Vec::new();
        group.bench_function(format!("encode {size}"), |bench| {
            bench.iter(|| {
                out.clear();
                encode_rows(DatabaseId(1), PolicyId(1), black_box(&rows), &mut out);
            });
        });
        group.bench_function(format!("decode {size}"), |bench| {
            bench.iter(|| decode_rows(black_box(&bytes)));
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(std::time::Duration::from_millis(100))
        .measurement_time(std::time::Duration::from_millis(400));
    targets = bench_values, bench_range, bench_times, bench_rows
}
criterion_main!(benches);
