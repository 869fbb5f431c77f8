//! Statements run against the naive store, compared with what influxd answered on the same data.

use silverback_query::naive::NaiveCatalog;
use silverback_query::output::{Epoch, JsonOptions, JsonSink};
use silverback_query::result::{QueryErrorKind, QueryOptions};
use silverback_query::source::{Catalog as _, PolicySpec};
use silverback_query::statement::execute;

const NOW: i64 = 1_700_000_000_000_000_000;

/// The recorded data in database `iql`.
pub(crate) fn catalog() -> NaiveCatalog {
    let catalog = NaiveCatalog::default();
    let spec = PolicySpec::default();
    catalog.create_database("iql", &spec).unwrap();
    let body = include_bytes!("../data/influxql_cases.lp");
    catalog.write("iql", "autogen", body);
    catalog
}

pub(crate) fn answer(catalog: &NaiveCatalog, query: &str, options: &QueryOptions) -> String {
    let json = JsonOptions {
        epoch: Epoch::Divided(1_000_000_000),
        pretty: false,
        chunk_rows: None,
    };
    let mut sink = JsonSink::new(Vec::new(), json);
    if let Err(error) = execute(catalog, query, options, &mut sink) {
        assert_eq!(error.kind(), QueryErrorKind::Parse);
        let error = serde_json::json!({ "error": error.message() });
        return error.to_string().replace('>', "\\u003e");
    }
    let bytes = sink.finish().unwrap();
    String::from_utf8(bytes).unwrap().trim_end().to_owned()
}

pub(crate) fn options() -> QueryOptions {
    QueryOptions {
        database: Some("iql".into()),
        now_ns: NOW,
        ..QueryOptions::default()
    }
}

/// The recorded statements that are answered here: not `SELECT`, not what is not there yet nor
/// what it has left behind, and texts that are refused.
fn recorded(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for line in text.lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| case[name].as_str().unwrap_or_default().to_owned();
        let query = text("q");
        let words: Vec<&str> = query.split_whitespace().collect();
        let ours = match words.as_slice() {
            ["CREATE" | "DROP", "DATABASE", ..]
            | ["SHOW" | "CREATE" | "ALTER" | "DROP", "RETENTION", ..]
            | ["DROP", "MEASUREMENT", ..] => true,
            ["SHOW", what, ..] => {
                let names = [
                    "MEASUREMENTS",
                    "SERIES",
                    "TAG",
                    "FIELD",
                    "MEASUREMENT",
                    "RETENTION",
                ];
                names.contains(what) && case["phase"] != "mutate"
            }
            _ => case["status"] == 400,
        };
        // A comment that 1.6.7 reads as a regular expression.
        if ours && query != "SELECT /* c */ usage FROM cpu LIMIT 1" {
            found.push((query, text("body")));
        }
    }
    found
}

#[test]
fn statements_answer_what_influxd_answered() {
    let mut differ = Vec::new();
    let mut count = 0;
    for text in [
        include_str!("../data/influxql_cases.jsonl"),
        include_str!("../data/show_cases.jsonl"),
    ] {
        let catalog = catalog();
        for (query, body) in recorded(text) {
            count += 1;
            let answer = answer(&catalog, &query, &options());
            if answer != body {
                differ.push(format!("{query}\n  influxd {body}\n  ours    {answer}"));
            }
        }
    }
    let differ = differ.join("\n");
    assert!(differ.is_empty(), "of {count}:\n{differ}");
    assert!(count > 200, "{count} statements");
}

fn ask(query: &str) -> String {
    answer(&catalog(), query, &options())
}

