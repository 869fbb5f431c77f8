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
                for row in 0..100_000 {
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
            100_000
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

mod batches {
    use proptest::prelude::*;
    use silverback_storage::model::{Bitmap, Column, FieldType, FieldValue, Presence, Values};

    use super::*;

    /// Rows of two stored series: times, two columns of each, a constant.
    #[derive(Clone, Debug)]
    struct Rows {
        pieces: Vec<(Vec<i64>, Vec<Column>, Cell)>,
        order: Vec<(u32, u32)>,
    }

    fn value(field_type: FieldType) -> BoxedStrategy<FieldValue> {
        match field_type {
            FieldType::Float => any::<f64>().prop_map(FieldValue::Float).boxed(),
            FieldType::Integer => any::<i64>().prop_map(FieldValue::Integer).boxed(),
            FieldType::Unsigned => any::<u64>().prop_map(FieldValue::Unsigned).boxed(),
            FieldType::Boolean => any::<bool>().prop_map(FieldValue::Boolean).boxed(),
            FieldType::String => ".{0,6}"
                .prop_map(|text| FieldValue::String(text.as_bytes().into()))
                .boxed(),
        }
    }

    fn column(rows: usize) -> impl Strategy<Value = Column> {
        let types = prop_oneof![
            Just(FieldType::Float),
            Just(FieldType::Integer),
            Just(FieldType::Unsigned),
            Just(FieldType::Boolean),
            Just(FieldType::String),
        ];
        (types, any::<bool>()).prop_flat_map(move |(field_type, full)| {
            let cells = (value(field_type), any::<bool>());
            proptest::collection::vec(cells, rows).prop_map(move |cells| {
                let (mut values, mut bits) = (Values::new(field_type), Bitmap::default());
                for (value, has) in &cells {
                    bits.push(full || *has);
                    if full || *has {
                        values.push(value);
                    }
                }
                let presence = if full {
                    Presence::All
                } else {
                    Presence::Some(bits)
                };
                Column { values, presence }
            })
        })
    }

    fn rows() -> impl Strategy<Value = Rows> {
        let constant = prop_oneof![
            Just(Cell::Null),
            Just(Cell::string("a \"b\" <c>")),
            Just(Cell::string("plain")),
        ];
        let piece = (1..5_usize).prop_flat_map(move |count| {
            let columns = proptest::collection::vec(column(count), 2);
            let times = proptest::collection::vec(any::<i64>(), count);
            (times, columns, constant.clone())
        });
        // One row alone, too.
        let turns = proptest::collection::vec(0..2_usize, 1..13);
        (proptest::collection::vec(piece, 2), turns).prop_map(|(pieces, turns)| {
            let mut taken = [0_usize; 2];
            let mut order = Vec::new();
            for turn in turns {
                if taken[turn] < pieces[turn].0.len() {
                    let number = |at| u32::try_from(at).unwrap();
                    order.push((number(turn), number(taken[turn])));
                    taken[turn] += 1;
                }
            }
            Rows { pieces, order }
        })
    }

    proptest! {
        #[test]
        fn a_batch_is_written_as_its_rows_are(
            rows in rows(),
            pretty in any::<bool>(),
            chunk_rows in proptest::option::of(1..4_usize),
            text in any::<bool>(),
        ) {
            let options = JsonOptions {
                epoch: if text { Epoch::Text } else { Epoch::Divided(1) },
                pretty,
                chunk_rows,
            };
            let pieces: Vec<BatchPiece<'_>> = rows.pieces.iter().map(|(times, columns, constant)| {
                let mut shown: Vec<_> = columns.iter().map(BatchColumn::of).collect();
                shown.insert(1, BatchColumn::Constant(BatchValue::Cell(constant)));
                BatchPiece { timestamps: times, columns: shown }
            }).collect();
            let batch = RowBatch { pieces: &pieces, order: &rows.order };
            let header = header("m", &[], &["time", "a", "b", "c"]);
            let as_batch = written(options, |sink| {
                sink.statement(0).unwrap();
                sink.series(&header).unwrap();
                sink.rows(&batch).unwrap();
                sink.end(None).unwrap();
            });
            let as_rows = written(options, |sink| {
                sink.statement(0).unwrap();
                sink.series(&header).unwrap();
                for (piece, row) in &rows.order {
                    let (times, columns, constant) = &rows.pieces[*piece as usize];
                    let row = *row as usize;
                    let value = |column: &Column| match column.get(row) {
                        None => Cell::Null,
                        Some(FieldValue::Float(value)) => Cell::Float(value),
                        Some(FieldValue::Integer(value)) => Cell::Integer(value),
                        Some(FieldValue::Unsigned(value)) => Cell::Unsigned(value),
                        Some(FieldValue::Boolean(value)) => Cell::Boolean(value),
                        Some(FieldValue::String(value)) => Cell::String(value),
                    };
                    let cells = [Cell::Time(times[row]), value(&columns[0]), constant.clone(), value(&columns[1])];
                    sink.row(&cells).unwrap();
                }
                sink.end(None).unwrap();
            });
            prop_assert_eq!(as_batch, as_rows);
            // Sinks without a way of their own get cells.
            let mut gathered = Vec::new();
            let gather = |cells: &[Cell]| -> Result<(), Stopped> {
                gathered.push(format!("{cells:?}"));
                Ok(())
            };
            batch.each_row(gather).unwrap();
            prop_assert_eq!(gathered.len(), rows.order.len());
        }
    }
}

#[test]
fn integers_are_what_they_are_as_text() {
    let small = (-1_100..1_100).chain([9_999, 10_000, i64::MIN, i64::MAX]);
    let mut out = Vec::new();
    for value in small {
        out.clear();
        push_integer(&mut out, value);
        assert_eq!(out, value.to_string().as_bytes());
    }
    for value in [0, 7, 999, 1_000, u64::MAX] {
        out.clear();
        push_integer(&mut out, value);
        assert_eq!(out, value.to_string().as_bytes());
    }
}

#[test]
fn what_needs_no_escape_is_told_whatever_stands_beside_it() {
    let check = |bytes: &[u8]| {
        let expected = bytes.iter().all(|byte| super::PLAIN[usize::from(*byte)]);
        assert_eq!(is_plain(bytes), expected, "{bytes:x?}");
    };
    for len in 0..20 {
        for at in 0..len {
            for byte in 0..=u8::MAX {
                for beside in [b'a', b' ', 0x21, 0x23, 0x7f, 0x1f, 0xff] {
                    let mut bytes = vec![beside; len];
                    bytes[at] = byte;
                    check(&bytes);
                }
            }
        }
    }
    check(b"");
}
