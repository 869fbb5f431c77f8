//! The Python clients for InfluxDB 1.x and 2.x.

use std::path::Path;
use std::process::Command;

use crate::product::{free_address, silverback};
use crate::tool;

/// Runs a script of this folder with the server's host and port.
fn script(name: &str, port: u16) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(name);
    let mut command = Command::new(tool("SILVERBACK_TEST_PYTHON"));
    let output = command.arg(path).arg(port.to_string()).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{name}: {}\n{said}", output.status);
    said
}

#[test]
fn the_python_client_of_1_x_writes_and_reads_all_types() {
    let folder = tempfile::tempdir().unwrap();
    let server = silverback(&folder.path().join("data"), free_address());
    assert!(script("python_v1.py", server.address.port()).contains("all 12 checks passed"));
}

#[test]
fn the_python_client_of_2_x_writes_what_influxql_reads() {
    let folder = tempfile::tempdir().unwrap();
    let server = silverback(&folder.path().join("data"), free_address());
    assert!(script("python_v2.py", server.address.port()).contains("written"));
    let mut connection = server.connect();
    let answer = connection.query("plant", "SELECT * FROM \"boiler room\" GROUP BY *");
    let series = &answer["results"][0]["series"][0];
    assert_eq!(series["tags"]["unit, no"], "7 a");
    let columns = ["time", "count", "label", "on", "temperature", "total"];
    assert_eq!(series["columns"], serde_json::json!(columns));
    let row = serde_json::json!([
        1_600_000_000_000_000_001_i64,
        -5,
        "say \"hi\"\\n",
        true,
        21.5,
        9
    ]);
    assert_eq!(series["values"], serde_json::json!([row]));
    let many = connection.query("plant", "SELECT count(v), sum(v) FROM many");
    assert_eq!(
        many["results"][0]["series"][0]["values"][0],
        serde_json::json!([0, 2000, 1_999_000])
    );
}
