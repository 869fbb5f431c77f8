//! Counters of the server. Their number does not depend on the data: nothing here is per series.

mod engine;
mod process;
mod text;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub(crate) use engine::{render as render_engine, render_budget};
pub(crate) use text::{Kind, Text};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds `amount`.
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// The sum so far.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    /// One more, until the guard is dropped.
    pub(crate) fn enter(&self) -> Inside<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Inside(self)
    }

    /// The number now.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counted in a [`Gauge`] as long as it lives.
#[derive(Debug)]
pub(crate) struct Inside<'gauge>(&'gauge Gauge);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Upper bounds of the durations' buckets, in seconds.
const DURATION_BOUNDS: [f64; 12] = [
    0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];

/// How long requests of one route took.
#[derive(Clone, Debug, Default)]
struct Durations {
    counts: [u64; DURATION_BOUNDS.len()],
    count: u64,
    sum: Duration,
}

/// What the server counts.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    durations: Mutex<BTreeMap<&'static str, Durations>>,
    /// Requests under way.
    pub(crate) requests_active: Gauge,
    /// Connections open.
    pub(crate) connections: Gauge,
    /// Connections accepted.
    pub(crate) connections_total: Counter,
    /// Bytes of write bodies as sent.
    pub(crate) write_bytes: Counter,
    /// Bytes of write bodies after decompression.
    pub(crate) write_inflated_bytes: Counter,
    /// Points stored.
    pub(crate) points_stored: Counter,
    /// Points or lines refused.
    pub(crate) points_refused: Counter,
    /// Bytes of query answers as sent.
    pub(crate) query_bytes: Counter,
    /// Queries whose client left before the end.
    pub(crate) queries_cancelled: Counter,
}

impl Metrics {
    /// Counts an answered request.
    pub(crate) fn answered(&self, route: &'static str, status: u16, took: Duration) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((route, status)).or_default() += 1;
        drop(requests);
        let mut all = self
            .durations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let durations = all.entry(route).or_default();
        durations.count += 1;
        durations.sum += took;
        let seconds = took.as_secs_f64();
        for (bound, count) in DURATION_BOUNDS.iter().zip(&mut durations.counts) {
            *count += u64::from(seconds <= *bound);
        }
    }

    /// How many answered requests have a route and a status that `wanted` takes.
    pub(crate) fn requests(&self, wanted: impl Fn(&str, u16) -> bool) -> u64 {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = requests
            .iter()
            .filter(|((route, status), _)| wanted(route, *status));
        taken.map(|(_, count)| count).sum()
    }

    /// Writes all counters.
    pub(crate) fn render(&self, text: &mut Text) {
        self.render_requests(text);
        let families = [
            (
                "http_requests_active",
                Kind::Gauge,
                "Requests under way.",
                self.requests_active.get(),
            ),
            (
                "connections",
                Kind::Gauge,
                "Connections open.",
                self.connections.get(),
            ),
            (
                "connections_total",
                Kind::Counter,
                "Connections accepted.",
                self.connections_total.get(),
            ),
            (
                "write_body_bytes_total",
                Kind::Counter,
                "Bytes of write bodies as sent.",
                self.write_bytes.get(),
            ),
            (
                "write_inflated_bytes_total",
                Kind::Counter,
                "Bytes of write bodies after decompression.",
                self.write_inflated_bytes.get(),
            ),
            (
                "points_stored_total",
                Kind::Counter,
                "Points stored by HTTP and gRPC.",
                self.points_stored.get(),
            ),
            (
                "points_refused_total",
                Kind::Counter,
                "Points and lines refused.",
                self.points_refused.get(),
            ),
            (
                "query_answer_bytes_total",
                Kind::Counter,
                "Bytes of query answers as sent.",
                self.query_bytes.get(),
            ),
            (
                "queries_cancelled_total",
                Kind::Counter,
                "Queries whose client left before the end.",
                self.queries_cancelled.get(),
            ),
        ];
        for (name, kind, help, value) in families {
            text.single(name, kind, help, value);
        }
        process::render(text);
    }

    fn render_requests(&self, text: &mut Text) {
        let requests = self
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        text.family(
            "http_requests_total",
            Kind::Counter,
            "Requests answered, by route and status.",
        );
        for ((route, status), count) in requests {
            let status = status.to_string();
            text.sample(
                "http_requests_total",
                &[("route", route), ("status", &status)],
                count,
            );
        }
        let durations = self
            .durations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let name = "http_request_duration_seconds";
        text.family(
            name,
            Kind::Histogram,
            "Time from the headers of a request to those of its answer.",
        );
        for (route, durations) in durations {
            for (bound, count) in DURATION_BOUNDS.iter().zip(durations.counts) {
                let bound = bound.to_string();
                text.sample(
                    &format!("{name}_bucket"),
                    &[("route", route), ("le", &bound)],
                    count,
                );
            }
            let last = [("route", route), ("le", "+Inf")];
            text.sample(&format!("{name}_bucket"), &last, durations.count);
            text.sample(
                &format!("{name}_sum"),
                &[("route", route)],
                durations.sum.as_secs_f64(),
            );
            text.sample(
                &format!("{name}_count"),
                &[("route", route)],
                durations.count,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_route_and_status() {
        let metrics = Metrics::default();
        metrics.answered("/write", 204, Duration::from_millis(3));
        metrics.answered("/write", 204, Duration::from_millis(30));
        metrics.answered("/write", 400, Duration::from_secs(40));
        let mut text = Text::default();
        metrics.render(&mut text);
        let text = text.into_string();
        for line in [
            "silverback_http_requests_total{route=\"/write\",status=\"204\"} 2",
            "silverback_http_requests_total{route=\"/write\",status=\"400\"} 1",
            "silverback_http_request_duration_seconds_bucket{route=\"/write\",le=\"0.005\"} 1",
            "silverback_http_request_duration_seconds_bucket{route=\"/write\",le=\"30\"} 2",
            "silverback_http_request_duration_seconds_bucket{route=\"/write\",le=\"+Inf\"} 3",
        ] {
            assert!(text.lines().any(|own| own == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn a_gauge_falls_when_its_guard_goes() {
        let gauge = Gauge::default();
        let inside = gauge.enter();
        assert_eq!(gauge.get(), 1);
        drop(inside);
        assert_eq!(gauge.get(), 0);
    }
}
