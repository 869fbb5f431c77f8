//! What Telegraf's default inputs send from a host: counters, two-decimal loads, percentages in full
//! doubles, and constants.

use std::fmt::Write as _;

use super::{Bodies, Load};
use crate::{Random, START_NS, STEP_NS};

const HOSTS: usize = 200;
const STEPS: usize = 1440;
/// Lines of `cpu` a host and step: four processors and their total.
const PROCESSORS: [&str; 5] = ["cpu0", "cpu1", "cpu2", "cpu3", "cpu-total"];
const CPU_FIELDS: [&str; 10] = [
    "usage_guest",
    "usage_guest_nice",
    "usage_idle",
    "usage_iowait",
    "usage_irq",
    "usage_nice",
    "usage_softirq",
    "usage_steal",
    "usage_system",
    "usage_user",
];
/// Jiffies of ten seconds.
const JIFFIES: f64 = 1000.0;
const MEMORY_BYTES: f64 = 16_777_216_000.0;
const DISK_BYTES: f64 = 250_790_436_864.0;

#[derive(Debug)]
struct Host {
    tags: String,
    busy: [f64; 5],
    memory_used: f64,
    disk_used: f64,
    load: f64,
    uptime: u64,
    counters: [u64; 10],
}

impl Host {
    fn new(number: usize, random: &mut Random) -> Host {
        Host {
            tags: format!(
                "host=web-{number:03},dc={}",
                random.choose(&["fra1", "ams2"])
            ),
            busy: std::array::from_fn(|_| random.unit() * 40.0),
            memory_used: random.unit() * MEMORY_BYTES,
            disk_used: random.unit() * DISK_BYTES,
            load: random.unit() * 2.0,
            uptime: random.below(10_000_000),
            counters: std::array::from_fn(|_| random.below(1_000_000_000_000)),
        }
    }

    fn cpu(&mut self, out: &mut Bodies, random: &mut Random, time: i64) {
        for (name, busy) in PROCESSORS.iter().zip(&mut self.busy) {
            *busy = (*busy + 2.0 * random.normal()).clamp(0.5, 95.0);
            // Whole jiffies over the jiffies that went by, which are nearly a thousand.
            let all = JIFFIES - 3.0 + (random.unit() * 6.0).trunc();
            let percent = |share: f64| 100.0 * (share * JIFFIES / 100.0).trunc() / all;
            let user = percent(*busy * 0.7);
            let system = percent(*busy * 0.25);
            let (wait, soft) = (percent(random.unit()), percent(random.unit() * 0.4));
            let idle = 100.0 - user - system - wait - soft;
            let values = [0.0, 0.0, idle, wait, 0.0, 0.0, soft, 0.0, system, user];
            let line = out.line(values.len());
            write!(line, "cpu,cpu={name},{}", self.tags).expect("a string takes all");
            for (index, (name, value)) in CPU_FIELDS.iter().zip(values).enumerate() {
                let separator = if index == 0 { ' ' } else { ',' };
                write!(line, "{separator}{name}={value}").expect("a string takes all");
            }
            writeln!(line, " {time}").expect("a string takes all");
        }
    }

    fn memory_and_disk(&mut self, out: &mut Bodies, random: &mut Random, time: i64) {
        let pages = |bytes: f64| (bytes / 4096.0).trunc() * 4096.0;
        self.memory_used = (self.memory_used + 2e6 * random.normal()).clamp(1e9, 15e9);
        let used = pages(self.memory_used);
        let percent = 100.0 * used / MEMORY_BYTES;
        let (free, tags) = (MEMORY_BYTES - used, &self.tags);
        let line = out.line(5);
        writeln!(
            line,
            "mem,{tags} available={free}i,free={free}i,total={MEMORY_BYTES}i,used={used}i,\
             used_percent={percent} {time}"
        )
        .expect("a string takes all");
        if random.below(4) == 0 {
            self.disk_used = (self.disk_used + 1e5 * random.normal()).clamp(1e9, 249e9);
        }
        let used = pages(self.disk_used);
        let percent = 100.0 * used / DISK_BYTES;
        let free = DISK_BYTES - used;
        let line = out.line(5);
        writeln!(
            line,
            "disk,device=vda1,fstype=ext4,{tags},mode=rw,path=/ free={free}i,inodes_total=15654912i,\
             total={DISK_BYTES}i,used={used}i,used_percent={percent} {time}"
        )
        .expect("a string takes all");
    }

    fn counters(&mut self, out: &mut Bodies, random: &mut Random, time: i64) {
        for (index, counter) in self.counters.iter_mut().enumerate() {
            let bits = if index < 4 {
                random.bits() % (1 << 20)
            } else {
                random.below(200)
            };
            *counter += if index >= 8 { 0 } else { bits };
        }
        let [
            received,
            sent,
            read,
            written,
            packets_in,
            packets_out,
            reads,
            writes,
            errors,
            drops,
        ] = self.counters;
        let tags = &self.tags;
        let line = out.line(6);
        writeln!(
            line,
            "net,{tags},interface=eth0 bytes_recv={received}i,bytes_sent={sent}i,drop_in={drops}i,\
             err_in={errors}i,packets_recv={packets_in}i,packets_sent={packets_out}i {time}"
        )
        .expect("a string takes all");
        let line = out.line(4);
        writeln!(
            line,
            "diskio,{tags},name=vda read_bytes={read}i,reads={reads}i,write_bytes={written}i,\
             writes={writes}i {time}"
        )
        .expect("a string takes all");
    }

    fn system(&mut self, out: &mut Bodies, random: &mut Random, time: i64) {
        self.uptime += 10;
        self.load = (self.load + 0.05 * random.normal()).clamp(0.0, 8.0);
        let (load, uptime, tags) = (self.load, self.uptime, &self.tags);
        let line = out.line(5);
        writeln!(
            line,
            "system,{tags} load1={load:.2},load15={:.2},load5={:.2},n_cpus=4i,uptime={uptime}i {time}",
            load * 0.7,
            load * 0.9
        )
        .expect("a string takes all");
    }
}

/// Four hours of 200 hosts.
pub(super) fn load(divisor: usize) -> Load {
    let mut random = Random(13);
    let count = (HOSTS / divisor).max(5);
    let mut hosts: Vec<Host> = (0..count)
        .map(|host| Host::new(host, &mut random))
        .collect();
    let mut out = Bodies::default();
    for step in (0_i64..).take(STEPS) {
        let time = START_NS + step * STEP_NS;
        for host in &mut hosts {
            host.cpu(&mut out, &mut random, time);
            host.memory_and_disk(&mut out, &mut random, time);
            host.counters(&mut out, &mut random, time);
            host.system(&mut out, &mut random, time);
        }
    }
    out.finish(count * 10)
}
