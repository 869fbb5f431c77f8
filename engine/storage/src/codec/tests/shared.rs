//! What columns share: it comes back, makes them smaller, and lies no further than an error.

use super::*;

fn set_of(columns: &[&Values]) -> Shared {
    let shared = Shared::of_values(columns);
    let mut bytes = Vec::new();
    shared.encode(&mut bytes);
    let again = Shared::decode(&bytes).unwrap();
    assert_eq!(again, shared);
    for len in 0..bytes.len() {
        assert!(Shared::decode(&bytes[..len]).is_err(), "cut at {len}");
    }
    again
}

fn assert_shared_round_trip(values: &Values, shared: &Shared) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_values_with(values, Effort::Cold, shared, &mut bytes);
    let decoded = decode_values_with(values.field_type(), &bytes, values.len(), shared);
    assert!(decoded.as_ref() == Ok(values), "codec {}", bytes[0]);
    bytes
}

/// Columns of whole numbers that walk by steps of `-2..=2`.
fn walks(count: usize) -> Vec<Values> {
    let noise = noise(count * 1000);
    noise
        .chunks(1000)
        .map(|steps| {
            let mut value = 50;
            let walk = steps.iter().map(|step| {
                value += (step % 5).cast_signed() - 2;
                value
            });
            Values::Integer(walk.collect())
        })
        .collect()
}

#[test]
fn a_shared_model_spares_each_column_its_own() {
    let columns = walks(4);
    let shared = set_of(&columns.iter().collect::<Vec<_>>());
    for column in &columns {
        let bytes = assert_shared_round_trip(column, &shared);
        assert_eq!(bytes[0], id::ENTROPY_SHARED);
        assert!(bytes.len() < size_of(column, Effort::Cold));
        let mut part = Values::new(FieldType::Integer);
        decode_values_range_with(&bytes, (1000, 200..300), &shared, &mut part).unwrap();
        let Values::Integer(all) = column else {
            unreachable!("walks are integers");
        };
        assert_eq!(part, Values::Integer(all[200..300].to_vec()));
        // The five steps take 2.32 bits each; eight states and the model's number the rest.
        assert!(bytes.len() <= 1000 * 233 / 800 + 24, "{}", bytes.len());
    }
    let bytes = assert_shared_round_trip(&columns[0], &shared);
    let alone = decode_values(FieldType::Integer, &bytes, 1000);
    assert!(alone.is_err(), "without its set a column is nothing");
}

#[test]
fn columns_of_different_kinds_get_models_of_their_own() {
    let mut columns = walks(4);
    let noise = noise(4000);
    for wild in noise.chunks(1000) {
        let mut total = 0;
        let counter = wild.iter().map(|step| {
            total += (step % 100_000).cast_signed();
            total
        });
        columns.push(Values::Integer(counter.collect()));
    }
    let shared = set_of(&columns.iter().collect::<Vec<_>>());
    let models: std::collections::BTreeSet<u8> = columns
        .iter()
        .map(|column| assert_shared_round_trip(column, &shared)[1])
        .collect();
    assert!(models.len() >= 2, "{models:?}");
}

#[test]
fn doubles_of_many_digits_share_their_dictionary() {
    let float = |value: u64| f64::from(u32::try_from(value).unwrap());
    let columns: Vec<Values> = noise(8000)
        .chunks(2000)
        .map(|part| Values::Float(part.iter().map(|n| float(n % 1500).sqrt()).collect()))
        .collect();
    let shared = set_of(&columns.iter().collect::<Vec<_>>());
    for column in &columns {
        let bytes = assert_shared_round_trip(column, &shared);
        assert_eq!(bytes[0], id::DICTIONARY_SHARED);
        assert!(bytes.len() <= 2000 * 11 / 8, "{}", bytes.len());
    }
    let strange = Values::Float(vec![0.123_456_789_012_345_67; 200]);
    assert_shared_round_trip(&strange, &shared);
}

#[test]
fn what_the_models_never_saw_comes_back_too() {
    let shared = set_of(&walks(4).iter().collect::<Vec<_>>());
    for values in samples() {
        assert_shared_round_trip(&values, &shared);
    }
    let mut odd: Vec<i64> = (0..1000).map(|i| 50 + i % 3).collect();
    odd[500] = i64::MIN;
    odd[501] = i64::MAX;
    assert_shared_round_trip(&Values::Integer(odd), &shared);
}

#[test]
fn a_set_that_lies_ends_in_a_value_or_an_error() {
    let columns = walks(2);
    let shared = set_of(&columns.iter().collect::<Vec<_>>());
    let bytes = assert_shared_round_trip(&columns[0], &shared);
    let mut set = Vec::new();
    shared.encode(&mut set);
    for at in 0..set.len() {
        for bit in 0..8 {
            let mut bad = set.clone();
            bad[at] ^= 1 << bit;
            if let Ok(lying) = Shared::decode(&bad) {
                decode_values_with(FieldType::Integer, &bytes, 1000, &lying).ok();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn columns_come_back_by_what_they_share(
        integers in vec(integers(), 1..6),
        floats in vec(floats(), 1..6),
    ) {
        let integers: Vec<Values> = integers.into_iter().map(Values::Integer).collect();
        let floats: Vec<Values> = floats.into_iter().map(Values::Float).collect();
        for columns in [integers, floats] {
            let shared = set_of(&columns.iter().collect::<Vec<_>>());
            for column in &columns {
                assert_shared_round_trip(column, &shared);
            }
        }
    }

    #[test]
    fn any_bytes_are_no_set_or_one(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(shared) = Shared::decode(&bytes) {
            let mut again = Vec::new();
            shared.encode(&mut again);
            prop_assert_eq!(Shared::decode(&again), Ok(shared));
        }
    }
}
