//! Forecasts a series by the damped multiplicative method of Holt and Winters.
//!
//! # Source
//! Winters 1960, "Forecasting sales by exponentially weighted moving averages", damped after
//! Gardner and `McKenzie` 1985. Starts, bounds and the search for parameters are `InfluxDB`'s.

use silverback_storage::model::{FieldType, FieldValue};

use crate::functions::simplex::minimise;
use crate::functions::{Point, as_float};

/// The search ends when the errors at the corners of the simplex deviate less.
const EPSILON: f64 = 1e-4;

/// Each of the four weights is tried from both.
const GUESSES: [f64; 2] = [0.3, 0.7];

/// Buckets that a forecast may span, missing ones included.
const BUCKETS_MAX: i64 = 1 << 20;

/// What is forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoltWinters {
    /// How many points.
    pub count: usize,
    /// How many points a season has; below 2: there is none.
    pub season: usize,
    /// Also the fit to the points there are.
    pub with_fit: bool,
    /// Distance of the points, ns.
    pub interval_ns: i64,
}

/// Whether values of this type can be forecast.
pub fn takes(field_type: FieldType) -> bool {
    matches!(
        field_type,
        FieldType::Float | FieldType::Integer | FieldType::Unsigned
    )
}

#[expect(clippy::cast_precision_loss, reason = "seasons are far below 2^53")]
fn float(count: usize) -> f64 {
    count as f64
}

impl HoltWinters {
    /// The forecast of `points`, which are in order of time; empty where they are too few.
    /// Cost: sixteen searches of at most 1000 steps, each step over all points.
    pub fn forecast(&self, points: &[Point]) -> Vec<Point> {
        let (Some(first), Some(last)) = (points.first(), points.last()) else {
            return Vec::new();
        };
        if points.len() < 2 || (self.is_seasonal() && points.len() < self.season) {
            return Vec::new();
        }
        let Some(values) = self.regular(points) else {
            return Vec::new();
        };
        let model = Model {
            seasonal: self.is_seasonal(),
            values: &values,
        };
        let mut parameters = model.fit(self.season);
        let all = model.predict(self.count, &mut parameters);
        let (start, skip) = if self.with_fit {
            (first.timestamp, 0)
        } else {
            (
                last.timestamp.saturating_add(self.interval_ns),
                values.len(),
            )
        };
        all.iter()
            .skip(skip)
            .scan(start, |at, value| {
                let own = *at;
                *at = at.saturating_add(self.interval_ns);
                Some((own, *value))
            })
            .filter(|(_, value)| !value.is_nan())
            .map(|(at, value)| Point::new(at, FieldValue::Float(value)))
            .collect()
    }

    fn is_seasonal(&self) -> bool {
        self.season >= 2
    }

    /// The nearest multiple of the interval, halves down.
    fn rounded(&self, at: i64) -> i64 {
        let up = i64::from(at % self.interval_ns > self.interval_ns / 2);
        (at / self.interval_ns)
            .saturating_add(up)
            .saturating_mul(self.interval_ns)
    }

    /// One value for each interval, NaN where there is none; `None` where there are too many.
    fn regular(&self, points: &[Point]) -> Option<Vec<f64>> {
        let (first, last) = (points.first()?, points.last()?);
        let mut at = self.rounded(first.timestamp);
        let count = self.rounded(last.timestamp).checked_sub(at)? / self.interval_ns;
        if count <= 0 || count > BUCKETS_MAX {
            return None;
        }
        let mut values = vec![as_float(&first.value)?];
        for point in points.get(1..)? {
            let rounded = self.rounded(point.timestamp);
            if rounded <= at {
                continue;
            }
            at += self.interval_ns;
            while at < rounded {
                values.push(f64::NAN);
                at += self.interval_ns;
            }
            values.push(as_float(&point.value)?);
        }
        Some(values)
    }
}

/// The recursion over given values. Parameters: the weights of level, trend, season and damping,
/// the first level, the first trend, and the seasons.
struct Model<'values> {
    seasonal: bool,
    values: &'values [f64],
}

/// Where the seasons begin among the parameters.
const SEASONS: usize = 6;

