//! Times and numbers as text, as Go writes them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

const SECOND_NS: i64 = 1_000_000_000;
const DAY_SECONDS: i64 = 86_400;

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
            "s" => SECOND_NS,
            "m" => 60 * SECOND_NS,
            "h" => 3_600 * SECOND_NS,
            _ => 1,
        })
    }
}

/// `ns` as RFC 3339 without trailing zeros: in `zone` with its offset, else in UTC with `Z`.
pub fn time_text(ns: i64, zone: Option<&TimeZone>) -> String {
    let mut out = Vec::with_capacity(36);
    TimeText::default().push(&mut out, ns, zone);
    out.into_iter().map(char::from).collect()
}

/// Writes times as text; what is above the second is worked out anew only where it is another minute
/// than before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeText {
    /// Minutes after 1970-01-01T00:00.
    minute: i64,
    /// That minute, UTC.
    text: [u8; TEXT_BYTES],
}

/// A time without fraction, in UTC.
const TEXT_BYTES: usize = 20;

impl Default for TimeText {
    fn default() -> Self {
        TimeText {
            minute: 0,
            text: *b"1970-01-01T00:00:00Z",
        }
    }
}

impl TimeText {
    /// Appends [`time_text`]. Cost: a few divisions in UTC.
    pub(crate) fn push(&mut self, out: &mut Vec<u8>, ns: i64, zone: Option<&TimeZone>) {
        let (seconds, fraction) = (ns.div_euclid(SECOND_NS), ns.rem_euclid(SECOND_NS));
        let offset = zone.map_or(0, |zone| offset_seconds(seconds, zone));
        let local = seconds + offset;
        let minute = local.div_euclid(60);
        if minute != self.minute {
            self.turn(minute);
        }
        two_digits(&mut self.text, 17, local - minute * 60);
        if fraction == 0 && offset == 0 {
            out.extend_from_slice(&self.text);
            return;
        }
        out.extend_from_slice(&self.text[..TEXT_BYTES - 1]);
        if fraction > 0 {
            out.push(b'.');
            push_padded(out, fraction, 9);
            while out.last() == Some(&b'0') {
                out.pop();
            }
        }
        let minutes = offset / 60;
        if minutes == 0 {
            out.push(b'Z');
            return;
        }
        out.push(if minutes < 0 { b'-' } else { b'+' });
        push_padded(out, minutes.abs() / 60, 2);
        out.push(b':');
        push_padded(out, minutes.abs() % 60, 2);
    }

    fn turn(&mut self, minute: i64) {
        const DAY_MINUTES: i64 = DAY_SECONDS / 60;
        let (day, of_day) = (
            minute.div_euclid(DAY_MINUTES),
            minute.rem_euclid(DAY_MINUTES),
        );
        if day != self.minute.div_euclid(DAY_MINUTES) {
            let (year, month, date) = civil(day);
            let parts = [year / 100, year % 100, month, date];
            for (at, value) in [0, 2, 5, 8].into_iter().zip(parts) {
                two_digits(&mut self.text, at, value);
            }
        }
        two_digits(&mut self.text, 11, of_day / 60);
        two_digits(&mut self.text, 14, of_day % 60);
        self.minute = minute;
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "two digits are below a hundred, and none is negative"
)]
fn two_digits(text: &mut [u8; TEXT_BYTES], at: usize, value: i64) {
    let value = value as u8;
    text[at] = b'0' + value / 10;
    text[at + 1] = b'0' + value % 10;
}

fn offset_seconds(seconds: i64, zone: &TimeZone) -> i64 {
    // 64 bits of nanoseconds lie between the years 1677 and 2262, which jiff knows.
    let timestamp = Timestamp::from_second(seconds).unwrap_or_default();
    i64::from(zone.to_offset(timestamp).seconds())
}

/// Year, month and day of the day `days` after 1970-01-01.
///
/// # Source
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    const ERA_DAYS: i64 = 146_097;
    // Days count from 0000-03-01, so that the day that comes and goes is a year's last.
    let days = days + 719_468;
    let era = days.div_euclid(ERA_DAYS);
    let day_of_era = days.rem_euclid(ERA_DAYS);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

