//! Bytes a value of every kind of column, in the form a flush writes and in the one that stays, as
//! they stand in a block; beside each the best figure known for its kind. From a seed, so that every
//! run prints the same.
//!
//! `cargo run --release -p silverback-benches --bin sizes`
#![expect(
    clippy::print_stdout,
    reason = "a command line tool speaks on standard output"
)]
#![expect(clippy::unwrap_used, reason = "a bench stops at the first surprise")]

mod kinds;

use std::path::Path;
use std::sync::Arc;

use kinds::{Column, KINDS, Kind};
use silverback_benches::{Random, START_NS, STEP_NS};
use silverback_storage::block::{Block, BlockWriter};
use silverback_storage::codec::Effort;
use silverback_storage::env::{Env, RealEnv, RealOptions};
use silverback_storage::format::block::{BlockInfo, SequenceRange};
use silverback_storage::model::{
    CanonicalKey, Column as FieldColumn, DatabaseId, FieldId, MeasurementId, PolicyId, Presence,
    Rows, Sequence, SeriesEntry, SeriesId, TagKeyId, Values,
};

const MEASUREMENT: MeasurementId = MeasurementId(1);
const FIELD: FieldId = FieldId(1);
/// Values of a block: 24 series of 8,192, or more and shorter ones.
const VALUES: usize = 24 * 8192;
const SEED: u64 = 20_240_101;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let options = RealOptions { mmap: true };
    let env: Arc<dyn Env> = Arc::new(RealEnv::new(folder.path().to_owned(), options));
    let _lock = env.lock(Path::new("LOCK")).unwrap();
    env.create_dir(Path::new("blocks")).unwrap();
    println!(
        "Bytes a value, {VALUES} values to a block; 8192, 512, 120: how many a series has. `block` is the \
         whole file: times, statistics, keys, directory, checksums.\n"
    );
    println!(
        "| column | best known | hot 8192 | cold 8192 | cold 512 | cold 120 | block 8192 | block 120 |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    let mut file_id = 0;
    for kind in &KINDS {
        let mut measure = |rows: usize, effort: Effort| {
            file_id += 1;
            sizes(&env, file_id, kind, (rows, effort))
        };
        let (hot, _) = measure(8192, Effort::Hot);
        let (long, block_long) = measure(8192, Effort::Cold);
        let (middle, _) = measure(512, Effort::Cold);
        let (short, block_short) = measure(120, Effort::Cold);
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            kind.name,
            kind.best,
            per_value(hot),
            per_value(long),
            per_value(middle),
            per_value(short),
            per_value(block_long),
            per_value(block_short),
        );
    }
}

fn per_value(bytes: u64) -> String {
    let thousandths = (bytes * 1000).div_ceil(VALUES as u64);
    format!("{}.{:03}", thousandths / 1000, thousandths % 1000)
}

/// What the column takes, and what the whole block does, brought to `VALUES` values.
fn sizes(
    env: &Arc<dyn Env>,
    file_id: u64,
    kind: &Kind,
    (rows, effort): (usize, Effort),
) -> (u64, u64) {
    let info = BlockInfo {
        database: DatabaseId(1),
        policy: PolicyId(1),
        level: 0,
        sequences: SequenceRange {
            first: Sequence(1),
            last: Sequence(2),
        },
    };
    let mut random = Random(SEED);
    let mut writer = BlockWriter::create(env, file_id, 7, info, effort).unwrap();
    writer.begin_measurement(MEASUREMENT).unwrap();
    let mut of_times = false;
    for number in 1..=(VALUES / rows) as u64 {
        let column = (kind.make)(&mut random, rows);
        of_times = matches!(column, Column::Times(_));
        let (entry, rows) = series(number, column);
        writer.push(&rows, &[entry]).unwrap();
    }
    let meta = writer.finish().unwrap().unwrap();
    let block = Block::open(&**env, 7, &meta).unwrap();
    let measurement = block.measurement(MEASUREMENT).unwrap().unwrap();
    let column = if of_times {
        measurement.times_bytes().unwrap()
    } else {
        measurement.field_bytes(FIELD).unwrap()
    };
    let brought = |bytes: u64| bytes * VALUES as u64 / meta.row_count;
    (brought(column), brought(meta.size_bytes))
}

/// A series with ten gauges' worth of tags, its values every ten seconds, or a constant at its times.
fn series(number: u64, column: Column) -> (SeriesEntry, Rows) {
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
    let id = SeriesId(number);
    let (timestamps, values) = match column {
        Column::Times(times) => {
            let values = Values::Integer(vec![1; times.len()]);
            (times, values)
        }
        Column::Values(values) => {
            let steps = (0..values.len()).map(|row| i64::try_from(row).unwrap());
            (
                steps.map(|step| START_NS + step * STEP_NS).collect(),
                values,
            )
        }
    };
    let rows = Rows {
        measurement: MEASUREMENT,
        series: vec![id; timestamps.len()],
        timestamps,
        columns: vec![(
            FIELD,
            FieldColumn {
                values,
                presence: Presence::All,
            },
        )],
    };
    (SeriesEntry { id, key }, rows)
}
