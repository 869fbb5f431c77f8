//! `SELECT` against the recorded answers of a real influxd 1.6.7.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};
use silverback_query::influxql::ast::Statement;
use silverback_query::influxql::{parse_query, select};
use silverback_query::naive::NaiveCatalog;
use silverback_query::output::time_text;
use silverback_query::result::{
    Cell, QueryError, QueryLimits, QueryOptions, ResultSink, SeriesHeader, Stopped,
};
use silverback_query::source::{Catalog, PolicySpec};

/// Recorded answers that are not what a query should get; each says why.
const MEANT_DIFFERENCES: &[(&str, &str)] = &[
    (
        "SELECT usage FROM cpu GROUP BY host SOFFSET 1",
        "1.6.7 shows nothing for SOFFSET without SLIMIT",
    ),
    (
        "SELECT usage FROM cpu WHERE abs(usage - 20) < 6",
        "1.6.7 does not evaluate functions in WHERE",
    ),
    (
        "SELECT ln(usage - 10) FROM cpu WHERE host='a' LIMIT 1",
        "1.6.7 breaks off its answer at an infinity",
    ),
    (
        "SELECT usage FROM cpu LIMIT 1; SELECT usage FROM nope.cpu; SELECT idle FROM cpu LIMIT 1",
        "1.6.7 hides the error of a statement behind the next one's",
    ),
    (
        "SELECT usage FROM cpu OFFSET 10",
        "1.6.7 shows one row for OFFSET without LIMIT",
    ),
    (
        "SELECT first(usage), last(usage) FROM cpu",
        "of points at one time the largest is first; 1.6.7 takes one by an order of its own",
    ),
    (
        "SELECT first(usage) FROM cpu",
        "of points at one time the largest is first; 1.6.7 takes one by an order of its own",
    ),
    (
        "SELECT usage FROM cpu LIMIT 1 OFFSET 2",
        "rows of equal time come in the order of their tags; 1.6.7 has an order of its own",
    ),
];

/// Gathers an answer as JSON.
#[derive(Default)]
pub(crate) struct Gathered {
    pub(crate) series: Vec<Value>,
}

impl ResultSink for Gathered {
    fn statement(&mut self, _: usize) -> Result<(), Stopped> {
        Ok(())
    }

    fn series(&mut self, header: &SeriesHeader) -> Result<(), Stopped> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut series = Map::new();
        if let Some(name) = &header.name {
            series.insert("name".into(), json!(text(name)));
        }
        if let Some(tags) = &header.tags {
            let tags = tags
                .iter()
                .map(|(key, value)| (text(key), json!(text(value))));
            series.insert("tags".into(), Value::Object(tags.collect()));
        }
        let columns: Vec<_> = header.columns.iter().map(|column| text(column)).collect();
        series.insert("columns".into(), json!(columns));
        series.insert(
            "zone".into(),
            json!(header.zone.as_ref().and_then(|zone| zone.iana_name())),
        );
        series.insert("values".into(), json!([]));
        self.series.push(Value::Object(series));
        Ok(())
    }

    fn row(&mut self, cells: &[Cell]) -> Result<(), Stopped> {
        let row: Vec<Value> = cells.iter().map(cell_json).collect();
        let series = self.series.last_mut().unwrap();
        series["values"].as_array_mut().unwrap().push(json!(row));
        Ok(())
    }

    fn message(&mut self, _: &str, _: &str) -> Result<(), Stopped> {
        Ok(())
    }

    fn end(&mut self, _: Option<&str>) -> Result<(), Stopped> {
        Ok(())
    }
}

fn cell_json(cell: &Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Time(at) | Cell::Integer(at) => json!(at),
        Cell::Float(value) => json!(value),
        Cell::Unsigned(value) => json!(value),
        Cell::Boolean(value) => json!(value),
        Cell::String(value) => json!(String::from_utf8_lossy(value)),
        Cell::Strings(values) => json!(values.len()),
    }
}

pub(crate) fn catalog() -> NaiveCatalog {
    let catalog = NaiveCatalog::default();
    catalog
        .create_database("iql", &PolicySpec::default())
        .unwrap();
    catalog.write(
        "iql",
        "autogen",
        include_bytes!("../data/influxql_cases.lp"),
    );
    catalog
}

