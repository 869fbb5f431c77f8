//! Lists of operations that meet each kind of change of the disk, and how small a store is made so
//! that few operations meet it.

use silverback_storage::db::{DbOptions, WalOptions};
use silverback_storage::model::{FieldValue, TimeRange};

use crate::deletes::Choice;
use crate::explore::Script;
use crate::names::Change;
use crate::ops::{Aging, Op};
use crate::support::{Row, options, row};

/// A value of each of the five types; every value of the suite is another.
fn value(seed: i64) -> FieldValue {
    match seed % 5 {
        0 => FieldValue::Float(f64::from_bits(0x7ff8_0000_0000_0000 | seed.cast_unsigned())),
        1 => FieldValue::Integer(i64::MIN + seed),
        2 => FieldValue::Unsigned(u64::MAX - seed.cast_unsigned()),
        3 => FieldValue::Boolean(seed % 2 == 0),
        _ => FieldValue::String(format!("text {seed}").into_bytes().into()),
    }
}

/// Some rows of some series; each field has one type.
pub(crate) fn rows(measurement: &str, seed: i64, count: i64) -> Vec<Row> {
    let one = |index: i64| {
        let host = format!("h{}", (seed + index) % 4);
        let fields: Vec<(String, FieldValue)> = (0..5)
            .filter(|kind| (seed + index + kind) % 3 != 0)
            .map(|kind| (format!("f{kind}"), value((seed + index) * 5 + kind)))
            .collect();
        let mut row = row(
            measurement,
            &[("host", &host), ("dc", "x")],
            seed * 7 + index,
            &[],
        );
        row.fields = fields;
        row
    };
    (0..count).map(one).collect()
}

fn write(database: &'static str, measurement: &str, seed: i64, count: i64) -> Op {
    Op::Write(database, rows(measurement, seed, count))
}

fn delete(measurement: &str, host: Option<&str>, (start, end): (i64, i64)) -> Op {
    let choice = Choice {
        measurements: vec![measurement.to_owned()],
        host: host.map(str::to_owned),
        range: TimeRange { start, end },
    };
    Op::Delete("db", choice)
}

/// A store whose segments and memtables are so small that every few writes fill one.
pub(crate) fn tiny() -> DbOptions {
    DbOptions {
        wal: WalOptions {
            segment_bytes: 4096,
            ..WalOptions::default()
        },
        memtable_bytes: 3000,
        memtable_bytes_max: 12_000,
        ..options()
    }
}

fn script(name: &str, seed: u64, options: DbOptions, ops: Vec<Op>) -> Script {
    Script {
        name: name.to_owned(),
        seed,
        options,
        short_writes: None,
        ops,
    }
}

/// Every scripted list.
pub(crate) fn scripts() -> Vec<Script> {
    vec![
        script("everything", 11, options(), everything()),
        script("rollover", 13, tiny(), rollover()),
        script("many blocks", 14, options(), many_blocks()),
        script("drops", 15, options(), drops()),
        script("restarts", 16, tiny(), restarts()),
        script("late data", 17, options(), late_data()),
        script("full disk", 18, options(), full_disk()),
        script("names", 19, options(), names()),
        script("policies", 20, options(), policies()),
        script("deletes", 21, tiny(), deletes()),
        script("backups", 22, options(), backups()),
    ]
}

/// Ingest, flush, drop, close and open again: every kind of change of the disk that there is.
pub(crate) fn everything() -> Vec<Op> {
    vec![
        Op::Create("db"),
        write("db", "cpu", 1, 6),
        write("db", "mem", 2, 3),
        Op::Flush,
        write("db", "cpu", 1, 4),
        delete("cpu", Some("h2"), (0, 100)),
        write("db", "cpu", 20, 5),
        Op::Create("other"),
        write("other", "cpu", 3, 3),
        Op::DropMeasurement("db", "mem"),
        write("db", "mem", 4, 2),
        Op::Alter("db", "mem", Change::Rename("ram")),
        write("db", "mem", 5, 2),
        Op::Flush,
        Op::Close,
        write("db", "disk", 5, 5),
        write("db", "cpu", 20, 2),
        Op::DropDatabase("other"),
        write("other", "net", 6, 2),
        Op::Reopen,
        write("db", "cpu", 1, 3),
        delete("cpu", None, (8, 142)),
        write("db", "cpu", 20, 3),
        Op::Flush,
        delete("disk", None, (0, 1000)),
        write("db", "cpu", 2, 30),
        Op::Flush,
        write("db", "cpu", 9, 30),
        delete("cpu", Some("h1"), (0, 30)),
        Op::Compact,
        write("db", "cpu", 10, 3),
        delete("cpu", Some("h3"), (0, 1000)),
        Op::Close,
        write("other", "net", 6, 4),
    ]
}

