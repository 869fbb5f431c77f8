//! Functions that choose a few points of their window: top, bottom, sample.

#![expect(clippy::wildcard_enum_match_arm, reason = "what is not bottom is top")]

use std::cmp::Ordering;

use hashbrown::HashMap;
use silverback_storage::model::FieldValue;

use crate::functions::Point;
use crate::functions::aggregate::{Aggregate, compare};
use crate::functions::kept::{Bits, bits};

/// The points chosen so far, and enough to choose on. Holds at most about twice as many as asked.
#[derive(Clone, Debug, Default)]
pub struct Chosen {
    points: Vec<Point>,
    /// Where the best point of each kind is.
    kinds: HashMap<Kind, usize, foldhash::fast::FixedState>,
    seen: u64,
    random: u64,
}

/// The values that a function tells points apart by.
type Kind = Box<[Option<Bits>]>;

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

    /// Whether a point that stands in `row` may be among the chosen ones.
    pub fn wants(
        &self,
        function: &Aggregate,
        (timestamp, value): (i64, &FieldValue),
        row: &[Option<FieldValue>],
    ) -> bool {
        match function {
            Aggregate::Top { by, .. } | Aggregate::Bottom { by, .. } if !by.is_empty() => {
                let best = self
                    .kinds
                    .get(&kind(by, row))
                    .map(|place| &self.points[*place]);
                best.is_none_or(|best| {
                    let best = (best.timestamp, &best.value);
                    better(function, (timestamp, value), best).is_lt()
                })
            }
            _ => true,
        }
    }

    fn push_best_of_its_kind(&mut self, function: &Aggregate, by: &[usize], point: Point) {
        let kind = kind(by, point.beside.as_deref().unwrap_or_default());
        if let Some(place) = self.kinds.get(&kind) {
            let best = &mut self.points[*place];
            let new = (point.timestamp, &point.value);
            if better(function, new, (best.timestamp, &best.value)).is_lt() {
                *best = point;
            }
            return;
        }
        self.kinds.insert(kind, self.points.len());
        self.points.push(point);
    }

    fn keep_best(&mut self, function: &Aggregate, count: usize) {
        self.points
            .sort_by(|a, b| better(function, (a.timestamp, &a.value), (b.timestamp, &b.value)));
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
        self.points.capacity() * size_of::<Point>() + self.kinds.capacity() * size_of::<Kind>() * 2
    }
}

/// The values that tell one kind of point from another.
fn kind(by: &[usize], row: &[Option<FieldValue>]) -> Kind {
    let value = |index: &usize| row.get(*index).and_then(Option::as_ref).map(bits);
    by.iter().map(value).collect()
}

/// Better first: larger (for `bottom` smaller), then earlier.
fn better(function: &Aggregate, a: (i64, &FieldValue), b: (i64, &FieldValue)) -> Ordering {
    let by_value = compare(a.1, b.1);
    let by_value = match function {
        Aggregate::Bottom { .. } => by_value,
        _ => by_value.reverse(),
    };
    by_value.then(a.0.cmp(&b.0))
}