pub(crate) fn run(
    catalog: &dyn Catalog,
    text: &str,
    limits: QueryLimits,
) -> Vec<Result<Vec<Value>, QueryError>> {
    let options = QueryOptions {
        database: Some("iql".into()),
        now_ns: 1_700_000_000_000_000_000,
        limits,
        ..QueryOptions::default()
    };
    let statements = parse_query(text, &[], 1 << 20).unwrap();
    let run = |statement: &Statement| {
        let Statement::Select(select) = statement else {
            panic!("a SELECT: {text}");
        };
        let mut gathered = Gathered::default();
        select::run(catalog, select, &options, &mut gathered).map(|()| gathered.series)
    };
    statements.iter().map(run).collect()
}

/// The answer as the recorded bodies have it.
fn answer(catalog: &dyn Catalog, text: &str, epoch: Option<&str>) -> Value {
    let mut results = Vec::new();
    for (index, result) in run(catalog, text, QueryLimits::default())
        .into_iter()
        .enumerate()
    {
        let mut shown = json!({ "statement_id": index });
        match result {
            Ok(series) if series.is_empty() => {}
            Ok(series) => shown["series"] = json!(series),
            Err(error) => {
                shown["error"] = json!(error.message());
                results.push(shown);
                break;
            }
        }
        results.push(shown);
    }
    for result in &mut results {
        let series = result.get_mut("series").and_then(Value::as_array_mut);
        series
            .into_iter()
            .flatten()
            .for_each(|series| show_times(series, epoch));
    }
    json!({ "results": results })
}

fn show_times(series: &mut Value, epoch: Option<&str>) {
    let zone = series["zone"]
        .as_str()
        .map(|name| jiff::tz::TimeZone::get(name).unwrap());
    series.as_object_mut().unwrap().remove("zone");
    for row in series["values"].as_array_mut().unwrap() {
        let at = row[0].as_i64().unwrap();
        row[0] = match epoch {
            Some("s") => json!(at / 1_000_000_000),
            Some("ms") => json!(at / 1_000_000),
            Some(_) => json!(at),
            None => json!(time_text(at, zone.as_ref())),
        };
    }
}

/// Puts rows of equal time into an order that does not depend on the series they are from.
fn settle(answer: &mut Value) {
    let results = answer["results"].as_array_mut().into_iter().flatten();
    for result in results {
        let series = result.get_mut("series").and_then(Value::as_array_mut);
        for series in series.into_iter().flatten() {
            let rows = series
                .get_mut("values")
                .and_then(Value::as_array_mut)
                .unwrap();
            let mut start = 0;
            while start < rows.len() {
                let time = rows[start][0].clone();
                let same = rows[start..]
                    .iter()
                    .take_while(|row| row[0] == time)
                    .count();
                rows[start..start + same].sort_by_key(plain_text);
                start += same;
            }
        }
    }
}

/// A row as text in which 5 and 5.0 are one.
fn plain_text(row: &Value) -> String {
    let cells = row.as_array().unwrap().iter();
    let text = |cell: &Value| match cell.as_f64() {
        Some(number) => number.to_string(),
        None => cell.to_string(),
    };
    cells.map(text).collect::<Vec<_>>().join(",")
}

/// Equal, floats to twelve digits.
fn agrees(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| agrees(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, value)| b.get(key).is_some_and(|other| agrees(value, other)))
        }
        (Value::Number(a), Value::Number(b)) => {
            if let (Some(a), Some(b)) = (a.as_i64(), b.as_i64()) {
                return a == b;
            }
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            let close = (a - b).abs() <= 1e-12 * a.abs().max(b.abs());
            close || a.partial_cmp(&b) == Some(Ordering::Equal)
        }
        (a, b) => a == b,
    }
}

