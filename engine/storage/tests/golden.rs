//! Directories of every format that was released, or will be: small ones, closed cleanly and killed,
//! in `tests/golden/`, opened by every build and compared value by value. One that is there is never written anew: a
//! format's next version gets a directory of its own, by `SILVERBACK_GOLDEN=write cargo test --test golden`.
#![expect(clippy::unwrap_used, reason = "a test's helpers may stop the test")]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use silverback_storage::db::{Alter, Db, Delete};
use silverback_storage::env::{Env, SimEnv};
use silverback_storage::model::{FieldValue, PolicySpec, TagPredicate, TimeRange};
use silverback_storage::upkeep::backup::restore;

use support::{Contents, Row, open, read, row, write};

/// The directories: closed, killed with something in the log, and killed with all that the formats had when they
/// settled.
const DIRECTORIES: [&str; 3] = ["closed", "killed", "settled"];
/// A backup of the first, made twice.
const BACKUP: &str = "backup";

/// A golden directory is no larger, bytes.
const SIZE_MAX: u64 = 200_000;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// A value so that no bit is lost.
fn exact(value: &FieldValue) -> String {
    if let FieldValue::Float(float) = value {
        return format!("float {:016x}", float.to_bits());
    }
    format!("{value:?}")
}

/// A line for each value.
fn listing(contents: &Contents) -> String {
    let mut text = String::new();
    for ((database, measurement, tags, time, field), value) in contents {
        let tags: Vec<String> = tags
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let (tags, value) = (tags.join(","), exact(value));
        writeln!(
            text,
            "{database} {measurement} {tags} {time} {field} {value}"
        )
        .unwrap();
    }
    text
}

/// A line for each series and field: how many values there are, and a checksum of their lines.
fn summary(contents: &Contents) -> String {
    let mut columns: BTreeMap<String, Contents> = BTreeMap::new();
    for (cell, value) in contents {
        let (database, measurement, tags, _, field) = cell;
        let column = format!("{database} {measurement} {tags:?} {field}");
        let column = columns.entry(column).or_default();
        column.insert(cell.clone(), value.clone());
    }
    let mut text = String::new();
    for (column, contents) in columns {
        let checksum = crc32fast::hash(listing(&contents).as_bytes());
        writeln!(text, "{column} {} {checksum:08x}", contents.len()).unwrap();
    }
    text
}

/// What is kept of a directory's contents.
fn told(name: &str, contents: &Contents) -> String {
    if name == "settled" {
        summary(contents)
    } else {
        listing(contents)
    }
}

/// Rows of every type, late ones, gaps, and bits that a careless codec loses.
fn rows(measurement: &str, from: i64) -> Vec<Row> {
    let one = |index: i64| {
        let host = format!("h{}", index % 3);
        let mut fields = vec![
            (
                "level",
                FieldValue::Float(f64::from(i16::try_from(index % 40).unwrap()) / 4.0),
            ),
            ("total", FieldValue::Integer(index * 1_000_003)),
            ("up", FieldValue::Boolean(index % 5 != 0)),
        ];
        if index % 4 == 0 {
            let bits = 0x7ff8_0000_0000_0000 | index.cast_unsigned();
            fields.push(("odd", FieldValue::Float(f64::from_bits(bits))));
            fields.push((
                "size",
                FieldValue::Unsigned(u64::MAX - index.cast_unsigned()),
            ));
            fields.push((
                "note",
                FieldValue::String(format!("n{index}").into_bytes().into()),
            ));
        }
        row(
            measurement,
            &[("host", &host), ("dc", "x")],
            index * 10_000_000_000,
            &fields,
        )
    };
    (from..from + 60).map(one).collect()
}

/// What the directories hold: two databases, blocks of both levels, a delete, a drop, something in
/// the log.
fn fill(db: &Db) {
    for database in ["db", "other"] {
        db.create_database(database, &PolicySpec::default())
            .unwrap();
    }
    write(db, "db", &rows("cpu", 0)).unwrap();
    write(db, "other", &rows("mem", 9_000)).unwrap();
    db.flush().unwrap();
    write(db, "db", &rows("cpu", 30)).unwrap();
    write(db, "db", &rows("gone", 0)).unwrap();
    db.flush().unwrap();
    db.compact().unwrap();
    db.drop_measurement("db", b"gone").unwrap();
    write(db, "db", &rows("cpu", 50)).unwrap();
    db.flush().unwrap();
    write(db, "db", &rows("net", 70)).unwrap();
    write(db, "other", &rows("mem", 9_100)).unwrap();
}

