//! Asking the same questions of all peers in turn: latency, CPU time, and whether they agree.

use std::time::Instant;

use silverback_benches::Random;

use crate::answer::Answer;
use crate::http::Client;
use crate::peer::{Peer, PeerKind};
use crate::question::{Asked, QUESTIONS, Question};

/// A peer is asked this often at least, and this often at most.
const TIMES_MIN: usize = 3;
const TIMES_MAX: usize = 60;
/// Queries drawn until one has an answer, at most.
const DRAWS_MAX: usize = 16;
/// No more is asked of a peer that has worked on a question for so long, s.
const BUDGET_S: f64 = 0.25;

/// What a peer took for a type of query, for each round one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latency {
    /// The middle one of a round's, ms.
    pub(crate) wall_ms: Vec<f64>,
    /// CPU time of the server for a query, ms.
    pub(crate) cpu_ms: Vec<f64>,
}

/// Latencies by question, then by peer in the order of the command line.
pub(crate) type Latencies = Vec<Vec<Latency>>;

/// A peer with a connection, and what a round has shown of it.
struct Party<'a> {
    peer: &'a Peer,
    client: Client,
    taken_ms: Vec<f64>,
    cpu_s: f64,
}

/// One round of all questions.
pub(crate) fn round(peers: &[Peer], hosts: u64, out: &mut Latencies) {
    out.resize(QUESTIONS.len(), vec![Latency::default(); peers.len()]);
    for (question, out) in QUESTIONS.iter().zip(out) {
        let mut parties: Vec<Party<'_>> = peers.iter().map(Party::new).collect();
        // A host that was drawn may have nothing to answer; that no answer has anything is a defect.
        let mut random = Random(1);
        let found = (0..DRAWS_MAX).any(|_| agree(question, &mut parties, hosts, &mut random) > 0);
        assert!(found, "{}: every answer is empty", question.name);
        one(question, &mut parties, hosts);
        for (party, out) in parties.iter().zip(out) {
            if !party.taken_ms.is_empty() {
                let times = u32::try_from(party.taken_ms.len()).unwrap();
                out.wall_ms.push(crate::median(party.taken_ms.clone()));
                out.cpu_ms.push(party.cpu_s * 1e3 / f64::from(times));
            }
        }
    }
}

impl<'a> Party<'a> {
    fn new(peer: &'a Peer) -> Party<'a> {
        Party {
            peer,
            client: Client::connect(peer.address()).unwrap(),
            taken_ms: Vec::new(),
            cpu_s: 0.0,
        }
    }

    /// Asks, unless the peer cannot be asked this.
    fn ask(&mut self, asked: &Asked) -> Option<&[u8]> {
        let target = asked.target(self.peer.kind())?;
        // A server may close a connection that waited for the others' answers.
        if self.client.is_closed() {
            self.client = Client::connect(self.peer.address()).unwrap();
        }
        let cpu_before = self.peer.thread_seconds();
        let start = Instant::now();
        let (status, _) = self.client.send("GET", &target, b"").unwrap();
        self.taken_ms.push(start.elapsed().as_secs_f64() * 1e3);
        self.cpu_s += (self.peer.thread_seconds() - cpu_before).max(0.0);
        let body = self.client.body();
        let name = self.peer.kind().name();
        assert_eq!(status, 200, "{name}: {}", String::from_utf8_lossy(body));
        Some(body)
    }

    fn done(&self) -> bool {
        let spent: f64 = self.taken_ms.iter().sum();
        let times = self.taken_ms.len();
        times >= TIMES_MAX || (times >= TIMES_MIN && spent >= BUDGET_S * 1e3)
    }
}

/// Asks all peers one query, which also warms them, and compares what they answer. Gives its size.
fn agree(question: &Question, parties: &mut [Party<'_>], hosts: u64, random: &mut Random) -> usize {
    let asked = question.draw(random, hosts);
    let mut first: Option<(PeerKind, Answer)> = None;
    for party in parties {
        let kind = party.peer.kind();
        let Some(body) = party.ask(&asked) else {
            continue;
        };
        let answer = Answer::read(kind, body, question.of_names());
        match &first {
            None => first = Some((kind, answer)),
            Some((other, other_answer)) => {
                let difference = other_answer.difference(&answer);
                let (name, own, other) = (question.name, kind.name(), other.name());
                assert_eq!(difference, None, "{name}: {other} and {own} differ");
            }
        }
        party.taken_ms.clear();
        party.cpu_s = 0.0;
    }
    first.map_or(0, |(_, answer)| answer.size())
}

/// Asks in turn, so that whatever else the machine does meets all alike: each time in another order, as
/// whoever is asked next finds the caches, and threads that still spin, of the one before.
fn one(question: &Question, parties: &mut [Party<'_>], hosts: u64) {
    let mut random = Random(2);
    let mut order = Random(3);
    let mut turns: Vec<usize> = (0..parties.len()).collect();
    for _ in 0..TIMES_MAX {
        let asked = question.draw(&mut random, hosts);
        for left in (1..turns.len()).rev() {
            let place = order.below(left as u64 + 1);
            turns.swap(left, usize::try_from(place).unwrap());
        }
        for place in &turns {
            let party = &mut parties[*place];
            if !party.done() {
                party.ask(&asked);
            }
        }
    }
}
