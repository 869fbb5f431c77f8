//! Many series of a few points: ten tags, one integer gauge.

use std::fmt::Write as _;

use super::{Bodies, Load, devops};
use crate::{Random, START_NS, STEP_NS};

fn many(series: usize, points: usize) -> Load {
    let mut random = Random(29);
    let keys: Vec<String> = (0..series)
        .map(|host| devops::key(host, &mut random))
        .collect();
    let mut out = Bodies::default();
    for point in (0_i64..).take(points) {
        let time = START_NS + point * STEP_NS;
        for key in &keys {
            let value = random.below(101);
            writeln!(out.line(1), "{key} usage_user={value}i {time}").expect("a string takes all");
        }
    }
    out.finish(series)
}

pub(super) fn series_2e5(divisor: usize) -> Load {
    many(200_000 / divisor, 5)
}

pub(super) fn series_1e6(divisor: usize) -> Load {
    many(1_000_000 / divisor, 3)
}
