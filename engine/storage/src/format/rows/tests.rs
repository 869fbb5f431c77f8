//! Rows come back; bytes that are none are refused; few bytes cannot claim much memory.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::model::{Bitmap, FieldValue};

fn encoded(rows: &[Rows]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_rows(DatabaseId(3), PolicyId(u32::MAX), rows, &mut bytes);
    bytes
}

/// One field of `count` rows; every third value absent where `sparse`.
fn column(field_type: FieldType, seeds: &[u64], sparse: bool) -> Column {
    let mut values = Values::new(field_type);
    let mut bits = Bitmap::default();
    for (row, seed) in seeds.iter().enumerate() {
        bits.push(!sparse || row % 3 != 0);
        if !bits.get(row) {
            continue;
        }
        values.push(&match field_type {
            FieldType::Float => FieldValue::Float(f64::from_bits(*seed)),
            FieldType::Integer => FieldValue::Integer(seed.cast_signed()),
            FieldType::Unsigned => FieldValue::Unsigned(*seed),
            FieldType::Boolean => FieldValue::Boolean(seed % 2 == 0),
            FieldType::String => FieldValue::String(seed.to_string().into_bytes().into()),
        });
    }
    let presence = if sparse && !seeds.is_empty() {
        Presence::Some(bits)
    } else {
        Presence::All
    };
    Column { values, presence }
}

const TYPES: [FieldType; 5] = [
    FieldType::Float,
    FieldType::Integer,
    FieldType::Unsigned,
    FieldType::Boolean,
    FieldType::String,
];

fn group(seeds: &[u64], sparse: bool) -> Rows {
    let columns = TYPES.into_iter().zip(1..).map(|(field_type, place)| {
        let field = FieldId(place * place);
        (field, column(field_type, seeds, sparse))
    });
    Rows {
        measurement: MeasurementId(9),
        series: seeds.iter().map(|seed| SeriesId(seed | 1)).collect(),
        timestamps: seeds
            .iter()
            .map(|seed| seed.cast_signed().clamp(TIMESTAMP_MIN, TIMESTAMP_MAX))
            .collect(),
        columns: columns.collect(),
    }
}

/// 100 series that report ten whole numbers together, 50 times.
fn devops() -> Rows {
    let seeds: Vec<u64> = (0..5000).collect();
    let value = |seed: &u64, field: u64| {
        f64::from(u32::try_from(seed.wrapping_mul(2_654_435_761 + field) >> 7 & 63).unwrap())
    };
    Rows {
        measurement: MeasurementId(1),
        series: seeds.iter().map(|row| SeriesId(row % 100 + 1)).collect(),
        timestamps: seeds
            .iter()
            .map(|row| (row / 100).cast_signed() * 10_000_000_000)
            .collect(),
        columns: (1..=10)
            .map(|field| {
                let values = seeds.iter().map(|row| value(row, u64::from(field)));
                let column = Column {
                    values: Values::Float(values.collect()),
                    presence: Presence::All,
                };
                (FieldId(field), column)
            })
            .collect(),
    }
}

