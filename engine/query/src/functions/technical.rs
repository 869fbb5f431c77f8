//! Indicators of technical analysis: running averages and their kin.

/// How an average starts before it has seen a whole period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Warmup {
    /// With a weight of `2 / (count + 1)` for the newest value.
    #[default]
    Exponential,
    /// As the plain mean of what there is.
    Simple,
}

/// Which indicator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indicator {
    /// Average that forgets exponentially.
    Exponential,
    /// `2 e1 - e2`, with `e2` the average of the average.
    Double,
    /// `3 e1 - 3 e2 + e3`.
    Triple,
    /// Relative change of `e3`, in percent.
    TripleDerivative,
    /// Share of the rises, in percent.
    RelativeStrength,
    /// Way covered by way walked.
    EfficiencyRatio,
    /// Average whose weight follows the efficiency.
    AdaptiveAverage,
    /// Rises less falls by both, in percent.
    Momentum,
}

impl Indicator {
    /// The indicator called `name`, in lower case.
    pub fn named(name: &str) -> Option<Indicator> {
        Some(match name {
            "exponential_moving_average" => Indicator::Exponential,
            "double_exponential_moving_average" => Indicator::Double,
            "triple_exponential_moving_average" => Indicator::Triple,
            "triple_exponential_derivative" => Indicator::TripleDerivative,
            "relative_strength_index" => Indicator::RelativeStrength,
            "kaufmans_efficiency_ratio" => Indicator::EfficiencyRatio,
            "kaufmans_adaptive_moving_average" => Indicator::AdaptiveAverage,
            "chande_momentum_oscillator" => Indicator::Momentum,
            _ => return None,
        })
    }
}

/// An indicator with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Technical {
    /// Which.
    pub indicator: Indicator,
    /// Over how many values; at least 1.
    pub period: usize,
    /// How many values pass before the first result; `None`: as many as it needs to be warm.
    pub hold: Option<usize>,
    /// How averages start; `None`: as the indicator does by itself.
    pub warmup: Option<Warmup>,
}

/// An average that forgets.
#[derive(Clone, Copy, Debug)]
struct Average {
    period: usize,
    alpha: f64,
    warmup: Warmup,
    count: usize,
    value: f64,
}

#[expect(clippy::cast_precision_loss, reason = "periods are far below 2^53")]
fn float(count: usize) -> f64 {
    count as f64
}

impl Average {
    fn new(period: usize, warmup: Warmup) -> Average {
        Average {
            period,
            alpha: 2.0 / (float(period) + 1.0),
            warmup,
            count: 0,
            value: 0.0,
        }
    }

    fn wilder(period: usize, warmup: Warmup) -> Average {
        Average {
            alpha: 1.0 / float(period),
            ..Average::new(period + 1, warmup)
        }
    }

    fn is_warm(&self) -> bool {
        self.count >= self.period
    }

    fn push(&mut self, value: f64) -> f64 {
        self.value = if self.count == 0 {
            value
        } else if self.is_warm() {
            self.value + (value - self.value) * self.alpha
        } else {
            let weight = match self.warmup {
                Warmup::Exponential => 2.0 / (float(self.count) + 2.0),
                Warmup::Simple => 1.0 / (float(self.count) + 1.0),
            };
            self.value + (value - self.value) * weight
        };
        self.count = (self.count + 1).min(self.period);
        self.value
    }
}

/// The last values of a series and the steps between them.
#[derive(Clone, Debug)]
struct Steps {
    values: Vec<(f64, f64)>,
    place: usize,
    count: usize,
}

impl Steps {
    fn new(period: usize) -> Steps {
        Steps {
            values: vec![(0.0, 0.0); period],
            place: 0,
            count: 0,
        }
    }

    fn last(&self) -> f64 {
        self.values[self.place].0
    }

    /// Takes `value`; gives what it was a period ago, the step to it and the step that falls out.
    fn push(&mut self, value: f64) -> (f64, f64, f64) {
        let step = value - self.last();
        self.place = (self.place + 1) % self.values.len();
        let (old, old_step) = self.values[self.place];
        self.values[self.place] = (value, step);
        self.count += 1;
        (old, step, old_step)
    }
}

/// An indicator under way.
#[derive(Clone, Debug)]
pub struct TechnicalState {
    kind: Indicator,
    warmup: Warmup,
    smoothed: bool,
    averages: [Average; 3],
    steps: Steps,
    ups: f64,
    downs: f64,
    last: f64,
    seen: usize,
    hold: usize,
}

impl Technical {
    /// The state before the first value.
    pub fn start(&self) -> TechnicalState {
        let period = self.period.max(1);
        let warmup = self.warmup.unwrap_or_default();
        let plain = Average::new(period, warmup);
        let first = match self.indicator {
            Indicator::RelativeStrength | Indicator::Momentum => Average::wilder(period, warmup),
            Indicator::Exponential
            | Indicator::Double
            | Indicator::Triple
            | Indicator::TripleDerivative
            | Indicator::EfficiencyRatio
            | Indicator::AdaptiveAverage => plain,
        };
        TechnicalState {
            kind: self.indicator,
            warmup,
            smoothed: self.warmup.is_some(),
            averages: [first; 3],
            steps: Steps::new(period),
            ups: 0.0,
            downs: 0.0,
            last: 0.0,
            seen: 0,
            hold: self.hold.unwrap_or_else(|| self.warm_count(period, warmup)),
        }
    }

    fn warm_count(&self, period: usize, warmup: Warmup) -> usize {
        let one = period - 1;
        let chain = |length: usize| match warmup {
            Warmup::Exponential => one,
            Warmup::Simple => one * length,
        };
        match self.indicator {
            Indicator::Double => chain(2),
            Indicator::Triple => chain(3),
            Indicator::TripleDerivative => chain(3) + 1,
            Indicator::RelativeStrength
            | Indicator::EfficiencyRatio
            | Indicator::AdaptiveAverage => period,
            Indicator::Momentum if self.warmup.is_some() => period,
            Indicator::Exponential | Indicator::Momentum => one,
        }
    }
}

