//! What every codec must do: give back each bit, stay small, and survive any bytes.

mod golden;
mod repeats;
mod shared;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::model::{FieldValue, Strings};

const EFFORTS: [Effort; 3] = [Effort::Hot, Effort::Warm, Effort::Cold];

fn encoded(values: &Values, effort: Effort) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_values(values, effort, &mut bytes);
    bytes
}

fn assert_round_trip(values: &Values) {
    for effort in EFFORTS {
        let bytes = encoded(values, effort);
        let decoded = decode_values(values.field_type(), &bytes, values.len());
        assert!(
            decoded.as_ref() == Ok(values),
            "{effort:?} {:?} of {} values, codec {:?}: {:?}",
            values.field_type(),
            values.len(),
            bytes.first(),
            decoded.map(|decoded| (0..values.len().min(decoded.len()))
                .find(|at| decoded.get(*at) != values.get(*at)))
        );
    }
}

fn size_of(values: &Values, effort: Effort) -> usize {
    assert_round_trip(values);
    encoded(values, effort).len()
}

fn times_size(timestamps: &[i64], effort: Effort) -> usize {
    let mut bytes = Vec::new();
    encode_timestamps(timestamps, effort, &mut bytes);
    assert_eq!(
        decode_timestamps(&bytes, timestamps.len()).as_deref(),
        Ok(timestamps)
    );
    bytes.len()
}

/// A fixed sequence of words that look random.
fn noise(count: usize) -> Vec<u64> {
    let mut state = 7_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state >> 33
    };
    (0..count).map(|_| next()).collect()
}

/// Integers of all shapes: extremes, narrow, far apart, even, in runs.
fn integers() -> impl Strategy<Value = Vec<i64>> {
    let extreme = prop_oneof![
        Just(i64::MIN),
        Just(i64::MAX),
        Just(0),
        Just(-1),
        any::<i64>(),
        -100..100_i64
    ];
    let narrow = (any::<i64>(), vec(0..1000_i64, 0..1500))
        .prop_map(|(base, steps)| steps.into_iter().map(|s| base.wrapping_add(s)).collect());
    let walk = (any::<i64>(), vec(-9..100_i64, 0..2200)).prop_map(|(base, steps)| {
        steps
            .into_iter()
            .scan(base, |value, step| {
                *value = value.wrapping_add(step);
                Some(*value)
            })
            .collect()
    });
    let even = (any::<i64>(), any::<i64>(), 0..2500_i64).prop_map(|(first, step, count)| {
        (0..count)
            .map(|i| first.wrapping_add(step.wrapping_mul(i)))
            .collect()
    });
    let runs = vec((any::<i64>(), 1..200_usize), 0..12).prop_map(|runs| {
        runs.into_iter()
            .flat_map(|(value, len)| std::iter::repeat_n(value, len))
            .collect()
    });
    let outlying = vec(prop_oneof![50 => 0..100_i64, 1 => any::<i64>()], 0..2200);
    prop_oneof![vec(extreme, 0..1200), narrow, walk, even, runs, outlying]
}

fn floats() -> impl Strategy<Value = Vec<f64>> {
    let any_bits = any::<u64>().prop_map(f64::from_bits);
    let odd = prop_oneof![
        Just(0.0),
        Just(-0.0),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(f64::NAN),
        Just(f64::from_bits(0x7ff0_0000_0000_0002)),
        Just(f64::from_bits(0xfff8_0000_dead_beef)),
        Just(f64::MIN_POSITIVE),
        Just(f64::from_bits(1)),
        Just(f64::MAX),
        Just(2_251_799_813_685_248.0),
        Just(-2_251_799_813_685_248.0),
        Just(9_007_199_254_740_993.0),
        Just(6_755_399_441_055_744.0),
        Just(-6_755_399_441_055_744.0),
    ];
    let decimal = (-100_000..100_000_i32, 0..5_i32)
        .prop_map(|(whole, places)| f64::from(whole) / 10_f64.powi(places));
    let mixed = prop_oneof![20 => decimal.clone(), 1 => odd.clone()];
    let ratio = (0..40_i32, 1..40_i32).prop_map(|(a, b)| f64::from(a) / f64::from(b));
    prop_oneof![
        vec(any_bits, 0..1200),
        vec(odd, 0..300),
        vec(decimal, 0..2500),
        vec(mixed, 0..2500),
        vec(ratio, 0..1500),
    ]
}

