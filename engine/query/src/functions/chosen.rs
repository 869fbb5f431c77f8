//! Functions that choose a few points of their window: top, bottom, sample.

#![expect(clippy::wildcard_enum_match_arm, reason = "what is not bottom is top")]

use std::cmp::Ordering;

use silverback_storage::model::FieldValue;

use crate::functions::Point;
use crate::functions::aggregate::{Aggregate, compare};

/// The points chosen so far, and enough to choose on. Holds at most about twice as many as asked.
#[derive(Clone, Debug, Default)]
pub struct Chosen {
    points: Vec<Point>,
    seen: u64,
    random: u64,
}

/// Points beyond the wanted ones that are let in before the worst are thrown out.
const SLACK: usize = 64;

impl Chosen {
    /// Takes one more point.
    pub fn push(&mut self, function: &Aggregate, point: Point) {
        self.seen += 1;
        match function {
            Aggregate::Top { by, .. } | Aggregate::Bottom { by, .. } if !by.is_empty() => {
                self.push_best_of_its_kind(function, by, point);
            }
            Aggregate::Top { count, .. } | Aggregate::Bottom { count, .. } => {
                self.points.push(point);
                if self.points.len() >= count.saturating_mul(2).saturating_add(SLACK) {
                    self.keep_best(function, *count);
                }
            }
            Aggregate::Sample(count) => self.push_sample(*count, point),
            _ => self.points.push(point),
        }
    }

    fn push_best_of_its_kind(&mut self, function: &Aggregate, by: &[usize], point: Point) {
        let kind = |point: &Point, index: &usize| -> Option<FieldValue> {
            point
                .beside
                .as_ref()
                .and_then(|beside| beside.get(*index).cloned().flatten())
        };
        let same = |other: &Point| {
            by.iter()
                .all(|index| kind(other, index) == kind(&point, index))
        };
        match self.points.iter_mut().find(|other| same(other)) {
            Some(best) if better(function, &point, best).is_lt() => *best = point,
            Some(_) => {}
            None => self.points.push(point),
        }
    }

    fn keep_best(&mut self, function: &Aggregate, count: usize) {
        self.points.sort_by(|a, b| better(function, a, b));
        self.points.truncate(count);
    }

    /// Every point has the same chance to stay (Vitter 1985, algorithm R). The numbers are the same
    /// in every run: an answer can be had again.
    fn push_sample(&mut self, count: usize, point: Point) {
        if self.points.len() < count {
            self.points.push(point);
            return;
        }
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let place = usize::try_from(mixed % self.seen).unwrap_or(usize::MAX);
        if let Some(old) = self.points.get_mut(place) {
            *old = point;
        }
    }

    /// The chosen points in order of time.
    pub fn finish(mut self, function: &Aggregate) -> Vec<Point> {
        if let Aggregate::Top { count, .. } | Aggregate::Bottom { count, .. } = function {
            self.keep_best(function, *count);
        }
        self.points.sort_by_key(|point| point.timestamp);
        self.points
    }

    /// Memory it holds, in bytes, about.
    pub fn size_bytes(&self) -> usize {
        self.points.capacity() * size_of::<Point>()
    }
}

/// Better first: larger (for `bottom` smaller), then earlier.
fn better(function: &Aggregate, a: &Point, b: &Point) -> Ordering {
    let by_value = compare(&a.value, &b.value);
    let by_value = match function {
        Aggregate::Bottom { .. } => by_value,
        _ => by_value.reverse(),
    };
    by_value.then(a.timestamp.cmp(&b.timestamp))
}
