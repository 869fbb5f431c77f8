//! The example is a test, and the face keeps what it promises.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "../examples/embedded.rs"]
#[expect(dead_code, reason = "the example's main is called as a function")]
mod example;

use std::fmt::Write as _;

use silverback::{Alter, Cell, DeleteRequest, ErrorKind, Options, Point, Silverback};

#[test]
fn the_example_runs() {
    example::run().unwrap();
}

fn open(folder: &tempfile::TempDir) -> Silverback {
    Silverback::open(Options::new(folder.path())).unwrap()
}

#[test]
fn a_second_opening_names_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(&folder);
    let error = Silverback::open(Options::new(folder.path())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(
        error.to_string().contains(&std::process::id().to_string()),
        "{error}"
    );
    first.close().unwrap();
    drop(first);
    open(&folder).close().unwrap();
}

#[test]
fn lines_and_points_of_one_series_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(&folder);
    db.create_database("d").unwrap();
    db.write_lines("d", b"m,b=2,a=1 f=1 10").unwrap();
    let point = Point::new("m", 20)
        .tag("a", "1")
        .tag("b", "2")
        .field("f", 2.0);
    db.write_points("d", &[point]).unwrap();
    let answer = db.query("d", "SELECT f FROM m GROUP BY *").unwrap();
    assert_eq!(answer.statements[0].series.len(), 1);
    assert_eq!(answer.statements[0].series[0].rows.len(), 2);
}

#[test]
fn bad_lines_are_named_and_good_ones_stored() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(&folder);
    db.create_database("d").unwrap();
    let request = silverback::WriteRequest::new("d");
    let body = b"m f=1 1\n  m,=x f=2 2\nm f=bad 3\nm f=4i 4\nm,time=x f=5 5\nm f=6 6";
    let outcome = db.write(&request, body).unwrap();
    assert_eq!(outcome.stored, 2);
    let shown: Vec<String> = outcome.errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "unable to parse 'm,=x f=2 2': missing tag key (line 2, column 3)",
            "unable to parse 'm f=bad 3': invalid boolean (line 3, column 5)",
            "field type conflict: input field \"f\" on measurement \"m\" is type integer, already \
             exists as type float (line 4, column 1)",
            "invalid tag key: input tag \"time\" on measurement \"m\" is invalid (line 5, column 1)",
        ]
    );
    let error = db.write_lines("d", body).unwrap_err();
    assert!(error.to_string().ends_with("; and 3 more"), "{error}");
}

#[test]
fn what_is_deleted_or_dropped_is_gone_when_the_call_returns_and_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(&folder);
    db.create_database("d").unwrap();
    let lines = b"m,a=1 f=1 10\nm,a=1 f=2 20\nm,a=2 f=3 10\nn,a=1 f=4 10\no f=5 10";
    db.write_lines("d", lines).unwrap();
    let all = || DeleteRequest::new("d");
    db.delete(&all().measurement("m").tag("a", "1").times(15, 30))
        .unwrap();
    db.drop_measurement("d", "o").unwrap();
    let rows = |db: &Silverback, query: &str| -> usize {
        let answer = db.query("d", query).unwrap();
        let series = answer.statements[0].series.iter();
        series.map(|one| one.rows.len()).sum()
    };
    assert_eq!(rows(&db, "SELECT f FROM m"), 2);
    assert_eq!(rows(&db, "SHOW SERIES"), 3);
    db.delete(&all().tag("a", "1")).unwrap();
    assert_eq!(rows(&db, "SHOW SERIES"), 1);
    let error = db.delete(&all().policy("p")).unwrap_err();
    assert_eq!(error.message(), "retention policy not found: p");
    assert_eq!(
        db.delete(&DeleteRequest::new("x")).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    drop(db);
    let db = open(&folder);
    assert_eq!(rows(&db, "SHOW SERIES"), 1);
    assert_eq!(rows(&db, "SELECT f FROM m"), 1);
    db.drop_database("d").unwrap();
    assert!(!db.has_database("d"));
}

