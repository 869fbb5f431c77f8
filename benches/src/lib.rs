//! Data of known shape, from a seed, for the benches and the side-by-side runs.

use std::fmt::Write as _;

/// A small generator of numbers that is the same everywhere (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound
    }
}

/// The names of the ten fields of TSBS's `cpu` measurement.
pub const CPU_FIELDS: [&str; 10] = [
    "usage_user",
    "usage_system",
    "usage_idle",
    "usage_nice",
    "usage_iowait",
    "usage_irq",
    "usage_softirq",
    "usage_steal",
    "usage_guest",
    "usage_guest_nice",
];

/// TSBS's devops shape: hosts with ten tags, ten integer gauges each that walk between 0 and 100,
/// a line a host every ten seconds.
#[derive(Debug)]
pub struct Devops {
    random: Random,
    tags: Vec<String>,
    values: Vec<[i64; 10]>,
    step: i64,
}

/// The time of a devops data set's first line, ns UTC: 2024-01-01.
pub const START_NS: i64 = 1_704_067_200_000_000_000;
/// Time between two lines of a host, ns.
pub const STEP_NS: i64 = 10_000_000_000;

impl Devops {
    /// A data set of `hosts` hosts from `seed`.
    pub fn new(seed: u64, hosts: usize) -> Devops {
        let mut random = Random(seed);
        let regions = ["eu-west-1", "us-east-1", "ap-southeast-2", "sa-east-1"];
        let tags = (0..hosts)
            .map(|host| {
                let region = regions[host % regions.len()];
                format!(
                    "cpu,arch=x64,datacenter={region}{},hostname=host_{host},os=Ubuntu16.10,\
                     rack={},region={region},service={},service_environment=production,\
                     service_version={},team=SF",
                    ["a", "b", "c"][host % 3],
                    random.below(100),
                    random.below(20),
                    random.below(2),
                )
            })
            .collect();
        let values = (0..hosts)
            .map(|_| std::array::from_fn(|_| walk_start(&mut random)))
            .collect();
        Devops {
            random,
            tags,
            values,
            step: 0,
        }
    }

    /// Appends the lines of the next ten seconds, one a host.
    pub fn step(&mut self, body: &mut String) {
        let time = START_NS + self.step * STEP_NS;
        self.step += 1;
        for (tags, values) in self.tags.iter().zip(&mut self.values) {
            body.push_str(tags);
            for (index, (name, value)) in CPU_FIELDS.iter().zip(values.iter_mut()).enumerate() {
                *value = walk(*value, &mut self.random);
                let separator = if index == 0 { ' ' } else { ',' };
                write!(body, "{separator}{name}={value}i").expect("a string takes all");
            }
            writeln!(body, " {time}").expect("a string takes all");
        }
    }
}

fn walk_start(random: &mut Random) -> i64 {
    i64::try_from(random.below(101)).expect("below 101")
}

/// One step of a walk between 0 and 100 with normal-like steps (sum of four uniform ones).
fn walk(value: i64, random: &mut Random) -> i64 {
    let bits = random.bits();
    let step: i64 = (0..4)
        .map(|i| i64::from((bits >> (8 * i)).to_le_bytes()[0] % 3) - 1)
        .sum();
    (value + step / 2).clamp(0, 100)
}
