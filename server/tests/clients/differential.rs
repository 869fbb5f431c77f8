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
