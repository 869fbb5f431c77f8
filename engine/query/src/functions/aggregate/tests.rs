use proptest::prelude::*;
use silverback_storage::model::{AggregateSet, Extreme, FieldWindows, WindowPartial};

use super::*;

fn run(function: &Aggregate, points: &[(i64, FieldValue)]) -> Vec<(i64, FieldValue)> {
    let mut state = function.start();
    for (at, value) in points {
        state.push(function, Point::new(*at, value.clone()));
    }
    let result = state.finish(function);
    result
        .into_iter()
        .map(|point| (point.timestamp, point.value))
        .collect()
}

fn floats(values: &[f64]) -> Vec<(i64, FieldValue)> {
    (0..)
        .zip(values)
        .map(|(at, value)| (at, FieldValue::Float(*value)))
        .collect()
}

const INT: fn(i64) -> FieldValue = FieldValue::Integer;
const FLOAT: fn(f64) -> FieldValue = FieldValue::Float;

#[test]
fn a_percentile_is_the_point_at_its_rank() {
    let ten: Vec<f64> = (1..=10).map(f64::from).collect();
    let expected = [
        (5.0, 1.0),
        (10.0, 1.0),
        (25.0, 3.0),
        (50.0, 5.0),
        (75.0, 8.0),
        (90.0, 9.0),
        (95.0, 10.0),
        (100.0, 10.0),
        (101.0, 10.0),
    ];
    for (percent, value) in expected {
        let got = run(&Aggregate::Percentile(percent), &floats(&ten));
        assert_eq!(got.len(), 1, "percentile {percent}");
        assert_eq!(got[0].1, FLOAT(value), "percentile {percent}");
    }
    assert!(run(&Aggregate::Percentile(1.0), &floats(&ten)).is_empty());
}

#[test]
fn median_spread_and_deviation_of_a_known_sample() {
    let usage = [
        10.0, 20.0, 15.0, 30.0, 25.0, 25.0, 50.0, 60.0, 55.0, 70.0, 40.0, 5.0,
    ];
    let one = |function| run(&function, &floats(&usage))[0].1.clone();
    assert_eq!(one(Aggregate::Median), FLOAT(27.5));
    assert_eq!(one(Aggregate::Spread), FLOAT(65.0));
    assert_eq!(one(Aggregate::Mean), FLOAT(33.75));
    assert_eq!(one(Aggregate::Mode), FLOAT(25.0));
    let Some(deviation) = as_float(&one(Aggregate::Stddev)) else {
        panic!("a deviation is a number");
    };
    assert!((deviation / 21.011_360_563_449_305 - 1.0).abs() < 1e-12);
}

#[test]
fn the_deviation_of_one_point_is_no_number() {
    let Some((_, FieldValue::Float(value))) = run(&Aggregate::Stddev, &floats(&[5.0])).pop() else {
        panic!("one point gives a row");
    };
    assert!(value.is_nan());
}

#[test]
fn the_mode_of_different_values_is_the_smallest() {
    assert_eq!(
        run(&Aggregate::Mode, &floats(&[9.0, 3.0, 5.0]))[0].1,
        FLOAT(3.0)
    );
}

#[test]
fn integers_sum_exactly_and_wrap() {
    let big = 9_007_199_254_740_993;
    assert_eq!(
        run(&Aggregate::Sum, &[(0, INT(big)), (1, INT(1))]),
        [(0, INT(big + 1))]
    );
    let wrapped = run(&Aggregate::Sum, &[(0, INT(i64::MAX)), (1, INT(1))]);
    assert_eq!(wrapped, [(0, INT(i64::MIN))]);
    let unsigned = [
        (0, FieldValue::Unsigned(u64::MAX - 1)),
        (1, FieldValue::Unsigned(1)),
    ];
    assert_eq!(
        run(&Aggregate::Sum, &unsigned),
        [(0, FieldValue::Unsigned(u64::MAX))]
    );
}

#[test]
fn extremes_take_the_earliest_and_ends_the_largest() {
    let points = [
        (1, INT(7)),
        (1, INT(9)),
        (3, INT(9)),
        (4, INT(2)),
        (4, INT(3)),
        (5, INT(7)),
    ];
    assert_eq!(run(&Aggregate::Max, &points), [(1, INT(9))]);
    assert_eq!(run(&Aggregate::Min, &points), [(4, INT(2))]);
    assert_eq!(run(&Aggregate::First, &points), [(1, INT(9))]);
    assert_eq!(run(&Aggregate::Last, &points[..5]), [(4, INT(3))]);
}

