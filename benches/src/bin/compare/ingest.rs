//! Sending a data set as fast as it is acknowledged, and what that costs the server.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::http::Client;
use crate::peer::{Peer, PeerKind};
use crate::sending::{self, Sending};

/// What one run of one peer showed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ingest {
    /// Until the last acknowledgement, s.
    pub(crate) wall_s: f64,
    /// Of the server until then, or until all can be read where it acknowledges before.
    pub(crate) cpu_s: f64,
    /// Of the server until everything is in its final form.
    pub(crate) settled_cpu_s: f64,
    pub(crate) peak_anonymous_mb: f64,
    pub(crate) settled_anonymous_mb: f64,
    /// Of the data set, after the server has stopped.
    pub(crate) disk_bytes: u64,
    /// Values stored in the end for each of the data set: more came in while dashboards were shown.
    pub(crate) stored: f64,
}

/// Starts a peer, sends `bodies` over `connections` connections and lets it settle.
pub(crate) fn run(
    (kind, binary): (PeerKind, &Path),
    bodies: &[Vec<u8>],
    connections: usize,
) -> (Peer, Ingest) {
    let sending = Sending::new(kind, bodies, connections);
    let peer = Peer::start(kind, binary);
    let before = peer.cpu_seconds();
    let start = Instant::now();
    let mut wall_s = 0.0;
    let peak_anonymous_mb = watched(&peer, || {
        send(&peer, &sending, connections);
        wall_s = start.elapsed().as_secs_f64();
        peer.apply();
    });
    let cpu_s = peer.cpu_seconds() - before;
    peer.settle();
    let run = Ingest {
        wall_s,
        cpu_s,
        settled_cpu_s: peer.cpu_seconds() - before,
        peak_anonymous_mb,
        settled_anonymous_mb: peer.anonymous_mb(),
        disk_bytes: 0,
        stored: 1.0,
    };
    (peer, run)
}

/// Sends all that there is, each over a connection of its own; panics unless all is acknowledged.
fn send(peer: &Peer, sending: &Sending<'_>, connections: usize) {
    std::thread::scope(|scope| {
        for sender in 0..connections {
            scope.spawn(move || {
                let mut client = Client::connect(peer.address()).unwrap();
                while let Some((_, body)) = sending.next(sender) {
                    sending::send(peer, &mut client, body);
                }
            });
        }
    });
}

/// The most anonymous memory a peer has while `work` goes on, MB.
fn watched(peer: &Peer, work: impl FnOnce()) -> f64 {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut peak = 0.0_f64;
            while !done.load(Ordering::Relaxed) {
                peak = peak.max(peer.anonymous_mb());
                std::thread::sleep(Duration::from_millis(50));
            }
            peak
        });
        work();
        done.store(true, Ordering::Relaxed);
        watcher.join().unwrap()
    })
}