fn strings() -> impl Strategy<Value = Strings> {
    let word = vec(any::<u8>(), 0..12);
    let text = vec(
        prop_oneof![Just(b"running".to_vec()), Just(vec![]), word],
        0..400,
    );
    text.prop_map(|all| {
        let mut strings = Strings::default();
        for string in &all {
            strings.push(string);
        }
        strings
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn integers_come_back(values in integers()) {
        let unsigned = values.iter().map(|value| value.cast_unsigned()).collect();
        assert_round_trip(&Values::Unsigned(unsigned));
        for effort in EFFORTS {
            times_size(&values, effort);
        }
        assert_round_trip(&Values::Integer(values));
    }

    #[test]
    fn floats_come_back_bit_by_bit(values in floats()) {
        assert_round_trip(&Values::Float(values));
    }

    #[test]
    fn strings_come_back(strings in strings()) {
        assert_round_trip(&Values::String(strings));
    }

    #[test]
    fn booleans_and_presence_come_back(
        runs in vec((any::<bool>(), 1..150_usize), 0..40),
        noise in vec(any::<bool>(), 0..300),
    ) {
        let mut bits: Vec<bool> = runs
            .into_iter()
            .flat_map(|(bit, len)| std::iter::repeat_n(bit, len))
            .collect();
        bits.extend(noise);
        let mut bitmap = Bitmap::default();
        for bit in &bits {
            bitmap.push(*bit);
        }
        let mut bytes = Vec::new();
        encode_presence(&Presence::Some(bitmap.clone()), bits.len(), &mut bytes);
        let expected = if bits.iter().all(|bit| *bit) {
            Presence::All
        } else {
            Presence::Some(bitmap)
        };
        prop_assert_eq!(decode_presence(&bytes, bits.len()), Ok(expected));
        assert_round_trip(&Values::Boolean(bits));
    }

    #[test]
    fn a_range_is_what_stands_there_in_the_whole(
        which in 0..samples().len(),
        effort in prop_oneof![Just(Effort::Hot), Just(Effort::Warm), Just(Effort::Cold)],
        ends in (0..=1250_usize, 0..=1250_usize),
    ) {
        let values = &samples()[which];
        let place = |end: usize| end.min(values.len());
        let (a, b) = (place(ends.0), place(ends.1));
        let range = a.min(b)..a.max(b);
        let mut part = Values::new(values.field_type());
        let bytes = encoded(values, effort);
        decode_values_range(&bytes, values.len(), range.clone(), &mut part).unwrap();
        let mut expected = Values::new(values.field_type());
        for index in range {
            expected.push(&values.get(index));
        }
        prop_assert!(part == expected, "{effort:?} codec {} {part:?}", bytes[0]);
    }

    #[test]
    fn a_range_of_times_is_what_stands_there(start in 0..4000_usize, len in 0..4000_usize) {
        for times in [cyclic(), jittered(), interleaved()] {
            for effort in EFFORTS {
                let mut bytes = Vec::new();
                encode_timestamps(&times, effort, &mut bytes);
                let start = start.min(times.len());
                let range = start..(start + len).min(times.len());
                let mut part: Vec<i64> = Vec::new();
                decode_ids_range(&bytes, times.len(), range.clone(), &mut part).unwrap();
                prop_assert_eq!(&part[..], &times[range]);
            }
        }
    }

    #[test]
    fn any_bytes_end_in_a_value_or_an_error(bytes in vec(any::<u8>(), 0..200), count in 0..3000_usize) {
        for field_type in FIELD_TYPES {
            let mut part = Values::new(field_type);
            if decode_values_range(&bytes, count, count / 3..count, &mut part).is_ok() {
                prop_assert_eq!(part.len(), count - count / 3);
            }
            if let Ok(values) = decode_values(field_type, &bytes, count) {
                prop_assert_eq!(values.len(), count);
            }
        }
    }
}

const FIELD_TYPES: [FieldType; 5] = [
    FieldType::Float,
    FieldType::Integer,
    FieldType::Unsigned,
    FieldType::Boolean,
    FieldType::String,
];

/// One column for each codec id, by what makes an encoder choose it.
fn samples() -> Vec<Values> {
    let noise = noise(1100);
    let float = |value: u64| f64::from(u32::try_from(value).unwrap());
    let mut odd: Vec<f64> = noise.iter().map(|n| float(n % 1000) / 10.0).collect();
    odd[17] = f64::NAN;
    odd[18] = -0.0;
    let mut jumps: Vec<i64> = (0..1100).map(|i| i * 50 + i % 7).collect();
    jumps[500] = i64::MIN;
    let mut strings = Strings::default();
    for n in &noise {
        strings.push(n.to_string().as_bytes());
    }
    let mut states = Strings::default();
    for n in &noise {
        states.push([&b"running"[..], b"idle", b""][(n % 3) as usize]);
    }
    vec![
        Values::Integer(vec![-5; 40]),
        Values::Integer((0..90).map(|i| i * 3).collect()),
        Values::Integer(noise.iter().map(|n| (n % 77).cast_signed()).collect()),
        Values::Integer(jumps),
        Values::Integer((0..1100).map(|i| i * i * 1000 + i % 3).collect()),
        Values::Unsigned(noise.iter().map(|n| n.wrapping_mul(n << 21)).collect()),
        Values::Unsigned((0..1200).map(|i| noise[i / 100]).collect()),
        Values::Float(odd),
        Values::Float(
            noise
                .iter()
                .map(|n| (float(n % 900) + 0.1).sqrt())
                .collect(),
        ),
        Values::Float(noise.iter().map(|n| float(n % 300).sqrt()).collect()),
        Values::Float((0..1100).map(|i| float(noise[i / 2]).sqrt()).collect()),
        Values::Boolean(noise.iter().map(|n| n % 2 == 0).collect()),
        Values::Boolean((0..900).map(|i| i / 200 == 1).collect()),
        Values::String(strings),
        Values::String(states),
    ]
}

#[test]
fn every_codec_is_chosen_for_some_column() {
    let mut seen = std::collections::BTreeSet::new();
    for values in samples() {
        assert_round_trip(&values);
        for effort in EFFORTS {
            seen.insert(encoded(&values, effort)[0]);
        }
    }
    for (times, effort) in [
        (cyclic(), Effort::Hot),
        (jittered(), Effort::Warm),
        (jittered(), Effort::Cold),
    ] {
        times_size(&times, effort);
        let mut bytes = Vec::new();
        encode_timestamps(&times, effort, &mut bytes);
        seen.insert(bytes[0]);
    }
    let all = [
        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 17, 18, 24, 25, 32, 33, 34,
    ];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
}

#[test]
fn a_stream_cut_anywhere_is_an_error() {
    for values in samples() {
        for effort in EFFORTS {
            let bytes = encoded(&values, effort);
            for len in 0..bytes.len() {
                let cut = decode_values(values.field_type(), &bytes[..len], values.len());
                assert!(cut.is_err(), "{effort:?} {} at {len}", bytes[0]);
            }
            let longer = [&bytes[..], &[0]].concat();
            assert!(decode_values(values.field_type(), &longer, values.len()).is_err());
        }
    }
}

#[test]
fn flipped_bits_end_in_a_value_or_an_error() {
    for values in samples() {
        let bytes = encoded(&values, Effort::Cold);
        let step = bytes.len().div_ceil(120);
        for at in (0..bytes.len().min(40)).chain((40..bytes.len()).step_by(step)) {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                if let Ok(decoded) = decode_values(values.field_type(), &bad, values.len()) {
                    assert_eq!(decoded.len(), values.len());
                }
            }
        }
    }
}

#[test]
fn an_unknown_codec_is_named() {
    for field_type in FIELD_TYPES {
        assert_eq!(
            decode_values(field_type, &[0, 0, 0], 3),
            Err(DecodeError::UnknownCodec(0))
        );
        assert_eq!(
            decode_values(field_type, &[200, 0, 0], 3),
            Err(DecodeError::UnknownCodec(200))
        );
    }
    assert!(decode_values(FieldType::Float, &[id::CONSTANT, 0], COUNT_MAX + 1).is_err());
}

#[test]
fn bytes_that_contradict_themselves_are_refused() {
    let ints = |bytes: &[u8], count| decode_values(FieldType::Integer, bytes, count);
    let wide = [&[id::PACKED, 65, 0][..], &[0; 100]].concat();
    let refused = Err(DecodeError::Invalid("a packed width passes 64 bits"));
    assert_eq!(ints(&wide, 3), refused);
    let run = [id::RUNS, 1, id::CONSTANT, 2, id::CONSTANT, 6];
    assert_eq!(ints(&run, 3), Ok(Values::Integer(vec![1; 3])));
    assert!(ints(&run, 2).is_err());
    assert!(ints(&run, 4).is_err());
    let outside = [&[id::XOR][..], &[0; 8], &[0xff; 16]].concat();
    assert_eq!(
        decode_values(FieldType::Float, &outside, 2),
        Err(DecodeError::Invalid("differing bits pass their word"))
    );
    let placeless = [&[id::XOR][..], &[0; 8], &[0b1000_0000; 8]].concat();
    assert_eq!(
        decode_values(FieldType::Float, &placeless, 2),
        Err(DecodeError::Invalid("differing bits have no place yet"))
    );
}

#[test]
fn a_dictionary_cannot_blow_up() {
    let mut bytes = vec![id::STRING_DICTIONARY, 1, id::STRINGS, id::CONSTANT];
    push_len(&mut bytes, 2 << 20);
    bytes.resize(bytes.len() + (1 << 20), b'a');
    bytes.extend([id::CONSTANT, 0]);
    assert!(decode_values(FieldType::String, &bytes, 200).is_ok());
    assert_eq!(
        decode_values(FieldType::String, &bytes, 300),
        Err(DecodeError::Invalid("strings pass their bound"))
    );
}

#[test]
fn what_arithmetic_may_change_is_never_a_decimal() {
    for odd in [
        f64::NAN,
        f64::INFINITY,
        -0.0,
        f64::from_bits(0x7ff8_0000_0000_0001),
    ] {
        for effort in EFFORTS {
            let bytes = encoded(&Values::Float(vec![odd; 40]), effort);
            assert_eq!(bytes[0], id::CONSTANT, "{odd} {effort:?}");
        }
    }
}

#[test]
fn streams_nested_too_deep_are_refused() {
    let mut bytes = Vec::new();
    for _ in 0..100_000 {
        bytes.extend([id::SCALED, 3]);
    }
    assert_eq!(
        decode_timestamps(&bytes, 5),
        Err(DecodeError::Invalid("streams are nested too deep"))
    );
}

/// 100 series that report every 10 s, in the order they come.
fn interleaved() -> Vec<i64> {
    (0..5000)
        .map(|row| 1_700_000_000_000_000_000 + row / 100 * 10_000_000_000)
        .collect()
}

/// Whole milliseconds around an even beat.
fn jittered() -> Vec<i64> {
    let noise = noise(1000);
    (0..1000)
        .map(|i| {
            let late = (noise[usize::try_from(i).unwrap()] % 7).cast_signed() - 3;
            1_700_000_000_000_000_000 + i * 15_000_000_000 + late * 1_000_000
        })
        .collect()
}

/// The same beat for one series after another.
fn cyclic() -> Vec<i64> {
    let beat = jittered();
    (0..4000).map(|row| beat[row % 400]).collect()
}

#[test]
fn times_cost_what_they_should() {
    let regular: Vec<i64> = (0..1000)
        .map(|i| 1_700_000_000_000_000_000 + i * 10_000_000_000)
        .collect();
    for effort in EFFORTS {
        assert!(times_size(&regular, effort) <= 16);
        assert!(times_size(&interleaved(), effort) <= 32);
        let jittered = times_size(&jittered(), effort);
        assert!(jittered <= 600, "{effort:?} {jittered}");
        let cyclic = times_size(&cyclic(), effort);
        assert!(cyclic <= 300, "{effort:?} {cyclic}");
    }
    let mut gaps = regular;
    for (i, time) in gaps.iter_mut().enumerate() {
        *time += i64::try_from(i / 200).unwrap() * 40_000_000_000;
    }
    let size = times_size(&gaps, Effort::Cold);
    assert!(size <= 60, "{size}");
    let ids: Vec<u64> = (0..5000).map(|row| 77 + row % 100).collect();
    for effort in EFFORTS {
        let mut bytes = Vec::new();
        encode_ids(&ids, effort, &mut bytes);
        assert!(bytes.len() <= 16, "{}", bytes.len());
        assert_eq!(decode_ids(&bytes, ids.len()), Ok(ids.clone()));
    }
}

#[test]
fn values_cost_what_they_should() {
    let noise = noise(4096);
    let float = |value: u64| f64::from(u32::try_from(value).unwrap());
    let whole = Values::Float(noise.iter().map(|n| float(n % 100)).collect());
    assert!(size_of(&whole, Effort::Hot) <= 4096 * 7 / 8 + 40);
    let tenths = Values::Float(noise.iter().map(|n| float(n % 1000) / 10.0).collect());
    assert!(size_of(&tenths, Effort::Hot) <= 4096 * 10 / 8 + 40);
    let mut total = 0;
    let counter: Vec<i64> = noise
        .iter()
        .map(|n| {
            total += (40 + n % 16).cast_signed();
            total
        })
        .collect();
    let mut series = counter.clone();
    series.extend(counter);
    assert!(size_of(&Values::Integer(series), Effort::Cold) <= 8192 / 2 + 100);
    let ratio = Values::Float(noise.iter().map(|n| float(n % 50 + 1) / 7.0).collect());
    let ratio = size_of(&ratio, Effort::Cold);
    assert!(ratio <= 4096 * 6 / 8 + 450, "{ratio}");
    let rare = Values::Boolean((0..4096).map(|i| i % 1000 == 3).collect());
    assert!(size_of(&rare, Effort::Cold) <= 32);
    let mut states = Strings::default();
    for n in &noise {
        states.push([&b"up"[..], b"down", b"starting"][(n % 3) as usize]);
    }
    assert!(size_of(&Values::String(states), Effort::Cold) <= 1024 + 60);
    let mut same = Strings::default();
    for _ in &noise {
        same.push(b"Linux");
    }
    for effort in EFFORTS {
        assert!(size_of(&Values::String(same.clone()), effort) <= 20);
    }
}

#[test]
fn buffers_are_used_again() {
    let values = Values::Float(vec![1.5; 300]);
    let bytes = encoded(&values, Effort::Hot);
    let mut out = Values::Float(vec![9.0; 1000]);
    decode_values_into(&bytes, 300, &mut out).unwrap();
    assert_eq!(out, values);
    assert_eq!(out.get(299), FieldValue::Float(1.5));
}

#[test]
fn the_page_states_ids_and_bounds() {
    let page = include_str!("../../../../docs/format/codecs.md");
    let ids = [
        (id::CONSTANT, "CONSTANT"),
        (id::PLAIN, "PLAIN"),
        (id::STEP, "STEP"),
        (id::RUNS, "RUNS"),
        (id::CYCLE, "CYCLE"),
        (id::PACKED, "PACKED"),
        (id::DELTA, "DELTA"),
        (id::DELTA_DELTA, "DELTA_DELTA"),
        (id::SCALED, "SCALED"),
        (id::ENTROPY, "ENTROPY"),
        (id::BEAT, "BEAT"),
        (id::ENTROPY_SHARED, "ENTROPY_SHARED"),
        (id::DECIMAL, "DECIMAL"),
        (id::XOR, "XOR"),
        (id::DICTIONARY, "DICTIONARY"),
        (id::DICTIONARY_SHARED, "DICTIONARY_SHARED"),
        (id::BITMAP, "BITMAP"),
        (id::BIT_RUNS, "BIT_RUNS"),
        (id::STRINGS, "STRINGS"),
        (id::STRINGS_ZSTD, "STRINGS_ZSTD"),
        (id::STRING_DICTIONARY, "STRING_DICTIONARY"),
    ];
    for (id, name) in ids {
        assert!(page.contains(&format!("| {id} | {name} |")), "{id} {name}");
    }
    for bound in [COUNT_MAX, STRING_BYTES_MAX] {
        assert!(page.contains(&format!("at most {bound}")), "{bound}");
    }
    assert!(page.contains(&format!("at most {} deep", Context::DEPTH_MAX)));
}
