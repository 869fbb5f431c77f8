//! A data set as a peer takes it: bodies of line protocol for all but Prometheus, which takes its own messages.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::http::Client;
use crate::peer::{Peer, PeerKind};

/// Until a sender looks whether the others have come as far.
const PAUSE: Duration = Duration::from_micros(50);

/// Bodies in the order in which they are sent.
#[derive(Debug)]
pub(crate) struct Sending<'set> {
    bodies: Bodies<'set>,
    /// Of each sequence the next one.
    next: Vec<AtomicUsize>,
}

#[derive(Debug)]
enum Bodies<'set> {
    /// Whoever is free sends the next one.
    Any(&'set [Vec<u8>]),
    /// One sequence for each sender: Prometheus takes a series' samples in their order only, and none that is an hour
    /// older than the newest of all, so that no sender gets ahead of the others by more than a body.
    Each(Vec<Vec<Vec<u8>>>),
}

impl<'set> Sending<'set> {
    /// What `senders` senders send to a peer of `kind`.
    pub(crate) fn new(kind: PeerKind, bodies: &'set [Vec<u8>], senders: usize) -> Sending<'set> {
        let bodies = match kind {
            PeerKind::Prometheus => Bodies::Each(write_requests(bodies, senders)),
            PeerKind::Silverback
            | PeerKind::InfluxDb
            | PeerKind::VictoriaMetrics
            | PeerKind::QuestDb => Bodies::Any(bodies),
        };
        let sequences = match &bodies {
            Bodies::Any(_) => 1,
            Bodies::Each(each) => each.len(),
        };
        Sending {
            bodies,
            next: (0..sequences).map(|_| AtomicUsize::new(0)).collect(),
        }
    }

    /// How many bodies there are.
    pub(crate) fn len(&self) -> usize {
        match &self.bodies {
            Bodies::Any(bodies) => bodies.len(),
            Bodies::Each(each) => each.iter().map(Vec::len).sum(),
        }
    }

    /// A sender sends no more, and nobody has to wait for it.
    pub(crate) fn leave(&self, sender: usize) {
        if let Bodies::Each(_) = self.bodies {
            self.next[sender].store(usize::MAX / 2, Ordering::Relaxed);
        }
    }

    /// The next body of a sender, and its number in the order of all.
    pub(crate) fn next(&self, sender: usize) -> Option<(usize, &[u8])> {
        let load = |next: &AtomicUsize| next.load(Ordering::Relaxed);
        let take = |place: usize| self.next[place].fetch_add(1, Ordering::Relaxed);
        let (number, body) = match &self.bodies {
            Bodies::Any(bodies) => {
                let number = take(0);
                (number, bodies.get(number)?)
            }
            Bodies::Each(each) => {
                let number = take(sender);
                let body = each[sender].get(number);
                if body.is_none() {
                    self.leave(sender);
                }
                let all = self.next.iter();
                while number > all.clone().map(load).min().unwrap_or(0) {
                    std::thread::sleep(PAUSE);
                }
                (number * each.len() + sender, body?)
            }
        };
        Some((number, body))
    }
}

/// Sends a body; panics unless it is acknowledged.
pub(crate) fn send(peer: &Peer, client: &mut Client, body: &[u8]) {
    let (target, headers) = match peer.kind() {
        PeerKind::Prometheus => (
            "/api/v1/write",
            "Content-Encoding: snappy\r\nContent-Type: application/x-protobuf\r\n\
             X-Prometheus-Remote-Write-Version: 0.1.0\r\n",
        ),
        PeerKind::Silverback
        | PeerKind::InfluxDb
        | PeerKind::VictoriaMetrics
        | PeerKind::QuestDb => ("/write?db=bench", ""),
    };
    let (status, answer) = client.send_with("POST", (target, headers), body).unwrap();
    let answer = String::from_utf8_lossy(answer);
    assert_eq!(status, 204, "{}: {answer}", peer.kind().name());
}

/// A series of Prometheus: its labels as a message holds them, and its samples.
#[derive(Debug, Default)]
struct Series {
    labels: Vec<u8>,
    samples: Vec<u8>,
}

/// The bodies as remote-write requests, all samples of a series in the sequence of one sender. A field is a series
/// of its own, named after measurement and field; a time is cut to milliseconds.
fn write_requests(bodies: &[Vec<u8>], senders: usize) -> Vec<Vec<Vec<u8>>> {
    let mut sequences = vec![Vec::new(); senders];
    for body in bodies {
        let text = std::str::from_utf8(body).expect("line protocol is text");
        let mut places: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let mut requests: Vec<Vec<Series>> = Vec::new();
        requests.resize_with(senders, Vec::new);
        for line in text.lines() {
            let mut words = line.split(' ');
            let (Some(key), Some(fields), Some(time)) = (words.next(), words.next(), words.next())
            else {
                unreachable!("lines of data sets have three words: {line}");
            };
            let time_ms = time.parse::<i64>().expect("times are numbers") / 1_000_000;
            let sender = usize::from(checksum(key)) % senders;
            for field in fields.split(',') {
                let (name, value) = field.split_once('=').expect("a field has a value");
                let value: f64 = value.trim_end_matches('i').parse().expect("a number");
                let series = &mut requests[sender];
                let place = *places.entry((key, name)).or_insert_with(|| {
                    series.push(Series {
                        labels: labels(key, name),
                        samples: Vec::new(),
                    });
                    series.len() - 1
                });
                push_sample(&mut series[place].samples, value, time_ms);
            }
        }
        for (sequence, series) in sequences.iter_mut().zip(requests) {
            if !series.is_empty() {
                sequence.push(snappy(&write_request(&series)));
            }
        }
    }
    sequences
}

/// Spreads series over senders.
fn checksum(key: &str) -> u8 {
    key.bytes()
        .fold(0, |sum: u8, byte| sum.rotate_left(3) ^ byte)
}

/// `repeated TimeSeries timeseries = 1`, each `repeated Label labels = 1; repeated Sample samples = 2`.
fn write_request(all: &[Series]) -> Vec<u8> {
    let mut request = Vec::new();
    for series in all {
        request.push(0x0a);
        push_varint(&mut request, series.labels.len() + series.samples.len());
        request.extend_from_slice(&series.labels);
        request.extend_from_slice(&series.samples);
    }
    request
}

/// The labels of a field of a series: its name and the tags, in the order of label names.
fn labels(key: &str, field: &str) -> Vec<u8> {
    let mut words = key.split(',');
    let measurement = words.next().unwrap_or_default();
    let mut pairs: Vec<(&str, &str)> = words.filter_map(|word| word.split_once('=')).collect();
    let name = format!("{measurement}_{field}");
    pairs.push(("__name__", &name));
    pairs.sort_unstable();
    let mut labels = Vec::new();
    for (name, value) in pairs {
        let mut label = Vec::new();
        for (tag, text) in [(0x0a, name), (0x12, value)] {
            label.push(tag);
            push_varint(&mut label, text.len());
            label.extend_from_slice(text.as_bytes());
        }
        labels.push(0x0a);
        push_varint(&mut labels, label.len());
        labels.extend_from_slice(&label);
    }
    labels
}

/// `double value = 1; int64 timestamp = 2`.
fn push_sample(samples: &mut Vec<u8>, value: f64, time_ms: i64) {
    let mut sample = vec![0x09];
    sample.extend_from_slice(&value.to_le_bytes());
    sample.push(0x10);
    push_varint(
        &mut sample,
        usize::try_from(time_ms).expect("times lie behind 1970"),
    );
    samples.push(0x12);
    push_varint(samples, sample.len());
    samples.extend_from_slice(&sample);
}

fn push_varint(out: &mut Vec<u8>, mut number: usize) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

/// `bytes` in snappy's form, stored as they are: Prometheus is spared the work of making them larger again.
fn snappy(bytes: &[u8]) -> Vec<u8> {
    /// The longest stretch whose length takes two bytes.
    const LITERAL_MAX: usize = 1 << 16;
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 1024 + 16);
    push_varint(&mut out, bytes.len());
    for literal in bytes.chunks(LITERAL_MAX) {
        // A literal whose length less one stands in the next two bytes.
        out.push(61 << 2);
        let less_one = u16::try_from(literal.len() - 1).expect("a literal is short");
        out.extend_from_slice(&less_one.to_le_bytes());
        out.extend_from_slice(literal);
    }
    out
}
