//! One kind of value at a time: full doubles, strings and booleans, times with jitter.

use std::fmt::Write as _;

use super::{Bodies, Load};
use crate::{Random, START_NS, STEP_NS};

/// 100 sensors of ten doubles of 52 random bits.
pub(super) fn doubles(divisor: usize) -> Load {
    let mut random = Random(17);
    let mut out = Bodies::default();
    for step in (0_i64..).take(7200 / divisor) {
        let time = START_NS + step * STEP_NS;
        for sensor in 0..100 {
            let line = out.line(10);
            write!(line, "sensor,id=s{sensor} ").expect("a string takes all");
            for field in 0..10 {
                let (separator, value) = (if field == 0 { "" } else { "," }, random.unit());
                write!(line, "{separator}f{field}={value}").expect("a string takes all");
            }
            writeln!(line, " {time}").expect("a string takes all");
        }
    }
    out.finish(100)
}

/// 100 services that log: a line of text, a state, an id and a boolean each.
pub(super) fn strings(divisor: usize) -> Load {
    let mut random = Random(19);
    let mut out = Bodies::default();
    for step in (0_i64..).take(10_000 / divisor) {
        let time = START_NS + step * STEP_NS;
        for service in 0..100 {
            let verb = random.choose(&["GET", "POST", "DELETE"]);
            let state = random.choose(&["running", "running", "running", "stopped"]);
            let (user, micros) = (random.below(10_000), random.below(5_000));
            let (id, ok) = (random.bits(), random.below(50) != 0);
            let line = out.line(4);
            writeln!(
                line,
                "log,service=s{service} message=\"{verb} /api/v2/users/{user}/items, {micros} us\",\
                 state=\"{state}\",id=\"{id:016x}\",ok={ok} {time}"
            )
            .expect("a string takes all");
        }
    }
    out.finish(100)
}

/// 200 hosts of four integer gauges whose times are off by up to 2 ms, in nanoseconds.
pub(super) fn jitter(divisor: usize) -> Load {
    let mut random = Random(23);
    let hosts = 200;
    let mut values = vec![[50.0_f64; 4]; hosts];
    let mut out = Bodies::default();
    for step in (0_i64..).take(6000 / divisor) {
        for (host, values) in values.iter_mut().enumerate() {
            let off = random.below(4_000_001).cast_signed() - 2_000_000;
            let time = START_NS + step * STEP_NS + off;
            for value in values.iter_mut() {
                *value = (*value + random.normal()).clamp(0.0, 100.0);
            }
            let [a, b, c, d] = values.map(f64::trunc);
            let line = out.line(4);
            writeln!(
                line,
                "probe,host=h{host} a={a}i,b={b}i,c={c}i,d={d}i {time}"
            )
            .expect("a string takes all");
        }
    }
    out.finish(hosts)
}
