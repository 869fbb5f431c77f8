//! Deletes beside a real influxd: the same statements one after another, and after each the same
//! things are left.

use serde_json::Value;

use super::{ask, compare};
use crate::http::Connection;
use crate::influxd::influxd;
use crate::product::{free_address, silverback};

/// Written before the statements, in the database that [`ask`] asks.
const LINES: &str = "\
cpu,host=a v=1 10\ncpu,host=a v=2 20\ncpu,host=b v=3 10\ncpu,host=b,dc=x v=3,w=1i 10\n\
cpu,host=c v=4 3600000000000\nmem,host=a v=1 10\nmem u=5 30\none x=1 5\ntwo,k=z x=1 5\n\
gone,a=1 x=1 5\ngone,a=2 x=1 6\ngone,a=2 y=1 60\nold,t=1 x=1 1\nold,t=1 x=2 2000000000000000000";

/// What is asked after each statement.
const LEFT: &[&str] = &[
    "SHOW SERIES",
    "SHOW MEASUREMENTS",
    "SHOW TAG VALUES WITH KEY =~ /./",
    "SHOW TAG KEYS",
    "SHOW TAG KEYS FROM cpu WHERE host = 'b'",
    "SHOW TAG KEY EXACT CARDINALITY",
    "SELECT *::field FROM /./",
    "SELECT count(*) FROM /./",
];

const STATEMENTS: &[&str] = &[
    "DELETE FROM cpu WHERE host='a' AND time < 15",
    "DELETE FROM cpu WHERE host='a'",
    "DELETE FROM one",
    "DELETE FROM cpu WHERE v > 1",
    // Not `v = 'x'`: one influxd refuses it and the next does nothing (docs/differences.md).
    "DELETE FROM cpu WHERE nothing = 'x'",
    "DELETE FROM cpu WHERE nothing > 1",
    "DELETE FROM nothing",
    "DELETE FROM twin.autogen.cpu",
    "DELETE FROM autogen.cpu",
    "DELETE",
    "DELETE FROM cpu LIMIT 1",
    "DELETE FROM (SELECT * FROM cpu)",
    "DELETE FROM cpu WHERE time > 'x'",
    "DELETE FROM cpu WHERE time > '2000-01-01T00:00:0'",
    "DELETE FROM cpu WHERE time > host",
    "DELETE FROM /^(cpu|mem)$/ WHERE host =~ /^[bx]$/",
    "DELETE FROM cpu WHERE host != 'b' AND time >= 1h",
    "DELETE FROM cpu, mem WHERE host = 'b' OR host = 'a'",
    "DROP SERIES FROM gone WHERE time > 5",
    "DROP SERIES FROM gone WHERE a = '1'",
    "DROP SERIES FROM gone WHERE x = 1",
    "DROP SERIES FROM gone WHERE a = 1",
    "DROP SERIES FROM twin.autogen.gone",
    "DROP SERIES",
    "DROP SERIES WHERE a = '2'",
    "DROP SERIES FROM /x/",
    "DELETE WHERE time < 20",
    "DROP SERIES FROM old",
    "DELETE WHERE time > 0",
];

/// An answer without the number of the shard that influxd met first.
fn without_shard((status, mut answer): (u16, Value)) -> (u16, Value) {
    if let Some(error) = answer["results"][0]["error"].as_str()
        && let Some((shard, text)) = error.split_once(": ")
        && shard.starts_with("shard ")
    {
        answer["results"][0]["error"] = text.into();
    }
    (status, answer)
}

fn differences(theirs: &mut Connection, ours: &mut Connection) -> Vec<String> {
    let mut differences = Vec::new();
    for (index, statement) in STATEMENTS.iter().enumerate() {
        if index % 5 == 2 {
            let done = ours.send("POST", "/admin/flush", &[], b"").unwrap();
            assert_eq!(done.status, 200);
        }
        if index % 7 == 6 {
            let done = ours.send("POST", "/admin/compact", &[], b"").unwrap();
            assert_eq!(done.status, 200);
        }
        for query in std::iter::once(statement).chain(LEFT) {
            let expected = without_shard(ask(theirs, query));
            let found = ask(ours, query);
            if let Err(why) = compare::same(&expected, &found) {
                differences.push(format!("{statement}: {query}\n  {why}"));
            }
        }
    }
    differences
}

#[test]
fn a_real_influxd_deletes_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let theirs = influxd(folder.path());
    let ours = silverback(&folder.path().join("data"), free_address());
    let (mut theirs, mut ours) = (theirs.connect(), ours.connect());
    for connection in [&mut theirs, &mut ours] {
        connection.query("", &format!("CREATE DATABASE {}", super::DATABASE));
        connection.write(super::DATABASE, LINES);
    }
    let found = differences(&mut theirs, &mut ours);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}
