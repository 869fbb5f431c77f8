//! What influxd answered, request by request, replayed against this server. Every difference is
//! meant: it stands here with what is answered instead, and in docs/differences.md with the reason.

use std::io::Read as _;

use serde_json::Value;

use crate::harness::{Answer, Request, Server};

/// The cases that are answered differently: name, status, and how the body begins.
const DIFFERENT: &[(&str, u16, &str)] = &[
    // A unit that is none is refused, as from InfluxDB 1.8 on.
    (
        "write precision x",
        400,
        "{\"error\":\"invalid precision \\\"x\\\" (use n, u, ms, s, m or h)\"}\n",
    ),
    (
        "write precision rfc3339",
        400,
        "{\"error\":\"invalid precision \\\"rfc3339\\\" (use n, u, ms, s, m or h)\"}\n",
    ),
    // There is such a path, as from InfluxDB 1.8 on.
    ("v2 write on 1.6", 204, ""),
    // JSON is answered, which the one client that asks for MessagePack reads as well.
    (
        "msgpack",
        200,
        "{\"results\":[{\"statement_id\":0,\"series\":[{\"name\":\"cpu\",\"columns\":[\"time\",\"v\",\
         \"n\",\"s\",\"b\"],\"values\":[[\"2020-09-13T12:26:40Z\",1.5,10,\"hi\",true]]}]}]}\n",
    ),
    (
        "msgpack epoch",
        200,
        "{\"results\":[{\"statement_id\":0,\"series\":[{\"name\":\"cpu\",\"columns\":[\"time\",\"v\"],\
         \"values\":[[1600000000000000000,1.5]]}]}]}\n",
    ),
    // The error is told.
    (
        "csv err stmt",
        200,
        "error\nretention policy not found: nope\n",
    ),
    // Refused by name.
    (
        "get into",
        200,
        "{\"results\":[{\"statement_id\":0,\"messages\":[{\"level\":\"warning\",\"text\":\"deprecated use \
         of 'SELECT v INTO x FROM cpu' in a read only context, please use a POST request instead\"}],\
         \"error\":\"SELECT INTO is not supported yet\"}]}\n",
    ),
    (
        "post into",
        200,
        "{\"results\":[{\"statement_id\":0,\"error\":\"SELECT INTO is not supported yet\"}]}\n",
    ),
    // The failing statement keeps its own error.
    (
        "multi one fails",
        200,
        "{\"results\":[{\"statement_id\":0,\"series\":[{\"name\":\"cpu\",\"columns\":[\"time\",\"v\"],\
         \"values\":[[1600000000,1.5]]}]},{\"statement_id\":1,\"error\":\"retention policy not found: \
         nope\"},{\"statement_id\":2,\"error\":\"not executed\"}]}\n",
    ),
    (
        "chunked err",
        200,
        "{\"results\":[{\"statement_id\":0,\"error\":\"retention policy not found: nope\"}]}\n\
         {\"results\":[{\"statement_id\":1,\"error\":\"not executed\"}]}\n",
    ),
];

/// The databases and points that the recorded server had.
const DATABASES: [&str; 4] = ["mydb2", "lp", "mydb", "qdb"];
const POINTS: &[u8] = b"cpu,host=a,dc=x b=true,n=10i,s=\"hi\",v=1.5 1600000000000000000
cpu,host=b n=20i,v=2 1600000010000000000
cpu,host=a,dc=x v=3 1600000020000000001
";

fn unhex(hex: &str) -> Vec<u8> {
    let digits = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).unwrap());
    digits
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

/// A member of a case that is text, or bytes as hexadecimal digits.
fn bytes(case: &Value, name: &str) -> Vec<u8> {
    match (&case[name], &case[format!("{name}_hex").as_str()]) {
        (Value::String(text), _) => text.clone().into_bytes(),
        (_, Value::String(hex)) => unhex(hex),
        _ => Vec::new(),
    }
}

/// The text without the places that this server adds to the reasons of bad lines.
fn without_places(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(" (line ") {
        let (before, place) = rest.split_at(at);
        out.push_str(before);
        let end = place.find(')').unwrap() + 1;
        rest = place.split_at(end).1;
    }
    out + rest
}