impl TechnicalState {
    /// Takes the next value; gives the indicator once it is warm, unless it is infinite.
    pub fn push(&mut self, value: f64) -> Option<f64> {
        let result = match self.kind {
            Indicator::Exponential => self.averages[0].push(value),
            Indicator::Double => {
                let (e1, e2, _) = self.chain(value, 2);
                2.0 * e1 - e2
            }
            Indicator::Triple => {
                let (e1, e2, e3) = self.chain(value, 3);
                3.0 * e1 - 3.0 * e2 + e3
            }
            Indicator::TripleDerivative => {
                let (_, _, e3) = self.chain(value, 3);
                let rate = 100.0 * (e3 / self.last - 1.0);
                self.last = e3;
                rate
            }
            Indicator::RelativeStrength => self.strength(value),
            Indicator::EfficiencyRatio => self.efficiency(value),
            Indicator::AdaptiveAverage => self.adapt(value),
            Indicator::Momentum => self.momentum(value),
        };
        self.seen += 1;
        (self.seen > self.hold && !result.is_infinite()).then_some(result)
    }

    /// The average, the average of it, and of that. With a simple start each waits for the one
    /// before to be warm.
    fn chain(&mut self, value: f64, length: usize) -> (f64, f64, f64) {
        let mut results = [value; 3];
        let mut input = value;
        let mut flows = true;
        for (index, average) in self.averages.iter_mut().enumerate().take(length) {
            if flows {
                input = average.push(input);
            }
            flows = flows && (average.is_warm() || self.warmup == Warmup::Exponential);
            results[index] = input;
        }
        (results[0], results[1], results[2])
    }

    fn strength(&mut self, value: f64) -> f64 {
        let (up, down) = self.smooth_steps(value);
        100.0 - 100.0 / (1.0 + up / down)
    }

    /// The averages of rises and of falls. The first value rises or falls from zero.
    fn smooth_steps(&mut self, value: f64) -> (f64, f64) {
        let step = value - self.last;
        self.last = value;
        let [up, down, _] = &mut self.averages;
        (up.push(step.max(0.0)), down.push((-step).max(0.0)))
    }

    fn efficiency(&mut self, value: f64) -> f64 {
        let (old, step, old_step) = self.steps.push(value);
        self.ups += step.abs() - old_step.abs();
        let way = (value - old).abs();
        if way > 0.0 && self.ups > 0.0 {
            way / self.ups
        } else {
            0.0
        }
    }

    fn adapt(&mut self, value: f64) -> f64 {
        if self.steps.count <= self.steps.values.len() {
            self.last = self.steps.last();
        }
        let ratio = self.efficiency(value);
        let (fast, slow) = (2.0 / 3.0, 2.0 / 31.0);
        let weight = (ratio * (fast - slow) + slow).powi(2);
        self.last += weight * (value - self.last);
        self.last
    }

    fn momentum(&mut self, value: f64) -> f64 {
        if self.smoothed {
            let (up, down) = self.smooth_steps(value);
            return balance(up, down);
        }
        let (_, step, old_step) = self.steps.push(value);
        let step = if self.steps.count == 1 { 0.0 } else { step };
        let place = self.steps.place;
        self.steps.values[place].1 = step;
        self.ups += step.max(0.0) - old_step.max(0.0);
        self.downs += (-step).max(0.0) - (-old_step).max(0.0);
        balance(self.ups, self.downs)
    }
}

fn balance(up: f64, down: f64) -> f64 {
    let both = up + down;
    if both > 0.0 {
        100.0 * (up - down) / both
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str) -> Vec<f64> {
        let technical = Technical {
            indicator: Indicator::named(name).unwrap(),
            period: 3,
            hold: None,
            warmup: None,
        };
        let mut state = technical.start();
        (1..=10)
            .filter_map(|value| state.push(f64::from(value)))
            .collect()
    }

    fn near(values: &[f64], expected: &[f64]) {
        for (value, expected) in values.iter().zip(expected) {
            assert!(
                (value / expected - 1.0).abs() < 1e-12,
                "{value} for {expected}"
            );
        }
    }

    #[test]
    fn averages_warm_up_with_a_growing_period() {
        let values = run("exponential_moving_average");
        assert_eq!(values.len(), 8);
        near(
            &values,
            &[
                2.333_333_333_333_333,
                3.166_666_666_666_666_5,
                4.083_333_333_333_333,
            ],
        );
        near(
            &run("double_exponential_moving_average"),
            &[2.777_777_777_777_777_7, 3.805_555_555_555_555_4],
        );
        near(
            &run("triple_exponential_moving_average"),
            &[2.925_925_925_925_925_6, 3.976_851_851_851_852],
        );
        near(
            &run("triple_exponential_derivative"),
            &[29.360_465_116_279_077, 30.224_719_101_123_586],
        );
    }

    #[test]
    fn strength_and_adaptive_average_follow_a_straight_line() {
        let strength = run("relative_strength_index");
        assert_eq!(strength.len(), 7);
        near(&strength, &[100.0; 7]);
        let adaptive = run("kaufmans_adaptive_moving_average");
        near(
            &adaptive,
            &[
                3.444_444_444_444_444_6,
                4.135_802_469_135_803,
                4.964_334_705_075_446,
            ],
        );
        near(&run("kaufmans_efficiency_ratio"), &[1.0; 7]);
        near(&run("chande_momentum_oscillator"), &[100.0; 7]);
    }
}
