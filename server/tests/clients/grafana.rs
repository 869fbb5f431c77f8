//! What Grafana's InfluxDB data source sends, answered in the shapes its parser needs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::http::{Connection, encode};
use crate::product::{Server, free_address, silverback};

const FROM_MS: i64 = 1_600_000_000_000;

fn with_data(folder: &tempfile::TempDir) -> Server {
    let server = silverback(&folder.path().join("data"), free_address());
    let mut connection = server.connect();
    connection.query("", "CREATE DATABASE telegraf");
    let mut body = String::new();
    for step in 0..360_i64 {
        let time = (FROM_MS + step * 10_000) * 1_000_000;
        for host in ["a", "b"] {
            let usage = step % 90;
            writeln!(
                body,
                "cpu,host={host},cpu=cpu-total usage_idle={usage}.5 {time}"
            )
            .unwrap();
            writeln!(body, "net,host={host} bytes_recv={}i {time}", step * 1000).unwrap();
        }
    }
    connection.write("telegraf", &body);
    server
}

/// A request as the backend of the data source makes it.
fn ask(connection: &mut Connection, query: &str) -> Value {
    let target = format!("/query?db=telegraf&epoch=ms&q={}", encode(query));
    let answer = connection
        .send("GET", &target, &[("User-Agent", "Grafana/13.3.0")], b"")
        .unwrap();
    let form = format!("q={}", encode(query));
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let posted = connection
        .send(
            "POST",
            "/query?db=telegraf&epoch=ms",
            &headers,
            form.as_bytes(),
        )
        .unwrap();
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    assert_eq!(
        answer.text(),
        posted.text(),
        "GET and POST differ for {query}"
    );
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let json = answer.json();
    let results = json["results"].as_array().unwrap();
    assert_eq!(results.len(), 1, "{query}");
    assert_eq!(results[0]["error"], Value::Null, "{query}");
    results[0].clone()
}