/// Appends the last `width` digits of `value`, which is not negative.
fn push_padded(out: &mut Vec<u8>, value: i64, width: usize) {
    let start = out.len();
    out.resize(start + width, b'0');
    let mut rest = value;
    for digit in out.iter_mut().skip(start).rev() {
        *digit += u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
}

/// Appends a finite float without exponent: the shortest text that reads as the same float.
pub(crate) fn push_plain_float(out: &mut Vec<u8>, value: f64) {
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(value);
    if text.contains('e') {
        out.extend_from_slice(value.to_string().as_bytes());
    } else {
        out.extend_from_slice(text.strip_suffix(".0").unwrap_or(text).as_bytes());
    }
}

/// Appends a finite float as Go's `encoding/json` does: with an exponent where it is below
/// 10^-6 or from 10^21 on.
pub(crate) fn push_json_float(out: &mut Vec<u8>, value: f64) {
    let size = value.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        push_plain_float(out, value);
        return;
    }
    let text = format!("{value:e}");
    let signed = if size >= 1e21 {
        text.replace('e', "e+")
    } else {
        text
    };
    out.extend_from_slice(signed.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_the_digits_they_need() {
        for (ns, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_600_000_020_000_000_001, "2020-09-13T12:27:00.000000001Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00Z"),
            (-500_000_000, "1969-12-31T23:59:59.5Z"),
            (i64::MAX, "2262-04-11T23:47:16.854775807Z"),
            (i64::MIN, "1677-09-21T00:12:43.145224192Z"),
        ] {
            assert_eq!(time_text(ns, None), text);
        }
        for (zone, text) in [
            ("Europe/Berlin", "2020-09-13T14:26:40+02:00"),
            ("America/St_Johns", "2020-09-13T09:56:40-02:30"),
            ("UTC", "2020-09-13T12:26:40Z"),
        ] {
            let zone = TimeZone::get(zone).unwrap();
            assert_eq!(time_text(1_600_000_000_000_000_000, Some(&zone)), text);
        }
    }

    #[test]
    fn what_stays_of_the_time_before_is_right_for_the_next() {
        const MINUTE_NS: i64 = 60 * SECOND_NS;
        const DAY_NS: i64 = DAY_SECONDS * SECOND_NS;
        let mut clock = TimeText::default();
        let mut now = -3 * DAY_NS;
        let steps = [
            SECOND_NS,
            MINUTE_NS,
            DAY_NS - MINUTE_NS,
            DAY_NS,
            400 * DAY_NS,
        ];
        for step in steps.into_iter().cycle().take(500) {
            // Forwards three times, then back.
            for step in [step, step, step, -2 * step] {
                now += step;
                let mut text = Vec::new();
                clock.push(&mut text, now, None);
                assert_eq!(text, time_text(now, None).into_bytes());
            }
        }
    }

    #[test]
    fn days_are_counted_as_jiff_counts_them() {
        for days in (-106_751..=106_751).step_by(97) {
            let date = jiff::civil::date(1970, 1, 1) + jiff::Span::new().days(days);
            let expected = (date.year().into(), date.month().into(), date.day().into());
            assert_eq!(civil(days), expected, "day {days}");
        }
    }

    #[test]
    fn floats_are_written_as_go_writes_them() {
        for (value, json, plain) in [
            (0.1, "0.1", "0.1"),
            (3.0, "3", "3"),
            (-0.0, "-0", "-0"),
            (1e20, "100000000000000000000", "100000000000000000000"),
            (1e21, "1e+21", "1000000000000000000000"),
            (-1.5e21, "-1.5e+21", "-1500000000000000000000"),
            (0.000_001, "0.000001", "0.000001"),
            (0.000_000_1, "1e-7", "0.0000001"),
            (-1.5e-10, "-1.5e-10", "-0.00000000015"),
            (123_456_789.125, "123456789.125", "123456789.125"),
            (5e-324, "5e-324", &format!("0.{}5", "0".repeat(323))),
        ] {
            let mut out = Vec::new();
            push_json_float(&mut out, value);
            assert_eq!(out, json.as_bytes());
            out.clear();
            push_plain_float(&mut out, value);
            assert_eq!(out, plain.as_bytes());
        }
    }
}
