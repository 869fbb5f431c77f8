//! The example is a test, and the face keeps what it promises.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "../examples/embedded.rs"]
#[expect(dead_code, reason = "the example's main is called as a function")]
mod example;

use silverback::{ErrorKind, Options, Point, Silverback};

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
fn a_write_to_an_unknown_database_is_refused_in_influxdbs_words() {
    let folder = tempfile::tempdir().unwrap();
    let error = open(&folder).write_lines("none", b"m f=1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.message(), "database not found: \"none\"");
}
