//! The kinds of columns, one series at a time, from a seed.

use silverback_benches::{Random, START_NS};
use silverback_storage::model::{Strings, Values};

/// A kind of column: its name, the best figure known for it in bytes a value, and its maker.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Bytes a value of the smallest lossless encoding among those compared when the engine was
    /// designed (Gorilla, Chimp, zstd, ALP, pco), each over chunks of 8,192 values.
    pub(crate) best: &'static str,
    pub(crate) make: fn(&mut Random, usize) -> Column,
}

/// One series' values, or its times.
pub(crate) enum Column {
    Values(Values),
    Times(Vec<i64>),
}

pub(crate) const KINDS: [Kind; 18] = [
    kind("cpu_int: walk in 0..=100", "0.283", cpu_int),
    kind("tsbs_ctr: counter, +N(50,1)", "0.284", tsbs_ctr),
    kind("net_ctr: counter of bytes, bursty", "2.130", net_ctr),
    kind("err_ctr: 2 % small increments", "0.029", err_ctr),
    kind("temp_1dec: walk, one decimal", "0.285", temp_1dec),
    kind("disk_2dec: slow walk, two decimals", "0.565", disk_2dec),
    kind("noise_2dec: uniform, two decimals", "1.745", noise_2dec),
    kind("usage_f64: ratio * 100, 16 digits", "1.91", usage_f64),
    kind("random_f64: uniform in 0..1", "6.765", random_f64),
    kind("const", "0.003", constant),
    kind("sparse bool: 0.5 % flips", "0.009", sparse_bool),
    kind("times, regular 10 s", "0.001", times_regular),
    kind("times, 15 s +-3 ms, in ms", "0.492", times_ms),
    kind("times, 10 s +-2 ms, in ns", "2.954", times_ns),
    kind("times, 10 s, 0.5 % gaps", "0.018", times_gaps),
    kind("strings: status, 4 values", "0.256", status),
    kind("strings: log lines", "8.7", log_lines),
    kind("strings: 128-bit hex ids", "16.0", hex_ids),
];

const fn kind(
    name: &'static str,
    best: &'static str,
    make: fn(&mut Random, usize) -> Column,
) -> Kind {
    Kind { name, best, make }
}

/// Uniform in 0..1, of 53 bits.
fn unit(random: &mut Random) -> f64 {
    let bits = u32::try_from(random.bits() >> 37).expect("27 bits");
    let low = u32::try_from(random.bits() >> 38).expect("26 bits");
    (f64::from(bits) * f64::from(1 << 26) + f64::from(low)) / 9_007_199_254_740_992.0
}

/// Normal, of mean 0 and deviation 1.
fn normal(random: &mut Random) -> f64 {
    (0..12).map(|_| unit(random)).sum::<f64>() - 6.0
}

#[expect(clippy::cast_possible_truncation, reason = "made within bounds")]
fn whole(value: f64) -> i64 {
    value as i64
}

fn floats(count: usize, next: impl FnMut() -> f64) -> Column {
    Column::Values(Values::Float(
        std::iter::repeat_with(next).take(count).collect(),
    ))
}

fn integers(count: usize, next: impl FnMut() -> i64) -> Column {
    Column::Values(Values::Integer(
        std::iter::repeat_with(next).take(count).collect(),
    ))
}

fn cpu_int(random: &mut Random, count: usize) -> Column {
    let mut state = unit(random) * 100.0;
    floats(count, || {
        state = (state + normal(random)).clamp(0.0, 100.0);
        state.trunc()
    })
}

fn tsbs_ctr(random: &mut Random, count: usize) -> Column {
    let mut state = unit(random) * 1e6;
    integers(count, || {
        state += 50.0 + normal(random);
        whole(state)
    })
}

fn net_ctr(random: &mut Random, count: usize) -> Column {
    let mut state = whole(unit(random) * 1e12);
    integers(count, || {
        let burst = if random.below(20) == 0 { 3.0 } else { 0.0 };
        state += whole((10.5 + burst + 1.2 * normal(random)).exp());
        state
    })
}

