//! Times and numbers as text, as Go writes them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// How the column `time` is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epoch {
    /// As text, RFC 3339 with as many digits of the second as it needs.
    Text,
    /// As an integer: nanoseconds divided by this, truncated toward zero.
    Divided(i64),
}

impl Epoch {
    /// What a client asked by the parameter `epoch`; empty: text. Words that mean nothing mean
    /// nanoseconds, as in `InfluxDB` 1.x.
    pub fn of(word: &str) -> Epoch {
        Epoch::Divided(match word {
            "" => return Epoch::Text,
            "u" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => 1,
        })
    }
}

/// `ns` as RFC 3339 without trailing zeros: in `zone` with its offset, else in UTC with `Z`.
pub fn time_text(ns: i64, zone: Option<&TimeZone>) -> String {
    let (seconds, fraction) = (ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000));
    // 64 bits of nanoseconds lie between the years 1677 and 2262, which jiff knows.
    let timestamp = Timestamp::from_second(seconds).unwrap_or_default();
    let offset = zone.map_or(jiff::tz::Offset::UTC, |zone| zone.to_offset(timestamp));
    let local = offset.to_datetime(timestamp);
    let mut text = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        local.year(),
        local.month(),
        local.day(),
        local.hour(),
        local.minute(),
        local.second()
    );
    if fraction > 0 {
        let digits = format!(".{fraction:09}");
        text.push_str(digits.trim_end_matches('0'));
    }
    let minutes = offset.seconds() / 60;
    if minutes == 0 {
        text.push('Z');
    } else {
        let sign = if minutes < 0 { "-" } else { "+" };
        let minutes = minutes.abs();
        let (hours, minutes) = (minutes / 60, minutes % 60);
        text.extend([sign.into(), format!("{hours:02}:{minutes:02}")]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_the_digits_they_need() {
        for (ns, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_600_000_020_000_000_001, "2020-09-13T12:27:00.000000001Z"),
            (-500_000_000, "1969-12-31T23:59:59.5Z"),
            (i64::MAX, "2262-04-11T23:47:16.854775807Z"),
            (i64::MIN, "1677-09-21T00:12:43.145224192Z"),
        ] {
            assert_eq!(time_text(ns, None), text);
        }
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let text = time_text(1_600_000_000_000_000_000, Some(&berlin));
        assert_eq!(text, "2020-09-13T14:26:40+02:00");
    }
}
