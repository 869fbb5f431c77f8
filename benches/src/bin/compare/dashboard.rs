//! Dashboards: panels asked side by side, by themselves and while data comes in at half of the speed that
//! the peer has just shown.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use silverback_benches::Random;
use silverback_benches::data::devops;

use crate::http::Client;
use crate::peer::Peer;
use crate::question::QUESTIONS;
use crate::sending::{self, Sending};

/// What a dashboard shows: questions by name, together twenty panels.
const PANELS: [(&str, usize); 7] = [
    ("single-groupby-1-1-1", 6),
    ("single-groupby-5-1-1", 4),
    ("single-groupby-1-8-1", 3),
    ("single-groupby-1-1-12", 2),
    ("cpu-max-all-1", 2),
    ("regex-11-hosts", 2),
    ("tag-values", 1),
];
/// Connections that a browser keeps to one server.
const CONNECTIONS: usize = 6;
/// A dashboard is shown anew so often, and so many times.
const REFRESH: Duration = Duration::from_millis(250);
const REFRESHES: usize = 16;
/// Connections that data comes in on.
const SENDERS: usize = 2;

/// What one run showed: milliseconds a panel, the middle one and the 99th of a hundred.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Dashboard {
    pub(crate) idle_ms: [f64; 2],
    pub(crate) busy_ms: [f64; 2],
    /// That came in meanwhile.
    pub(crate) values_per_s: f64,
    pub(crate) values: f64,
}

/// Asks a peer that holds the devops data of `hosts` hosts, and took in `values_per_s` of it.
#[expect(clippy::cast_precision_loss, reason = "rounded for people anyway")]
pub(crate) fn run(peer: &Peer, hosts: usize, values_per_s: f64) -> Dashboard {
    panels(peer, hosts, 1);
    let idle_ms = panels(peer, hosts, REFRESHES);
    let seconds = REFRESH.as_secs_f64() * (REFRESHES as f64 + 1.0);
    let load = devops::later(hosts, values_per_s / 2.0 * seconds);
    let sending = Sending::new(peer.kind(), &load.bodies, SENDERS);
    let body_values = load.values as f64 / sending.len() as f64;
    let pause = Duration::from_secs_f64(body_values / (values_per_s / 2.0));
    let done = AtomicBool::new(false);
    let sent = AtomicUsize::new(0);
    let start = Instant::now();
    let (busy_ms, taken_s) = std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (sending, done, sent) = (&sending, &done, &sent);
            scope.spawn(move || {
                let mut client = Client::connect(peer.address()).unwrap();
                while !done.load(Ordering::Relaxed) {
                    let Some((number, body)) = sending.next(sender) else {
                        break;
                    };
                    let due = start + pause * u32::try_from(number).unwrap();
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    sending::send(peer, &mut client, body);
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                sending.leave(sender);
            });
        }
        let busy_ms = panels(peer, hosts, REFRESHES);
        done.store(true, Ordering::Relaxed);
        (busy_ms, start.elapsed().as_secs_f64())
    });
    peer.settle();
    let sent = sent.into_inner() as f64 * body_values;
    Dashboard {
        idle_ms,
        busy_ms,
        values_per_s: sent / taken_s,
        values: sent,
    }
}

/// Shows a dashboard `refreshes` times: all panels are there to be asked at once.
fn panels(peer: &Peer, hosts: usize, refreshes: usize) -> [f64; 2] {
    let mut random = Random(3);
    let mut targets = Vec::new();
    for (name, count) in PANELS.iter().cycle().take(PANELS.len() * refreshes) {
        let question = QUESTIONS.iter().find(|question| question.name == *name);
        let question = question.expect("a panel is a question");
        for _ in 0..*count {
            let asked = question.draw(&mut random, hosts as u64);
            targets.push(asked.target(peer.kind()).expect("every peer can be asked"));
        }
    }
    let each = targets.len() / refreshes;
    let next: Vec<AtomicUsize> = (0..refreshes).map(|_| AtomicUsize::new(0)).collect();
    let taken = Mutex::new(Vec::new());
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut client = Client::connect(peer.address()).unwrap();
                let mut own = Vec::new();
                for (number, next) in next.iter().enumerate() {
                    let due = start + REFRESH * u32::try_from(number).unwrap();
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    let panels = &targets[number * each..(number + 1) * each];
                    while let Some(target) = panels.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if client.is_closed() {
                            client = Client::connect(peer.address()).unwrap();
                        }
                        let asked = Instant::now();
                        let (status, _) = client.send("GET", target, b"").unwrap();
                        own.push(asked.elapsed().as_secs_f64() * 1e3);
                        assert_eq!(status, 200, "{target}");
                    }
                }
                taken.lock().unwrap().extend(own);
            });
        }
    });
    let mut taken = taken.into_inner().unwrap();
    taken.sort_by(f64::total_cmp);
    [taken[taken.len() / 2], taken[taken.len() * 99 / 100]]
}
