//! Functions that need all points of their window: median, mode, percentile, distinct values.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "an aggregate that is not named here is the mode"
)]

use std::cmp::Ordering;

use hashbrown::HashMap;
use silverback_storage::model::FieldValue;

use crate::functions::aggregate::{Aggregate, compare};
use crate::functions::{Point, as_float};

/// The points of a window; where only different values matter, the first of each.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    points: Vec<Point>,
    seen: Option<HashMap<Bits, usize, foldhash::fast::FixedState>>,
}

/// A value by its bits: what makes two values the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Bits {
    Number(u8, u64),
    String(Box<[u8]>),
}

pub(super) fn bits(value: &FieldValue) -> Bits {
    let code = value.field_type().code();
    match value {
        FieldValue::Float(value) if value.classify() == std::num::FpCategory::Zero => {
            Bits::Number(code, 0)
        }
        FieldValue::Float(value) => Bits::Number(code, value.to_bits()),
        FieldValue::Integer(value) => Bits::Number(code, value.cast_unsigned()),
        FieldValue::Unsigned(value) => Bits::Number(code, *value),
        FieldValue::Boolean(value) => Bits::Number(code, u64::from(*value)),
        FieldValue::String(value) => Bits::String(value.clone()),
    }
}

impl Kept {
    /// Takes one more point.
    pub fn push(&mut self, function: &Aggregate, point: Point) {
        if matches!(function, Aggregate::Distinct | Aggregate::CountDistinct) {
            let next = self.points.len();
            let seen = self.seen.get_or_insert_default();
            let index = *seen.entry(bits(&point.value)).or_insert(next);
            if index < next {
                let first = &mut self.points[index].timestamp;
                *first = point.timestamp.min(*first);
                return;
            }
        }
        self.points.push(point);
    }

    /// What the window gives.
    pub fn finish(self, function: &Aggregate) -> Vec<Point> {
        let mut points = self.points;
        let Some(first) = points.first() else {
            return Vec::new();
        };
        let start = first.timestamp;
        match function {
            Aggregate::Median => median(&points)
                .map(|value| Point::new(start, FieldValue::Float(value)))
                .into_iter()
                .collect(),
            Aggregate::Percentile(percent) => {
                points.sort_by(by_value_and_time);
                rank(points.len(), *percent)
                    .map(|rank| points.swap_remove(rank))
                    .into_iter()
                    .collect()
            }
            Aggregate::CountDistinct => {
                let count = i64::try_from(points.len()).unwrap_or(i64::MAX);
                vec![Point::new(start, FieldValue::Integer(count))]
            }
            Aggregate::Distinct => {
                points.sort_by(|a, b| {
                    let by_time = a.timestamp.cmp(&b.timestamp);
                    by_time.then_with(|| compare(&a.value, &b.value))
                });
                points
            }
            _ => mode(points).into_iter().collect(),
        }
    }

    /// Memory it holds, in bytes, about.
    pub fn size_bytes(&self) -> usize {
        let each = if self.seen.is_some() { 2 } else { 1 };
        self.points.capacity() * size_of::<Point>() * each
    }
}

/// The middle of the numbers, or between the two in the middle.
fn median(points: &[Point]) -> Option<f64> {
    let mut values: Vec<f64> = points
        .iter()
        .filter_map(|point| as_float(&point.value))
        .collect();
    if values.is_empty() {
        return None;
    }
    let middle = values.len() / 2;
    let even = values.len().is_multiple_of(2);
    let (below, high, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    if !even {
        return Some(*high);
    }
    let low = below.iter().copied().max_by(f64::total_cmp)?;
    Some(low + (*high - low) / 2.0)
}

/// The index of the percentile among `count` sorted values.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the rank is checked against the count before it becomes an index"
)]
fn rank(count: usize, percent: f64) -> Option<usize> {
    let rank = (count as f64 * percent / 100.0 + 0.5).floor() - 1.0;
    if percent > 100.0 {
        return count.checked_sub(1);
    }
    (rank >= 0.0 && rank < count as f64).then_some(rank as usize)
}

/// The most frequent value. Runs of equal values are looked at from the smallest on; a run as long
/// as the best replaces it when it begins no later than the best ended.
fn mode(mut points: Vec<Point>) -> Option<Point> {
    if let Some(value) = mode_of_booleans(&points) {
        return Some(Point::new(
            points.first()?.timestamp,
            FieldValue::Boolean(value),
        ));
    }
    points.sort_by(by_value_and_time);
    let mut best: Option<(usize, i64, usize)> = None;
    let mut start = 0;
    while start < points.len() {
        let same = |point: &Point| compare(&point.value, &points[start].value).is_eq();
        let length = points[start..]
            .iter()
            .take_while(|point| same(point))
            .count();
        let (begins, ends) = (
            points[start].timestamp,
            points[start + length - 1].timestamp,
        );
        let better = match best {
            None => true,
            Some((count, end, _)) => {
                length > 1 && (length > count || length == count && begins <= end)
            }
        };
        if better {
            best = Some((length, ends, start));
        }
        start += length;
    }
    let (_, _, index) = best?;
    Some(points.swap_remove(index))
}

/// Whether true is at least as frequent as false; `None` for what are no booleans.
fn mode_of_booleans(points: &[Point]) -> Option<bool> {
    let mut surplus = 0_i64;
    for point in points {
        match point.value {
            FieldValue::Boolean(true) => surplus += 1,
            FieldValue::Boolean(false) => surplus -= 1,
            _ => return None,
        }
    }
    Some(surplus >= 0)
}

fn by_value_and_time(a: &Point, b: &Point) -> Ordering {
    compare(&a.value, &b.value).then(a.timestamp.cmp(&b.timestamp))
}
