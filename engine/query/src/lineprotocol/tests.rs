use std::fmt::Write as _;

use proptest::prelude::*;
use silverback_storage::model::{FieldValue, KeyHasher, KeyParser, NameOf, SeriesKey, unwritable};

use super::*;

const NOW: i64 = 1_600_000_000_123_456_789;

fn options() -> ParseOptions {
    let hasher = KeyHasher::new([1, 2, 3, 4]);
    ParseOptions {
        hasher,
        precision: Precision::Nanosecond,
        now_ns: NOW,
    }
}

/// A point as text: key, time, fields in order of their names.
type Point = (String, i64, Vec<(String, FieldValue)>);

fn show(key: &SeriesKey) -> String {
    let mut text = Vec::new();
    escape_measurement(&key.measurement, &mut text);
    for (tag, value) in &key.tags {
        text.push(b',');
        escape_key(tag, &mut text);
        text.push(b'=');
        escape_key(value, &mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The good points of a body, and its errors without their places, in the order of the lines.
fn read(body: &[u8]) -> (Vec<Point>, Vec<String>) {
    let parsed = parse(body, options());
    let mut points = Vec::new();
    let mut errors: Vec<_> = parsed
        .errors
        .iter()
        .map(|error| {
            let text = error.to_string();
            let (text, _) = text.rsplit_once(" (line ").expect("an error has a place");
            (error.line, text.to_owned())
        })
        .collect();
    for rows in &parsed.batch.rows {
        for (row, key) in rows.keys.iter().enumerate() {
            let start = key.offset as usize;
            let text = &body[start..start + key.len as usize];
            match Keys.parse(text) {
                Ok(key) => {
                    assert_eq!(key.measurement, rows.measurement);

                    let mut fields: Vec<_> = rows
                        .fields
                        .iter()
                        .filter_map(|field| {
                            let name = String::from_utf8_lossy(&field.name).into_owned();
                            Some((name, field.column.get(row)?))
                        })
                        .collect();
                    fields.sort_by(|a, b| a.0.cmp(&b.0));
                    points.push((rows.lines[row], (show(&key), rows.timestamps[row], fields)));
                }
                Err(error) => {
                    let text = match key_fault(&error.0) {
                        Some((_, reason)) => {
                            let line = String::from_utf8_lossy(line_text(body, start));
                            format!("unable to parse '{line}': {reason}")
                        }
                        None => error.0,
                    };
                    errors.push((rows.lines[row], text));
                }
            }
        }
    }
    errors.sort();
    points.sort_by_key(|(line, _)| *line);
    (
        points.into_iter().map(|p| p.1).collect(),
        errors.into_iter().map(|e| e.1).collect(),
    )
}

fn one(body: &str) -> Point {
    let (mut points, errors) = read(body.as_bytes());
    assert_eq!(errors, Vec::<String>::new(), "{body}");
    assert_eq!(points.len(), 1, "{body}");
    points.remove(0)
}

fn float(value: f64) -> FieldValue {
    FieldValue::Float(value)
}

fn string(value: &str) -> FieldValue {
    FieldValue::String(value.as_bytes().into())
}

#[test]
fn a_real_influxd_answered_the_same() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/lineprotocol_cases.jsonl"
    );
    let cases = std::fs::read_to_string(path).unwrap();
    let mut compared = 0;
    for case in cases.lines() {
        let case: serde_json::Value = serde_json::from_str(case).unwrap();
        let name = case["name"].as_str().unwrap();
        // Differences that are meant: unsigned values are taken; text behind a closing quote is
        // refused, where InfluxDB 1.6.7 stores undefined content; a field `time` beside others is
        // reported (as 1.12 does), where 1.6.7 loses it in silence; some bodies are not recorded.
        let meant = ["uint", "str trailing", "crlf str", "time field+"].contains(&name);
        let Some(body) = case["body"].as_str().filter(|_| !meant) else {
            continue;
        };
        let (_, errors) = read(body.as_bytes());
        let expected = if case["status"] == 204 {
            String::new()
        } else {
            let answer: serde_json::Value =
                serde_json::from_str(case["resp"].as_str().unwrap()).unwrap();
            let text = answer["error"].as_str().unwrap();
            let text = text.strip_prefix("partial write: ").unwrap_or(text);
            text.strip_suffix(" dropped=1").unwrap_or(text).to_owned()
        };
        assert_eq!(errors.join("\n"), expected, "{name}: {body:?}");
        compared += 1;
    }
    assert!(compared >= 70, "{compared} cases compared");
}

#[test]
fn values_keep_type_and_bits() {
    let (_, _, fields) =
        one("m a=1,b=-0,c=1i,d=-9223372036854775808i,e=18446744073709551615u,f=t,g=\"x\" 1");
    let expected = [
        float(1.0),
        float(-0.0),
        FieldValue::Integer(1),
        FieldValue::Integer(i64::MIN),
        FieldValue::Unsigned(u64::MAX),
        FieldValue::Boolean(true),
        string("x"),
    ];
    assert_eq!(
        fields.into_iter().map(|field| field.1).collect::<Vec<_>>(),
        expected
    );
}

#[test]
fn numbers_out_of_range_are_named() {
    let (_, errors) = read(b"m f=9223372036854775808i\nm f=18446744073709551616u\nm f=-1u");
    assert_eq!(
        errors,
        [
            "unable to parse 'm f=9223372036854775808i': unable to parse integer \
             9223372036854775808: strconv.ParseInt: parsing \"9223372036854775808\": value out of \
             range",
            "unable to parse 'm f=18446744073709551616u': unable to parse unsigned \
             18446744073709551616: strconv.ParseUint: parsing \"18446744073709551616\": value out \
             of range",
            "unable to parse 'm f=-1u': invalid number",
        ]
    );
}

#[test]
fn escapes_are_taken_where_they_stand_for_something() {
    let (key, time, fields) = one(r#"my\ m\,x\=y,t\ k\,\==v\ v\,\= f\ \=\,x="a\"b\\c\nd",g\z=1 7"#);
    assert_eq!(key, r"my\ m\,x\=y,t\ k\,\==v\ v\,\=");
    assert_eq!(time, 7);
    assert_eq!(
        fields,
        [
            ("f =,x".into(), string(r#"a"b\c\nd"#)),
            (r"g\z".into(), float(1.0))
        ]
    );
}

/// Whether a line with `name` in its place stores a point that has the name.
fn is_writable(of: NameOf, name: &[u8]) -> bool {
    let mut escaped = Vec::new();
    match of {
        NameOf::Measurement => escape_measurement(name, &mut escaped),
        NameOf::TagKey | NameOf::TagValue | NameOf::Field => escape_key(name, &mut escaped),
    }
    let body = match of {
        NameOf::Measurement => [&escaped[..], b",t=v f=1 1"].concat(),
        NameOf::TagKey => [b"m,", &escaped[..], b"=v f=1 1"].concat(),
        NameOf::TagValue => [b"m,k=", &escaped[..], b" f=1 1"].concat(),
        NameOf::Field => [b"m,t=v ", &escaped[..], b"=1 1"].concat(),
    };
    let parsed = parse(&body, options());
    let [rows] = &parsed.batch.rows[..] else {
        return false;
    };
    let [key] = rows.keys[..] else {
        return false;
    };
    let start = key.offset as usize;
    let Ok(key) = Keys.parse(&body[start..start + key.len as usize]) else {
        return false;
    };
    match of {
        NameOf::Measurement => *key.measurement == *name && *rows.measurement == *name,
        NameOf::TagKey => key.tags.get(name) == Some(&b"v"[..]),
        NameOf::TagValue => key.tags.get(b"k") == Some(name),
        NameOf::Field => rows.fields.iter().any(|field| *field.name == *name),
    }
}

#[test]
fn a_name_is_unwritable_where_no_line_can_have_it() {
    const BYTES: &[u8] = b"a\\,= \n#\t\0\"\r";
    let longer = |name: &Vec<u8>| {
        let name = name.clone();
        BYTES.iter().map(move |byte| [&name[..], &[*byte]].concat())
    };
    let words = ["time", "_field", "_measurement", "_time", "\u{e9}", "name"];
    let mut names: Vec<Vec<u8>> = words.map(|word| word.as_bytes().to_vec()).into();
    let mut last = vec![Vec::new()];
    for _ in 0..4 {
        names.extend(last.clone());
        last = last.iter().flat_map(longer).collect();
    }
    names.extend(last);
    for name in &names {
        let all = [
            NameOf::Measurement,
            NameOf::TagKey,
            NameOf::TagValue,
            NameOf::Field,
        ];
        for of in all {
            let why = unwritable(of, name);
            let shown = String::from_utf8_lossy(name);
            assert_eq!(
                is_writable(of, name),
                why.is_none(),
                "{of:?} {shown:?}: {why:?}"
            );
        }
    }
}

#[test]
fn a_line_feed_in_a_string_is_part_of_it_and_still_counts() {
    let (points, _) = read(b"m s=\"a\nb\",f=1 1\n\nm f=2 2\n");
    assert_eq!(points.len(), 2);
    assert_eq!(points[0].2[1].1, string("a\nb"));
    let parsed = parse(b"m s=\"a\nb\" 1\nm f=x 2", options());
    assert_eq!((parsed.errors[0].line, parsed.errors[0].column), (3, 5));
}

#[test]
fn an_escaped_line_feed_in_a_key_is_part_of_it_and_still_counts() {
    let parsed = parse(b"m,t=a\\\nb f=1 1\nm f=x 2", options());
    assert_eq!(parsed.batch.row_count(), 1);
    assert_eq!((parsed.errors[0].line, parsed.errors[0].column), (3, 5));
}

#[test]
fn blank_lines_and_comments_are_no_points() {
    let (points, errors) = read(b"\n  \t\n# a=\"b\nm f=1 1\n \0m f=2 2  \n#");
    assert_eq!((points.len(), errors.len()), (2, 0));
}

#[test]
fn of_a_field_given_twice_the_later_value_stays() {
    assert_eq!(
        one("m f=1,g=2,f=3 1").2,
        [("f".into(), float(3.0)), ("g".into(), float(2.0))]
    );
}

#[test]
fn a_bad_line_leaves_nothing_behind() {
    let (points, errors) = read(b"m a=1,b=2 1\nm a=3,c=4,b=x 2\nm b=5,a=6 3\nm c=\"s\" 4");
    assert_eq!(
        errors,
        ["unable to parse 'm a=3,c=4,b=x 2': invalid boolean"]
    );
    let ab = |a, b| vec![("a".into(), float(a)), ("b".into(), float(b))];
    let m = || "m".to_owned();
    let expected = [
        (m(), 1, ab(1.0, 2.0)),
        (m(), 3, ab(6.0, 5.0)),
        (m(), 4, vec![("c".into(), string("s"))]),
    ];
    assert_eq!(points, expected);
}

#[test]
fn a_line_without_time_gets_the_time_of_the_request_in_its_precision() {
    let mut options = options();
    options.precision = Precision::Second;
    let parsed = parse(b"m f=1\nm f=1 5", options);
    assert_eq!(
        parsed.batch.rows[0].timestamps,
        [1_600_000_000_000_000_000, 5_000_000_000]
    );
}

#[test]
fn times_outside_the_range_are_refused() {
    let range = "time outside range -9223372036854775806 - 9223372036854775806";
    for time in [
        "9223372036854775807",
        "-9223372036854775808",
        "-9223372036854775807",
    ] {
        let (_, errors) = read(format!("m f=1 {time}").as_bytes());
        assert_eq!(errors, [format!("unable to parse 'm f=1 {time}': {range}")]);
    }
    assert_eq!(one("m f=1 9223372036854775806").1, i64::MAX - 1);
    assert_eq!(one("m f=1 -9223372036854775806").1, i64::MIN + 2);
    let (_, errors) = read(b"m f=1 99999999999999999999");
    assert!(errors[0].ends_with("parsing \"99999999999999999999\": value out of range"));
    let mut seconds = options();
    seconds.precision = Precision::Second;
    assert_eq!(parse(b"m f=1 9223372037", seconds).errors[0].reason, range);
}

#[test]
fn a_field_called_time_is_reported_and_never_stored() {
    let parsed = parse(b"m time=1,f=2 1\nm time=1 1", options());
    assert_eq!(parsed.batch.row_count(), 1);
    assert_eq!(parsed.batch.rows[0].fields.len(), 1);
    let kinds: Vec<_> = parsed.errors.iter().map(|error| error.kind).collect();
    assert_eq!(kinds, [LineErrorKind::Stripped, LineErrorKind::Dropped]);
}

#[test]
fn keys_too_long_are_refused() {
    let key = "x".repeat(65_530);
    let shorter = "x".repeat(65_526);
    let (_, errors) = read(format!("m,t={key} f=1 1").as_bytes());
    assert!(
        errors[0].ends_with("max key length exceeded: 65539 > 65535"),
        "{}",
        errors[0].len()
    );
    assert_eq!(read(format!("m,t={shorter} f=1 1").as_bytes()).0.len(), 1);
}

#[test]
fn measurements_that_take_turns_stay_apart() {
    let mut body = String::new();
    for i in 0..50 {
        writeln!(body, "m{} f={i}i {i}", i % 7).unwrap();
    }
    let (points, errors) = read(body.as_bytes());
    assert_eq!((points.len(), errors.len()), (50, 0));
    for (i, (key, time, fields)) in points.iter().enumerate() {
        let i = i64::try_from(i).unwrap();
        assert_eq!((key, time), (&format!("m{}", i % 7), &i));
        assert_eq!(fields[0].1, FieldValue::Integer(i));
    }
}

fn name() -> impl Strategy<Value = String> {
    "[a-z ,=\"\\u{e9}]{0,6}[a-z\"]"
}

fn field_value() -> impl Strategy<Value = FieldValue> {
    prop_oneof![
        any::<f64>()
            .prop_filter("finite", |v| v.is_finite())
            .prop_map(FieldValue::Float),
        any::<i64>().prop_map(FieldValue::Integer),
        any::<u64>().prop_map(FieldValue::Unsigned),
        any::<bool>().prop_map(FieldValue::Boolean),
        "[a-z\"\\\\ ,=\n#]{0,8}".prop_map(|s| FieldValue::String(s.into_bytes().into())),
    ]
}

fn write_value(value: &FieldValue, out: &mut Vec<u8>) {
    match value {
        FieldValue::Float(v) if v.to_bits() % 2 == 0 => out.extend(format!("{v:e}").bytes()),
        FieldValue::Float(v) => out.extend(format!("{v}").bytes()),
        FieldValue::Integer(v) => out.extend(format!("{v}i").bytes()),
        FieldValue::Unsigned(v) => out.extend(format!("{v}u").bytes()),
        FieldValue::Boolean(v) => out.extend(format!("{v}").bytes()),
        FieldValue::String(v) => {
            out.push(b'"');
            for byte in &**v {
                if matches!(byte, b'"' | b'\\') {
                    out.push(b'\\');
                }
                out.push(*byte);
            }
            out.push(b'"');
        }
    }
}

/// A line as its parts: measurement, tags, fields, time.
type Line = (
    String,
    Vec<(String, String)>,
    Vec<(String, FieldValue)>,
    i64,
);

fn point() -> impl Strategy<Value = Line> {
    let tags = proptest::collection::btree_map(name(), name(), 0..4);
    let fields = proptest::collection::btree_map(name(), field_value(), 1..5);
    let measurement = name().prop_filter("no comment", |m| !m.starts_with(['#', ' ']));
    (measurement, tags, fields, TIME).prop_map(|(m, tags, fields, time)| {
        (
            m,
            tags.into_iter().collect(),
            fields.into_iter().collect(),
            time,
        )
    })
}

const TIME: std::ops::RangeInclusive<i64> = (i64::MIN + 2)..=(i64::MAX - 1);

proptest! {
    #[test]
    fn what_is_written_is_read(points in proptest::collection::vec(point(), 1..12)) {
        let mut body = Vec::new();
        let mut expected = Vec::new();
        for (measurement, tags, fields, time) in &points {
            if tags.iter().any(|tag| tag.0 == "time") || fields.iter().any(|f| f.0 == "time") {
                continue;
            }
            let start = body.len();
            escape_measurement(measurement.as_bytes(), &mut body);
            for (key, value) in tags {
                body.push(b',');
                escape_key(key.as_bytes(), &mut body);
                body.push(b'=');
                escape_key(value.as_bytes(), &mut body);
            }
            let key = String::from_utf8(body[start..].to_vec()).unwrap();
            for (index, (name, value)) in fields.iter().enumerate() {
                body.push(if index == 0 { b' ' } else { b',' });
                escape_key(name.as_bytes(), &mut body);
                body.push(b'=');
                write_value(value, &mut body);
            }
            body.extend(format!(" {time}\n").bytes());
            expected.push((key, *time, fields.clone()));
        }
        let (points, errors) = read(&body);
        prop_assert_eq!(errors, Vec::<String>::new());
        prop_assert_eq!(points, expected);
    }

    #[test]
    fn any_bytes_end_in_points_or_errors(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        crate::fuzzing::fuzz_lineprotocol(&body);
        read(&body);
    }

    #[test]
    fn any_line_like_text_ends_in_points_or_errors(body in "[mft=,\" \\\\\n0-9.ieu#-]{0,60}") {
        crate::fuzzing::fuzz_lineprotocol(body.as_bytes());
        read(body.as_bytes());
    }
}
