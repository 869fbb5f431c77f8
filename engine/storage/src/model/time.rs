//! Time: signed nanoseconds since 1970-01-01T00:00:00 UTC, as `i64`.

/// The earliest timestamp a point may carry, ns UTC.
///
/// # Source
/// `InfluxDB` 1.x keeps the two lowest values for itself, and answers with this bound.
pub const TIMESTAMP_MIN: i64 = i64::MIN + 2;

/// The latest timestamp a point may carry, ns UTC. One below `i64::MAX`, so that an exclusive end
/// behind it still fits.
pub const TIMESTAMP_MAX: i64 = i64::MAX - 1;

/// A span of time: start inclusive, end exclusive, ns UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    /// First nanosecond inside.
    pub start: i64,
    /// First nanosecond behind.
    pub end: i64,
}

impl TimeRange {
    /// Every timestamp a point may carry.
    pub const ALL: TimeRange = TimeRange {
        start: TIMESTAMP_MIN,
        end: i64::MAX,
    };

    /// Whether `timestamp` lies inside.
    pub fn contains(&self, timestamp: i64) -> bool {
        self.start <= timestamp && timestamp < self.end
    }

    /// Whether no timestamp lies inside.
    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    /// Whether the inclusive span `first..=last` has a nanosecond inside.
    pub fn overlaps(&self, first: i64, last: i64) -> bool {
        self.start <= last && first < self.end
    }

    /// What lies in both.
    #[must_use]
    pub fn intersect(&self, other: TimeRange) -> TimeRange {
        TimeRange {
            start: self.start.max(other.start),
            end: self.end.min(other.end),
        }
    }
}