#[test]
fn with_its_last_field_a_measurement_goes_and_its_name_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(&folder);
    db.create_database("d").unwrap();
    db.write_lines("d", b"m,a=1 f=1,g=2 10\nn,a=1 f=1 10")
        .unwrap();
    let count = |text: &str| {
        let answer = db.query("d", text).unwrap();
        let series = answer.statements[0].series.iter();
        series.map(|one| one.rows.len()).sum::<usize>()
    };
    let drop_field = |name| db.alter_measurement("d", "m", Alter::DropField(name));
    drop_field(b"f").unwrap();
    assert_eq!(count("SHOW MEASUREMENTS"), 2);
    drop_field(b"g").unwrap();
    assert_eq!(count("SHOW MEASUREMENTS"), 1);
    assert_eq!(count("SHOW SERIES"), 1);
    assert_eq!(drop_field(b"g").unwrap_err().kind(), ErrorKind::NotFound);
    db.rename_measurement("d", "n", "m").unwrap();
    assert_eq!(count("SELECT f FROM m"), 1);
}

#[test]
fn a_point_that_no_line_can_be_is_refused_by_name_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(&folder);
    db.create_database("d").unwrap();
    let good = || Point::new("m", 1).tag("k", "v").field("f", 1.0);
    for (point, why) in [
        (
            Point::new("#m", 1).field("f", 1.0),
            "measurement \"#m\": it begins as a comment",
        ),
        (
            good().tag("a\nb", "v"),
            "tag key \"a\\nb\": it has a line feed",
        ),
        (
            good().tag("a", "v\\"),
            "tag value \"v\\\\\": it ends with a backslash",
        ),
        (good().field("", 1.0), "field \"\": it is empty"),
        (
            good().field("time", 1.0),
            "field \"time\": every point has its time",
        ),
    ] {
        let error = db.write_points("d", &[good(), point]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let start = format!("point 1: invalid {why}");
        assert!(error.message().starts_with(&start), "{error}");
    }
    assert_eq!(
        db.query("d", "SELECT * FROM m").unwrap().statements[0]
            .series
            .len(),
        0
    );
}

#[test]
fn a_rename_to_what_no_line_can_have_is_refused_by_name_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(&folder);
    db.create_database("d").unwrap();
    db.write_lines("d", b"m,a=1 f=1 10").unwrap();
    let count = |text: &str| {
        let answer = db.query("d", text).unwrap();
        answer.statements[0].series[0].rows.len()
    };
    let feed = "invalid name \"a\\nb\": it has a line feed";
    let end = "invalid name \"a\\\\\": it ends with a backslash";
    let time = "invalid name \"time\": every point has its time by it";
    let empty = "invalid name \"\": it is empty";
    for (name, why) in [("a\nb", feed), ("a\\", end), ("time", time), ("", empty)] {
        let to = name.as_bytes();
        let tag = Alter::RenameTag { from: b"a", to };
        let field = Alter::RenameField { from: b"f", to };
        for alter in [Alter::Rename(to), tag, field] {
            if matches!(alter, Alter::Rename(b"time")) {
                continue;
            }
            let error = db.alter_measurement("d", "m", alter).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{alter:?}");
            assert!(error.message().starts_with(why), "{alter:?}: {error}");
        }
    }
    assert_eq!(count("SELECT f FROM m WHERE a = '1'"), 1);
    // What a line can have is fine, if it has to be escaped.
    let to = b"a, =\\b";
    let tag = Alter::RenameTag { from: b"a", to };
    db.alter_measurement("d", "m", tag).unwrap();
    db.write_lines("d", b"m,a\\,\\ \\=\\b=1 f=2 20").unwrap();
    assert_eq!(count("SHOW SERIES"), 1);
}

