//! A real influxd beside Silverback: the same data, the same queries, the same answers.
//! Differences that are meant stand in docs/differences.md, and `meant` below names them.

mod compare;
mod data;
mod deletes;
mod queries;

use crate::http::{Connection, encode};
use crate::influxd::influxd;
use crate::product::{free_address, silverback};

/// Queries that are compared, at least.
const QUERIES_MIN: usize = 300;

const DATABASE: &str = "twin";

fn load(connection: &mut Connection) {
    connection.query("", &format!("CREATE DATABASE {DATABASE}"));
    for body in data::bodies() {
        connection.write(DATABASE, &body);
    }
}

fn ask(connection: &mut Connection, query: &str) -> (u16, serde_json::Value) {
    let target = format!("/query?db={DATABASE}&epoch=ns&q={}", encode(query));
    let answer = connection.send("POST", &target, &[], b"").unwrap();
    (answer.status, answer.json())
}

/// Makes, changes and drops policies on both sides, and writes to them. Where the answers part.
fn policies(theirs: &mut Connection, ours: &mut Connection) -> Vec<String> {
    let mut differences = Vec::new();
    let mut told = 0;
    for query in queries::POLICIES {
        let expected = ask(theirs, query);
        told += usize::from(expected.1.to_string().contains("error"));
        if let Err(why) = compare::same(&expected, &ask(ours, query)) {
            differences.push(format!("{query}\n  {why}"));
        }
    }
    assert!(told > 15, "{told} errors are compared");
    // The policy a keeps an hour.
    for (target, body) in [
        ("db=twin&rp=a", "old v=1 1000"),
        ("db=twin&rp=a", "old v=1 1000\nold v=2"),
        ("db=twin&rp=a", "old v=1 1000\nold v=3\nold v=\"text\""),
        ("db=twin&rp=b", "old v=1"),
        ("db=twin&rp=nope", "old v=1"),
        ("db=twin&rp=a&precision=s", "old v=1 1"),
    ] {
        let target = format!("/write?{target}");
        let put = |side: &mut Connection| {
            let answer = side.send("POST", &target, &[], body.as_bytes()).unwrap();
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            (answer.status, text.trim_end().to_owned())
        };
        let (expected, found) = (put(theirs), put(ours));
        // Ours names the line of what is not merely old.
        let same =
            expected == found || expected.0 == found.0 && found.1.contains("field type conflict");
        if !same {
            differences.push(format!(
                "{target} {body:?}\n  {expected:?} became {found:?}"
            ));
        }
    }
    for query in [
        "SELECT count(v) FROM twin.a.old",
        "SELECT count(v) FROM twin.b.old",
    ] {
        if let Err(why) = compare::same(&ask(theirs, query), &ask(ours, query)) {
            differences.push(format!("{query}\n  {why}"));
        }
    }
    differences
}

#[test]
fn a_real_influxd_gives_the_same_answers() {
    let folder = tempfile::tempdir().unwrap();
    let theirs = influxd(folder.path());
    let ours = silverback(&folder.path().join("data"), free_address());
    let (mut theirs, mut ours) = (theirs.connect(), ours.connect());
    load(&mut theirs);
    load(&mut ours);
    // Half of the queries read the memtable, half blocks: the answers must not depend on it.
    let queries = queries::all();
    let mut compared = 0;
    let mut with_rows = 0;
    let mut differences = Vec::new();
    for (index, query) in queries.iter().enumerate() {
        if index == queries.len() / 2 {
            assert_eq!(
                ours.send("POST", "/admin/flush", &[], b"").unwrap().status / 100,
                2
            );
        }
        let expected = ask(&mut theirs, query);
        let found = ask(&mut ours, query);
        compared += 1;
        with_rows += usize::from(expected.1["results"][0]["series"].is_array());
        if let Err(why) = compare::same(&expected, &found) {
            differences.push(format!("{query}\n  {why}"));
        }
    }
    differences.extend(policies(&mut theirs, &mut ours));
    println!(
        "{compared} queries compared, {with_rows} with rows, {} differ",
        differences.len()
    );
    assert!(compared >= QUERIES_MIN && with_rows * 4 >= compared * 3);
    let count = differences.len();
    let shown = differences
        .into_iter()
        .take(40)
        .collect::<Vec<_>>()
        .join("\n");
    assert_eq!(count, 0, "\n{shown}");
}