impl Model<'_> {
    fn start(&self, season: usize) -> Vec<f64> {
        let values = self.values;
        let mut parameters = vec![0.0; SEASONS];
        if !self.seasonal {
            parameters[4] = 0.5 * values[0];
            if let Some(second) = values.get(1).filter(|second| !second.is_nan()) {
                parameters[5] = 0.5 * (second - values[0]);
            }
            return parameters;
        }
        let mut level = 0.0;
        let mut trend = 0.0;
        for (index, value) in values.iter().enumerate().take(season) {
            if value.is_nan() {
                continue;
            }
            level += (1.0 / float(season)) * value;
            if let Some(next) = values.get(season + index).filter(|next| !next.is_nan()) {
                trend += 1.0 / float(season * season) * (next - value);
            }
        }
        parameters[4] = level;
        parameters[5] = trend;
        for index in 0..season {
            let value = values.get(index).copied().unwrap_or(f64::NAN);
            parameters.push(if value.is_nan() { 0.0 } else { value / level });
        }
        parameters
    }

    fn fit(&self, season: usize) -> Vec<f64> {
        let mut start = self.start(season);
        let mut best: Option<(f64, Vec<f64>)> = None;
        for guess in 0..16 {
            for (index, place) in [8, 4, 2, 1].into_iter().enumerate() {
                start[index] = GUESSES[usize::from(guess & place != 0)];
            }
            let mut objective = |parameters: &mut [f64]| self.error(parameters);
            let (error, parameters) = minimise(&mut objective, &start, EPSILON);
            if best.as_ref().is_none_or(|(least, _)| error < *least) {
                best = Some((error, parameters));
            }
        }
        best.map(|(_, parameters)| parameters).unwrap_or(start)
    }

    /// The sum of squared errors; missing values have none.
    fn error(&self, parameters: &mut [f64]) -> f64 {
        let fitted = self.predict(0, parameters);
        let mut sum = 0.0;
        for (fit, value) in fitted.iter().zip(self.values) {
            if value.is_nan() {
                continue;
            }
            if fit.is_nan() {
                return f64::INFINITY;
            }
            let difference = fit - value;
            sum += difference * difference;
        }
        sum
    }

    /// The fit and `count` values behind it. Moves the weights into 0 to 1, and leaves the seasons
    /// as they are at the end: the search goes on from there.
    fn predict(&self, count: usize, parameters: &mut [f64]) -> Vec<f64> {
        for weight in &mut parameters[..4] {
            *weight = weight.clamp(0.0, 1.0);
        }
        let (weights, seasons) = parameters.split_at_mut(SEASONS);
        let [alpha, beta, gamma, phi, mut level, mut trend] = *weights else {
            return Vec::new();
        };
        let mut damping = phi;
        let mut predicted = Vec::with_capacity(self.values.len() + count);
        predicted.push(self.values[0]);
        let mut last = self.values[0];
        let length = seasons.len();
        for step in 1..self.values.len() + count {
            let (mut own, mut ahead) = (1.0, 1.0);
            if self.seasonal {
                // The ring turns by one with each step, from the last season on.
                let base = 2 * step - 2;
                own = seasons[base % length];
                ahead = seasons[(base + step % length) % length];
            }
            let carried = level + phi * trend;
            let new_level = alpha * (last / own) + (1.0 - alpha) * carried;
            let new_trend = beta * (new_level - level) + (1.0 - beta) * phi * trend;
            let new_season = gamma * (last / carried) + (1.0 - gamma) * own;
            last = (new_level + damping * new_trend) * ahead;
            (level, trend) = (new_level, new_trend);
            damping += power(phi, step);
            if self.seasonal {
                seasons[(2 * step + length - 2) % length] = new_season;
            }
            predicted.push(last);
        }
        predicted
    }
}

/// `base` to the power of `exponent`, by squaring with the binary exponent apart: the search stops
/// where the last bits say, so that these must be `InfluxDB`'s.
fn power(base: f64, exponent: usize) -> f64 {
    let zero_or_odd = !base.is_normal() || base < 0.0;
    if zero_or_odd || exponent == 0 {
        return base.powf(float(exponent));
    }
    let (mut square, mut square_exponent) = split(base);
    let (mut result, mut result_exponent) = (1.0, 0_i64);
    let mut rest = exponent;
    while rest != 0 {
        if rest & 1 == 1 {
            result *= square;
            result_exponent += square_exponent;
        }
        square *= square;
        square_exponent *= 2;
        if square < 0.5 {
            square += square;
            square_exponent -= 1;
        }
        rest >>= 1;
        if square_exponent.abs() > 1 << 40 {
            return base.powf(float(exponent));
        }
    }
    let exponent = i32::try_from(result_exponent.clamp(-1100, 1100)).unwrap_or(0);
    // In two steps, so that the power of two itself does not run out of range.
    result * 2_f64.powi(exponent / 2) * 2_f64.powi(exponent - exponent / 2)
}

/// A normal positive number as a fraction from 0.5 to 1 and the power of two it is times.
fn split(value: f64) -> (f64, i64) {
    let bits = value.to_bits();
    let exponent = i64::try_from((bits >> 52) & 0x7ff).unwrap_or(0) - 1022;
    (f64::from_bits(bits & !(0x7ff << 52) | 1022 << 52), exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60;

    fn points(values: &[f64]) -> Vec<Point> {
        let at = (1_600_000_000 - 40..).step_by(60);
        let point = |(at, value): (i64, &f64)| Point::new(at, FieldValue::Float(*value));
        at.zip(values).map(point).collect()
    }

    const HW: [f64; 9] = [1.0, 3.0, 2.0, 2.0, 4.0, 3.0, 3.0, 5.0, 4.0];

    fn near(points: &[Point], expected: &[(i64, f64)]) {
        assert_eq!(points.len(), expected.len());
        for (point, (at, value)) in points.iter().zip(expected) {
            let got = as_float(&point.value).unwrap();
            assert_eq!(point.timestamp - 1_600_000_000, *at);
            assert!((got / value - 1.0).abs() < 1e-12, "{got} for {value}");
        }
    }

    #[test]
    fn a_season_of_three_goes_on_as_influxdb_says() {
        let forecast = HoltWinters {
            count: 3,
            season: 3,
            with_fit: false,
            interval_ns: MINUTE,
        };
        let expected = [
            (500, 4.448_536_146_230_883),
            (560, 5.225_141_768_401_337),
            (620, 5.129_476_195_732_585),
        ];
        near(&forecast.forecast(&points(&HW)), &expected);
    }

    #[test]
    fn without_a_season_too() {
        let forecast = HoltWinters {
            count: 2,
            season: 0,
            with_fit: false,
            interval_ns: MINUTE,
        };
        let expected = [(500, 4.823_337_357_543_686), (560, 5.302_565_347_407_503)];
        near(&forecast.forecast(&points(&HW)), &expected);
    }

    #[test]
    fn the_fit_starts_at_the_first_point_and_two_points_are_needed() {
        let forecast = HoltWinters {
            count: 2,
            season: 0,
            with_fit: true,
            interval_ns: MINUTE,
        };
        let fit = forecast.forecast(&points(&HW));
        assert_eq!(fit.len(), 11);
        assert_eq!(fit[0].value, FieldValue::Float(1.0));
        assert!(forecast.forecast(&points(&HW[..1])).is_empty());
    }
}
