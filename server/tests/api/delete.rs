//! `POST /api/v2/delete`, `DELETE` and `DROP SERIES` over HTTP.

use crate::harness::{Request, Server};

fn post<'a>(path: &'a str, body: &'a [u8]) -> Request<'a> {
    Request {
        body,
        ..Request::new("POST", path)
    }
}

fn server() -> (Server, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::at(dir.path(), &["--auto-create", "always"]);
    let lines =
        b"m,t=a x=1 1000000000\nm,t=a x=2 2000000000\nm,t=b x=3 1000000000\nn,t=a x=4 1000000000";
    assert_eq!(server.send(&post("/write?db=d", lines)).status, 204);
    (server, dir)
}

fn delete(server: &Server, bucket: &str, body: &str) -> (u16, String) {
    let target = format!("/api/v2/delete?org=o&bucket={bucket}");
    let answer = server.send(&post(&target, body.as_bytes()));
    (answer.status, answer.text())
}

fn body(start: &str, stop: &str, predicate: &str) -> String {
    serde_json::json!({"start": start, "stop": stop, "predicate": predicate}).to_string()
}

/// How many rows a query gives.
fn rows(server: &Server, query: &str) -> usize {
    let query: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
    let answer = server.send(&post(&format!("/query?db=d&q={query}"), b""));
    let answer: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
    let series = answer["results"][0]["series"].as_array().cloned();
    let series = series.unwrap_or_default();
    let count = |one: &serde_json::Value| one["values"].as_array().unwrap().len();
    series.iter().map(count).sum()
}

#[test]
fn a_delete_takes_a_measurement_tags_and_times() {
    let (server, _dir) = server();
    let (second, two) = ("1970-01-01T00:00:01Z", "1970-01-01T00:00:02Z");
    let predicate = r#"_measurement="m" AND t="a""#;
    assert_eq!(rows(&server, "SELECT x FROM m"), 3);
    let done = (204, String::new());
    // The end is not deleted.
    assert_eq!(
        delete(&server, "d/autogen", &body(second, two, predicate)),
        done
    );
    assert_eq!(rows(&server, "SELECT x FROM m"), 2);
    assert_eq!(rows(&server, "SELECT x FROM n"), 1);
    assert_eq!(
        delete(
            &server,
            "d",
            &body("0001-01-01T00:00:00Z", "2300-01-01T00:00:00Z", "t=\'a\'")
        ),
        done
    );
    assert_eq!(rows(&server, "SHOW SERIES"), 1);
    assert_eq!(delete(&server, "d", &body(second, two, "")), done);
    assert_eq!(rows(&server, "SHOW SERIES"), 0);
}

/// Makes the policy `p` of `d`, which is not the default one, with a point in it.
fn with_policy(server: &Server) {
    let made = "CREATE RETENTION POLICY p ON d DURATION INF REPLICATION 1";
    assert_eq!(rows(server, made), 0);
    let written = server.send(&post("/write?db=d&rp=p", b"m,t=a x=1 1000000000"));
    assert_eq!(written.status, 204);
}

#[test]
fn a_bucket_without_a_policy_means_the_default_one() {
    let times = body("1970-01-01T00:00:00Z", "2000-01-01T00:00:00Z", "");
    let done = (204, String::new());
    for (bucket, left_in_default, left_in_p) in [
        ("d", 0, 1),
        ("d/", 0, 1),
        ("d/p", 3, 0),
        ("d/autogen", 0, 1),
    ] {
        let (server, _dir) = server();
        with_policy(&server);
        assert_eq!(delete(&server, bucket, &times), done, "{bucket}");
        let left = rows(&server, "SELECT x FROM autogen.m");
        assert_eq!(left, left_in_default, "{bucket}");
        assert_eq!(rows(&server, "SELECT x FROM p.m"), left_in_p, "{bucket}");
    }
    let (server, _dir) = server();
    with_policy(&server);
    assert_eq!(rows(&server, "ALTER RETENTION POLICY p ON d DEFAULT"), 0);
    assert_eq!(delete(&server, "d", &times), done);
    assert_eq!(rows(&server, "SELECT x FROM autogen.m"), 3);
    assert_eq!(rows(&server, "SELECT x FROM p.m"), 0);
    assert_eq!(rows(&server, "DROP RETENTION POLICY p ON d"), 0);
    let (status, text) = delete(&server, "d", &times);
    assert_eq!(status, 404, "{text}");
    assert!(text.contains("retention policy not found in"), "{text}");
    assert_eq!(rows(&server, "SELECT x FROM autogen.m"), 3);
}