fn err_ctr(random: &mut Random, count: usize) -> Column {
    let mut state = whole(unit(random) * 1e4);
    integers(count, || {
        if random.below(50) == 0 {
            state += 1 + random.below(3).cast_signed();
        }
        state
    })
}

fn temp_1dec(random: &mut Random, count: usize) -> Column {
    let mut state = unit(random) * 40.0;
    floats(count, || {
        state += normal(random) / 10.0;
        (state * 10.0).round() / 10.0
    })
}

fn disk_2dec(random: &mut Random, count: usize) -> Column {
    let mut state = unit(random) * 90.0;
    floats(count, || {
        state += normal(random) / 20.0;
        (state * 100.0).round() / 100.0
    })
}

fn noise_2dec(random: &mut Random, count: usize) -> Column {
    floats(count, || (unit(random) * 10_000.0).round() / 100.0)
}

/// Jiffies in use over jiffies gone by, of which there are a thousand, more or less.
fn usage_f64(random: &mut Random, count: usize) -> Column {
    let mut state = unit(random) * 900.0;
    floats(count, || {
        state = (state + 20.0 * normal(random)).clamp(0.0, 990.0);
        let all = 996.0 + (unit(random) * 8.0).trunc();
        100.0 * state.trunc() / all
    })
}

fn random_f64(random: &mut Random, count: usize) -> Column {
    floats(count, || unit(random))
}

fn constant(random: &mut Random, count: usize) -> Column {
    let value = (unit(random) * 1e4).trunc();
    floats(count, || value)
}

fn sparse_bool(random: &mut Random, count: usize) -> Column {
    let mut state = random.below(2) == 0;
    let next = || {
        state ^= random.below(200) == 0;
        state
    };
    Column::Values(Values::Boolean(
        std::iter::repeat_with(next).take(count).collect(),
    ))
}

fn times(count: usize, step: i64, mut jitter: impl FnMut(&mut i64) -> i64) -> Column {
    let mut time = START_NS;
    let next = || {
        time += step;
        let off = jitter(&mut time);
        time + off
    };
    Column::Times(std::iter::repeat_with(next).take(count).collect())
}

fn times_regular(_: &mut Random, count: usize) -> Column {
    times(count, 10_000_000_000, |_| 0)
}

fn times_ms(random: &mut Random, count: usize) -> Column {
    let mut jitter = |_: &mut i64| (random.below(7).cast_signed() - 3) * 1_000_000;
    times(count, 15_000_000_000, &mut jitter)
}

fn times_ns(random: &mut Random, count: usize) -> Column {
    let mut jitter = |_: &mut i64| random.below(4_000_001).cast_signed() - 2_000_000;
    times(count, 10_000_000_000, &mut jitter)
}

fn times_gaps(random: &mut Random, count: usize) -> Column {
    let mut jitter = |time: &mut i64| {
        if random.below(200) == 0 {
            *time += 10_000_000_000 * (1 + random.below(30).cast_signed());
        }
        0
    };
    times(count, 10_000_000_000, &mut jitter)
}

fn strings(count: usize, mut next: impl FnMut(usize) -> String) -> Column {
    let mut strings = Strings::default();
    for row in 0..count {
        strings.push(next(row).as_bytes());
    }
    Column::Values(Values::String(strings))
}

fn status(random: &mut Random, count: usize) -> Column {
    const STATES: [&str; 4] = ["running", "sleeping", "stopped", "zombie"];
    strings(count, |_| {
        STATES[usize::from(random.bits().to_le_bytes()[0] % 4)].to_owned()
    })
}

fn log_lines(random: &mut Random, count: usize) -> Column {
    strings(count, |row| {
        let (verb, code) = [("GET", 200), ("POST", 201), ("GET", 404), ("DELETE", 204)]
            [usize::from(random.bits().to_le_bytes()[0] % 4)];
        let (user, time) = (random.below(10_000), random.below(5_000));
        format!("{verb} /api/v2/users/{user}/items {code} {time} us, request {row:06}")
    })
}

fn hex_ids(random: &mut Random, count: usize) -> Column {
    strings(count, |_| {
        format!("{:016x}{:016x}", random.bits(), random.bits())
    })
}
