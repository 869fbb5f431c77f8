//! Streams read as words and how often each stands in a row.

use super::*;

/// Numbers in runs of any length, short ones too.
fn in_runs<T: Clone + fmt::Debug>(
    values: impl Strategy<Value = T>,
) -> impl Strategy<Value = Vec<T>> {
    vec((values, prop_oneof![1..4_usize, 1..400_usize]), 1..8).prop_map(|runs| {
        let each = |(value, count)| std::iter::repeat_n(value, count);
        runs.into_iter().flat_map(each).collect()
    })
}

fn numbers() -> impl Strategy<Value = Values> {
    let float = prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        (-500..500_i32).prop_map(|whole| f64::from(whole) / 4.0),
        Just(-0.0),
        Just(f64::NAN),
    ];
    prop_oneof![
        in_runs(any::<i64>()).prop_map(Values::Integer),
        in_runs(any::<u64>()).prop_map(Values::Unsigned),
        in_runs(float).prop_map(Values::Float),
    ]
}

fn word(value: &FieldValue) -> u64 {
    match value {
        FieldValue::Float(value) => value.to_bits(),
        FieldValue::Integer(value) => value.cast_unsigned(),
        FieldValue::Unsigned(value) => *value,
        FieldValue::Boolean(_) | FieldValue::String(_) => unreachable!("numbers only"),
    }
}

fn repeats(values: &Values, bytes: &[u8], range: Range<usize>) -> Option<Vec<Repeat>> {
    let mut found = Vec::new();
    let typed = (values.field_type(), bytes);
    decode_repeats(typed, (values.len(), range), Shared::none(), &mut found)
        .unwrap()
        .then_some(found)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn repeats_are_the_values_of_the_range(
        values in numbers(),
        effort in prop_oneof![Just(Effort::Hot), Just(Effort::Warm), Just(Effort::Cold)],
        ends in (0..=900_usize, 0..=900_usize),
    ) {
        let bytes = encoded(&values, effort);
        let place = |end: usize| end.min(values.len());
        let (a, b) = (place(ends.0), place(ends.1));
        let range = a.min(b)..a.max(b);
        let Some(found) = repeats(&values, &bytes, range.clone()) else {
            prop_assert!(![id::CONSTANT, id::RUNS].contains(&bytes[0]), "codec {}", bytes[0]);
            return Ok(());
        };
        prop_assert!(found.iter().all(|repeat| repeat.count > 0));
        let each = |repeat: &Repeat| std::iter::repeat_n(repeat.word, repeat.count);
        let found: Vec<u64> = found.iter().flat_map(each).collect();
        let expected: Vec<u64> = range.map(|index| word(&values.get(index))).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn even_times_are_told_by_first_and_step(first in any::<i64>(), step in any::<i64>(), count in 1..3000_usize) {
        let times: Vec<i64> = (0..count.cast_signed() as i64)
            .map(|at| first.wrapping_add(step.wrapping_mul(at)))
            .collect();
        for effort in EFFORTS {
            let mut bytes = Vec::new();
            encode_timestamps(&times, effort, &mut bytes);
            let (found, own) = decode_even(&bytes, count).unwrap().expect("they are even");
            prop_assert_eq!(found, first);
            prop_assert!(own == step || count == 1);
        }
    }
}

#[test]
fn decimals_in_runs_are_read_as_runs() {
    let runs = |values: &[f64]| {
        let each = |value: &f64| std::iter::repeat_n(*value, 300);
        Values::Float(values.iter().flat_map(each).collect())
    };
    for (values, count) in [
        (runs(&[12.25]), 1),
        (runs(&[7.0]), 1),
        (runs(&[0.5, 99.75, 0.5]), 3),
        (runs(&[3.0, -4.0]), 2),
    ] {
        for effort in EFFORTS {
            let bytes = encoded(&values, effort);
            let found = repeats(&values, &bytes, 0..values.len());
            assert_eq!(found.map(|found| found.len()), Some(count), "{values:?}");
        }
    }
    // Exceptions stand among the values: they are no runs.
    let mut odd = vec![0.5; 600];
    odd[300] = f64::NAN;
    let odd = Values::Float(odd);
    let bytes = encoded(&odd, Effort::Cold);
    assert_eq!((bytes[0], bytes[2]), (id::DECIMAL, 1));
    assert_eq!(repeats(&odd, &bytes, 0..600), None);
}

#[test]
fn uneven_times_and_what_is_no_time_have_no_step() {
    let mut bytes = Vec::new();
    encode_timestamps(&[1, 2, 4], Effort::Hot, &mut bytes);
    assert_eq!(decode_even(&bytes, 3), Ok(None));
    assert_eq!(decode_even(&[], 3), Err(DecodeError::Truncated));
    assert!(
        decode_even(&[id::STEP, 2, 2, 0], 3).is_err(),
        "bytes are left"
    );
    assert!(decode_even(&[id::STEP, 2], 3).is_err());
    assert!(decode_even(&[id::CONSTANT, 2], COUNT_MAX + 1).is_err());
}

#[test]
fn what_is_no_number_has_no_runs_and_no_values_have_none() {
    let mut out = Vec::new();
    let mut read = |field_type, range| {
        let typed = (field_type, &[id::CONSTANT, 1][..]);
        decode_repeats(typed, (3, range), Shared::none(), &mut out)
    };
    for field_type in [FieldType::Boolean, FieldType::String] {
        assert_eq!(read(field_type, 0..3), Ok(false));
        assert_eq!(read(field_type, 1..1), Ok(false));
    }
    for field_type in [FieldType::Float, FieldType::Integer, FieldType::Unsigned] {
        assert_eq!(read(field_type, 1..1), Ok(true));
    }
    assert_eq!(out, []);
}

#[test]
fn runs_that_lie_are_refused() {
    let values = Values::Integer(vec![1; 10]);
    // Two runs, of 3 and of `length`.
    let stream = |length: u8| {
        [
            id::RUNS,
            2,
            id::STEP,
            2,
            2,
            id::PLAIN,
            3,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            length,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ]
    };
    let read = |bytes: &[u8], range| {
        let mut out = Vec::new();
        let typed = (FieldType::Integer, bytes);
        decode_repeats(typed, (values.len(), range), Shared::none(), &mut out)
    };
    assert_eq!(read(&stream(7), 0..10), Ok(true));
    for length in [0, 6, 8, 255] {
        assert!(read(&stream(length), 0..10).is_err(), "{length}");
        assert!(read(&stream(length), 0..2).is_err(), "{length}");
    }
    for cut in 0..stream(7).len() {
        assert!(read(&stream(7)[..cut], 0..10).is_err(), "cut at {cut}");
    }
    assert_eq!(
        read(&[id::DECIMAL, 0, 0, id::CONSTANT, 2], 0..10),
        Ok(false),
        "integers are no decimals"
    );
}
