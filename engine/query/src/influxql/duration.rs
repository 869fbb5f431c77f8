//! Durations as text: `1h30m` of the language, and `1h30m0s` of its answers.

use crate::influxql::parse::Fault;

const MICROSECOND: i64 = 1_000;
const MILLISECOND: i64 = 1_000_000;
const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;

/// The nanoseconds of `text`, such as `1h30m`; may start with `-`.
///
/// # Errors
/// `invalid duration`, or that it does not fit.
pub(crate) fn parse_duration(text: &str) -> Result<i64, Fault> {
    let invalid = || Fault::plain("invalid duration");
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    if unsigned.is_empty() {
        return Err(invalid());
    }
    let mut total = 0_i64;
    let mut rest = unsigned;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = rest.split_at(digits);
        let number: i64 = number.parse().map_err(|_| invalid())?;
        let (unit, length, behind) = unit_of(unit).ok_or_else(invalid)?;
        rest = behind;
        total = number
            .checked_mul(length)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(|| {
                Fault::plain(format!(
                    "overflowed duration {number}{unit}: choose a smaller duration or INF"
                ))
            })?;
    }
    Ok(if unsigned.len() == text.len() {
        total
    } else {
        -total
    })
}

/// The unit that `text` begins with: how it is written, its length in ns, and what follows.
fn unit_of(text: &str) -> Option<(&str, i64, &str)> {
    const UNITS: [(&str, i64); 10] = [
        ("ns", 1),
        ("u", MICROSECOND),
        ("\u{b5}", MICROSECOND),
        ("ms", MILLISECOND),
        ("m", MINUTE),
        ("s", SECOND),
        ("h", HOUR),
        ("d", DAY),
        ("w", WEEK),
        ("\u{3bc}", MICROSECOND),
    ];
    UNITS.iter().find_map(|(unit, length)| {
        let behind = text.strip_prefix(unit)?;
        Some((*unit, *length, behind))
    })
}

/// `ns` nanoseconds as the language writes it, in the largest unit that divides them.
pub fn duration_text(ns: i64) -> String {
    let units = [
        (WEEK, "w"),
        (DAY, "d"),
        (HOUR, "h"),
        (MINUTE, "m"),
        (SECOND, "s"),
        (MILLISECOND, "ms"),
        (MICROSECOND, "u"),
    ];
    if ns == 0 {
        return "0s".into();
    }
    match units.iter().find(|(length, _)| ns % length == 0) {
        Some((length, unit)) => format!("{}{unit}", ns / length),
        None => format!("{ns}ns"),
    }
}

/// `ns` nanoseconds as Go writes a `time.Duration`: `168h0m0s`, `1.5s`, `22\u{b5}s`, `0s`.
pub fn go_duration_text(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    let ns = ns.unsigned_abs();
    let fraction = |value: u64, unit: u64| {
        let digits = format!("{:0width$}", value % unit, width = unit.ilog10() as usize);
        match digits.trim_end_matches('0') {
            "" => format!("{}", value / unit),
            rest => format!("{}.{rest}", value / unit),
        }
    };
    let second = SECOND.unsigned_abs();
    match ns {
        0 => "0s".into(),
        1..1_000 => format!("{sign}{ns}ns"),
        1_000..1_000_000 => format!("{sign}{}\u{b5}s", fraction(ns, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", fraction(ns, 1_000_000)),
        _ => {
            let minutes = ns / (60 * second);
            let seconds = fraction(ns % (60 * second), second);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        assert_eq!(parse_duration("1h30m").unwrap(), 90 * MINUTE);
        assert_eq!(parse_duration("-2w").unwrap(), -2 * WEEK);
        assert_eq!(parse_duration("3\u{b5}4ns5u6ms").unwrap(), 6_008_004);
        for wrong in [
            "",
            "-",
            "1",
            "s",
            "1x",
            "1n",
            "1e3",
            "99999999999999999999s",
        ] {
            assert_eq!(
                parse_duration(wrong).unwrap_err().to_string(),
                "invalid duration",
                "{wrong:?}"
            );
        }
        assert_eq!(
            parse_duration("99999999w").unwrap_err().to_string(),
            "overflowed duration 99999999w: choose a smaller duration or INF"
        );
        for (ns, text) in [
            (0, "0s"),
            (90 * MINUTE, "90m"),
            (2 * WEEK, "2w"),
            (-3, "-3ns"),
            (1_500_000, "1500u"),
        ] {
            assert_eq!(duration_text(ns), text);
            assert_eq!(parse_duration(text).unwrap(), ns);
        }
    }

    #[test]
    fn durations_are_shown_as_go_does() {
        for (ns, text) in [
            (0, "0s"),
            (WEEK, "168h0m0s"),
            (22_000, "22\u{b5}s"),
            (1_500, "1.5\u{b5}s"),
            (SECOND + 1, "1.000000001s"),
            (61 * SECOND, "1m1s"),
            (-90 * MINUTE, "-1h30m0s"),
            (2_030_000, "2.03ms"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(go_duration_text(ns), text);
        }
    }
}
