//! Minimises a function of many numbers without its derivatives.
//!
//! # Source
//! Nelder and Mead 1965, "A simplex method for function minimization", in the variant that
//! `InfluxDB` uses, so that forecasts agree with its.

/// Steps before giving up.
const STEPS_MAX: usize = 1000;

/// What is minimised. It may move the numbers it is given back into their bounds, and the simplex
/// goes on from where it moved them.
pub(super) type Objective<'a> = dyn FnMut(&mut [f64]) -> f64 + 'a;

struct Simplex {
    corners: Vec<Vec<f64>>,
    values: Vec<f64>,
}

#[expect(clippy::cast_precision_loss, reason = "a handful of parameters")]
fn float(count: usize) -> f64 {
    count as f64
}

/// The least value found near `start`, and where it is. Ends when the values at the corners
/// deviate less than `epsilon`.
pub(super) fn minimise(
    objective: &mut Objective<'_>,
    start: &[f64],
    epsilon: f64,
) -> (f64, Vec<f64>) {
    let mut simplex = Simplex::around(objective, start);
    for _ in 0..STEPS_MAX {
        simplex.step(objective);
        if simplex.deviation() < epsilon {
            break;
        }
    }
    let best = simplex.best();
    let mut corner = simplex.corners.swap_remove(best);
    let place = corner.clone();
    (objective(&mut corner), place)
}

impl Simplex {
    fn around(objective: &mut Objective<'_>, start: &[f64]) -> Simplex {
        let count = float(start.len());
        let root = (count + 1.0).sqrt();
        let far = (root - 1.0 + count) / (count * std::f64::consts::SQRT_2);
        let near = (root - 1.0) / (count * std::f64::consts::SQRT_2);
        let mut corners = vec![start.to_vec()];
        for own in 0..start.len() {
            let shift = |axis| if axis == own { far } else { near };
            corners.push(
                start
                    .iter()
                    .enumerate()
                    .map(|(axis, x)| shift(axis) + x)
                    .collect(),
            );
        }
        let values = corners.iter_mut().map(|corner| objective(corner)).collect();
        Simplex { corners, values }
    }

    fn best(&self) -> usize {
        let mut best = 0;
        for (index, value) in self.values.iter().enumerate() {
            if *value < self.values[best] {
                best = index;
            }
        }
        best
    }

    fn worst(&self) -> usize {
        let mut worst = 0;
        for (index, value) in self.values.iter().enumerate() {
            if *value > self.values[worst] {
                worst = index;
            }
        }
        worst
    }

    /// The worst but one.
    fn second(&self, best: usize, worst: usize) -> usize {
        let mut second = best;
        for (index, value) in self.values.iter().enumerate() {
            if *value > self.values[second] && *value < self.values[worst] {
                second = index;
            }
        }
        second
    }

    /// The middle of all corners but the worst.
    fn middle(&self, worst: usize) -> Vec<f64> {
        let others = self.corners.len() - 1;
        (0..others)
            .map(|axis| {
                let mut sum = 0.0;
                for (index, corner) in self.corners.iter().enumerate() {
                    if index != worst {
                        sum += corner[axis];
                    }
                }
                sum / float(others)
            })
            .collect()
    }

    fn step(&mut self, objective: &mut Objective<'_>) {
        let (best, worst) = (self.best(), self.worst());
        let second = self.second(best, worst);
        let middle = self.middle(worst);
        let mut reflected: Vec<f64> = middle
            .iter()
            .zip(&self.corners[worst])
            .map(|(m, w)| m + (m - w))
            .collect();
        let value = objective(&mut reflected);
        let (to_second, to_best) = (self.values[second], self.values[best]);
        if value < to_best {
            let mut expanded: Vec<f64> = middle
                .iter()
                .zip(&reflected)
                .map(|(m, r)| m + 2.0 * (r - m))
                .collect();
            let further = objective(&mut expanded);
            if further < value {
                self.replace(worst, expanded, further);
            } else {
                self.replace(worst, reflected.clone(), value);
            }
        } else if value < to_second {
            self.replace(worst, reflected.clone(), value);
        }
        if value >= self.values[second] {
            self.contract(
                objective,
                &middle,
                &(reflected, value),
                (best, worst, second),
            );
        }
    }

    fn contract(
        &mut self,
        objective: &mut Objective<'_>,
        middle: &[f64],
        reflected: &(Vec<f64>, f64),
        (best, worst, second): (usize, usize, usize),
    ) {
        let (reflected, value) = reflected;
        let outside = *value < self.values[worst];
        let mut contracted: Vec<f64> = if outside {
            middle
                .iter()
                .zip(reflected)
                .map(|(m, r)| m + 0.5 * (r - m))
                .collect()
        } else {
            middle
                .iter()
                .zip(&self.corners[worst])
                .map(|(m, w)| m - 0.5 * (m - w))
                .collect()
        };
        let value = objective(&mut contracted);
        if value < self.values[worst] {
            self.replace(worst, contracted, value);
            return;
        }
        let anchor = self.corners[best].clone();
        for (index, corner) in self.corners.iter_mut().enumerate() {
            if index != best {
                for (x, anchor) in corner.iter_mut().zip(&anchor) {
                    *x = anchor + (*x - anchor) / 2.0;
                }
            }
        }
        self.values[worst] = objective(&mut self.corners[worst]);
        self.values[second] = objective(&mut self.corners[second]);
    }

    fn replace(&mut self, index: usize, corner: Vec<f64>, value: f64) {
        self.corners[index] = corner;
        self.values[index] = value;
    }

    fn deviation(&self) -> f64 {
        let mean = self.values.iter().sum::<f64>() / float(self.values.len());
        let others = float(self.values.len() - 1);
        let squares: f64 = self
            .values
            .iter()
            .map(|value| (value - mean).powi(2) / others)
            .sum();
        squares.sqrt()
    }
}
