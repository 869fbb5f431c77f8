//! A tag that has a new value in every line, under a control group of 512 MB: the server is not
//! killed, series that were there can be written, and the refusal names the tag.

use std::fmt::Write as _;

use super::{cgroup, server};
use crate::http::Connection;

/// What the group gives, and what is the server's budget by default: half of it.
const GROUP_BYTES: u64 = 512 << 20;
/// Series of the database at most.
const SERIES_MAX: u64 = 100_000;
/// New series of a request.
const LINES: u64 = 5000;

fn bomb(from: u64) -> String {
    let mut text = String::new();
    for number in from..from + LINES {
        let host = number % 50;
        writeln!(
            text,
            "requests,host=h{host},dc=dc{},id=request-{number:016x} ms={number}i {number}",
            host % 3
        )
        .unwrap();
    }
    text
}

/// The value of a metric without labels.
fn metric(connection: &mut Connection, name: &str) -> u64 {
    let text = connection.get("/metrics").text();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().trim().parse().unwrap()
}

#[test]
fn a_cardinality_bomb_is_refused_by_the_name_of_its_tag_and_kills_nothing() {
    let group = cgroup::Group::new("memory", "bomb");
    let limit = GROUP_BYTES.to_string();
    let Some(group) = group.filter(|group| group.set("memory.limit_in_bytes", &limit)) else {
        println!("1 test not run: no memory controller of control groups can be used here");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let series_max = SERIES_MAX.to_string();
    let server = server(&data, &["--series-max", &series_max], Some(&group));
    let mut connection = server.connect();
    let budget = metric(&mut connection, "silverback_memory_budget_bytes");
    assert_eq!(budget, GROUP_BYTES / 2, "half of what the group gives");
    connection.query("", "CREATE DATABASE d");
    connection.write("d", "cpu,host=old usage=1 1");
    let mut refusals = 0;
    for request in 0..SERIES_MAX / LINES + 5 {
        // A line of an old series among them is stored all the same.
        let text = format!(
            "{}cpu,host=old usage={request} {}",
            bomb(request * LINES),
            request + 2
        );
        let answer = connection.send("POST", "/write?db=d", &[], text.as_bytes());
        let answer = answer.unwrap();
        if answer.status == 204 {
            continue;
        }
        refusals += 1;
        let words = answer.json()["error"].as_str().unwrap().to_owned();
        assert_eq!(answer.status, 400, "{words}");
        let begin = "partial write: max-series-per-database limit exceeded: (100000)";
        assert!(words.starts_with(begin), "{words}");
        assert!(words.contains("tag key \"id\" has grown most"), "{words}");
        assert!(words.contains("dropped="), "{words}");
    }
    assert!(refusals >= 5, "{refusals} requests were refused");
    let written = SERIES_MAX / LINES + 5;
    let count = |connection: &mut Connection, (field, measurement): (&str, &str)| {
        let query = format!("SELECT count({field}) FROM {measurement}");
        let answer = connection.query("d", &query);
        answer["results"][0]["series"][0]["values"][0][1].as_u64()
    };
    assert_eq!(count(&mut connection, ("usage", "cpu")), Some(written + 1));
    assert_eq!(
        count(&mut connection, ("ms", "requests")),
        Some(SERIES_MAX - 1)
    );
    let most: u64 = group
        .get("memory.max_usage_in_bytes")
        .trim()
        .parse()
        .unwrap();
    let oom = group.get("memory.oom_control");
    println!(
        "{SERIES_MAX} series of {} tags, then {refusals} refusals; the group's memory at most {} MiB \
         with the page cache, RssAnon {} MiB",
        3,
        most >> 20,
        super::resident_bytes(server.id()) >> 20
    );
    assert!(oom.lines().any(|line| line == "oom_kill 0"), "{oom}");
    assert!(server.terminate().success());
}