#[test]
fn what_is_no_delete_is_refused_by_status_and_words() {
    let (server, _dir) = server();
    let good = body("1970-01-01T00:00:01Z", "1970-01-01T00:00:02Z", "");
    for (bucket, body, status, words) in [
        (
            "",
            good.as_str(),
            404,
            "delete - bucket: bucket name \\\"\\\" is missing a slash",
        ),
        (
            "/p",
            &good,
            404,
            "is in db/rp form but has an empty database",
        ),
        (
            "none",
            &good,
            404,
            "delete - database not found: \\\"none\\\"",
        ),
        (
            "d/p",
            &good,
            404,
            "delete - retention policy not found in \\\"d\\\": \\\"p\\\"",
        ),
        ("d", "{", 400, "delete - cannot parse request body: "),
        (
            "d",
            "{}",
            400,
            "delete - start field in RFC3339Nano format required",
        ),
        (
            "d",
            &good.replace("\"\"", "\"t=\'a\' OR t=\'b\'\""),
            400,
            "delete - predicate only supports equality operators and conjunctions. database: ",
        ),
        (
            "d",
            &body("1970-01-01T00:00:02Z", "1970-01-01T00:00:01Z", ""),
            400,
            "delete - stop \\\"1970-01-01T00:00:01Z\\\" is before start \\\"1970-01-01T00:00:02Z\\\"",
        ),
    ] {
        let (found, text) = delete(&server, bucket, body);
        assert_eq!(found, status, "{bucket} {body}: {text}");
        assert!(text.contains(words), "{text}");
        assert!(text.contains("\"code\""), "{text}");
    }
    assert_eq!(rows(&server, "SELECT x FROM m"), 3);
}

#[test]
fn statements_delete_and_say_what_they_cannot() {
    let (server, _dir) = server();
    assert_eq!(
        rows(&server, "DELETE FROM m WHERE t = \'a\' AND time < 2s"),
        0
    );
    assert_eq!(rows(&server, "SELECT x FROM m"), 2);
    assert_eq!(rows(&server, "DROP SERIES FROM m WHERE t = \'b\'"), 0);
    assert_eq!(rows(&server, "SHOW SERIES"), 2);
    let answer = server.send(&post(
        "/query?db=d&q=DELETE%20FROM%20m%20WHERE%20x%3D1",
        b"",
    ));
    let words = "fields not supported in WHERE clause during deletion";
    assert!(answer.text().contains(words), "{}", answer.text());
}

#[test]
fn a_tag_key_is_listed_as_long_as_a_series_has_it() {
    let (server, _dir) = server();
    let lines = b"m,t=a,u=x,v=y x=1 1000000000\nm,t=a,v=y x=1 1000000000\nm,t=a,v=y x=1 2000000000";
    assert_eq!(server.send(&post("/write?db=d", lines)).status, 204);
    let keys = |query: &str| rows(&server, query);
    let all = "SHOW TAG KEYS FROM m";
    assert_eq!(keys(all), 3);
    rows(&server, "DELETE FROM m WHERE u = 'x'");
    assert_eq!(keys(all), 2, "in memory");
    assert_eq!(server.send(&post("/admin/flush", b"")).status, 200);
    assert_eq!(keys(all), 2, "in blocks");
    rows(&server, "DELETE FROM m WHERE v = 'y' AND time < 2s");
    assert_eq!(keys(all), 2, "a point is left");
    rows(&server, "DROP SERIES FROM m WHERE v = 'y'");
    assert_eq!(keys(all), 1);
    assert_eq!(server.send(&post("/admin/compact", b"")).status, 200);
    assert_eq!(keys(all), 1);
    assert_eq!(keys("SHOW TAG KEYS FROM m WHERE t = 'b'"), 1);
    assert_eq!(server.send(&post("/write?db=d", lines)).status, 204);
    assert_eq!(keys(all), 3, "they come back");
}
