//! How long a start takes after a kill with a full log: until a write is accepted, until everything that was
//! acknowledged is answered, and until a question with a tag is.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::Place;
use super::http::Connection;
use super::points::Random;
use super::server::start;

const WRITERS: u64 = 4;
const LINES: u64 = 2000;
const FIELDS: u64 = 10;

/// What is in the log that is to be replayed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Its bytes. How many come together before a flush depends on how many series there are.
    log_bytes: u64,
    /// Series of a writer.
    series: u64,
}

impl Shape {
    /// Few series: nearly as much as there may be before 48 MiB of rows are flushed.
    pub(crate) const FEW_SERIES: Shape = Shape {
        log_bytes: 27 << 20,
        series: 250,
    };
    /// A million series, each written to twice and more: nearly as much as there may be before the rows that so
    /// many wait for are flushed.
    pub(crate) const MILLION_SERIES: Shape = Shape {
        log_bytes: 220 << 20,
        series: 250_000,
    };
    /// Each row a series of its own, so that nearly half of the log is their keys, up to its bound.
    pub(crate) const MANY_SERIES: Shape = Shape {
        log_bytes: 250 << 20,
        series: u64::MAX,
    };
}

/// What a start took.
#[derive(Debug)]
pub(crate) struct Restart {
    pub(crate) log_bytes: u64,
    pub(crate) rows: u64,
    pub(crate) first_write: Duration,
    /// Until all rows were counted.
    pub(crate) all_answered: Duration,
    /// The same of another start, of which the first question was for the rows of one writer.
    pub(crate) tag_answered: Duration,
}

/// Fills a log, kills the server, and starts it again, and the same once more.
pub(crate) fn measure(shape: Shape) -> Result<Restart, String> {
    let place = Place::new("restart")?;
    let (data, log) = (place.0.join("data"), place.0.join("server.log"));
    let (server, address, _) = start(&data, &log)?;
    Connection::new(address).query("*/*", "CREATE DATABASE k")?;
    let rows = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| scope.spawn(move || fill(address, writer, shape)))
            .collect();
        let joined = writers.into_iter().map(|writer| {
            let rows = writer.join();
            rows.map_err(|_| "a writer panicked".to_owned())?
        });
        joined.collect::<Result<Vec<u64>, String>>()
    })?;
    let all = rows.iter().sum();
    let mut connection = Connection::new(address);
    let log_bytes = metric(&mut connection, "silverback_log_bytes_total")?;
    let in_memory = metric(&mut connection, "silverback_memtable_rows")?;
    if in_memory != all {
        return Err(format!(
            "of {all} rows {in_memory} are to be replayed: the rest was flushed"
        ));
    }
    server.kill()?;
    let count = "SELECT count(f1) FROM m";
    let (first_write, all_answered) = start_again((&data, &log), all, (count, all))?;
    let of_one = format!("{count} WHERE w='w1'");
    let (_, tag_answered) = start_again((&data, &log), all, (&of_one, rows[1]))?;
    Ok(Restart {
        log_bytes,
        rows: all,
        first_write,
        all_answered,
        tag_answered,
    })
}

/// Starts a server that has all rows in its log, writes, asks it for a count of rows, and kills it: when the write was
/// accepted, and when the count was answered.
fn start_again(
    (data, log): (&Path, &Path),
    all: u64,
    (count, rows): (&str, u64),
) -> Result<(Duration, Duration), String> {
    let begin = Instant::now();
    let (server, address, _) = start(data, log)?;
    let mut connection = Connection::new(address);
    let body = "m,s=new f0=1 1";
    let (status, said) = connection
        .send("POST", "/write?db=k", "*/*", body)
        .map_err(|error| format!("the first write: {error}"))?;
    let first_write = begin.elapsed();
    if status != 204 {
        return Err(format!("the first write: {status} {said}"));
    }
    let said = connection.query("application/csv", count)?;
    let answered = begin.elapsed();
    if !said.trim_end().ends_with(&format!(",{rows}")) {
        return Err(format!(
            "{rows} rows were acknowledged, to {count} it answers {said}"
        ));
    }
    if metric(&mut connection, "silverback_memtable_rows")? < all {
        return Err("rows were flushed, and are not replayed".into());
    }
    server.kill()?;
    Ok((first_write, answered))
}

/// Writes until the log is long enough. How many rows.
fn fill(address: SocketAddr, writer: u64, shape: Shape) -> Result<u64, String> {
    let mut connection = Connection::new(address);
    let mut random = Random(writer);
    let mut rows = 0;
    while metric(&mut connection, "silverback_log_bytes_total")? < shape.log_bytes {
        let mut body = String::new();
        for line in rows..rows + LINES {
            // Writing to a string does not fail.
            let series = line % shape.series;
            let (rack, port) = (series % 100, series % 20);
            write!(
                body,
                "m,w=w{writer},s=host_{series},rack=rack-{rack},port={port},region=eu-central-1,os=linux "
            )
            .ok();
            for field in 0..FIELDS {
                let value = f64::from_bits(random.bits() >> 12 | 1023 << 52);
                let comma = if field == 0 { "" } else { "," };
                write!(body, "{comma}f{field}={value}").ok();
            }
            writeln!(body, " {}", 1_700_000_000_000_000_000 + line * 1000).ok();
        }
        let answer = connection.send("POST", "/write?db=k", "*/*", &body);
        let (status, said) = answer.map_err(|error| format!("a write: {error}"))?;
        if status != 204 {
            return Err(format!("a write: {status} {said}"));
        }
        rows += LINES;
    }
    Ok(rows)
}

/// What the server counts under `name`.
fn metric(connection: &mut Connection, name: &str) -> Result<u64, String> {
    let answer = connection.send("GET", "/metrics", "*/*", "");
    let (_, text) = answer.map_err(|error| format!("metrics: {error}"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = line.and_then(|value| value.trim().parse().ok());
    value.ok_or_else(|| format!("no metric {name}"))
}