#[test]
fn a_nan_is_an_extreme_only_where_nothing_else_is() {
    let points = floats(&[f64::NAN, 1.0, f64::NAN]);
    assert_eq!(run(&Aggregate::Max, &points), [(1, FLOAT(1.0))]);
    assert_eq!(run(&Aggregate::Min, &points), [(1, FLOAT(1.0))]);
    let Some((0, FieldValue::Float(value))) = run(&Aggregate::Max, &points[..1]).pop() else {
        panic!("a lone NaN is the maximum");
    };
    assert!(value.is_nan());
}

#[test]
fn distinct_values_come_by_first_time_and_value() {
    let points = [(0, INT(90)), (0, INT(50)), (1, INT(90)), (2, INT(40))];
    assert_eq!(
        run(&Aggregate::Distinct, &points),
        [(0, INT(50)), (0, INT(90)), (2, INT(40))]
    );
    assert_eq!(run(&Aggregate::CountDistinct, &points), [(0, INT(3))]);
}

#[test]
fn top_takes_the_largest_in_order_of_time() {
    let w = floats(&[2.0, 2.0, 2.0, 4.0, 4.0, 8.0, 8.0, 8.0, 16.0, 16.0]);
    let top = Aggregate::Top {
        count: 3,
        by: Vec::new(),
    };
    assert_eq!(
        run(&top, &w),
        [(5, FLOAT(8.0)), (8, FLOAT(16.0)), (9, FLOAT(16.0))]
    );
    let many: Vec<f64> = (0..500).map(|i| f64::from(i * 7919 % 500)).collect();
    let best: Vec<f64> = run(&top, &floats(&many))
        .iter()
        .filter_map(|(_, v)| as_float(v))
        .collect();
    let mut sorted = best.clone();
    sorted.sort_by(f64::total_cmp);
    assert_eq!(sorted, [497.0, 498.0, 499.0]);
}

#[test]
fn bottom_by_a_companion_takes_the_best_of_each() {
    let bottom = Aggregate::Bottom {
        count: 2,
        by: vec![0],
    };
    let mut state = bottom.start();
    for (at, value, host) in [(0, 5, "a"), (1, 4, "a"), (2, 9, "b"), (3, 7, "c")] {
        let host = FieldValue::String(host.as_bytes().into());
        let point = Point {
            timestamp: at,
            value: INT(value),
            beside: Some([Some(host)].into()),
        };
        state.push(&bottom, point);
    }
    let times: Vec<i64> = state
        .finish(&bottom)
        .iter()
        .map(|point| point.timestamp)
        .collect();
    assert_eq!(times, [1, 3]);
}

#[test]
fn a_sample_is_of_the_points_and_in_order() {
    let points = floats(&[1.0; 100]);
    let sample = run(&Aggregate::Sample(10), &points);
    assert_eq!(sample.len(), 10);
    assert!(sample.is_sorted_by_key(|(at, _)| *at));
    assert_eq!(run(&Aggregate::Sample(2), &points[..1]).len(), 1);
}

proptest! {
    /// What several series' windows say together is what all their points say at once.
    #[test]
    fn merged_windows_say_what_the_points_say(
        pieces in prop::collection::vec(prop::collection::vec((0_i64..50, -1000_i64..1000), 1..20), 1..6)
    ) {
        let mut merged = FieldWindows::new(FieldType::Integer, AggregateSet::ALL);
        let mut all: Vec<(i64, FieldValue)> = Vec::new();
        for piece in &pieces {
            let mut sorted = piece.clone();
            sorted.sort_unstable();
            sorted.dedup_by_key(|(at, _)| *at);
            let mut own = merged.alike();
            for (at, value) in sorted {
                let mut one = merged.alike();
                one.push(&single(at, value));
                own.merge((&one, 0..1), &[0]);
                all.push((at, INT(value)));
            }
            merged.merge((&own, 0..1), &[0]);
        }
        all.sort_by_key(|(at, _)| *at);
        for function in [
            Aggregate::Count, Aggregate::Sum, Aggregate::Mean, Aggregate::Min,
            Aggregate::Max, Aggregate::First, Aggregate::Last, Aggregate::Spread,
        ] {
            let direct = run(&function, &all).pop().unwrap();
            let (at, value) = function.of_windows(&merged, 0).unwrap();
            prop_assert_eq!(direct, (at.unwrap_or(all[0].0), value), "{:?}", function);
        }
    }
}

/// Everything of a window of one value.
fn single(timestamp: i64, value: i64) -> WindowPartial {
    let extreme = Extreme {
        value: INT(value),
        timestamp,
    };
    WindowPartial {
        count: 1,
        sum: Sum::Integer(i128::from(value)),
        min: Some(extreme.clone()),
        max: Some(extreme.clone()),
        first: extreme.clone(),
        last: extreme,
    }
}
