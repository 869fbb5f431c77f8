//! TSBS's devops shape: hosts with ten tags, ten integer gauges each that walk between 0 and 100, a
//! line a host every ten seconds.

use std::fmt::Write as _;

use super::{LINES, Load};
use crate::{Random, START_NS, STEP_NS};

/// Hosts of the data set.
pub const HOSTS: usize = 400;
/// Steps of the data set: twelve hours.
pub const STEPS: usize = 4320;

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

/// The regions of TSBS, whose data centers are theirs with a letter behind.
const REGIONS: [&str; 9] = [
    "us-east-1",
    "us-west-1",
    "us-west-2",
    "eu-west-1",
    "eu-central-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-northeast-1",
    "sa-east-1",
];

/// Generates the lines, step by step.
#[derive(Debug)]
pub struct Devops {
    random: Random,
    tags: Vec<String>,
    values: Vec<[f64; 10]>,
    step: i64,
}

impl Devops {
    /// A data set of `hosts` hosts from `seed`.
    pub fn new(seed: u64, hosts: usize) -> Devops {
        let mut random = Random(seed);
        let tags = (0..hosts).map(|host| key(host, &mut random)).collect();
        let values = (0..hosts)
            .map(|_| std::array::from_fn(|_| random.unit() * 100.0))
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
                // TSBS's walk: its state is a float, what is written is its whole part.
                *value = (*value + self.random.normal()).clamp(0.0, 100.0);
                let separator = if index == 0 { ' ' } else { ',' };
                write!(body, "{separator}{name}={}i", value.trunc()).expect("a string takes all");
            }
            writeln!(body, " {time}").expect("a string takes all");
        }
    }
}

/// Measurement and tags of a host, in TSBS's order.
pub(super) fn key(host: usize, random: &mut Random) -> String {
    let region = random.choose(&REGIONS);
    let datacenter = random.choose(&["a", "b", "c"]);
    let rack = random.below(100);
    let os = random.choose(&["Ubuntu16.10", "Ubuntu16.04LTS", "Ubuntu15.10"]);
    let arch = random.choose(&["x64", "x86"]);
    let team = random.choose(&["SF", "NYC", "LON", "CHI"]);
    let (service, version) = (random.below(20), random.below(2));
    let environment = random.choose(&["production", "staging", "test"]);
    format!(
        "cpu,hostname=host_{host},region={region},datacenter={region}{datacenter},rack={rack},\
         os={os},arch={arch},team={team},service={service},service_version={version},\
         service_environment={environment}"
    )
}

/// `hosts` hosts for `steps` steps.
pub fn bodies(hosts: usize, steps: usize) -> Load {
    from(hosts, 0, steps)
}

/// About `values` values of the same hosts, behind the end of the data set.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "about that many"
)]
pub fn later(hosts: usize, values: f64) -> Load {
    let steps = values / (hosts * CPU_FIELDS.len()) as f64;
    from(hosts, STEPS, steps.ceil() as usize)
}

fn from(hosts: usize, first: usize, steps: usize) -> Load {
    let mut data = Devops::new(7, hosts);
    data.step = i64::try_from(first).expect("a data set has few steps");
    let steps_each = (LINES / hosts).max(1);
    let mut load = Load {
        values: hosts * steps * CPU_FIELDS.len(),
        series: hosts,
        ..Load::default()
    };
    let mut done = 0;
    while done < steps {
        let mut body = String::new();
        for _ in 0..steps_each.min(steps - done) {
            data.step(&mut body);
            done += 1;
        }
        load.bodies.push(body.into_bytes());
    }
    load
}

/// The data set: twelve hours of 400 hosts, fewer hosts where it is divided.
pub(super) fn load(divisor: usize) -> Load {
    bodies((HOSTS / divisor).max(10), STEPS)
}

/// A third of it whose lines and bodies come in an order that is drawn.
pub(super) fn late(divisor: usize) -> Load {
    let load = bodies((HOSTS / divisor).max(10), STEPS / 3);
    let text: Vec<u8> = load.bodies.concat();
    let text = String::from_utf8(text).expect("line protocol is text");
    let mut lines: Vec<&str> = text.lines().collect();
    let mut random = Random(11);
    for index in (1..lines.len()).rev() {
        let other = random.below(index as u64 + 1);
        lines.swap(index, usize::try_from(other).expect("below a length"));
    }
    let body = |lines: &[&str]| (lines.join("\n") + "\n").into_bytes();
    Load {
        bodies: lines.chunks(LINES).map(body).collect(),
        ..load
    }
}
