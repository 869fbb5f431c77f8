//! Texts: which are refused, in which words, and that trees print to texts of the same meaning.

use proptest::prelude::*;
use silverback_query::influxql::ast::{ExprKind, Statement};
use silverback_query::influxql::{parse_expression, parse_query};
use silverback_query::result::{BindValue, QueryErrorKind};

const TEXT_MAX: usize = 1 << 24;

fn parse(text: &str) -> Result<Vec<Statement>, String> {
    parse_query(text, &[], TEXT_MAX).map_err(|error| error.message().to_owned())
}

fn recorded() -> Vec<(String, Option<String>)> {
    let cases = include_str!("../data/parse_cases.jsonl")
        .lines()
        .map(|line| {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            let query = case["q"].as_str().unwrap().to_owned();
            (query, case["error"].as_str().map(str::to_owned))
        });
    cases.collect()
}

#[test]
fn texts_are_refused_exactly_where_and_as_influxd_refuses_them() {
    let cases = recorded();
    assert!(cases.len() > 1000, "{} cases", cases.len());
    for (query, error) in cases {
        assert_eq!(parse(&query).err(), error, "{query:?}");
    }
}

#[test]
fn a_printed_tree_reads_as_the_same_tree() {
    let mut count = 0;
    for (query, error) in recorded() {
        if error.is_some() || query.to_uppercase().contains("PASSWORD") {
            continue;
        }
        assert_round_trip(&query);
        count += 1;
    }
    assert!(count > 200, "{count} trees");
}

fn assert_round_trip(query: &str) {
    let statements = parse(query).unwrap();
    let texts: Vec<String> = statements.iter().map(ToString::to_string).collect();
    let text = texts.join("; ");
    let again = parse(&text).unwrap_or_else(|error| panic!("{query:?} as {text:?}: {error}"));
    assert_eq!(again, statements, "{query:?} as {text:?}");
}

#[test]
fn what_influxd_misreads_is_read_as_it_was_meant() {
    let meant = [
        ("SELECT /* c */ usage FROM cpu", "SELECT usage FROM cpu"),
        ("SELECT x FROM /* c */ cpu", "SELECT x FROM cpu"),
        ("SELECT x FROM a, /b/, c.d", "SELECT x FROM a, /b/, c.d"),
        ("SELECT x::unsigned FROM a", "SELECT x::unsigned FROM a"),
    ];
    for (query, text) in meant {
        assert_eq!(parse(query).unwrap()[0].to_string(), text);
    }
    let refused = [
        "SELECT x FROM cpu /re/",
        "SELECT x FROM (SELECT y INTO q FROM z)",
        "SELECT x FROM a WHERE host\"b\" = 'c'",
        "SHOW SERIES EXACT FROM cpu",
        "SELECT x FROM a /* open",
    ];
    for query in refused {
        let error = parse(query).unwrap_err();
        assert!(error.starts_with("error parsing query: found "), "{error}");
    }
}

#[test]
fn long_chains_and_deep_nests_end_in_a_tree_or_an_error() {
    let chain = |sign: &str| vec!["a = 1"; 100_000].join(sign);
    for sign in [" OR ", " AND "] {
        let expr = parse_expression(&chain(sign)).unwrap();
        assert_eq!(expr.to_string(), chain(sign));
    }
    for (text, reason) in [
        (vec!["a"; 100_000].join(" + "), "operators in a row"),
        ("(".repeat(1_000_000), "nest deeper than 128"),
        ("f(".repeat(1_000_000), "nest deeper than 128"),
        ("-(".repeat(1_000_000), "nest deeper than 128"),
    ] {
        let error = parse_expression(&text).unwrap_err();
        assert!(error.message().contains(reason), "{error}");
    }
    let nested = "SELECT x FROM (".repeat(100_000);
    assert!(parse(&nested).unwrap_err().contains("nest deeper than 128"));
    let fits = format!("{}a{}", "(".repeat(128), ")".repeat(128));
    assert_eq!(parse_expression(&fits).unwrap().to_string(), fits);
}

#[test]
fn a_text_over_its_limit_is_refused_unread() {
    let error = parse_query("SELECT x FROM y", &[], 10).unwrap_err();
    assert_eq!(error.kind(), QueryErrorKind::Parse);
    assert!(error.message().ends_with("15 bytes long, more than 10"));
}

