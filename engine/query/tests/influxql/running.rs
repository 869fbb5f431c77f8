//! Running plans: windows against a plain evaluation, order over many series, bounds.

use std::collections::BTreeMap;
use std::fmt::Write;

use proptest::prelude::*;
use serde_json::{Value, json};
use silverback_query::naive::NaiveCatalog;
use silverback_query::result::{QueryErrorKind, QueryLimits, QueryOptions, StopFlag};
use silverback_query::source::{Catalog, PolicySpec};

use crate::select::{Gathered, run};

fn catalog(lines: &str) -> NaiveCatalog {
    let catalog = NaiveCatalog::default();
    catalog
        .create_database("iql", &PolicySpec::default())
        .unwrap();
    catalog.write("iql", "autogen", lines.as_bytes());
    catalog
}

fn rows(catalog: &NaiveCatalog, text: &str) -> Vec<(Value, Vec<Value>)> {
    let mut results = run(catalog, text, QueryLimits::default());
    let series = results.remove(0).unwrap();
    let take = |mut series: Value| {
        let rows = series["values"].take();
        (series["tags"].take(), rows.as_array().unwrap().clone())
    };
    series.into_iter().map(take).collect()
}

/// Points of a few hosts: (host, second, value).
fn points() -> impl Strategy<Value = BTreeMap<(u8, i64), i64>> {
    prop::collection::btree_map((0_u8..4, -100_i64..400), -1000_i64..1000, 1..120)
}

fn lines(points: &BTreeMap<(u8, i64), i64>) -> String {
    let mut text = String::new();
    for ((host, second), value) in points {
        let at = second * 1_000_000_000;
        writeln!(text, "m,host=h{host} i={value}i,f={value} {at}").unwrap();
    }
    text
}

