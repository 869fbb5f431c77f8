use super::*;
use crate::influxql::parse_expression;

const NOW: i64 = 1_700_000_000_000_000_000;
const SECOND: i64 = 1_000_000_000;

fn split(text: &str, zone: Option<&str>) -> Result<Condition, String> {
    let zone = zone.map(|name| TimeZone::get(name).unwrap());
    let expr = parse_expression(text).unwrap();
    split_condition(Some(&expr), NOW, zone.as_ref()).map_err(|error| error.to_string())
}

#[test]
fn times_are_intersected_and_the_rest_is_left() {
    for (text, start, end, rest) in [
        ("time > 5 AND host = 'a'", 6, i64::MAX, "host = 'a'"),
        (
            "time > 5s OR time <= 9s",
            5 * SECOND + 1,
            9 * SECOND + 1,
            "",
        ),
        ("(time = 7) AND (a = 1 OR time < 8)", 7, 8, "(a = 1)"),
        ("time >= 9 AND time < 3", 9, 9, ""),
        ("5 < time", 6, i64::MAX, ""),
        ("5 > time AND 3 <= time", 3, 5, ""),
        ("5 >= time", TIMESTAMP_MIN, 6, ""),
        ("now() - 1m <= TIME", NOW - 60 * SECOND, i64::MAX, ""),
        ("time < '1970-01-02'", TIMESTAMP_MIN, 86_400 * SECOND, ""),
        (
            "time >= '1970-01-01 00:00:01.5' + 1s",
            2_500_000_000,
            i64::MAX,
            "",
        ),
        ("time >= '1970-01-01T02:00:00+02:00'", 0, i64::MAX, ""),
        ("time < 2 * (3 + 4.0)", TIMESTAMP_MIN, 14, ""),
        (
            "1 + 1 = 2 AND usage > 3 - 1",
            TIMESTAMP_MIN,
            i64::MAX,
            "true AND usage > 2",
        ),
    ] {
        let condition = split(text, None).unwrap();
        assert_eq!(condition.range, TimeRange { start, end }, "{text}");
        let left = condition.rest.map(|rest| rest.to_string());
        assert_eq!(left.unwrap_or_default(), rest, "{text}");
    }
    let berlin = split("time >= '1970-01-01'", Some("Europe/Berlin")).unwrap();
    assert_eq!(berlin.range.start, -3_600 * SECOND);
    assert!(berlin.has_start && !berlin.has_end);
}

#[test]
fn what_makes_no_sense_is_refused_in_the_words_of_influxdb() {
    for (text, error) in [
        ("time != 5", "invalid time comparison operator: !="),
        (
            "time > 'abc'",
            "invalid operation: time and *influxql.StringLiteral are not compatible",
        ),
        ("time > '2020-09-13T12:26:40'", "invalid timestamp string"),
        ("time > '2020-13-45'", "invalid timestamp string"),
        (
            "time > true",
            "invalid operation: time and *influxql.BooleanLiteral are not compatible",
        ),
        (
            "time > usage",
            "invalid operation: time and *influxql.VarRef are not compatible",
        ),
        (
            "time =~ /x/",
            "invalid operation: time and *influxql.RegexLiteral are not compatible",
        ),
        (
            "time > foo()",
            "invalid operation: time and *influxql.Call are not compatible",
        ),
        (
            "time > now() + 'x'",
            "invalid operation: time and *influxql.BinaryExpr are not compatible",
        ),
        (
            "time > 9223372036854775808",
            "invalid operation: time and *influxql.UnsignedLiteral are not compatible",
        ),
        (
            "time >= '2263-04-11T23:47:16Z'",
            "time 2263-04-11T23:47:16Z overflows time literal",
        ),
        (
            "time >= '1500-04-11T00:00:00Z'",
            "time 1500-04-11T00:00:00Z underflows time literal",
        ),
        ("up", "invalid condition expression: up"),
        ("a = 1 AND 5", "invalid condition expression: 5"),
        ("1 + 1", "invalid condition expression: 2"),
        ("foo()", "invalid condition expression: foo()"),
    ] {
        assert_eq!(split(text, None).unwrap_err(), error, "{text}");
    }
}

#[test]
fn conditions_on_tags_become_predicates() {
    let is_field = |name: &Name| &**name == b"usage";
    let tags = |pairs: &[(&str, &str)]| {
        let pairs = pairs
            .iter()
            .map(|(key, value)| (key.as_bytes().into(), value.as_bytes().into()));
        silverback_storage::model::TagSet::new(pairs.collect()).unwrap()
    };
    let ax = tags(&[("dc", "x"), ("host", "a")]);
    let c = tags(&[("host", "c")]);
    for (text, holds_ax, holds_c) in [
        ("host = 'a'", true, false),
        ("'a' != host", false, true),
        ("dc = ''", false, true),
        ("dc !~ /./ OR host =~ /^a$/", true, true),
        ("(host = 'a' AND dc = 'y') OR false", false, false),
        ("host != dc", true, true),
        ("usage::tag = '' AND true", true, true),
    ] {
        let expr = parse_expression(text).unwrap();
        let predicate = tag_predicate(&expr, &is_field).unwrap();
        assert_eq!(predicate.holds(&ax), holds_ax, "{text} on a");
        assert_eq!(predicate.holds(&c), holds_c, "{text} on c");
    }
    for text in [
        "usage = 'x'",
        "host = 5",
        "host > 'a'",
        "host::field = 'a'",
        "host = usage",
    ] {
        let expr = parse_expression(text).unwrap();
        assert!(tag_predicate(&expr, &is_field).is_none(), "{text}");
    }
}