fn gunzip(body: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    flate2::read::MultiGzDecoder::new(body)
        .read_to_end(&mut text)
        .unwrap();
    text
}

/// A body in a form that two servers can be compared by: databases are sets.
fn comparable(answer: &[u8], is_gzip: bool) -> String {
    let body = if is_gzip {
        gunzip(answer)
    } else {
        answer.to_vec()
    };
    let text = without_places(&String::from_utf8_lossy(&body));
    let mut names: Vec<&str> = DATABASES.to_vec();
    names.sort_unstable();
    let join = |names: &[&str], before: &str, after: &str, between: &str| {
        let each = names.iter().map(|name| format!("{before}{name}{after}"));
        each.collect::<Vec<_>>().join(between)
    };
    let json = |names: &[&str]| join(names, "[\"", "\"]", ",");
    let csv = |names: &[&str]| join(names, "databases,,", "\n", "");
    text.replace(&json(&DATABASES), &json(&names))
        .replace(&csv(&DATABASES), &csv(&names))
}

/// A header in such a form: no control characters, names of methods as a set.
fn comparable_header(name: &str, value: &str) -> String {
    if name == "allow" {
        let mut methods: Vec<&str> = value.split(", ").collect();
        methods.sort_unstable();
        return methods.join(", ");
    }
    without_places(&value.replace(|c: char| c.is_ascii_control(), " "))
}

/// What differs between the case and the answer, if anything does.
fn difference(case: &Value, answer: &Answer) -> Option<String> {
    let name = case["name"].as_str().unwrap();
    let is_gzip = answer.header("content-encoding") == Some("gzip");
    let own = comparable(&answer.body, is_gzip);
    if let Some((_, status, body)) = DIFFERENT.iter().find(|(own, _, _)| *own == name) {
        let same = answer.status == *status && own == comparable(body.as_bytes(), false);
        return (!same).then(|| format!("{}\n{own}", answer.status));
    }
    let expected = comparable(&bytes(case, "answer"), is_gzip);
    if case["status"] != answer.status || own != expected {
        return Some(format!(
            "{}\n{own}\ninstead of\n{}\n{expected}",
            answer.status, case["status"]
        ));
    }
    for (header, value) in case["answer_headers"].as_object().unwrap() {
        let expected = comparable_header(header, value.as_str().unwrap());
        let own = answer
            .header(header)
            .map(|own| comparable_header(header, own));
        if own.as_ref() != Some(&expected) {
            return Some(format!("{header}: {own:?} instead of {expected:?}"));
        }
    }
    None
}

fn prepare(server: &Server) {
    for name in DATABASES {
        let path = format!("/query?q=CREATE+DATABASE+{name}");
        assert_eq!(server.send(&Request::new("POST", &path)).status, 200);
    }
    let policy = "/query?q=CREATE+RETENTION+POLICY+short+ON+mydb+DURATION+1h+REPLICATION+1";
    assert_eq!(server.send(&Request::new("POST", policy)).status, 200);
    let points = Request {
        body: POINTS,
        ..Request::new("POST", "/write?db=qdb")
    };
    assert_eq!(server.send(&points).status, 204);
}

#[test]
fn recorded_requests_are_answered_as_influxd_answered_them() {
    let (server, _dir) = Server::start();
    prepare(&server);
    let cases = include_str!("../data/http_cases.jsonl").lines();
    let mut faults = Vec::new();
    let mut count = 0;
    for line in cases {
        let case: Value = serde_json::from_str(line).unwrap();
        let body = bytes(&case, "body");
        let mut request = Request {
            body: &body,
            ..Request::new(
                case["method"].as_str().unwrap(),
                case["path"].as_str().unwrap(),
            )
        };
        for (name, value) in case["headers"].as_object().into_iter().flatten() {
            request = request.header(name, value.as_str().unwrap());
        }
        let answer = server.send(&request);
        count += 1;
        if let Some(difference) = difference(&case, &answer) {
            faults.push(format!("{}: {difference}\n", case["name"]));
        }
    }
    assert!(count > 100, "{count} cases");
    assert!(
        faults.is_empty(),
        "{} of {count}:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

#[test]
fn every_difference_is_explained() {
    let page = include_str!("../../../docs/differences.md");
    for (name, _, _) in DIFFERENT {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}
