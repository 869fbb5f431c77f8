//! A real Telegraf: what it counts as written is there, with a server that goes in the middle.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use silverback::query::lineprotocol::{Keys, ParseOptions, Precision, parse};
use silverback::storage::model::{FieldValue, KeyHasher, KeyParser};

use crate::http::Connection;
use crate::product::{Server, free_address, signal, silverback};
use crate::tool;

/// How long Telegraf writes, and when the server is taken from it.
const WRITES: Duration = Duration::from_secs(30);
const RESTART_AFTER: Duration = Duration::from_secs(14);
/// How long the server is away: longer than a flush, so that a write fails.
const AWAY: Duration = Duration::from_millis(2500);

/// Everything a point can be told from others by: measurement, tags, time.
type PointKey = (String, BTreeMap<String, String>, i64);
/// Field values by name, as JSON shows them.
type Fields = BTreeMap<String, Value>;

fn telegraf(folder: &Path, output: &str) -> Child {
    let lines = folder.join("lines.lp");
    let config = format!(
        "[agent]\n  interval = \"1s\"\n  flush_interval = \"1s\"\n  debug = true\n\
         \x20 logfile = \"{}\"\n  hostname = \"testhost\"\n\
         {output}\n\
         [[outputs.file]]\n  files = [\"{}\"]\n  data_format = \"influx\"\n\
         [[inputs.cpu]]\n  percpu = true\n  totalcpu = true\n  collect_cpu_time = true\n\
         [[inputs.mem]]\n[[inputs.disk]]\n[[inputs.diskio]]\n[[inputs.net]]\n\
         \x20 ignore_protocol_stats = true\n[[inputs.system]]\n[[inputs.processes]]\n",
        folder.join("telegraf.log").display(),
        lines.display(),
    );
    let file = folder.join("telegraf.conf");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(tool("SILVERBACK_TEST_TELEGRAF"));
    command.arg("--config").arg(&file);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().unwrap()
}

/// The points of the file that Telegraf wrote beside.
fn points_of(lines: &[u8]) -> BTreeMap<PointKey, Fields> {
    let options = ParseOptions {
        hasher: KeyHasher::new([1; 4]),
        precision: Precision::Nanosecond,
        now_ns: 0,
    };
    let parsed = parse(lines, options);
    assert_eq!(parsed.errors, []);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut points: BTreeMap<PointKey, Fields> = BTreeMap::new();
    for rows in &parsed.batch.rows {
        for (row, key) in rows.keys.iter().enumerate() {
            let start = key.offset as usize;
            let key = Keys.parse(&lines[start..start + key.len as usize]).unwrap();
            let tags = key
                .tags
                .iter()
                .map(|(key, value)| (text(key), text(value)))
                .collect();
            let point = (text(&key.measurement), tags, rows.timestamps[row]);
            let fields = points.entry(point).or_default();
            for field in &rows.fields {
                if let Some(value) = field.column.get(row) {
                    fields.insert(text(&field.name), json(&value));
                }
            }
        }
    }
    points
}

/// A value as the answers show it: a float without a fraction looks like an integer.
fn json(value: &FieldValue) -> Value {
    match value {
        FieldValue::Float(value) => {
            serde_json::from_str(&format!("{value}")).expect("Telegraf drops what is no number")
        }
        FieldValue::Integer(value) => (*value).into(),
        FieldValue::Unsigned(value) => (*value).into(),
        FieldValue::Boolean(value) => (*value).into(),
        FieldValue::String(value) => String::from_utf8_lossy(value).into_owned().into(),
    }
}

/// All points of a database, asked by `InfluxQL`.
fn points_in(connection: &mut Connection, database: &str) -> BTreeMap<PointKey, Fields> {
    let mut points = BTreeMap::new();
    let answer = connection.query(database, "SELECT *::field FROM /.*/ GROUP BY *");
    for series in answer["results"][0]["series"].as_array().unwrap() {
        let columns = series["columns"].as_array().unwrap();
        // A tag that the series lacks is shown empty.
        let tags: BTreeMap<String, String> = series["tags"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        for row in series["values"].as_array().unwrap() {
            let row = row.as_array().unwrap();
            let key = (
                series["name"].as_str().unwrap().to_owned(),
                tags.clone(),
                row[0].as_i64().unwrap(),
            );
            let named = columns
                .iter()
                .zip(row)
                .skip(1)
                .filter(|(_, value)| !value.is_null());
            let fields = named.map(|(name, value)| (name.as_str().unwrap().into(), value.clone()));
            points.insert(key, fields.collect());
        }
    }
    points
}

/// How many points Telegraf's log counts as written by `output`.
fn counted(log: &str, output: &str) -> usize {
    let begin = format!("[outputs.{output}] Wrote batch of ");
    log.lines()
        .filter_map(|line| line.split_once(&begin))
        .map(|(_, rest)| rest.split(' ').next().unwrap().parse::<usize>().unwrap())
        .sum()
}

/// Lets Telegraf write for half a minute, taking the server away by `stop` in the middle.
fn run(output_name: &str, output: &dyn Fn(&str) -> String, stop: fn(Server)) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let address = free_address();
    let server = silverback(&data, address);
    let mut agent = telegraf(folder.path(), &output(&format!("http://{address}")));
    let start = Instant::now();
    std::thread::sleep(RESTART_AFTER);
    stop(server);
    std::thread::sleep(AWAY);
    let server = silverback(&data, address);
    std::thread::sleep(WRITES.saturating_sub(start.elapsed()));
    signal(&agent, "TERM");
    assert!(agent.wait().unwrap().success());

    let log = std::fs::read_to_string(folder.path().join("telegraf.log")).unwrap();
    let sent = points_of(&std::fs::read(folder.path().join("lines.lp")).unwrap());
    let found = points_in(&mut server.connect(), "telegraf");
    let written = counted(&log, output_name);
    println!(
        "{output_name}: {written} rows counted as written, {} points found",
        found.len()
    );
    assert!(
        written >= 500,
        "only {written} rows in half a minute:\n{log}"
    );
    assert_eq!(
        written,
        counted(&log, "file"),
        "rows that Telegraf could not write:\n{log}"
    );
    assert!(
        log.contains("connection refused"),
        "no write failed: the server was not away:\n{log}"
    );
    for (key, fields) in &sent {
        assert_eq!(found.get(key), Some(fields), "{key:?}");
    }
    assert_eq!(found.len(), sent.len(), "points nobody sent");
    assert!(server.terminate().success());
}

#[test]
fn every_row_of_the_v1_output_is_there_though_the_server_restarts() {
    let output = |url: &str| {
        format!("[[outputs.influxdb]]\n  urls = [\"{url}\"]\n  database = \"telegraf\"\n")
    };
    run("influxdb", &output, |server| {
        assert!(server.terminate().success());
    });
}

#[test]
fn every_row_of_the_v2_output_is_there_though_the_server_is_killed() {
    let output = |url: &str| {
        format!(
            "[[outputs.influxdb_v2]]\n  urls = [\"{url}\"]\n  token = \"t\"\n  \
             organization = \"o\"\n  bucket = \"telegraf\"\n"
        )
    };
    run("influxdb_v2", &output, Server::kill);
}