/// Segments of the log fill up one after another, and background steps flush behind the writers.
fn rollover() -> Vec<Op> {
    let mut ops = vec![Op::Create("db")];
    for round in 0..12 {
        ops.push(write("db", "cpu", round * 3, 12));
        ops.push(write(
            "db",
            ["mem", "disk"][usize::from(round % 2 == 0)],
            round,
            9,
        ));
        if round % 3 == 2 {
            ops.push(Op::Steps(3));
        }
    }
    ops.push(Op::Close);
    ops
}

/// Blocks that cover each other are merged, with writes between.
fn many_blocks() -> Vec<Op> {
    let mut ops = vec![Op::Create("db"), Op::Create("other")];
    for round in 0..6 {
        ops.push(write("db", "cpu", round, 20));
        ops.push(write("other", "mem", round * 2, 5));
        ops.push(Op::Flush);
    }
    ops.extend([Op::Compact, write("db", "cpu", 2, 9), Op::Flush]);
    ops.extend([
        write("db", "cpu", 3, 9),
        Op::Compact,
        Op::Steps(6),
        Op::Close,
    ]);
    ops.extend([write("db", "cpu", 4, 3), Op::Compact, Op::Close]);
    ops
}

/// What is dropped and made anew, in memory, in blocks, and across restarts.
fn drops() -> Vec<Op> {
    let mut ops = vec![Op::Create("db"), Op::Create("other")];
    for round in 0..4 {
        ops.push(write("db", "cpu", round, 5));
        ops.push(write("db", "mem", round, 5));
        ops.push(write("other", "cpu", round, 5));
        ops.push(match round {
            0 => Op::DropMeasurement("db", "cpu"),
            1 => Op::DropDatabase("other"),
            2 => Op::Flush,
            _ => Op::DropMeasurement("other", "cpu"),
        });
        ops.push(write("db", "cpu", round + 9, 3));
        ops.push(if round % 2 == 0 {
            Op::Flush
        } else {
            Op::Reopen
        });
        ops.push(Op::DropMeasurement("db", "mem"));
        ops.push(Op::Compact);
    }
    // Written again at once, and nothing but the log has it when the process ends.
    for round in 0..2 {
        ops.push(write("other", "cpu", round, 5));
        ops.push(Op::DropDatabase("other"));
        ops.push(write("other", "cpu", round + 3, 4));
        ops.push(Op::Reopen);
        ops.push(Op::DropMeasurement("db", "cpu"));
        ops.push(write("db", "cpu", round + 5, 4));
        ops.push(Op::Reopen);
    }
    ops.push(Op::Close);
    ops
}

/// Starts after every kind of end, with and without something to replay.
fn restarts() -> Vec<Op> {
    let mut ops = vec![Op::Create("db"), Op::Reopen, Op::Close, Op::Close];
    for round in 0..8 {
        ops.push(write("db", "cpu", round, 8));
        ops.push(Op::Reopen);
        ops.push(write("db", "mem", round, 8));
        ops.push(if round % 2 == 0 {
            Op::Close
        } else {
            Op::Steps(2)
        });
    }
    ops
}

/// Rows of many partitions, in any order.
fn late_data() -> Vec<Op> {
    let mut ops = vec![Op::Create("db")];
    for round in 0..5 {
        for week in [3, 0, 2] {
            let mut late = rows("cpu", round * 4, 6);
            for row in &mut late {
                row.time += week * 604_800_000_000_000;
            }
            ops.push(Op::Write("db", late));
        }
        ops.push(Op::Flush);
        if round % 2 == 1 {
            ops.push(Op::Compact);
        }
    }
    ops.push(Op::Close);
    ops
}

/// The disk fills up in the middle, and has room again.
fn full_disk() -> Vec<Op> {
    let mut ops = vec![Op::Create("db"), write("db", "cpu", 1, 8), Op::Flush];
    for left in [0, 600, 5000, 9000] {
        ops.push(write("db", "cpu", 5, 8));
        ops.push(Op::Space(Some(left)));
        ops.extend([
            write("db", "cpu", 7, 20),
            write("db", "mem", 7, 20),
            Op::Flush,
        ]);
        ops.extend([Op::Compact, Op::Steps(4), Op::DropMeasurement("db", "mem")]);
        ops.extend([Op::Reopen, write("db", "cpu", 9, 2), Op::Space(None)]);
        ops.extend([write("db", "cpu", 11, 8), Op::Flush, Op::Reopen]);
    }
    ops.push(Op::Close);
    ops
}

