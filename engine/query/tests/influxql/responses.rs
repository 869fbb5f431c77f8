//! Whole answers, byte for byte, as a real influxd 1.6.7 sent them over HTTP: times in all units,
//! indentation, chunks, CSV, parameters, several statements.

use serde_json::Value;
use silverback_query::naive::NaiveCatalog;
use silverback_query::output::{CsvSink, Epoch, JsonOptions, JsonSink, error_csv};
use silverback_query::result::{BindValue, QueryOptions};
use silverback_query::source::{Catalog as _, PolicySpec};
use silverback_query::statement::execute;

fn catalog() -> NaiveCatalog {
    let catalog = NaiveCatalog::default();
    let spec = PolicySpec::default();
    catalog.create_database("qdb", &spec).unwrap();
    let body = "cpu,dc=x,host=a b=true,n=10i,s=\"hi\",v=1.5 1600000000000000000\n\
                cpu,host=b n=20i,v=2 1600000010000000000\n\
                cpu,dc=x,host=a v=3 1600000020000000001";
    catalog.write("qdb", "autogen", body.as_bytes());
    catalog
}

fn bound(value: &Value) -> BindValue {
    if let Value::Object(object) = value {
        let (kind, value) = object.iter().next().unwrap();
        let text: Box<str> = value.as_str().unwrap().into();
        return match kind.as_str() {
            "identifier" => BindValue::Identifier(text),
            "regex" => BindValue::Regex(text),
            "duration" => BindValue::Duration(text),
            other => panic!("{other}"),
        };
    }
    match value.as_i64() {
        Some(integer) => BindValue::Integer(integer),
        None => match value.as_f64() {
            Some(float) => BindValue::Float(float),
            None => BindValue::String(value.as_str().unwrap().into()),
        },
    }
}

fn answer(case: &Value) -> String {
    let query = &case["query"];
    let text = |name: &str| query[name].as_str().unwrap_or_default();
    let named = |name: &str| Some(text(name)).filter(|text| !text.is_empty());
    let params: serde_json::Map<String, Value> =
        named("params").map_or_else(Default::default, |text| serde_json::from_str(text).unwrap());
    let params = params
        .iter()
        .map(|(name, value)| (name.as_str().into(), bound(value)));
    let options = QueryOptions {
        database: named("db").map(Into::into),
        policy: named("rp").map(Into::into),
        now_ns: 1_700_000_000_000_000_000,
        params: params.collect(),
        read_only_context: case["method"] == "GET",
        ..QueryOptions::default()
    };
    let epoch = Epoch::of(text("epoch"));
    let bytes = if case["accept"].as_str().unwrap().contains("csv") {
        let mut sink = CsvSink::new(Vec::new(), epoch);
        match execute(&catalog(), text("q"), &options, &mut sink) {
            Ok(()) => sink.finish().unwrap(),
            Err(error) => error_csv(error.message()),
        }
    } else {
        let rows = text("chunk_size").parse().unwrap_or(10_000);
        let json = JsonOptions {
            epoch,
            pretty: text("pretty") == "true",
            chunk_rows: (text("chunked") == "true").then_some(rows),
        };
        let mut sink = JsonSink::new(Vec::new(), json);
        match execute(&catalog(), text("q"), &options, &mut sink) {
            Ok(()) => sink.finish().unwrap(),
            Err(error) => format!("{{\"error\":\"{}\"}}\n", error.message()).into_bytes(),
        }
    };
    String::from_utf8(bytes).unwrap()
}

#[test]
fn answers_are_those_of_influxd_to_the_byte() {
    let mut differ = Vec::new();
    let cases = include_str!("../data/query_cases.jsonl");
    for line in cases.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let answer = answer(&case);
        let body = case["body"].as_str().unwrap();
        if answer != body {
            differ.push(format!(
                "{}\n  influxd {body}\n  ours    {answer}",
                case["name"]
            ));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    assert_eq!(cases.lines().count(), 50);
}
