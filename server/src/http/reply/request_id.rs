//! The id under which a request is found in logs: the client's, or a fresh one.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderValue};

use crate::door::clock;

/// 100 ns steps from 1582-10-15, where version 1 ids begin, to 1970.
///
/// # Source
/// RFC 9562, 5.1.
const GREGORIAN_STEPS: u64 = 0x01b2_1dd2_1381_4000;

/// The id of the request with `headers`.
pub(super) fn of(headers: &HeaderMap) -> HeaderValue {
    let sent = headers
        .get("x-request-id")
        .or_else(|| headers.get("request-id"));
    match sent {
        Some(id) if !id.is_empty() => id.clone(),
        _ => {
            let id = format(fresh_steps(), node());
            HeaderValue::from_str(&id).expect("hexadecimal digits and dashes")
        }
    }
}

/// 100 ns steps since 1582, larger at every call.
fn fresh_steps() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let since_1970 = u64::try_from(clock::now_ns()).unwrap_or(0) / 100;
    let now = GREGORIAN_STEPS + since_1970;
    let mut last = LAST.load(Ordering::Relaxed);
    loop {
        let next = now.max(last + 1);
        match LAST.compare_exchange_weak(last, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return next,
            Err(other) => last = other,
        }
    }
}

/// 62 bits that stand for this process: clock sequence and node.
fn node() -> u64 {
    static NODE: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    *NODE.get_or_init(|| {
        let random = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
        // The multicast bit says that the node is no hardware address.
        random >> 2 | 1 << 40
    })
}

/// The id in its usual form.
fn format(steps: u64, node: u64) -> String {
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        steps & 0xffff_ffff,
        steps >> 32 & 0xffff,
        steps >> 48 & 0x0fff | 0x1000,
        node >> 48 & 0x3fff | 0x8000,
        node & 0xffff_ffff_ffff,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_version_1_and_differ() {
        let id = of(&HeaderMap::new()).to_str().unwrap().to_owned();
        assert_eq!(id.len(), 36, "{id}");
        assert_eq!(id.as_bytes()[14], b'1', "{id}");
        assert!(
            matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'),
            "{id}"
        );
        assert_ne!(of(&HeaderMap::new()), id);
    }

    #[test]
    fn the_time_stands_where_the_standard_puts_it() {
        let id = format(0x0123_4567_89ab_cdef, 0x1234_5678_9abc_def0);
        assert_eq!(id, "89abcdef-4567-1123-9234-56789abcdef0");
    }

    #[test]
    fn a_clients_id_is_kept() {
        let mut headers = HeaderMap::new();
        headers.insert("request-id", HeaderValue::from_static("abc"));
        assert_eq!(of(&headers), "abc");
        headers.insert("x-request-id", HeaderValue::from_static("def"));
        assert_eq!(of(&headers), "def");
    }
}