/// Measurements, tag keys and fields change their names, and what is written under the old ones since
/// then is something else.
fn names() -> Vec<Op> {
    let alter = |measurement, change| Op::Alter("db", measurement, change);
    vec![
        Op::Create("db"),
        write("db", "cpu", 1, 6),
        write("db", "mem", 2, 4),
        alter("mem", Change::Rename("x")),
        write("db", "mem", 3, 3),
        alter("cpu", Change::RenameTag("host", "a")),
        write("db", "cpu", 1, 6),
        Op::Flush,
        alter("cpu", Change::RenameField("f0", "g0")),
        write("db", "cpu", 4, 6),
        alter("cpu", Change::DropField("f1")),
        // In use, and not there.
        alter("mem", Change::Rename("cpu")),
        alter("cpu", Change::RenameField("f1", "g1")),
        Op::Reopen,
        write("db", "cpu", 5, 6),
        alter("x", Change::Rename("y")),
        alter("cpu", Change::RenameTag("dc", "host")),
        Op::Flush,
        Op::Compact,
        alter("mem", Change::DropField("f2")),
        Op::DropMeasurement("db", "y"),
        alter("mem", Change::Rename("y")),
        Op::Close,
        write("db", "mem", 6, 4),
        alter("y", Change::RenameField("f3", "g3")),
        write("db", "cpu", 9, 9),
        Op::Compact,
    ]
}

/// Points age, their policy is altered, dropped and made anew, the clock is wrong and right again.
fn policies() -> Vec<Op> {
    let aging = |seed: i64| {
        let hosts = ["h0", "h1", "h2"].into_iter().cycle();
        let one = |(index, host)| Aging {
            host,
            age: (seed * 5 + index * 3) % 16 - 2,
            value: seed * 100 + index,
        };
        Op::WriteAging((0..7).zip(hosts).map(one).collect())
    };
    vec![
        Op::Create("db"),
        aging(1),
        Op::Flush,
        Op::Advance(4),
        aging(2),
        write("db", "cpu", 1, 5),
        Op::Flush,
        Op::Steps(4),
        aging(3),
        Op::AlterPolicy(1),
        Op::Retention,
        aging(4),
        Op::SetClock(48),
        aging(5),
        Op::Steps(6),
        Op::SetClock(-48),
        Op::Retention,
        Op::Reopen,
        aging(6),
        Op::Flush,
        Op::Compact,
        Op::DropPolicy,
        aging(7),
        Op::Reopen,
        Op::Close,
        Op::AlterPolicy(5),
        write("db", "cpu", 2, 5),
        aging(8),
        Op::Advance(24),
        Op::Retention,
        aging(9),
        Op::SetClock(-1),
        Op::Steps(6),
        Op::Retention,
    ]
}

/// Deletes of rows that lie in the log, in memory, in blocks and in merged blocks, with late rows behind
/// them, across every kind of restart.
fn deletes() -> Vec<Op> {
    let mut ops = vec![Op::Create("db")];
    for round in 0..6 {
        ops.push(write("db", "cpu", round, 9));
        if round % 2 == 0 {
            ops.push(Op::Flush);
        }
        ops.push(delete("cpu", Some("h1"), (0, 40 + round)));
        ops.push(write("db", "mem", round, 5));
        ops.push(match round {
            0 => Op::Reopen,
            1 => Op::Compact,
            2 => Op::Close,
            3 => Op::Steps(6),
            _ => Op::Flush,
        });
        ops.push(delete("mem", None, (round, round + 20)));
        ops.push(write("db", "cpu", round, 3));
    }
    ops.extend([Op::Compact, delete("cpu", None, (i64::MIN, i64::MAX))]);
    ops.extend([Op::Flush, Op::Compact, write("db", "cpu", 1, 4), Op::Close]);
    ops
}

/// Backups between everything that changes which files there are.
fn backups() -> Vec<Op> {
    let mut ops = vec![Op::Create("db"), Op::Create("other"), Op::Backup];
    for (round, then) in [
        Op::Flush,
        Op::Compact,
        delete("cpu", Some("h2"), (0, 100)),
        Op::Alter("db", "mem", Change::Rename("ram")),
        Op::DropMeasurement("db", "cpu"),
        Op::DropDatabase("other"),
        Op::Reopen,
    ]
    .into_iter()
    .enumerate()
    {
        let seed = i64::try_from(round).unwrap_or(0);
        ops.push(write("db", "cpu", seed, 6));
        ops.push(write("db", "mem", seed, 3));
        ops.push(write("other", "cpu", seed, 3));
        ops.extend([then, Op::Backup]);
    }
    ops.push(Op::Close);
    ops
}
