//! Windows of `GROUP BY time`: which one a moment lies in, with zones and their changes of clock.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use silverback_storage::model::{TIMESTAMP_MIN, TimeRange};

/// Windows of equal length, aligned to the epoch plus an offset, in a zone's wall time.
#[derive(Clone, Debug)]
pub struct Windows {
    /// Length, ns; above 0.
    pub every_ns: i64,
    /// Where windows start after a multiple of the length, ns.
    pub offset_ns: i64,
    /// The zone; `None`: UTC.
    pub zone: Option<TimeZone>,
}

impl Windows {
    /// First nanosecond of the window that `at` lies in, and first behind it. Near the ends of
    /// time they stop at the ends.
    pub fn bounds(&self, at: i64) -> (i64, i64) {
        let every = i128::from(self.every_ns);
        let offset = i128::from(self.offset_ns);
        let moved = i128::from(at) - offset;
        let shift = self.zone_offset(moved);
        let into = (moved + shift).rem_euclid(every);
        let start = self.settle(moved - into, shift) + offset;
        let end = self.settle(moved - into + every, shift) + offset;
        (clamped(start), clamped(end))
    }

    /// An edge computed with the zone's offset at one moment may lie behind a change of clock.
    fn settle(&self, edge: i128, shift: i128) -> i128 {
        let change = shift - self.zone_offset(edge);
        if change != 0 && change.abs() < i128::from(self.every_ns) {
            edge + change
        } else {
            edge
        }
    }

    /// How far wall time is ahead of UTC, ns.
    fn zone_offset(&self, at: i128) -> i128 {
        let Some(zone) = &self.zone else {
            return 0;
        };
        match Timestamp::from_nanosecond(at) {
            Ok(moment) => i128::from(zone.to_offset(moment).seconds()) * 1_000_000_000,
            Err(_) => 0,
        }
    }

    /// First nanosecond of the window that `at` lies in.
    pub fn start_of(&self, at: i64) -> i64 {
        self.bounds(at).0
    }

    /// How many windows it takes to cover `range`, about where clocks change.
    pub fn count(&self, range: TimeRange) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let first = i128::from(self.start_of(range.start));
        let last = i128::from(self.start_of(range.end - 1));
        u64::try_from((last - first) / i128::from(self.every_ns) + 1).unwrap_or(u64::MAX)
    }

    /// The edges of the windows that cover `range`, ascending; empty for an empty range.
    pub fn edges(&self, range: TimeRange) -> Vec<i64> {
        let mut edges = Vec::new();
        if range.is_empty() {
            return edges;
        }
        let mut edge = self.start_of(range.start);
        edges.push(edge);
        while edge < range.end {
            let next = match &self.zone {
                Some(_) => self.bounds(edge).1,
                None => edge.saturating_add(self.every_ns),
            };
            edge = next.max(edge.saturating_add(1));
            edges.push(edge);
            if edge == i64::MAX {
                break;
            }
        }
        edges
    }
}

fn clamped(edge: i128) -> i64 {
    let edge = edge.clamp(i128::from(TIMESTAMP_MIN), i128::from(i64::MAX));
    i64::try_from(edge).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const DAY: i64 = 86_400 * SECOND;
    const BASE: i64 = 1_600_000_000 * SECOND;

    fn windows(every_s: i64, offset_s: i64, zone: Option<&str>) -> Windows {
        Windows {
            every_ns: every_s * SECOND,
            offset_ns: offset_s * SECOND,
            zone: zone.map(|name| TimeZone::get(name).unwrap()),
        }
    }

    fn start(windows: &Windows, at_s: i64) -> i64 {
        (windows.start_of(BASE + at_s * SECOND) - BASE) / SECOND
    }

    #[test]
    fn windows_are_aligned_to_the_epoch_and_weeks_to_a_thursday() {
        assert_eq!(start(&windows(60, 0, None), 0), -40);
        assert_eq!(start(&windows(60, 10, None), 0), -30);
        assert_eq!(start(&windows(60, -20, None), 0), 0);
        assert_eq!(start(&windows(86_400, 0, None), 0), -44_800);
        assert_eq!(start(&windows(604_800, 0, None), 0), -304_000);
        assert_eq!(windows(60, 0, None).start_of(-1), -60 * SECOND);
    }

    #[test]
    fn days_follow_the_clock_of_a_zone() {
        let berlin = windows(86_400, 0, Some("Europe/Berlin"));
        // 2020-03-29 has 23 hours there, 2020-10-25 has 25.
        let spring = 1_585_436_400 * SECOND;
        assert_eq!(
            berlin.bounds(spring + 5 * SECOND),
            (spring, spring + 23 * DAY / 24)
        );
        assert_eq!(
            berlin.bounds(spring + 22 * DAY / 24),
            (spring, spring + 23 * DAY / 24)
        );
        let autumn = 1_603_576_800 * SECOND;
        assert_eq!(
            berlin.bounds(autumn + 24 * DAY / 24),
            (autumn, autumn + 25 * DAY / 24)
        );
        let range = TimeRange {
            start: spring - DAY,
            end: spring + 3 * DAY,
        };
        let edges = berlin.edges(range);
        assert_eq!(edges[..3], [spring - DAY, spring, spring + 23 * DAY / 24]);
    }

    #[test]
    fn half_days_in_india_start_at_its_noon() {
        let india = windows(43_200, 0, Some("Asia/Kolkata"));
        assert_eq!(india.start_of(BASE), 1_599_978_600 * SECOND);
    }

    #[test]
    fn edges_cover_a_range_and_the_ends_of_time_do_not_overflow() {
        let minute = windows(60, 0, None);
        let range = TimeRange {
            start: BASE,
            end: BASE + 120 * SECOND,
        };
        assert_eq!(minute.edges(range).len(), 4);
        assert_eq!(minute.count(range), 3);
        assert_eq!(minute.bounds(i64::MAX - 1).1, i64::MAX);
        assert_eq!(minute.bounds(TIMESTAMP_MIN).0, TIMESTAMP_MIN);
    }
}