#[test]
fn answers_are_those_that_influxd_gave() {
    let catalog = catalog();
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in include_str!("../data/influxql_cases.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = case["q"].as_str().unwrap();
        let is_select = text.trim_start().to_uppercase().starts_with("SELECT");
        let meant = MEANT_DIFFERENCES.iter().any(|(query, _)| *query == text);
        if !is_select || meant || case["phase"] != "read" || case["status"] != 200 {
            continue;
        }
        count += 1;
        let Ok(mut theirs) = serde_json::from_str::<Value>(case["body"].as_str().unwrap()) else {
            panic!("a recorded body is JSON: {text}");
        };
        let mut ours = answer(&catalog, text, case["epoch"].as_str());
        settle(&mut ours);
        settle(&mut theirs);
        if !agrees(&ours, &theirs) {
            wrong.push(format!("{text}\n  ours   {ours}\n  theirs {theirs}"));
        }
    }
    assert!(count > 200, "{count} cases");
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn a_count_is_of_the_rows_that_a_condition_leaves() {
    let catalog = catalog();
    let mut counts = Vec::new();
    for condition in [
        "host = 'a'",
        "host != 'a'",
        "host = 'a' OR dc = 'eu'",
        "host =~ /[ab]/ AND dc !~ /x/",
        "host = ''",
        "nothing = ''",
        "nothing = 'a'",
        "usage > 10",
        "usage > 10 AND host = 'a'",
        "usage > 10 OR host = 'b'",
        "msg = 'start'",
        "usage > 1000",
    ] {
        let of = |what: &str| {
            let text = format!("SELECT {what} FROM cpu WHERE {condition}");
            let mut answers = run(&catalog, &text, QueryLimits::default());
            answers.remove(0).unwrap()
        };
        let rows = of("usage");
        let values = rows.first().map(|series| series["values"].as_array());
        let rows = values.map_or(0, |values| values.unwrap().len());
        let count = of("count(usage)");
        let counted = count.first().map(|series| series["values"][0][1].clone());
        assert_eq!(counted.unwrap_or(json!(0)), json!(rows), "{condition}");
        counts.push(rows);
    }
    counts.sort_unstable();
    counts.dedup();
    assert!(counts.len() > 5, "{counts:?}");
    // A tag that is shown is read, also where the condition has it.
    let text = "SELECT max(usage), host FROM cpu WHERE host = 'a'";
    let shown = run(&catalog, text, QueryLimits::default()).remove(0);
    assert_eq!(shown.unwrap()[0]["values"][0][2], json!("a"));
}

/// A limit that is not reached takes the way on which rows are made one by one; without one columns go
/// to the answer as they are.
#[test]
fn columns_as_they_are_show_the_rows_that_are_made_one_by_one() {
    let catalog = catalog();
    let mut rows = 0;
    for text in [
        "SELECT * FROM cpu",
        "SELECT * FROM cpu ORDER BY time DESC",
        "SELECT * FROM cpu GROUP BY *",
        "SELECT * FROM cpu GROUP BY dc ORDER BY time DESC",
        "SELECT usage, host FROM cpu",
        "SELECT usage, nothing, usage FROM cpu",
        "SELECT msg FROM cpu",
        "SELECT msg FROM cpu WHERE usage > 10",
        "SELECT usage FROM cpu WHERE msg = 'start'",
        "SELECT usage FROM cpu WHERE msg =~ /^h/ OR idle < 50",
        "SELECT idle FROM cpu WHERE usage >= 25 AND up = true AND host != 'b'",
        "SELECT idle FROM cpu WHERE usage - idle > 0 OR host = 'c'",
        "SELECT * FROM cpu WHERE up = false",
        "SELECT * FROM cpu WHERE usage > 1000",
        "SELECT * FROM cpu, mem",
        "SELECT * FROM /.*/",
        "SELECT usage FROM cpu WHERE time >= '2020-09-13T12:26:50Z' AND time < '2020-09-13T12:27:40Z'",
        "SELECT free FROM mem GROUP BY host",
    ] {
        let of = |text: &str| {
            run(&catalog, text, QueryLimits::default())
                .remove(0)
                .unwrap()
        };
        let (plain, long) = (of(text), of(&format!("{text} LIMIT 1000000")));
        assert_eq!(plain, long, "{text}");
        let count = |series: &Value| series["values"].as_array().unwrap().len();
        rows += plain.iter().map(count).sum::<usize>();
    }
    assert!(rows > 100, "{rows} rows");
    for order in ["ASC", "DESC"] {
        let text = format!("SELECT * FROM cpu GROUP BY * ORDER BY time {order} LIMIT");
        let of = |limit: u32| {
            let text = format!("{text} {limit}");
            run(&catalog, &text, QueryLimits::default())
                .remove(0)
                .unwrap()
        };
        let mut all = of(1_000);
        for series in &mut all {
            series["values"].as_array_mut().unwrap().truncate(1);
        }
        assert_eq!(all.len(), 3);
        assert_eq!(of(1), all, "{order}");
    }
}