fn seeds() -> impl Strategy<Value = Vec<u64>> {
    let extreme = prop_oneof![
        any::<u64>(),
        Just(0),
        Just(u64::MAX),
        Just(1 << 63),
        Just(f64::NAN.to_bits() | 0x77),
        0..50_u64
    ];
    prop_oneof![
        vec(extreme, 0..200),
        vec(0..300_u64, 0..1500).prop_map(|small| {
            let bits = |n| f64::from(u32::try_from(n).unwrap()).to_bits();
            small.into_iter().map(bits).collect()
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_come_back(groups in vec((seeds(), any::<bool>()), 0..4)) {
        let rows: Vec<Rows> = groups.iter().map(|(seeds, sparse)| group(seeds, *sparse)).collect();
        let decoded = decode_rows(&encoded(&rows));
        prop_assert_eq!(decoded, Ok((DatabaseId(3), PolicyId(u32::MAX), rows)));
    }

    #[test]
    fn any_bytes_end_in_rows_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok((_, _, rows)) = decode_rows(&bytes) {
            prop_assert!(rows.iter().map(Rows::len).sum::<usize>() <= ROWS_MAX);
        }
    }
}

#[test]
fn a_payload_cut_or_flipped_anywhere_is_no_panic() {
    let seeds: Vec<u64> = (0..40).map(|n| ((n * n) << 50) | n).collect();
    let bytes = encoded(&[group(&seeds, true), group(&seeds[..7], false)]);
    assert!(decode_rows(&bytes).is_ok());
    for len in 0..bytes.len() {
        assert!(decode_rows(&bytes[..len]).is_err(), "cut at {len}");
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << bit;
            if let Ok((_, _, rows)) = decode_rows(&bad) {
                assert!(rows.iter().all(|rows| rows.series.len() == rows.len()));
            }
        }
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(decode_rows(&longer).is_err());
}

#[test]
fn few_bytes_cannot_claim_more_than_the_bounds() {
    let mut bytes = vec![1, 1, 200, 1];
    for _ in 0..200 {
        bytes.push(1);
        push_len(&mut bytes, ROWS_MAX / 2);
        bytes.extend([0, codec::id::CONSTANT, 2, codec::id::CONSTANT, 2]);
    }
    let result = decode_rows(&bytes);
    assert_eq!(result, Err(DecodeError::Invalid("length passes its bound")));
    let mut wide = vec![1, 1, 1, 1];
    push_len(&mut wide, ROWS_MAX);
    wide.push(100);
    wide.extend([codec::id::CONSTANT, 2, codec::id::CONSTANT, 2]);
    wide.resize(wide.len() + 1000, 1);
    let result = decode_rows(&wide);
    let expected = DecodeError::Invalid("a payload holds too many values");
    assert_eq!(result, Err(expected));
}

#[test]
fn groups_share_the_bound_on_values() {
    let rows = ROWS_MAX / 2;
    let mut group = vec![1];
    push_len(&mut group, rows);
    group.push(16);
    group.extend([codec::id::CONSTANT, 2, codec::id::CONSTANT, 2]);
    for _ in 0..16 {
        group.extend([1, FieldType::Boolean.code(), 1, 1, 1, 1]);
    }
    let alone = [&[1, 1, 1][..], &group].concat();
    assert_eq!(decode_rows(&alone).unwrap().2[0].len(), rows);
    let both = [&[1, 1, 2][..], &group, &group].concat();
    let expected = DecodeError::Invalid("a payload holds too many values");
    assert_eq!(decode_rows(&both), Err(expected));
}

#[test]
fn ids_and_times_that_cannot_be_are_refused() {
    let seeds = [5, 6, 7];
    let refused = |change: &dyn Fn(&mut Rows)| {
        let mut rows = group(&seeds, false);
        change(&mut rows);
        decode_rows(&encoded(&[rows])).is_err()
    };
    assert!(!refused(&|_| {}));
    assert!(refused(&|rows| rows.series[1] = SeriesId(0)));
    assert!(refused(&|rows| rows.timestamps[1] = i64::MIN));
    assert!(refused(&|rows| rows.measurement = MeasurementId(0)));
}

#[test]
fn a_devops_batch_costs_less_than_a_byte_a_value() {
    let rows = devops();
    let bytes = encoded(std::slice::from_ref(&rows));
    assert!(
        bytes.len() <= 50_000 * 6 / 8 + 10 * 40 + 100,
        "{}",
        bytes.len()
    );
    assert_eq!(decode_rows(&bytes).unwrap().2, [rows]);
}

#[test]
fn the_page_states_the_bounds_and_the_order() {
    let page = include_str!("../../../../../docs/format/rows.md");
    assert!(page.contains(&format!("at most {ROWS_MAX} rows")));
    assert!(page.contains(&format!("at most {VALUES_MAX}")));
    let mut rows = group(&[], false);
    rows.columns = vec![(FieldId(300), column(FieldType::Boolean, &[2], false))];
    rows.series = vec![SeriesId(4)];
    rows.timestamps = vec![-1];
    let bytes = encoded(&[rows]);
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(page.contains(&hex.join(" ")), "{}", hex.join(" "));
}