/// What the directory of the settled formats holds: series that are long enough for statistics, models and
/// dictionaries of their own, in the form that stays, over partitions of a stated width; names that were changed and used
/// again, a field and series that were dropped, deletes in blocks and in the log, a second policy.
fn fill_settled(db: &Db) {
    let days = PolicySpec {
        name: Some("days".into()),
        partition_ns: Some(6 * 3_600_000_000_000),
        ..PolicySpec::default()
    };
    db.create_database("db", &days).unwrap();
    write(db, "db", &long_rows(0..700)).unwrap();
    db.flush().unwrap();
    write(db, "db", &long_rows(650..1_300)).unwrap();
    db.flush().unwrap();
    let forget = |host: &str, range| {
        let host = TagPredicate::Equal {
            key: b"host"[..].into(),
            value: host.as_bytes().into(),
        };
        let delete = Delete {
            policy: None,
            measurements: vec![(b"walks", host)],
            range,
        };
        db.delete("db", &delete).unwrap();
    };
    let early = TimeRange {
        start: 0,
        end: 500_000_000_000,
    };
    forget("h1", early);
    db.compact().unwrap();
    db.alter_measurement("db", b"walks", Alter::Rename(b"ways"))
        .unwrap();
    let (from, to) = (&b"host"[..], &b"node"[..]);
    db.alter_measurement("db", b"ways", Alter::RenameTag { from, to })
        .unwrap();
    let (from, to) = (&b"walk"[..], &b"way"[..]);
    db.alter_measurement("db", b"ways", Alter::RenameField { from, to })
        .unwrap();
    db.alter_measurement("db", b"ways", Alter::DropField(b"gone"))
        .unwrap();
    // The old name begins anew.
    write(db, "db", &long_rows(1_290..1_310)).unwrap();
    db.flush().unwrap();
    let late = TimeRange {
        start: 26_000_000_000_000,
        end: i64::MAX,
    };
    forget("h0", late);
    let short = PolicySpec {
        name: Some("short".into()),
        duration_ns: Some(0),
        ..PolicySpec::default()
    };
    db.create_policy("db", &short, false).unwrap();
    write(db, "db", &long_rows(1_310..1_320)).unwrap();
}

/// Rows that each codec has something to do for, of two hosts in turns, twenty seconds apart.
fn long_rows(range: std::ops::Range<i64>) -> Vec<Row> {
    let one = |at: i64| {
        // Steps that look drawn, from a multiplication.
        let noise = (at.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40).cast_signed();
        let float = |whole: i64| f64::from(i32::try_from(whole).unwrap());
        let fields = [
            ("walk", FieldValue::Integer(noise % 5 + at / 100)),
            ("wide", FieldValue::Integer(noise * noise)),
            (
                "counter",
                FieldValue::Unsigned((at * 1_000 + noise % 9).cast_unsigned()),
            ),
            ("constant", FieldValue::Float(16.0)),
            ("percent", FieldValue::Float(float(noise % 1_000) / 10.0)),
            ("root", FieldValue::Float(float(noise % 60).sqrt())),
            (
                "bits",
                FieldValue::Float(f64::from_bits((noise << 38).cast_unsigned())),
            ),
            ("up", FieldValue::Boolean(at / 70 % 9 > 0)),
            (
                "state",
                FieldValue::String(
                    [&b"idle"[..], b"running", b""][usize::try_from(noise % 3).unwrap()].into(),
                ),
            ),
            ("gone", FieldValue::Integer(at)),
        ];
        // Every eleventh row lacks a field.
        let kept = fields
            .into_iter()
            .enumerate()
            .filter(|(place, _)| at % 11 > 0 || *place != 4);
        let fields: Vec<(&str, FieldValue)> = kept.map(|(_, field)| field).collect();
        let host = format!("h{}", at % 2);
        row(
            "walks",
            &[("host", &host)],
            at * 20_000_000_000 + at % 7 / 6,
            &fields,
        )
    };
    range.map(one).collect()
}

