//! Parsing line protocol into columns: throughput in values.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use silverback_benches::Devops;
use silverback_query::lineprotocol::{ParseOptions, Precision, parse};
use silverback_storage::model::KeyHasher;

fn devops(criterion: &mut Criterion) {
    let mut data = Devops::new(7, 400);
    let mut body = String::new();
    for _ in 0..12 {
        data.step(&mut body);
    }
    let options = ParseOptions {
        hasher: KeyHasher::new([1, 2, 3, 4]),
        precision: Precision::Nanosecond,
        now_ns: 0,
    };
    let mut group = criterion.benchmark_group("lineprotocol");
    group.throughput(Throughput::Elements(12 * 400 * 10));
    group.bench_function("devops", |bencher| {
        bencher.iter(|| {
            black_box(parse(black_box(body.as_bytes()), options))
                .errors
                .len()
        });
    });
    group.finish();
}

criterion_group!(benches, devops);
criterion_main!(benches);
