//! `kill -9` at random moments under load: every acknowledged point is there, bit for bit, and
//! nothing that was not sent.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use silverback_benches::Random;

use crate::http::Connection;
use crate::product::{free_address, log_path, silverback};

/// How often the server is killed.
const CYCLES: u64 = 50;
/// Clients that write at once.
const WRITERS: u64 = 4;
/// Rows of a request at most.
const ROWS_MAX: u64 = 200;
/// The server lives this long at most before it is killed.
const LIFE_MAX_MS: u64 = 120;

/// What a point holds, from its writer and number alone: a found point proves its own origin.
fn value(writer: u64, number: u64) -> u64 {
    Random(writer << 40 | number).bits()
}

/// The line of a point. Integers, floats in full precision and strings of one number.
fn line(writer: u64, number: u64) -> String {
    let bits = value(writer, number);
    let integer = bits.cast_signed();
    let float = f64::from_bits(bits & !(0x7ff << 52) | 1023 << 52);
    format!(
        "k,w=w{writer},s=s{} i={integer}i,f={float:e},s=\"{bits:x}\" {number}\n",
        number % 17
    )
}

/// What one writer knows: points below `acknowledged` are durable, none from `sent` on was sent.
#[derive(Clone, Copy, Debug, Default)]
struct Ledger {
    acknowledged: u64,
    sent: u64,
}

/// Writes until the server is gone. A request that was not answered is sent again after the
/// restart, from the first point that is not acknowledged.
fn write(address: SocketAddr, writer: u64, mut ledger: Ledger, stop: &AtomicBool) -> Ledger {
    let mut random = Random(writer ^ ledger.sent);
    let mut connection = Connection::new(address);
    while !stop.load(Ordering::Relaxed) {
        let end = ledger.acknowledged + 1 + random.below(ROWS_MAX);
        let body: String = (ledger.acknowledged..end)
            .map(|number| line(writer, number))
            .collect();
        ledger.sent = ledger.sent.max(end);
        match connection.send("POST", "/write?db=k", &[], body.as_bytes()) {
            Ok(answer) if answer.status == 204 => ledger.acknowledged = end,
            Ok(answer) => assert!(answer.status >= 500, "{} {}", answer.status, answer.text()),
            Err(_) => break,
        }
    }
    ledger
}

/// Compares what the server has with what the ledgers say. Gives the number of points found.
fn verify(connection: &mut Connection, ledgers: &[Ledger]) -> usize {
    let answer = connection.query("k", "SELECT i, f, s FROM k GROUP BY w, s");
    let mut found: BTreeSet<(u64, u64)> = BTreeSet::new();
    for series in answer["results"][0]["series"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let tag = |name: &str| {
            series["tags"][name]
                .as_str()
                .unwrap()
                .trim_start_matches(['w', 's'])
        };
        let (writer, class): (u64, u64) = (tag("w").parse().unwrap(), tag("s").parse().unwrap());
        for row in series["values"].as_array().unwrap() {
            let number = row[0].as_u64().unwrap();
            let bits = value(writer, number);
            let float = f64::from_bits(bits & !(0x7ff << 52) | 1023 << 52);
            assert_eq!(
                class,
                number % 17,
                "a point in a series that is not its own"
            );
            assert_eq!(
                row[1].as_i64(),
                Some(bits.cast_signed()),
                "writer {writer} point {number}"
            );
            assert_eq!(row[2].as_f64().map(f64::to_bits), Some(float.to_bits()));
            assert_eq!(row[3].as_str(), Some(format!("{bits:x}").as_str()));
            found.insert((writer, number));
        }
    }
    for (writer, ledger) in (0..).zip(ledgers) {
        for number in 0..ledger.acknowledged {
            let there = found.contains(&(writer, number));
            assert!(
                there,
                "writer {writer}: acknowledged point {number} is lost ({ledger:?})"
            );
        }
    }
    for (writer, number) in &found {
        let sent = ledgers[usize::try_from(*writer).unwrap()].sent;
        assert!(
            *number < sent,
            "writer {writer}: point {number} was never sent"
        );
    }
    found.len()
}

#[test]
fn no_acknowledged_point_is_lost_by_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let address = free_address();
    let mut ledgers = vec![Ledger::default(); usize::try_from(WRITERS).unwrap()];
    let mut random = Random(4711);
    let mut server = silverback(&data, address);
    server.connect().query("", "CREATE DATABASE k");
    let mut found = 0;
    for cycle in 0..CYCLES {
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..WRITERS)
            .zip(&ledgers)
            .map(|(writer, ledger)| {
                let (ledger, stop) = (*ledger, Arc::clone(&stop));
                std::thread::spawn(move || write(address, writer, ledger, &stop))
            })
            .collect();
        if cycle % 3 == 1 {
            // A flush under way is the other thing to be killed in.
            std::thread::spawn(move || {
                drop(Connection::new(address).send("POST", "/admin/flush", &[], b""));
            });
        }
        std::thread::sleep(Duration::from_millis(random.below(LIFE_MAX_MS)));
        server.kill();
        stop.store(true, Ordering::Relaxed);
        ledgers = writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .collect();
        server = silverback(&data, address);
        if cycle % 10 == 9 || cycle == 0 {
            found = verify(&mut server.connect(), &ledgers);
        }
    }
    let acknowledged: u64 = ledgers.iter().map(|ledger| ledger.acknowledged).sum();
    println!("{CYCLES} kills, {acknowledged} points acknowledged, {found} found, none lost");
    assert!(
        acknowledged > CYCLES * 100,
        "{acknowledged} points are no load"
    );
    let status = server.terminate();
    let log = std::fs::read_to_string(log_path(&data)).unwrap();
    assert!(status.success(), "{status}:\n{log}");
}