/// Before a test reads them.
fn make_if_asked() {
    static ONCE: Once = Once::new();
    if std::env::var("SILVERBACK_GOLDEN").as_deref() == Ok("write") {
        ONCE.call_once(make);
    }
}

/// Writes the directories and what they hold. Those that are there stay: they are older than what is written now.
fn make() {
    for name in DIRECTORIES {
        if golden().join(name).exists() {
            continue;
        }
        let env = SimEnv::new(77);
        let db = open(&env).unwrap();
        if name == "settled" {
            fill_settled(&db);
        } else {
            fill(&db);
        }
        let contents = read(&db).unwrap();
        if name == "closed" {
            db.close().unwrap();
        }
        keep(name, &env, &contents);
    }
    if !golden().join(BACKUP).exists() {
        let db = open(&SimEnv::new(77)).unwrap();
        let backup = SimEnv::new(78);
        let target: Arc<dyn Env> = Arc::new(backup.clone());
        db.backup(&target, &mut |_| Ok(())).unwrap();
        fill(&db);
        db.backup(&target, &mut |_| Ok(())).unwrap();
        keep(BACKUP, &backup, &read(&db).unwrap());
    }
}

/// Writes a directory, as a kill leaves it, and what it holds.
fn keep(name: &str, env: &SimEnv, contents: &Contents) {
    let folder = golden().join(name);
    fs::remove_dir_all(&folder).ok();
    let disk = env.after_kill();
    for path in disk.paths() {
        let file = folder.join(&path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let mut bytes = disk.peek(&path).unwrap();
        if path.starts_with("wal") {
            // Reserved space behind the last group reads as zeros: it is not kept.
            let used = bytes
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |last| last + 1);
            bytes.truncate(used.next_multiple_of(512));
        }
        fs::write(file, bytes).unwrap();
    }
    fs::write(golden().join(format!("{name}.txt")), told(name, contents)).unwrap();
}

/// Puts a folder's files on a simulated disk; their size, bytes.
fn load(env: &SimEnv, folder: &Path, under: &Path) -> u64 {
    let mut size = 0;
    for entry in fs::read_dir(folder.join(under)).unwrap() {
        let entry = entry.unwrap();
        let path = under.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            size += load(env, folder, &path);
        } else {
            let bytes = fs::read(entry.path()).unwrap();
            size += bytes.len() as u64;
            env.poke(&path, &bytes);
        }
    }
    size
}

#[test]
fn directories_of_every_released_format_show_what_they_held() {
    make_if_asked();
    for name in DIRECTORIES {
        let env = SimEnv::new(1);
        let size = load(&env, &golden().join(name), Path::new(""));
        assert!(size <= SIZE_MAX, "{name}: {size} bytes");
        let expected = fs::read_to_string(golden().join(format!("{name}.txt"))).unwrap();
        for again in 0..2 {
            let db = open(&env).unwrap();
            let found = told(name, &read(&db).unwrap());
            assert!(found == expected, "{name}, opened {again} times before");
            assert_eq!(db.stats().problems, [], "{name}");
            db.close().unwrap();
        }
        println!("{name}: {size} bytes, {} lines", expected.lines().count());
    }
}

#[test]
fn a_backup_of_every_released_format_restores_and_takes_the_next_one() {
    make_if_asked();
    let backup = SimEnv::new(1);
    let size = load(&backup, &golden().join(BACKUP), Path::new(""));
    assert!(size <= SIZE_MAX, "{size} bytes");
    let expected = fs::read_to_string(golden().join(format!("{BACKUP}.txt"))).unwrap();
    let restored = |times: u64| {
        let env = SimEnv::new(2);
        let target: Arc<dyn Env> = Arc::new(env.clone());
        let report = restore(&backup, &target, &mut |_| Ok(())).unwrap();
        assert_eq!(report.number, times);
        let db = open(&env).unwrap();
        assert!(
            told(BACKUP, &read(&db).unwrap()) == expected,
            "backup {times}"
        );
        assert_eq!(db.stats().problems, []);
        db
    };
    let db = restored(2);
    let target: Arc<dyn Env> = Arc::new(backup.clone());
    let next = db.backup(&target, &mut |_| Ok(())).unwrap();
    assert_eq!((next.number, next.new_files), (3, 0));
    restored(3);
}
