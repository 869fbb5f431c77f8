//! The wall clock for what happens outside an open data directory: log lines, request ids and the
//! times of points that carry none.

/// Nanoseconds since 1970 UTC.
pub(crate) fn now_ns() -> i64 {
    let now = jiff::Timestamp::now().as_nanosecond();
    i64::try_from(now).unwrap_or(i64::MAX)
}

/// The moment `ns` after 1970 UTC as RFC 3339 with milliseconds.
pub(crate) fn rfc3339_ms(ns: i64) -> String {
    let moment = jiff::Timestamp::from_nanosecond(i128::from(ns))
        .expect("every i64 of nanoseconds is a moment that can be written");
    format!("{moment:.3}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_moment_is_written_with_milliseconds() {
        assert_eq!(
            super::rfc3339_ms(1_600_000_000_123_456_789),
            "2020-09-13T12:26:40.123Z"
        );
        assert_eq!(super::rfc3339_ms(0), "1970-01-01T00:00:00.000Z");
    }
}
