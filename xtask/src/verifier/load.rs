//! The process that writes: several clients at once, each on points of its own, every request in the
//! ledger before it is sent. It ends when the server does, or by being killed.

use std::net::SocketAddr;
use std::path::Path;
use std::thread;

use super::http::Connection;
use super::ledger::{self, Ending, Intent, Ledger};
use super::points::{MEASUREMENT, Random, lines};
use crate::Outcome;

/// Clients that write at once.
pub(crate) const WRITERS: u64 = 4;
/// Points of a request at most.
const POINTS_MAX: u64 = 40;
/// Of so many requests one takes an earlier one's points away.
const DELETE_EVERY: u64 = 9;

/// `verifier-load ADDRESS LEDGER SEED`.
pub(crate) fn run(address: &str, path: &str, seed: &str) -> Outcome {
    let address: SocketAddr = address
        .parse()
        .map_err(|error| format!("{address}: {error}"))?;
    let seed: u64 = seed.parse().map_err(|error| format!("{seed}: {error}"))?;
    let path = Path::new(path);
    let past = ledger::read(path)?;
    let ledger = Ledger::open(path, past.len() as u64)?;
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let own = past.iter().filter(|(intent, _)| intent.writer == writer);
                let own: Vec<(Intent, Ending)> = own.copied().collect();
                let ledger = &ledger;
                scope.spawn(move || write(address, (seed, writer), own, ledger))
            })
            .collect();
        for writer in writers {
            writer
                .join()
                .map_err(|_| "a writer panicked".to_owned())??;
        }
        Ok(())
    })
}

/// Writes until the server is gone.
fn write(
    address: SocketAddr,
    (seed, writer): (u64, u64),
    mut past: Vec<(Intent, Ending)>,
    ledger: &Ledger,
) -> Outcome {
    let mut connection = Connection::new(address);
    let mut random = Random(seed ^ writer << 32 ^ past.len() as u64);
    let mut next = past
        .iter()
        .map(|(own, _)| own.start + own.count)
        .max()
        .unwrap_or(0);
    loop {
        let old = old_request(&past, &mut random);
        let intent = match old.filter(|_| random.below(DELETE_EVERY) == 0) {
            Some(old) => Intent {
                is_delete: true,
                ..old
            },
            None => Intent {
                writer,
                start: next,
                count: 1 + random.below(POINTS_MAX),
                is_delete: false,
            },
        };
        next = next.max(intent.start + intent.count);
        let number = ledger.intend(intent)?;
        let answer = send(&mut connection, seed, intent);
        let ending = match &answer {
            Ok((200 | 204, body)) if !body.contains("\"error\"") => Ending::Acknowledged,
            Ok((400..500, _)) => Ending::Rejected,
            Ok(_) | Err(_) => Ending::Unknown,
        };
        ledger.end(number, ending)?;
        past.push((intent, ending));
        if answer.is_err() {
            return Ok(());
        }
    }
}

/// An acknowledged write of whose points nothing is deleted yet.
fn old_request(past: &[(Intent, Ending)], random: &mut Random) -> Option<Intent> {
    let picked = random.below(past.len().max(1) as u64);
    let (intent, ending) = past.get(usize::try_from(picked).ok()?)?;
    let deleted = |(own, _): &(Intent, Ending)| own.is_delete && own.start == intent.start;
    let is_whole = *ending == Ending::Acknowledged && !past.iter().any(deleted);
    is_whole.then_some(*intent)
}

fn send(connection: &mut Connection, seed: u64, intent: Intent) -> std::io::Result<(u16, String)> {
    let Intent {
        writer,
        start,
        count,
        is_delete,
    } = intent;
    if is_delete {
        let statement = format!(
            "DELETE+FROM+{MEASUREMENT}+WHERE+w%3D%27w{writer}%27+AND+time%3E%3D{start}+AND+time%3C{}",
            start + count
        );
        let target = format!("/query?db=k&q={statement}");
        return connection.send("POST", &target, "application/json", "");
    }
    let body = lines(seed, writer, start..start + count);
    connection.send("POST", "/write?db=k", "*/*", &body)
}