fn first_column(result: &Value) -> Vec<String> {
    let series = result["series"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let rows = series
        .iter()
        .flat_map(|series| series["values"].as_array().unwrap());
    rows.map(|row| row[0].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn save_and_test_finds_the_measurements() {
    let folder = tempfile::tempdir().unwrap();
    let server = with_data(&folder);
    let mut connection = server.connect();
    assert_eq!(
        first_column(&ask(&mut connection, "SHOW measurements")),
        ["cpu", "net"]
    );
    let empty = ask(
        &mut connection,
        "SHOW MEASUREMENTS WITH MEASUREMENT =~ /(?i)nothing/ LIMIT 100",
    );
    assert_eq!(empty, json!({"statement_id": 0}));
}

#[test]
fn variables_are_answered_in_the_columns_that_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let server = with_data(&folder);
    let mut connection = server.connect();
    let mut columns = |query: &str| {
        let result = ask(&mut connection, query);
        (
            result["series"][0]["columns"].clone(),
            result["series"][0]["values"].clone(),
        )
    };
    let (names, policies) = columns("SHOW RETENTION POLICIES on \"telegraf\"");
    assert_eq!(
        names,
        json!([
            "name",
            "duration",
            "shardGroupDuration",
            "replicaN",
            "default"
        ])
    );
    assert_eq!(policies, json!([["autogen", "0s", "168h0m0s", 1, true]]));
    let measurements = "SHOW MEASUREMENTS WITH MEASUREMENT =~ /(?i)CP/ LIMIT 100";
    assert_eq!(columns(measurements), (json!(["name"]), json!([["cpu"]])));
    let fields = columns("SHOW FIELD KEYS FROM \"autogen\".\"cpu\"");
    assert_eq!(
        fields,
        (
            json!(["fieldKey", "fieldType"]),
            json!([["usage_idle", "float"]])
        )
    );
    assert_eq!(
        columns("SHOW TAG KEYS FROM \"cpu\""),
        (json!(["tagKey"]), json!([["cpu"], ["host"]]))
    );
    let values = json!([["host", "a"], ["host", "b"]]);
    let expected = (json!(["key", "value"]), values);
    assert_eq!(
        columns("SHOW TAG VALUES FROM \"cpu\" WITH KEY = \"host\""),
        expected
    );
    let timed = format!(
        "SHOW TAG VALUES FROM \"cpu\" WITH KEY = \"host\" WHERE \"cpu\" = 'cpu-total' AND time > \
         {FROM_MS}ms"
    );
    assert_eq!(columns(&timed), expected);
    // Ad-hoc filters name no measurement.
    assert_eq!(
        columns("SHOW TAG VALUES WITH KEY = \"host\"").0,
        json!(["key", "value"])
    );
    assert_eq!(columns("SHOW TAG KEYS").0, json!(["tagKey"]));
}

#[test]
fn builder_queries_answer_with_time_first_and_nulls_kept() {
    let folder = tempfile::tempdir().unwrap();
    let server = with_data(&folder);
    let mut connection = server.connect();
    let range = format!("time >= {FROM_MS}ms and time <= {}ms", FROM_MS + 3_600_000);
    let mean = ask(
        &mut connection,
        &format!(
            "SELECT mean(\"usage_idle\") FROM \"cpu\" WHERE (\"host\"::tag =~ /^(a|b)$/) AND {range} \
             GROUP BY time(10m), \"host\"::tag fill(null) ORDER BY time ASC"
        ),
    );
    let series = mean["series"].as_array().unwrap();
    assert_eq!(series.len(), 2);
    assert_eq!(series[0]["tags"], json!({"host": "a"}));
    assert_eq!(series[0]["columns"], json!(["time", "mean"]));
    let rows = series[0]["values"].as_array().unwrap();
    assert_eq!(rows.len(), 7);
    assert_eq!(rows[0][0].as_i64(), Some(FROM_MS - FROM_MS % 600_000));
    assert!(rows[0][1].is_number());
    let null = ask(
        &mut connection,
        &format!(
            "SELECT mean(\"usage_idle\") FROM \"cpu\" WHERE time >= {}ms and time <= {}ms GROUP BY \
             time(5m) fill(null)",
            FROM_MS + 3_000_000,
            FROM_MS + 6_000_000
        ),
    );
    let rows = null["series"][0]["values"].as_array().unwrap();
    assert_eq!(rows.last().unwrap()[1], Value::Null);
    let rate = ask(
        &mut connection,
        &format!(
            "SELECT non_negative_derivative(mean(\"bytes_recv\"), 1s) *8 AS \"in\" FROM \"net\" WHERE \
             (\"host\" = 'a') AND {range} GROUP BY time(1m) fill(none)"
        ),
    );
    assert_eq!(rate["series"][0]["columns"], json!(["time", "in"]));
    assert_eq!(rate["series"][0]["values"][1][1], json!(800));
}

#[test]
fn every_function_of_the_builder_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let server = with_data(&folder);
    let mut connection = server.connect();
    let aggregates = [
        "count(X)",
        "distinct(X)",
        "integral(X)",
        "mean(X)",
        "median(X)",
        "mode(X)",
        "sum(X)",
        "bottom(X, 3)",
        "first(X)",
        "last(X)",
        "max(X)",
        "min(X)",
        "percentile(X, 95)",
        "top(X, 3)",
        "spread(X)",
        "stddev(X)",
    ];
    let transformations = [
        "derivative(Y, 10s)",
        "non_negative_derivative(Y, 10s)",
        "difference(Y)",
        "non_negative_difference(Y)",
        "moving_average(Y, 10)",
        "cumulative_sum(Y)",
        "elapsed(Y, 10s)",
        "holt_winters(Y, 10, 2)",
        "holt_winters_with_fit(Y, 10, 2)",
    ];
    let field = "\"usage_idle\"";
    let calls = aggregates
        .iter()
        .map(|call| call.replace('X', field))
        .chain(
            transformations
                .iter()
                .map(|call| call.replace('Y', &format!("mean({field})"))),
        );
    for call in calls {
        let result = ask(
            &mut connection,
            &format!(
                "SELECT {call} FROM \"cpu\" WHERE time >= {FROM_MS}ms and time <= {}ms GROUP BY \
                 time(2m) fill(none)",
                FROM_MS + 3_600_000
            ),
        );
        let rows = result["series"][0]["values"].as_array();
        assert!(
            rows.is_some_and(|rows| !rows.is_empty()),
            "{call}: {result}"
        );
    }
}

#[test]
fn a_mistake_is_answered_where_grafana_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = with_data(&folder);
    let mut connection = server.connect();
    let target = format!(
        "/query?db=telegraf&epoch=ms&q={}",
        encode("SELECT FROM cpu")
    );
    let answer = connection.get(&target);
    assert_eq!(answer.status, 400);
    assert!(
        answer.json()["error"]
            .as_str()
            .unwrap()
            .starts_with("error parsing query: found FROM")
    );
    let target = format!("/query?db=none&epoch=ms&q={}", encode("SELECT * FROM cpu"));
    let answer = connection.get(&target);
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json()["results"][0]["error"],
        "database not found: none"
    );
}