#[test]
fn parameters_stand_for_values_and_never_for_more() {
    let params: Vec<(Box<str>, BindValue)> = vec![
        ("s".into(), BindValue::String("a' OR 'b".into())),
        ("i".into(), BindValue::Integer(-5)),
        ("f".into(), BindValue::Float(1.5)),
        ("b".into(), BindValue::Boolean(true)),
        ("n".into(), BindValue::Identifier("x y".into())),
        ("r".into(), BindValue::Regex("a|/b".into())),
        ("d".into(), BindValue::Duration("10s".into())),
        ("w".into(), BindValue::Wrong("no such kind".into())),
    ];
    let query = "SELECT $n FROM $n WHERE s = $s AND i = $i AND f = $f AND b = $b AND r =~ $r \
                 AND time > now() - $d";
    let statements = parse_query(query, &params, TEXT_MAX).unwrap();
    assert_eq!(
        statements[0].to_string(),
        "SELECT \"x y\" FROM \"x y\" WHERE s = 'a\\' OR \\'b' AND i = -5 AND f = 1.5 AND b = true \
         AND r =~ /a|\\/b/ AND time > now() - 10s"
    );
    for (query, text) in [
        ("SELECT x FROM y WHERE a = $none", "missing parameter: none"),
        (
            "SELECT x FROM y WHERE a =~ $none",
            "missing parameter: none",
        ),
        ("SELECT x FROM y WHERE a = $w", "no such kind"),
        ("SELECT x FROM y WHERE a = $", "empty bound parameter"),
    ] {
        let error = parse_query(query, &params, TEXT_MAX).unwrap_err();
        assert_eq!(error.message(), format!("error parsing query: {text}"));
    }
}

#[test]
fn spans_point_into_the_text() {
    let text = "mean( usage ) + 5 ";
    let expr = parse_expression(text).unwrap();
    assert_eq!(
        text.get(expr.span.start..expr.span.end),
        Some("mean( usage ) + 5")
    );
    let ExprKind::Binary { left, .. } = expr.kind else {
        panic!("not a sum");
    };
    assert_eq!(
        text.get(left.span.start..left.span.end),
        Some("mean( usage )")
    );
}

fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[a-zA-Z_][a-z0-9_]{0,4}"
            .prop_filter("no keyword", |name| { parse_expression(name).is_ok() }),
        "\"[ -~\u{e9}]{0,5}\"".prop_filter("no open quote", |text| parse_expression(text).is_ok()),
        "'[ -~\u{e9}]{0,5}'".prop_filter("no open quote", |text| parse_expression(text).is_ok()),
        "[0-9]{1,20}",
        "[0-9]{1,5}\\.[0-9]{1,18}",
        "[1-9][0-9]{0,3}(ns|u|ms|s|m|h|d|w)",
        Just("*".to_owned()),
        Just("x::tag".to_owned()),
        Just("true".to_owned()),
    ];
    leaf.prop_recursive(6, 40, 4, |inner| {
        prop_oneof![
            (
                inner.clone(),
                "[-+*/%&|^]|=|!=|<|<=|>|>=|AND|OR",
                inner.clone()
            )
                .prop_map(|(left, op, right)| format!("{left} {op} {right}")),
            (inner.clone(), "=~|!~", "[a-z.*|/]{1,6}").prop_map(|(left, op, regex)| {
                format!(
                    "{left} {op} /{}/",
                    regex.replace('/', "\\/").replace('*', "a*")
                )
            }),
            inner.clone().prop_map(|expr| format!("({expr})")),
            "[a-z]{1,4}".prop_map(|name| format!("-{name}")),
            inner.clone().prop_map(|expr| format!("-({expr})")),
            prop::collection::vec(inner, 0..3).prop_map(|args| format!("f({})", args.join(", "))),
        ]
    })
}

proptest! {
    #[test]
    fn any_expression_prints_to_itself(text in expression()) {
        if let Ok(expr) = parse_expression(&text) {
            let printed = expr.to_string();
            let again = parse_expression(&printed)
                .map_err(|error| TestCaseError::fail(format!("{text} as {printed}: {error}")))?;
            prop_assert_eq!(again, expr, "{} as {}", text, printed);
        }
    }

    #[test]
    fn any_text_ends_in_a_tree_or_an_error(text in "\\PC{0,60}") {
        if let Ok(statements) = parse(&text) {
            prop_assert!(statements.len() <= text.len());
        }
    }
}
