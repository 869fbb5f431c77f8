//! Which form of an answer a client asks for.

use axum::http::{HeaderMap, header};

/// Whether the first known type in `Accept` is CSV; weights are not looked at, as in `InfluxDB`
/// 1.6, and JSON is the answer to everything unknown.
pub(crate) fn wants_csv(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|entry| entry.split(';').next().unwrap_or_default().trim())
        .find_map(|entry| match entry.to_ascii_lowercase().as_str() {
            "text/csv" | "application/csv" => Some(true),
            "application/json" | "*/*" => Some(false),
            _ => None,
        })
        .unwrap_or(false)
}

/// Whether the client takes gzip.
pub(crate) fn wants_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|entry| {
            let mut parts = entry.split(';').map(str::trim);
            let is_gzip = parts
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
            let refused = parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
            is_gzip && !refused
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, value.parse().unwrap());
        headers.insert(header::ACCEPT_ENCODING, value.parse().unwrap());
        headers
    }

    #[test]
    fn the_first_known_type_counts() {
        assert!(wants_csv(&accept("text/csv")));
        assert!(wants_csv(&accept("text/html, application/csv;q=0.1")));
        assert!(!wants_csv(&accept("application/json;q=0.5, text/csv")));
        assert!(!wants_csv(&accept("application/x-msgpack")));
        assert!(!wants_csv(&HeaderMap::new()));
    }

    #[test]
    fn gzip_is_for_those_who_take_it() {
        assert!(wants_gzip(&accept("deflate, gzip;q=1.0")));
        assert!(!wants_gzip(&accept("gzip;q=0")));
        assert!(!wants_gzip(&accept("identity")));
    }
}
