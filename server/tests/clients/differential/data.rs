//! The data both sides get: all types, holes, several tags, counters with resets, late and double
//! points. Times of different series differ, so that the order of rows is determined.

use std::fmt::Write as _;

use silverback_benches::Random;

/// The first second of the data.
pub(super) const BASE_S: i64 = 1_600_000_000;
/// How many seconds it spans.
pub(super) const SPAN_S: i64 = 3600;

/// Request bodies, to be written in this order.
pub(super) fn bodies() -> Vec<String> {
    let mut random = Random(20_260_101);
    let mut bodies = vec![String::new(); 4];
    let second = 1_000_000_000_i64;
    let hosts = [("a", "x"), ("b", "x"), ("c", "y"), ("d", "")];
    for (index, (host, dc)) in (0_i64..).zip(hosts) {
        let tags = if dc.is_empty() {
            format!("host={host}")
        } else {
            format!("host={host},dc={dc}")
        };
        let mut bytes = 0_u64;
        for step in 0..SPAN_S / 10 {
            // A millisecond a host apart.
            let time = (BASE_S + step * 10) * second + index * 1_000_000;
            if random.below(8) == 0 {
                continue;
            }
            let body = &mut bodies[usize::from(random.below(10) == 0)];
            let fields = cpu_fields(&mut random);
            if fields.is_empty() {
                continue;
            }
            writeln!(body, "cpu,{tags} {} {time}", fields.join(",")).unwrap();
            bytes = if random.below(50) == 0 {
                0
            } else {
                bytes + random.below(5000)
            };
            writeln!(body, "net,{tags},if=eth{} bytes={bytes}i {time}", index % 2).unwrap();
        }
    }
    for step in 0..600_i64 {
        let time = (BASE_S + step * 6) * second;
        let value = 100 + (step % 24) * 10 + i64::try_from(random.below(7)).unwrap();
        writeln!(bodies[2], "season value={value} {time}").unwrap();
        writeln!(
            bodies[2],
            "disk,path=/var\\ log,a\\,b=c\\=d free={}i {time}",
            value * 1000
        )
        .unwrap();
    }
    // Corrections: the later value of a field stays, other fields of the point too.
    for step in 0..30_i64 {
        let time = (BASE_S + step * 60) * second;
        writeln!(bodies[3], "fix,k=v a={step}i,b={step} {time}").unwrap();
    }
    let mut again = String::new();
    for step in 0..30_i64 {
        let time = (BASE_S + step * 60) * second;
        writeln!(again, "fix,k=v a={}i {time}", step * 2).unwrap();
    }
    // Days and weeks, around a change of daylight saving time (2020-10-25).
    for hour in 0..24 * 40_i64 {
        let time = (BASE_S + hour * 3600) * second;
        writeln!(
            again,
            "slow,host=s value={} {time}",
            f64::from(i32::try_from(hour % 50).unwrap()) / 2.0
        )
        .unwrap();
    }
    bodies.push(again);
    bodies
}

/// The fields of one point, any of them missing.
fn cpu_fields(random: &mut Random) -> Vec<String> {
    let mut fields = Vec::new();
    if random.below(10) > 0 {
        // Quarters: sums are exact in any order.
        let quarters = u32::try_from(random.below(400)).unwrap();
        fields.push(format!("usage={}", f64::from(quarters) / 4.0));
    }
    if random.below(10) > 2 {
        fields.push(format!("idle={}i", random.below(100)));
    }
    if random.below(10) > 4 {
        fields.push(format!("up={}", random.below(2) == 0));
    }
    if random.below(10) > 6 {
        let words = ["start", "stop", "it's hot", "", "\\\"quoted\\\""];
        let word = words[usize::try_from(random.below(5)).unwrap()];
        fields.push(format!("msg=\"{word}\""));
    }
    fields
}
