//! Directories of every format that was released, or will be: small ones, closed cleanly and killed,
//! in `tests/golden/`, opened by every build and compared value by value. They are written anew only
//! where a format's version changes, by `SILVERBACK_GOLDEN=write cargo test --test golden`.
#![expect(clippy::unwrap_used, reason = "a test's helpers may stop the test")]

mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use silverback_storage::db::Db;
use silverback_storage::env::SimEnv;
use silverback_storage::model::{FieldValue, PolicySpec};

use support::{Contents, Row, open, read, row, write};

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

/// Writes both directories and what they hold.
fn make() {
    for name in ["closed", "killed"] {
        let env = SimEnv::new(77);
        let db = open(&env).unwrap();
        fill(&db);
        let contents = read(&db).unwrap();
        if name == "closed" {
            db.close().unwrap();
        }
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
        fs::write(golden().join(format!("{name}.txt")), listing(&contents)).unwrap();
    }
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
    if std::env::var("SILVERBACK_GOLDEN").as_deref() == Ok("write") {
        make();
    }
    for name in ["closed", "killed"] {
        let env = SimEnv::new(1);
        let size = load(&env, &golden().join(name), Path::new(""));
        assert!(size <= SIZE_MAX, "{name}: {size} bytes");
        let expected = fs::read_to_string(golden().join(format!("{name}.txt"))).unwrap();
        for again in 0..2 {
            let db = open(&env).unwrap();
            let found = listing(&read(&db).unwrap());
            assert!(found == expected, "{name}, opened {again} times before");
            assert_eq!(db.stats().problems, [], "{name}");
            db.close().unwrap();
        }
        println!("{name}: {size} bytes, {} values", expected.lines().count());
    }
}