#[test]
fn two_tags_are_equal_where_their_values_are() {
    let values = |condition: &str| {
        ask(&format!(
            "SHOW TAG VALUES FROM cpu WITH KEY = host WHERE {condition}"
        ))
    };
    assert_eq!(values("host = dc"), r#"{"results":[{"statement_id":0}]}"#);
    assert!(values("host != dc").contains(r#"[["host","a"],["host","b"],["host","c"]]"#));
}

#[test]
fn what_follows_a_failure_is_not_executed() {
    let catalog = catalog();
    let query = "SHOW RETENTION POLICIES ON iql; SHOW TAG KEYS ON nosuch; DROP MEASUREMENT cpu; \
                 SHOW USERS";
    let text = answer(&catalog, query, &options());
    assert!(
        text.ends_with(concat!(
            r#"{"statement_id":1,"error":"database not found: nosuch"},"#,
            r#"{"statement_id":2,"error":"not executed"},{"statement_id":3,"error":"not executed"}]}"#
        )),
        "{text}"
    );
    let left = answer(&catalog, "SHOW SERIES FROM cpu", &options());
    assert!(left.contains("cpu,host=c"), "{left}");
}

#[test]
fn nothing_is_run_where_anything_is_no_statement() {
    let catalog = catalog();
    let text = answer(&catalog, "DROP MEASUREMENT cpu; SELECT", &options());
    assert!(
        text.starts_with(r#"{"error":"error parsing query: found EOF"#),
        "{text}"
    );
    let left = answer(&catalog, "SHOW SERIES FROM cpu", &options());
    assert!(left.contains("cpu,host=c"), "{left}");
}

#[test]
fn no_statement_is_an_empty_answer() {
    for query in ["", " ; ; ", "-- nothing"] {
        assert_eq!(ask(query), "{}");
    }
}

#[test]
fn a_database_must_be_named() {
    let options = QueryOptions::default();
    let catalog = catalog();
    for query in [
        "SHOW MEASUREMENTS",
        "SHOW SERIES",
        "SHOW TAG KEYS",
        "SHOW TAG VALUES WITH KEY = a",
        "SHOW FIELD KEYS",
        "SHOW RETENTION POLICIES",
        "SHOW SERIES CARDINALITY",
        "DROP MEASUREMENT cpu",
    ] {
        let expected = r#"{"results":[{"statement_id":0,"error":"database name required"}]}"#;
        assert_eq!(answer(&catalog, query, &options), expected, "{query}");
    }
}

#[test]
fn a_database_may_be_named_in_the_source() {
    let options = QueryOptions::default();
    let text = answer(
        &catalog(),
        "SHOW TAG KEYS FROM iql..cpu, iql.autogen.mem",
        &options,
    );
    assert_eq!(
        text,
        concat!(
            r#"{"results":[{"statement_id":0,"series":[{"name":"cpu","columns":["tagKey"],"#,
            r#""values":[["dc"],["host"]]},{"name":"mem","columns":["tagKey"],"values":[["host"]]}]}]}"#
        )
    );
}

#[test]
fn series_of_another_policy_are_told_apart() {
    let catalog = catalog();
    let spec = PolicySpec {
        name: Some("short".into()),
        ..PolicySpec::default()
    };
    catalog.add_policy("iql", &spec);
    catalog.write("iql", "short", b"cpu,host=z usage=1 5");
    let short = answer(&catalog, "SHOW SERIES FROM short.cpu", &options());
    assert!(short.contains(r#""values":[["cpu,host=z"]]"#), "{short}");
    let values = "SHOW TAG VALUES FROM short.cpu WITH KEY = host";
    let values = answer(&catalog, values, &options());
    assert!(values.contains(r#""values":[["host","z"]]"#), "{values}");
    let keys = answer(&catalog, "SHOW TAG KEYS FROM short.cpu", &options());
    assert!(keys.contains(r#""values":[["host"]]"#), "{keys}");
    let all = answer(&catalog, "SHOW SERIES FROM cpu", &options());
    assert!(all.contains("host=z") && all.contains("host=c"), "{all}");
}

#[test]
fn what_changes_something_is_warned_of_where_only_reading_is_expected() {
    let options = QueryOptions {
        read_only_context: true,
        ..options()
    };
    let catalog = catalog();
    let text = answer(
        &catalog,
        "DROP MEASUREMENT \"my meas\"; SHOW USERS",
        &options,
    );
    assert_eq!(
        text,
        concat!(
            r#"{"results":[{"statement_id":0,"messages":[{"level":"warning","text":"#,
            r#""deprecated use of 'DROP MEASUREMENT \"my meas\"' in a read only context, "#,
            r#"please use a POST request instead"}]},"#,
            r#"{"statement_id":1,"series":[{"columns":["user","admin"]}]}]}"#
        )
    );
    assert!(!answer(&catalog, "SHOW MEASUREMENTS", &options).contains("my meas"));
}

#[test]
fn deletes_take_tags_and_times_and_nothing_else() {
    let catalog = NaiveCatalog::default();
    let spec = PolicySpec::default();
    catalog.create_database("iql", &spec).unwrap();
    let body = "m,t=a x=1 10\nm,t=a x=2 20\nm,t=b x=3 10\nn,t=a y=1 10\no y=5 30";
    catalog.write("iql", "autogen", body.as_bytes());
    let ask = |query: &str| answer(&catalog, query, &options());
    let done = r#"{"results":[{"statement_id":0}]}"#;
    let refused = |text: &str| format!(r#"{{"results":[{{"statement_id":0,"error":"{text}"}}]}}"#);
    let fields = "fields not supported in WHERE clause during deletion";
    for query in [
        "DELETE FROM m WHERE x > 1",
        "DELETE FROM m WHERE x = 'a'",
        "DELETE FROM m WHERE t > 'a'",
        "DELETE FROM m WHERE t = 'a' AND nothing > 1",
        "DROP SERIES FROM m WHERE x = 1",
    ] {
        assert_eq!(ask(query), refused(fields), "{query}");
    }
    let text = "DROP SERIES doesn't support time in WHERE clause";
    assert_eq!(ask("DROP SERIES FROM m WHERE time > 5"), refused(text));
    let count = |from: &str| {
        let text = ask(&format!("SELECT count(*) FROM {from}"));
        text.matches("count_").count()
    };
    assert_eq!(count("/./"), 6);
    assert_eq!(ask("DELETE FROM nothing"), done);
    assert_eq!(ask("DELETE FROM m WHERE nothing = 'x'"), done);
    assert_eq!(
        ask("DELETE FROM /^[mn]$/ WHERE t = 'a' AND time < 20"),
        done
    );
    let series = r#"[["m,t=a"],["m,t=b"],["o"]]"#;
    assert!(
        ask("SHOW SERIES").contains(series),
        "{}",
        ask("SHOW SERIES")
    );
    assert_eq!(ask("DROP SERIES WHERE t = 'b'"), done);
    assert_eq!(ask("DELETE WHERE time > 25"), done);
    assert!(ask("SHOW SERIES").contains(r#"[["m,t=a"]]"#));
    assert!(
        ask("SELECT * FROM m").contains(r#"[[0,"a",2]]"#),
        "{}",
        ask("SELECT * FROM m")
    );
    let none = QueryOptions::default();
    let text = refused("database not found: ");
    assert_eq!(answer(&catalog, "DELETE FROM m", &none), text);
}

#[test]
fn a_measurement_is_renamed_and_so_are_its_tags_and_fields() {
    let catalog = NaiveCatalog::default();
    let spec = PolicySpec::default();
    catalog.create_database("iql", &spec).unwrap();
    catalog.write("iql", "autogen", b"m,t=a x=1,y=2 10");
    let ask = |query: &str| answer(&catalog, query, &options());
    for query in [
        "ALTER MEASUREMENT m RENAME TO \"n n\"",
        "alter measurement \"n n\" rename tag t to u",
        "ALTER MEASUREMENT \"n n\" RENAME FIELD x TO z",
        "ALTER MEASUREMENT \"n n\" DROP FIELD y",
    ] {
        assert_eq!(ask(query), r#"{"results":[{"statement_id":0}]}"#, "{query}");
    }
    assert!(
        ask("SHOW SERIES").contains(r#"[["n\\ n,u=a"]]"#),
        "{}",
        ask("SHOW SERIES")
    );
    assert!(ask("SHOW FIELD KEYS").contains(r#"[["z","float"]]"#));
    for (query, words) in [
        (
            "ALTER MEASUREMENT m",
            "found EOF, expected RENAME, DROP FIELD at line 1, char 21",
        ),
        (
            "ALTER MEASUREMENT m RENAME x",
            "found x, expected TO, TAG, FIELD at line 1, char 28",
        ),
        (
            "ALTER MEASUREMENT m DROP x",
            "found x, expected FIELD at line 1, char 26",
        ),
        ("ALTER x", "found x, expected RETENTION at line 1, char 7"),
    ] {
        assert!(ask(query).contains(words), "{}", ask(query));
    }
}

#[test]
fn what_is_not_there_yet_is_refused_by_name() {
    for (query, name) in [
        ("SELECT x INTO y FROM z", "SELECT INTO"),
        ("EXPLAIN SELECT x FROM y", "EXPLAIN"),
        ("DROP CONTINUOUS QUERY a ON b", "DROP CONTINUOUS QUERY"),
        ("CREATE USER a WITH PASSWORD 'b'", "CREATE USER"),
        ("SET PASSWORD FOR a = 'b'", "SET PASSWORD"),
        ("GRANT ALL TO a", "GRANT"),
        ("DROP SHARD 1", "DROP SHARD"),
        ("SHOW SHARDS", "SHOW SHARDS"),
        ("SHOW SHARD GROUPS", "SHOW SHARD GROUPS"),
        ("SHOW STATS", "SHOW STATS"),
        ("SHOW DIAGNOSTICS", "SHOW DIAGNOSTICS"),
        (
            "SHOW SERIES CARDINALITY GROUP BY host",
            "GROUP BY in SHOW CARDINALITY",
        ),
    ] {
        let text = ask(query);
        assert!(
            text.contains(&format!("\"error\":\"{name} is not supported yet\"")),
            "{text}"
        );
    }
}

#[test]
fn policies_are_made_changed_shown_and_dropped() {
    let catalog = catalog();
    let ask = |query: &str| answer(&catalog, query, &options());
    let rows = |query: &str| {
        let text = ask(query);
        let (_, rows) = text.split_once("\"values\":").unwrap();
        rows.trim_end_matches("}]}]}").to_owned()
    };
    let done = r#"{"results":[{"statement_id":0}]}"#;
    for query in [
        "CREATE RETENTION POLICY \"week\" ON iql DURATION 7d REPLICATION 2",
        "CREATE RETENTION POLICY \"week\" ON iql DURATION 7d REPLICATION 2",
        "CREATE RETENTION POLICY b ON iql DURATION INF REPLICATION 1 SHARD DURATION 30m DEFAULT",
        "ALTER RETENTION POLICY week ON iql DURATION 400d SHARD DURATION 0s",
        "DROP RETENTION POLICY nope ON iql",
        "DROP RETENTION POLICY week ON nope",
    ] {
        assert_eq!(ask(query), done, "{query}");
    }
    assert_eq!(
        rows("SHOW RETENTION POLICIES"),
        r#"[["autogen","0s","168h0m0s",1,false],["week","9600h0m0s","168h0m0s",2,false],["b","0s","1h0m0s",1,true]]"#
    );
    assert_eq!(ask("DROP RETENTION POLICY b ON iql"), done);
    for (query, error) in [
        (
            "CREATE RETENTION POLICY week ON iql DURATION 7d REPLICATION 1",
            "retention policy already exists",
        ),
        (
            "CREATE RETENTION POLICY x ON nope DURATION 7d REPLICATION 1",
            "database not found: nope",
        ),
        (
            "ALTER RETENTION POLICY x ON iql DEFAULT",
            "retention policy not found: x",
        ),
        (
            "ALTER RETENTION POLICY autogen ON iql DURATION 1d",
            "retention policy duration must be greater than the shard duration",
        ),
        ("SELECT * FROM cpu", "retention policy not found: b"),
        ("SELECT * FROM iql.x.cpu", "retention policy not found: x"),
    ] {
        let expected = format!("\"error\":\"{error}\"");
        assert!(ask(query).contains(&expected), "{}", ask(query));
    }
}

#[test]
fn what_cannot_be_there_yet_is_shown_empty() {
    for (query, series) in [
        ("SHOW SUBSCRIPTIONS", ""),
        ("SHOW USERS", r#","series":[{"columns":["user","admin"]}]"#),
        (
            "SHOW CONTINUOUS QUERIES",
            r#","series":[{"name":"iql","columns":["name","query"]}]"#,
        ),
        (
            "SHOW DATABASES",
            r#","series":[{"name":"databases","columns":["name"],"values":[["iql"]]}]"#,
        ),
        ("SHOW GRANTS FOR joe", r#","error":"user not found""#),
    ] {
        let expected = format!("{{\"results\":[{{\"statement_id\":0{series}}}]}}");
        assert_eq!(ask(query), expected);
    }
}

#[test]
fn a_stopped_query_says_why() {
    let options = options();
    options.stop.interrupt();
    let text = answer(&catalog(), "SHOW SERIES; SHOW SERIES", &options);
    assert!(text.contains("\"error\":\"query interrupted\""), "{text}");
    assert!(text.contains("not executed"), "{text}");
    options.stop.time_out();
    let text = answer(&catalog(), "SHOW DATABASES", &options);
    assert!(text.contains("query-timeout limit exceeded"), "{text}");
}

#[test]
fn hostile_texts_end_in_a_tree_or_an_error() {
    let seeds = include_str!("../data/parse_cases.jsonl").lines();
    for line in seeds {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = case["q"].as_str().unwrap().as_bytes();
        silverback_query::fuzzing::fuzz_influxql(text);
        let mut broken = text.to_vec();
        for (index, byte) in broken.iter_mut().enumerate().skip(7).step_by(11) {
            *byte = byte
                .wrapping_mul(31)
                .wrapping_add(u8::try_from(index % 256).unwrap());
        }
        silverback_query::fuzzing::fuzz_influxql(&broken);
    }
}

#[test]
fn series_are_sorted_by_their_tags_and_values_counted_once() {
    let catalog = catalog();
    catalog.write("iql", "autogen", b"m2,a=1,b=1 f=1 5\nm2,a!=1 f=1 5");
    let keys = answer(&catalog, "SHOW SERIES FROM m2", &options());
    assert!(keys.contains(r#"[["m2,a=1,b=1"],["m2,a!=1"]]"#), "{keys}");
    let query = "SHOW TAG VALUES CARDINALITY FROM m2 WITH KEY IN (a, b)";
    let count = answer(&catalog, query, &options());
    assert!(
        count.contains(r#""columns":["count"],"values":[[1]]"#),
        "{count}"
    );
}

#[test]
fn a_name_that_cannot_be_seen_is_no_name() {
    for query in [
        "CREATE DATABASE \"a\u{7f}\"",
        "CREATE DATABASE \"a\\nb\"",
        "CREATE DATABASE x WITH NAME \"..\"",
        "CREATE DATABASE x WITH NAME \"a/b\"",
    ] {
        assert!(ask(query).contains("\"error\":\"invalid name\""), "{query}");
    }
}