#[test]
fn renames_keep_what_is_stored_and_free_the_old_names() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(&folder);
    db.create_database("d").unwrap();
    db.write_lines("d", b"m,a=1 f=1,g=2 10\nm,a=2 f=2 10\nn,a=1 f=3 10")
        .unwrap();
    let conflict = |outcome: silverback::Result<()>| {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Conflict);
    };
    conflict(db.rename_measurement("d", "m", "n"));
    let tag = |from: &'static str, to: &'static str| Alter::RenameTag {
        from: from.as_bytes(),
        to: to.as_bytes(),
    };
    conflict(db.alter_measurement("d", "m", tag("a", "f")));
    db.alter_measurement("d", "m", tag("a", "b")).unwrap();
    db.rename_measurement("d", "m", "k").unwrap();
    let field = Alter::RenameField {
        from: b"f",
        to: b"h",
    };
    db.alter_measurement("d", "k", field).unwrap();
    db.alter_measurement("d", "k", Alter::DropField(b"g"))
        .unwrap();
    let missing = db.alter_measurement("d", "k", Alter::DropField(b"g"));
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    // The old names start anew: other types, other series.
    db.write_lines(
        "d",
        b"m,a=1 f=\"text\" 20\nk,a=9,b=9 g=true 20\nk,b=1 h=5 20",
    )
    .unwrap();
    let shown = |db: &Silverback| {
        let answer = db.query("d", "SELECT * FROM /./ ; SHOW SERIES").unwrap();
        format!("{:?}", answer.statements)
    };
    let before = shown(&db);
    let answer = db.query("d", "SHOW SERIES").unwrap();
    let rows = answer.statements[0].series[0].rows.iter();
    let keys: Vec<Cell> = rows.map(|row| row[0].clone()).collect();
    let expected = ["k,a=9,b=9", "k,b=1", "k,b=2", "m,a=1", "n,a=1"];
    assert_eq!(
        keys,
        expected.map(|key| Cell::String(key.as_bytes().into()))
    );
    let rows = |db: &Silverback, query: &str| {
        db.query("d", query).unwrap().statements[0].series[0]
            .rows
            .len()
    };
    assert_eq!(rows(&db, "SELECT h FROM k WHERE b = '1'"), 2);
    drop(db);
    let db = open(&folder);
    assert_eq!(shown(&db), before, "replayed");
    db.compact().unwrap();
    assert_eq!(shown(&db), before, "merged");
    drop(db);
    assert_eq!(shown(&open(&folder)), before, "opened again");
}

#[test]
fn a_write_to_an_unknown_database_is_refused_in_influxdbs_words() {
    let folder = tempfile::tempdir().unwrap();
    let error = open(&folder).write_lines("none", b"m f=1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.message(), "database not found: \"none\"");
}

#[test]
fn groups_of_many_series_are_told_by_the_tags_that_a_query_names() {
    const SERIES: u64 = 40_000;
    let folder = tempfile::tempdir().unwrap();
    let db = open(&folder);
    db.create_database("d").unwrap();
    let mut lines = String::new();
    for one in 0..SERIES {
        let (a, b) = (one % 7, one % 3);
        // One group lacks a tag.
        let b = if b == 0 {
            String::new()
        } else {
            format!(",b=y{b}")
        };
        writeln!(lines, "m,a=x{a}{b},s={one} f={one}i {one}").unwrap();
    }
    db.write_lines("d", lines.as_bytes()).unwrap();
    let sums =
        |divisor: u64, left: u64| -> u64 { (0..SERIES).filter(|one| one % divisor == left).sum() };
    for is_flushed in [false, true] {
        if is_flushed {
            db.flush().unwrap();
        }
        for (key, divisor) in [("a", 7), ("b", 3)] {
            for (condition, passes) in [("", 0..divisor), ("WHERE a != 'x9'", 0..divisor)] {
                let text = format!("SELECT sum(f) FROM m {condition} GROUP BY {key}");
                let answer = db.query("d", &text).unwrap();
                let found = answer.statements[0].series.iter().map(|group| {
                    let value = &group.rows[0][1];
                    let Cell::Integer(sum) = value else {
                        panic!("{value:?} is no sum of integers");
                    };
                    sum.unsigned_abs()
                });
                let expected = passes.map(|left| sums(divisor, left));
                assert_eq!(
                    found.collect::<Vec<_>>(),
                    expected.collect::<Vec<_>>(),
                    "{text}"
                );
            }
        }
        // Some are left out, groups come backwards and are counted.
        let text = "SELECT sum(f) FROM m WHERE a != 'x3' AND b != 'y1' GROUP BY a, nothing \
                    ORDER BY time DESC SLIMIT 2 SOFFSET 1";
        let answer = db.query("d", text).unwrap();
        let found = answer.statements[0].series.iter().map(|group| {
            let Cell::Integer(sum) = group.rows[0][1] else {
                panic!("{group:?}");
            };
            (group.tags[0].1.to_vec(), sum.unsigned_abs())
        });
        let sum = |a: u64| (0..SERIES).filter(|one| one % 7 == a && one % 3 != 1).sum();
        let expected = [2, 1].map(|a| (format!("x{a}").into_bytes(), sum(a)));
        assert_eq!(found.collect::<Vec<_>>(), expected);
        let one = db.query("d", "SELECT sum(f) FROM m WHERE s='77' GROUP BY s");
        assert_eq!(one.unwrap().statements[0].series.len(), 1);
        let all = db.query("d", "SELECT sum(f) FROM m GROUP BY s").unwrap();
        assert_eq!(all.statements[0].series.len() as u64, SERIES);
    }
}
