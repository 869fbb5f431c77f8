//! The area under the points, by trapezoids; at the edges of windows values are interpolated.

use silverback_storage::model::{FieldType, FieldValue};

use crate::functions::{Point, as_float};

/// Where a window starts and ends in the direction of the points, ns UTC.
pub type Edges<'a> = dyn Fn(i64) -> (i64, i64) + 'a;

/// Whether there is an area under values of this type.
pub fn takes(field_type: FieldType) -> bool {
    matches!(
        field_type,
        FieldType::Float | FieldType::Integer | FieldType::Unsigned
    )
}

/// An area under way. Points come in order of time, or all in the reverse of it.
#[derive(Clone, Debug)]
pub struct Integral {
    unit_ns: i64,
    windowed: bool,
    sum: f64,
    last: Option<(i64, f64)>,
    window: (i64, i64),
}

#[expect(clippy::cast_precision_loss, reason = "an area is a float")]
fn span(from: i64, to: i64) -> f64 {
    (i128::from(to) - i128::from(from)) as f64
}

impl Integral {
    /// Nothing yet. `windowed`: there is one area for each window, else one in all.
    pub fn new(unit_ns: i64, windowed: bool) -> Integral {
        Integral {
            unit_ns,
            windowed,
            sum: 0.0,
            last: None,
            window: (0, 0),
        }
    }

    /// Takes the next point; gives the area of the window it leaves behind.
    pub fn push(&mut self, point: &Point, edges: &Edges<'_>) -> Option<Point> {
        let (at, value) = (point.timestamp, as_float(&point.value)?);
        let Some((last_at, last_value)) = self.last else {
            self.last = Some((at, value));
            self.window = edges(at);
            return None;
        };
        if last_at == at {
            self.last = Some((at, value));
            return None;
        }
        let ascending = self.window.0 <= self.window.1;
        let outside = if ascending {
            at >= self.window.1
        } else {
            at <= self.window.1
        };
        if !(self.windowed && outside) {
            self.add((last_at, last_value), (at, value));
            return None;
        }
        let edge = self.window.1;
        let mut from = (last_at, last_value);
        if last_at != edge {
            let part = span(last_at, edge) / span(last_at, at);
            let between = last_value + (value - last_value) * part;
            self.add(from, (edge, between));
            from = (edge, between);
        }
        let area = Point::new(self.window.0, FieldValue::Float(self.sum));
        self.sum = 0.0;
        self.window = edges(at);
        self.add(from, (at, value));
        Some(area)
    }

    fn add(&mut self, from: (i64, f64), to: (i64, f64)) {
        let elapsed = span(from.0, to.0) / span(0, self.unit_ns);
        self.sum += 0.5 * (from.1 + to.1) * elapsed;
        self.last = Some(to);
    }

    /// The area of the last window; none where its only point is its start.
    pub fn finish(self) -> Option<Point> {
        let (at, _) = self.last?;
        if self.windowed && at == self.window.0 {
            return None;
        }
        Some(Point::new(self.window.0, FieldValue::Float(self.sum)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(windowed: bool, points: &[(i64, f64)]) -> Vec<(i64, FieldValue)> {
        let edges = |at: i64| {
            let start = if windowed {
                (at + 40).div_euclid(60) * 60 - 40
            } else {
                0
            };
            (start, start + 60)
        };
        let mut state = Integral::new(1, windowed);
        let mut areas = Vec::new();
        for (at, value) in points {
            areas.extend(state.push(&Point::new(*at, FieldValue::Float(*value)), &edges));
        }
        areas.extend(state.finish());
        areas
            .into_iter()
            .map(|point| (point.timestamp, point.value))
            .collect()
    }

    const USAGE: [(i64, f64); 6] = [
        (0, 10.0),
        (10, 20.0),
        (20, 15.0),
        (50, 30.0),
        (60, 25.0),
        (90, 25.0),
    ];

    #[test]
    fn the_area_is_a_sum_of_trapezoids() {
        assert_eq!(run(false, &USAGE), [(0, FieldValue::Float(2025.0))]);
    }

    #[test]
    fn windows_meet_at_interpolated_values() {
        let expected = [(-40, 325.0), (20, 1450.0), (80, 250.0)];
        assert_eq!(
            run(true, &USAGE),
            expected.map(|(at, area)| (at, FieldValue::Float(area)))
        );
    }

    #[test]
    fn a_last_point_on_an_edge_makes_no_window() {
        assert_eq!(
            run(true, &[(10, 1.0), (20, 1.0)]),
            [(-40, FieldValue::Float(10.0))]
        );
    }
}
