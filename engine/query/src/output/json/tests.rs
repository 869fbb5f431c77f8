use super::*;
use jiff::tz::TimeZone;

const PLAIN: JsonOptions = JsonOptions {
    epoch: Epoch::Divided(1_000_000_000),
    pretty: false,
    chunk_rows: None,
};

fn header(name: &str, tags: &[(&str, &str)], columns: &[&str]) -> SeriesHeader {
    let pairs = tags
        .iter()
        .map(|(key, value)| (key.as_bytes().into(), value.as_bytes().into()));
    SeriesHeader {
        tags: (!tags.is_empty()).then(|| pairs.collect()),
        ..SeriesHeader::plain(Some(name.as_bytes()), columns)
    }
}

fn written(options: JsonOptions, write: impl FnOnce(&mut JsonSink<Vec<u8>>)) -> String {
    let mut sink = JsonSink::new(Vec::new(), options);
    write(&mut sink);
    String::from_utf8(sink.finish().unwrap()).unwrap()
}

fn two_series(sink: &mut JsonSink<Vec<u8>>) {
    sink.statement(0).unwrap();
    for (host, rows) in [("a", 2), ("b", 1)] {
        sink.series(&header("cpu", &[("host", host)], &["time", "v"]))
            .unwrap();
        for row in 0..rows {
            let second = 1_600_000_000 + row;
            let cells = [Cell::Time(second * 1_000_000_000 + 999), Cell::Integer(row)];
            sink.row(&cells).unwrap();
        }
    }
    sink.end(None).unwrap();
}

#[test]
fn a_query_without_statements_is_an_empty_object() {
    assert_eq!(written(PLAIN, |_| ()), "{}\n");
}

#[test]
fn series_and_statements_stand_in_one_document() {
    let text = written(PLAIN, |sink| {
        two_series(sink);
        sink.statement(1).unwrap();
        sink.end(None).unwrap();
        sink.statement(2).unwrap();
        sink.message("warning", "old <way>").unwrap();
        sink.end(Some("no such \"thing\"")).unwrap();
    });
    assert_eq!(
        text,
        concat!(
            r#"{"results":[{"statement_id":0,"series":[{"name":"cpu","tags":{"host":"a"},"#,
            r#""columns":["time","v"],"values":[[1600000000,0],[1600000001,1]]},"#,
            r#"{"name":"cpu","tags":{"host":"b"},"columns":["time","v"],"#,
            r#""values":[[1600000000,0]]}]},{"statement_id":1},{"statement_id":2,"#,
            r#""messages":[{"level":"warning","text":"old \u003cway\u003e"}],"#,
            r#""error":"no such \"thing\""}]}"#,
            "\n"
        )
    );
}

#[test]
fn chunks_are_documents_that_say_what_follows() {
    let options = JsonOptions {
        chunk_rows: Some(1),
        ..PLAIN
    };
    let text = written(options, |sink| {
        two_series(sink);
        sink.statement(1).unwrap();
        sink.series(&header("databases", &[], &["name"])).unwrap();
        sink.end(None).unwrap();
        sink.statement(2).unwrap();
        sink.series(&header("cpu", &[], &["v"])).unwrap();
        sink.row(&[Cell::Integer(1)]).unwrap();
        sink.row(&[Cell::Integer(2)]).unwrap();
        sink.end(Some("query interrupted")).unwrap();
    });
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines,
        [
            r#"{"results":[{"statement_id":0,"series":[{"name":"cpu","tags":{"host":"a"},"columns":["time","v"],"values":[[1600000000,0]],"partial":true}],"partial":true}]}"#,
            r#"{"results":[{"statement_id":0,"series":[{"name":"cpu","tags":{"host":"a"},"columns":["time","v"],"values":[[1600000001,1]]}],"partial":true}]}"#,
            r#"{"results":[{"statement_id":0,"series":[{"name":"cpu","tags":{"host":"b"},"columns":["time","v"],"values":[[1600000000,0]]}]}]}"#,
            r#"{"results":[{"statement_id":1,"series":[{"name":"databases","columns":["name"]}]}]}"#,
            r#"{"results":[{"statement_id":2,"series":[{"name":"cpu","columns":["v"],"values":[[1]],"partial":true}],"partial":true}]}"#,
            r#"{"results":[{"statement_id":2,"error":"query interrupted"}]}"#,
        ]
    );
}

