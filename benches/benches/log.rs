//! The log on a real disk: records queued, written and synced, by the size of a group; and read back.
#![expect(clippy::unwrap_used, reason = "a bench may stop where it cannot go on")]

use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use silverback_storage::env::{Env, RealEnv, RealOptions};
use silverback_storage::model::Sequence;
use silverback_storage::wal::{Submission, Wal, WalOptions, WalStart};

/// Bytes of a record: 5,000 lines of ten gauges, as they stand in the log.
const RECORD_BYTES: usize = 64 << 10;
const START: WalStart = WalStart {
    directory_id: 7,
    released_through: Sequence(0),
    clean_end: None,
};

fn open(env: &Arc<dyn Env>, mut each: impl FnMut(&[u8])) -> Wal {
    let options = WalOptions::default();
    let opened = Wal::open(Arc::clone(env), options, START, &mut |_, _, payload| {
        each(payload);
        Ok(())
    });
    opened.unwrap().0
}

fn log(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let options = RealOptions { mmap: true };
    let env: Arc<dyn Env> = Arc::new(RealEnv::new(folder.path().to_owned(), options));
    let _lock = env.lock(Path::new("LOCK")).unwrap();
    env.create_dir(Path::new("wal")).unwrap();
    let wal = open(&env, |_| ());
    let mut group = criterion.benchmark_group("log");
    group.sample_size(20);
    for records in [1, 16] {
        group.throughput(Throughput::Bytes((RECORD_BYTES * records) as u64));
        group.bench_function(
            format!("write and sync {records} records of 64 KiB"),
            |bench| {
                bench.iter(|| {
                    let submit = |_| {
                        let records = vec![(1, vec![0x5a; RECORD_BYTES])];
                        wal.submit(Submission::new(records, |_| ())).unwrap()
                    };
                    // What is queued when one leads is one group.
                    let tickets: Vec<_> = (0..records).map(submit).collect();
                    for ticket in tickets {
                        ticket.wait().unwrap();
                    }
                });
            },
        );
    }
    drop(wal);
    let mut size = 0;
    drop(open(&env, |payload| size += payload.len() as u64));
    group.throughput(Throughput::Bytes(size)).sample_size(10);
    group.bench_function("open and replay", |bench| {
        bench.iter(|| {
            let mut bytes = 0;
            drop(open(&env, |payload| bytes += payload.len()));
            bytes
        });
    });
    group.finish();
}

criterion_group!(benches, log);
criterion_main!(benches);