/// What one window of one host shows.
fn plain(function: &str, values: &[i64]) -> Value {
    let sum: i64 = values.iter().sum();
    let (min, max) = (values.iter().min().unwrap(), values.iter().max().unwrap());
    match function {
        "count" => json!(values.len()),
        "sum" => json!(sum),
        "min" => json!(min),
        "max" => json!(max),
        "spread" => json!(max - min),
        "first" => json!(values[0]),
        "last" => json!(values[values.len() - 1]),
        _ => {
            let mut sorted = values.to_vec();
            sorted.sort_unstable();
            let rank = values.len().div_ceil(2);
            json!(sorted[rank - 1])
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Windows from statistics, windows from rows and a plain evaluation say the same.
    #[test]
    fn windows_are_what_a_plain_evaluation_says(
        points in points(),
        every in 1_i64..90,
        start in -120_i64..100,
        length in 1_i64..400,
    ) {
        let catalog = catalog(&lines(&points));
        let range = start..start + length;
        let mut windows: BTreeMap<(u8, i64), Vec<i64>> = BTreeMap::new();
        for ((host, second), value) in points.iter().filter(|((_, at), _)| range.contains(at)) {
            let window = second.div_euclid(every) * every;
            windows.entry((*host, window)).or_default().push(*value);
        }
        for (shown, function) in [
            ("count(i)", "count"), ("sum(i)", "sum"), ("min(i)", "min"), ("max(i)", "max"),
            ("spread(i)", "spread"), ("first(i)", "first"), ("last(i)", "last"),
            ("percentile(i, 50)", "percentile"),
        ] {
            for condition in ["", "AND f > -5000"] {
                let text = format!(
                    "SELECT {shown} FROM m WHERE time >= {start}s AND time < {}s {condition} \
                     GROUP BY time({every}s), host fill(none)",
                    start + length
                );
                let mut got = BTreeMap::new();
                for (tags, rows) in rows(&catalog, &text) {
                    let host = tags["host"].as_str().unwrap().trim_start_matches('h');
                    let host: u8 = host.parse().unwrap();
                    for row in rows {
                        let window = row[0].as_i64().unwrap() / 1_000_000_000;
                        got.insert((host, window), row[1].clone());
                    }
                }
                let expected: BTreeMap<_, _> = windows
                    .iter()
                    .map(|(window, values)| (*window, plain(function, values)))
                    .filter(|(_, value)| !value.is_null())
                    .collect();
                prop_assert_eq!(&got, &expected, "{}", text);
            }
        }
    }

    /// Windows of several series together too.
    #[test]
    fn windows_of_series_are_taken_together(points in points(), every in 1_i64..90) {
        let catalog = catalog(&lines(&points));
        let mut windows: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for ((_, second), value) in &points {
            windows.entry(second.div_euclid(every) * every).or_default().push(*value);
        }
        for function in ["count", "sum", "min", "max", "spread"] {
            for condition in ["", "AND f > -5000"] {
                let text = format!(
                    "SELECT {function}(i) FROM m WHERE time < 500s {condition} \
                     GROUP BY time({every}s) fill(none)"
                );
                let got: Vec<Value> = cells(&catalog, &text);
                let row = |(window, values): (&i64, &Vec<i64>)| {
                    json!([window * 1_000_000_000, plain(function, values)])
                };
                let expected: Vec<Value> = windows.iter().map(row).collect();
                prop_assert_eq!(got, expected, "{}", text);
            }
        }
    }

    /// Rows of all series come in order of time, forwards and backwards, cut where asked.
    #[test]
    fn rows_are_merged_by_time(points in points(), limit in 1_usize..20, offset in 0_usize..20) {
        let catalog = catalog(&lines(&points));
        let mut expected: Vec<(i64, u8, i64)> =
            points.iter().map(|((host, at), value)| (*at, *host, *value)).collect();
        for order in ["ASC", "DESC"] {
            expected.sort_by_key(|(at, host, _)| (if order == "ASC" { *at } else { -*at }, *host));
            let text = format!("SELECT i FROM m ORDER BY time {order} LIMIT {limit} OFFSET {offset}");
            let got: Vec<Vec<Value>> = rows(&catalog, &text)
                .into_iter()
                .flat_map(|(_, rows)| rows)
                .map(|row| row.as_array().unwrap().clone())
                .collect();
            let cut: Vec<Vec<Value>> = expected
                .iter()
                .skip(offset)
                .take(limit)
                .map(|(at, _, value)| vec![json!(at * 1_000_000_000), json!(value)])
                .collect();
            prop_assert_eq!(got, cut, "{}", text);
        }
    }
}

/// Whether a point of this value counts.
type Holds<'h> = Box<dyn Fn(i64) -> bool + 'h>;

/// Points of which some lack one of the two fields.
fn sparse_lines(points: &BTreeMap<(u8, i64), i64>) -> String {
    let mut text = String::new();
    for ((host, second), value) in points {
        let fields = match value.rem_euclid(4) {
            0 => format!("i={value}i"),
            1 => format!("f={value}"),
            _ => format!("i={value}i,f={}", value - 1),
        };
        writeln!(text, "m,host=h{host} {fields} {}", second * 1_000_000_000).unwrap();
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The first row of each series comes from statistics, the newest windows from a short reading.
    #[test]
    fn shortcuts_to_the_newest_say_what_the_long_way_says(
        points in points(),
        (limit, offset) in (1_usize..6, 0_usize..4),
        every in 1_i64..90,
        end in -90_i64..420,
    ) {
        let catalog = catalog(&sparse_lines(&points));
        let cut = |mut all: Vec<(Value, Vec<Value>)>, limit: usize, offset: usize| {
            all.retain_mut(|(_, rows)| {
                *rows = rows.drain(..).skip(offset).take(limit).collect();
                !rows.is_empty()
            });
            all
        };
        for order in ["ASC", "DESC"] {
            let text = format!("SELECT * FROM m WHERE time < {end}s GROUP BY host ORDER BY time {order}");
            let expected = cut(rows(&catalog, &text), 1, 0);
            prop_assert_eq!(rows(&catalog, &format!("{text} LIMIT 1")), expected, "{}", text);
        }
        for (calls, by, fill) in [
            ("max(i)", "", "null"),
            ("mean(f), last(i)", "", "none"),
            ("max(i)", ", host", "null"),
            ("min(f)", ", host", "none"),
            ("count(i)", ", host", "null"),
            ("sum(i)", ", host", "0"),
        ] {
            let text = format!(
                "SELECT {calls} FROM m WHERE time < {end}s GROUP BY time({every}s){by} fill({fill}) \
                 ORDER BY time DESC"
            );
            let expected = cut(rows(&catalog, &text), limit, offset);
            let text = format!("{text} LIMIT {limit} OFFSET {offset}");
            prop_assert_eq!(rows(&catalog, &text), expected, "{}", text);
        }
    }

    /// Rows that a condition on fields chooses column by column are those that it holds for.
    #[test]
    fn rows_are_chosen_by_what_their_fields_are(
        points in points(),
        (low, high) in (-1000_i64..1000, -1000_i32..1000),
    ) {
        let catalog = catalog(&sparse_lines(&points));
        let has_i = |value: i64| value.rem_euclid(4) != 1;
        let has_f = |value: i64| value.rem_euclid(4) != 0;
        let f = |value: i64| if value.rem_euclid(4) == 1 { value } else { value - 1 };
        let cases: [(String, Holds<'_>); 3] = [
            (format!("i > {low}"), Box::new(|value| has_i(value) && value > low)),
            (
                format!("i >= {low} AND f < {}", f64::from(high) + 0.5),
                Box::new(|value| has_i(value) && value >= low && has_f(value) && f(value) <= i64::from(high)),
            ),
            (
                format!("i = {low} OR f != {high}"),
                Box::new(|value| {
                    has_i(value) && value == low || has_f(value) && f(value) != i64::from(high)
                }),
            ),
        ];
        for (condition, holds) in cases {
            let mut expected: Vec<(i64, u8)> = points
                .iter()
                .filter(|(_, value)| holds(**value))
                .map(|((host, at), _)| (*at, *host))
                .collect();
            expected.sort_unstable();
            let got: Vec<(i64, u8)> = rows(&catalog, &format!("SELECT *, host FROM m WHERE {condition}"))
                .into_iter()
                .flat_map(|(_, rows)| rows)
                .map(|row| {
                    let host = row.as_array().unwrap().iter().find_map(Value::as_str).unwrap();
                    (row[0].as_i64().unwrap() / 1_000_000_000, host.trim_start_matches('h').parse().unwrap())
                })
                .collect();
            prop_assert_eq!(got, expected, "{}", condition);
        }
    }
}

#[test]
fn rows_of_more_series_than_scans_may_be_open_are_merged_too() {
    let mut text = String::new();
    for series in 0..300 {
        for step in 0..20_i64 {
            let at = step * 7919 % 1000 + 1_000_000 * step + series;
            writeln!(text, "m,host=h{series} v={step} {at}").unwrap();
        }
    }
    let catalog = catalog(&text);
    for (order, forwards) in [("ASC", true), ("DESC", false)] {
        let all = rows(&catalog, &format!("SELECT v FROM m ORDER BY time {order}"));
        let times: Vec<i64> = all[0]
            .1
            .iter()
            .map(|row| row[0].as_i64().unwrap())
            .collect();
        assert_eq!(times.len(), 6000);
        let sorted = |pair: &[i64]| {
            if forwards {
                pair[0] <= pair[1]
            } else {
                pair[0] >= pair[1]
            }
        };
        assert!(times.windows(2).all(sorted), "{order}");
        let some = rows(
            &catalog,
            &format!("SELECT v FROM m ORDER BY time {order} LIMIT 5"),
        );
        assert_eq!(some[0].1[..], all[0].1[..5]);
    }
}

fn limited(limits: QueryLimits, text: &str) -> (QueryErrorKind, String) {
    let catalog = catalog("m,host=a v=1 1\nm,host=b v=2 2\nm,host=b v=3 3\n");
    let error = run(&catalog, text, limits).remove(0).unwrap_err();
    (error.kind(), error.message().to_owned())
}

#[test]
fn what_a_query_may_cost_is_bounded() {
    let limit = QueryErrorKind::Limit;
    let windows = QueryLimits {
        buckets_max: 10,
        ..QueryLimits::default()
    };
    let text = "SELECT mean(v) FROM m WHERE time >= 0 AND time < 11 GROUP BY time(1ns)";
    let expected = "max-select-buckets limit exceeded: (11/10)";
    assert_eq!(limited(windows, text), (limit, expected.to_owned()));
    let endless = "SELECT mean(v) FROM m GROUP BY time(1ns)";
    let (kind, words) = limited(QueryLimits::default(), endless);
    assert_eq!(kind, limit);
    assert!(
        words.starts_with("max-select-buckets limit exceeded"),
        "{words}"
    );
    let series = QueryLimits {
        series_max: 1,
        ..QueryLimits::default()
    };
    let expected = "max-select-series limit exceeded: (2/1)";
    assert_eq!(
        limited(series, "SELECT v FROM m"),
        (limit, expected.to_owned())
    );
    let points = QueryLimits {
        points_max: 2,
        ..QueryLimits::default()
    };
    let expected = "max-select-point limit exceeded: (3/2)";
    assert_eq!(
        limited(points, "SELECT v FROM m WHERE v > 0"),
        (limit, expected.to_owned())
    );
    let memory = QueryLimits {
        memory_bytes_max: 100,
        ..QueryLimits::default()
    };
    let (kind, words) = limited(memory, "SELECT median(v) FROM m");
    assert_eq!(kind, limit);
    assert!(words.starts_with("query memory limit exceeded"), "{words}");
}

#[test]
fn a_query_that_was_told_to_stop_stops() {
    let catalog = catalog("m v=1 1\n");
    let statements = silverback_query::influxql::parse_query("SELECT v FROM m", &[], 1000).unwrap();
    let silverback_query::influxql::ast::Statement::Select(select) = &statements[0] else {
        panic!("it is a SELECT");
    };
    for (tell, kind) in [
        (
            StopFlag::interrupt as fn(&StopFlag),
            QueryErrorKind::Interrupted,
        ),
        (StopFlag::time_out as fn(&StopFlag), QueryErrorKind::Timeout),
    ] {
        let options = QueryOptions {
            database: Some("iql".into()),
            ..QueryOptions::default()
        };
        tell(&options.stop);
        let mut sink = Gathered::default();
        let error = silverback_query::influxql::select::run(&catalog, select, &options, &mut sink);
        assert_eq!(error.unwrap_err().kind(), kind);
        assert!(sink.series.is_empty());
    }
}

#[test]
fn unsigned_and_large_integers_stay_exact_through_windows_and_arithmetic() {
    let big = u64::MAX - 1;
    let catalog = catalog(&format!(
        "m u={big}u,i={}i 0\nm u=1u,i=1i 1000000000\n",
        i64::MAX - 1
    ));
    let one = |text: &str| rows(&catalog, text)[0].1[0][1].clone();
    assert_eq!(one("SELECT sum(u) FROM m"), json!(u64::MAX));
    assert_eq!(one("SELECT max(u) FROM m"), json!(big));
    assert_eq!(one("SELECT sum(i) FROM m"), json!(i64::MAX));
    assert_eq!(
        one("SELECT u FROM m WHERE u > 9223372036854775807"),
        json!(big)
    );
    assert_eq!(one("SELECT difference(i) FROM m"), json!(2 - i64::MAX));
    let window = "WHERE time >= 0 AND time < 2s GROUP BY time(1s)";
    assert_eq!(
        one(&format!("SELECT max(i) FROM m {window}")),
        json!(i64::MAX - 1)
    );
}

#[test]
fn an_aggregate_over_the_edge_of_time_has_no_time() {
    let catalog = catalog("m v=1 -9223372036854775806\nm v=2 9223372036854775806\n");
    let all = rows(&catalog, "SELECT sum(v) FROM m");
    assert_eq!(all[0].1[0], json!([0, 3.0]));
    let kept = rows(&catalog, "SELECT v FROM m");
    assert_eq!(kept[0].1.len(), 2);
}

fn cells(catalog: &NaiveCatalog, text: &str) -> Vec<Value> {
    rows(catalog, text)
        .into_iter()
        .flat_map(|(_, rows)| rows)
        .collect()
}

#[test]
fn a_limit_around_a_subquery_counts_the_rows_of_all_its_groups() {
    let catalog = catalog("m,host=a v=1 1\nm,host=b v=2 2\nm,host=c v=3 3\n");
    let inner = "(SELECT max(v) FROM m GROUP BY host)";
    let text = format!("SELECT max FROM {inner} LIMIT 2");
    assert_eq!(cells(&catalog, &text), [json!([1, 1.0]), json!([2, 2.0])]);
    let text = format!("SELECT max FROM {inner} LIMIT 1 OFFSET 2");
    assert_eq!(cells(&catalog, &text), [json!([3, 3.0])]);
    let each = "SELECT v FROM (SELECT v FROM m GROUP BY host LIMIT 1)";
    assert_eq!(cells(&catalog, each).len(), 3);
}

#[test]
fn rows_of_a_transformed_subquery_come_in_order_of_time() {
    let catalog = catalog("m,host=a v=1 1\nm,host=a v=2 5\nm,host=b v=2 2\nm,host=b v=4 3\n");
    let text = "SELECT d FROM (SELECT difference(v) AS d FROM m GROUP BY host)";
    assert_eq!(cells(&catalog, text), [json!([3, 2.0]), json!([5, 1.0])]);
}

#[test]
fn a_remainder_by_zero_is_zero_of_integers_and_nothing_of_floats() {
    let catalog = catalog("m f=1.5,i=7i,zero=0i 1\n");
    let text = "SELECT i % zero, f % zero, i / zero, f / zero FROM m";
    assert_eq!(cells(&catalog, text), [json!([1, 0, null, 0.0, 0.0])]);
}

#[test]
fn what_stands_beside_a_selected_point_is_filled_with_it() {
    let catalog = catalog("m v=1,w=10 0\nm v=2,w=20 20\n");
    let window = "FROM m WHERE time >= 0 AND time < 30 GROUP BY time(10ns)";
    let text = format!("SELECT max(v), w {window} fill(previous)");
    let expected = [
        json!([0, 1.0, 10.0]),
        json!([10, 1.0, 10.0]),
        json!([20, 2.0, 20.0]),
    ];
    assert_eq!(cells(&catalog, &text), expected);
    let text = format!("SELECT max(v), w {window} fill(0)");
    assert_eq!(cells(&catalog, &text)[1], json!([10, 0.0, 0.0]));
    let text = format!("SELECT max(v), w {window}");
    assert_eq!(cells(&catalog, &text)[1], json!([10, null, null]));
}

#[test]
fn subqueries_nest_as_deep_as_the_parser_lets_them() {
    let catalog = catalog("m,host=a v=1 1\nm,host=b v=2 2\n");
    let mut text = "SELECT v FROM m".to_owned();
    for _ in 0..100 {
        text = format!("SELECT v FROM ({text})");
    }
    assert_eq!(cells(&catalog, &text), [json!([1, 1.0]), json!([2, 2.0])]);
    let mut text = "SELECT max(v) AS v FROM m GROUP BY host".to_owned();
    for _ in 0..100 {
        text = format!("SELECT sum(v) AS v FROM ({text})");
    }
    assert_eq!(cells(&catalog, &text), [json!([0, 3.0])]);
}

#[test]
fn limits_of_series_count_those_that_lack_a_tag_last_and_each_measurement_by_itself() {
    let catalog =
        catalog("m,host=d v=1 1\nm,dc=x,host=a v=2 2\nm,dc=y,host=b v=3 3\nn,host=a v=4 4\n");
    let values = |text: &str| -> Vec<Value> {
        cells(&catalog, text)
            .into_iter()
            .map(|row| row[1].clone())
            .collect()
    };
    assert_eq!(values("SELECT v FROM m GROUP BY dc, host"), [1.0, 2.0, 3.0]);
    assert_eq!(
        values("SELECT v FROM m GROUP BY dc, host SLIMIT 2"),
        [2.0, 3.0]
    );
    assert_eq!(values("SELECT v FROM m GROUP BY dc, host SOFFSET 2"), [1.0]);
    assert_eq!(
        values("SELECT v FROM m GROUP BY dc, host ORDER BY time DESC SLIMIT 2"),
        [3.0, 2.0]
    );
    assert_eq!(
        values("SELECT v FROM /m|n/ GROUP BY dc, host SLIMIT 1"),
        [2.0, 4.0]
    );
}

/// What `InfluxDB` 1.6.7 answers.
#[test]
fn newest_first_turns_groups_of_a_subquery_round_by_the_outer_tags_only() {
    let mut lines = String::new();
    for (value, (host, dc)) in "abc"
        .chars()
        .flat_map(|host| "xyz".chars().map(move |dc| (host, dc)))
        .enumerate()
    {
        writeln!(lines, "m,host={host},dc={dc} v={value} 1000").unwrap();
    }
    let catalog = catalog(&lines);
    let values = |keys: &str| {
        let text = format!(
            "SELECT v FROM (SELECT max(v) AS v FROM m GROUP BY host, dc) GROUP BY {keys} ORDER BY time DESC"
        );
        let rows = cells(&catalog, &text).into_iter();
        rows.map(|row| row[1].clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        values("host"),
        [6.0, 7.0, 8.0, 3.0, 4.0, 5.0, 0.0, 1.0, 2.0]
    );
    assert_eq!(values("dc"), [2.0, 5.0, 8.0, 1.0, 4.0, 7.0, 0.0, 3.0, 6.0]);
}