#[test]
fn pretty_is_what_go_calls_indented() {
    let options = JsonOptions {
        pretty: true,
        ..PLAIN
    };
    let text = written(options, |sink| {
        sink.statement(0).unwrap();
        sink.series(&header("cpu", &[("dc", "")], &["time", "v"]))
            .unwrap();
        sink.row(&[Cell::Time(0), Cell::Strings(vec![b"a"[..].into()])])
            .unwrap();
        sink.end(None).unwrap();
        sink.statement(1).unwrap();
        sink.end(None).unwrap();
    });
    let expected = r#"{
    "results": [
        {
            "statement_id": 0,
            "series": [
                {
                    "name": "cpu",
                    "tags": {
                        "dc": ""
                    },
                    "columns": [
                        "time",
                        "v"
                    ],
                    "values": [
                        [
                            0,
                            [
                                "a"
                            ]
                        ]
                    ]
                }
            ]
        },
        {
            "statement_id": 1
        }
    ]
}
"#;
    assert_eq!(text, expected);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["results"][1]["statement_id"], 1);
}

#[test]
fn cells_are_written_as_influxd_writes_them() {
    let options = JsonOptions {
        epoch: Epoch::Text,
        ..PLAIN
    };
    let text = written(options, |sink| {
        sink.statement(0).unwrap();
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let plain = SeriesHeader::plain(None, &["time"]);
        sink.series(&SeriesHeader {
            zone: Some(zone),
            ..plain
        })
        .unwrap();
        for cell in [
            Cell::Time(1_600_000_000_000_000_000),
            Cell::Null,
            Cell::Float(f64::NAN),
            Cell::Float(f64::INFINITY),
            Cell::Float(1e21),
            Cell::Integer(i64::MIN),
            Cell::Unsigned(u64::MAX),
            Cell::Boolean(true),
            Cell::string(b"a\"b\\c\td\x01\x7f<>&\xe2\x80\xa8\xff\xc3\xa9 \x08\xe2\x80\xa9\xc2\xa8"),
        ] {
            sink.row(&[cell]).unwrap();
        }
        sink.end(None).unwrap();
    });
    let expected = concat!(
        r#"[["2020-09-13T14:26:40+02:00"],[null],[null],[null],[1e+21],[-9223372036854775808],"#,
        r#"[18446744073709551615],[true],"#,
        r#"["a\"b\\c\td\u0001"#,
        "\x7f",
        r#"\u003c\u003e\u0026\u2028\ufffd"#,
        "\u{e9} ",
        r#"\u0008\u2029"#,
        "\u{a8}\"]]"
    );
    assert!(text.contains(expected), "{text}");
}

#[test]
fn an_error_stands_in_place_of_rows_that_are_not_out_yet() {
    let text = written(PLAIN, |sink| {
        two_series(sink);
        sink.statement(1).unwrap();
        sink.series(&header("cpu", &[], &["v"])).unwrap();
        sink.row(&[Cell::Integer(1)]).unwrap();
        sink.end(Some("broken")).unwrap();
    });
    assert!(
        text.ends_with("]},{\"statement_id\":1,\"error\":\"broken\"}]}\n"),
        "{text}"
    );
    let first = written(PLAIN, |sink| {
        sink.statement(0).unwrap();
        sink.series(&header("cpu", &[], &["v"])).unwrap();
        sink.end(Some("broken")).unwrap();
    });
    assert_eq!(
        first,
        "{\"results\":[{\"statement_id\":0,\"error\":\"broken\"}]}\n"
    );
}

#[test]
fn a_long_answer_goes_out_in_pieces_and_stays_whole() {
    for error in [None, Some("late")] {
        let text = written(PLAIN, |sink| {
            for id in 0..3 {
                sink.statement(id).unwrap();
                sink.series(&header("cpu", &[], &["v"])).unwrap();
                for row in 0..20_000 {
                    sink.row(&[Cell::Integer(row)]).unwrap();
                }
                assert!(sink.held.len() <= HELD_BYTES);
                sink.end(error).unwrap();
            }
        });
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let result = &value["results"][2];
        assert_eq!(
            result["series"][0]["values"].as_array().unwrap().len(),
            20_000
        );
        assert_eq!(result["error"].as_str(), error);
    }
}

#[test]
fn a_writer_that_refuses_stops_the_query() {
    struct Refusing;
    impl Write for Refusing {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut sink = JsonSink::new(Refusing, PLAIN);
    sink.statement(0).unwrap();
    sink.series(&header("cpu", &[], &["v"])).unwrap();
    let rows = (0..100_000).map(|row| sink.row(&[Cell::Integer(row)]));
    assert!(rows.into_iter().any(|row| row == Err(Stopped)));
}
