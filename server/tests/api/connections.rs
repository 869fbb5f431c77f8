//! What open connections take of the memory ledger.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::harness::Server;

/// What one takes, as docs/server.md says.
const CONNECTION_BYTES: u64 = 32 << 10;
/// How often the ledger is read until it says what it must.
const LOOKS_MAX: usize = 2_000;
/// Smaller and there would be no server.
const BUDGET_BYTES: u64 = 256 << 20;

/// What bodies, batches and connections take: all that a server at rest has of them are the connections.
fn ingest_bytes(server: &Server) -> u64 {
    let text = server.get("/metrics").text();
    let line = "silverback_memory_used_bytes{class=\"ingest\"} ";
    let value = text.lines().find_map(|own| own.strip_prefix(line));
    value.unwrap().parse().unwrap()
}

/// Waits until the ledger says `bytes`: connections are accepted and closed a moment later.
fn await_ingest(server: &Server, bytes: u64) {
    let mut last = 0;
    let is_there = (0..LOOKS_MAX).any(|_| {
        last = ingest_bytes(server);
        last == bytes
    });
    assert!(is_there, "{last} bytes are counted, not {bytes}");
}

#[test]
fn an_open_connection_is_counted_until_it_is_closed() {
    let (server, _dir) = Server::start();
    // The one that asks.
    await_ingest(&server, CONNECTION_BYTES);
    let silent: Vec<TcpStream> = (0..50).map(|_| server.connect()).collect();
    await_ingest(&server, 51 * CONNECTION_BYTES);
    drop(silent);
    await_ingest(&server, CONNECTION_BYTES);
}

/// A number of the wire, its highest byte first.
fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A frame of HTTP/2: its kind, its stream and its payload.
fn frame(stream: &mut TcpStream) -> Option<(u8, u64, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let mut payload = vec![0; usize::try_from(number(&head[..3])).unwrap()];
    stream.read_exact(&mut payload).ok()?;
    Some((head[3], number(&head[5..]), payload))
}

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const INITIAL_WINDOW_SIZE: u64 = 4;
/// What a connection's window is before the first update.
const WINDOW_BYTES: u64 = 65_535;

/// Opens a connection of HTTP/2 and asks for `/ping`: the windows of the connection and of a stream, if it
/// was answered.
///
/// # Source
/// RFC 9113, 3.4, 4.1 and 6.
fn http2(server: &Server) -> Option<(TcpStream, (u64, u64))> {
    let mut stream = server.connect();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .unwrap();
    stream
        .write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0])
        .unwrap();
    // GET, http, the path as text, an authority.
    let request = b"\x82\x86\x04\x05/ping\x41\x01x";
    let len = u8::try_from(request.len()).unwrap();
    stream
        .write_all(&[0, 0, len, HEADERS, 5, 0, 0, 0, 1])
        .unwrap();
    stream.write_all(request).unwrap();
    let (mut own, mut of_stream) = (WINDOW_BYTES, WINDOW_BYTES);
    loop {
        match frame(&mut stream)? {
            (SETTINGS, _, payload) => {
                for setting in payload.chunks_exact(6) {
                    if number(&setting[..2]) == INITIAL_WINDOW_SIZE {
                        of_stream = number(&setting[2..]);
                    }
                }
            }
            (WINDOW_UPDATE, 0, payload) => own += number(&payload),
            (HEADERS, 1, _) => return Some((stream, (own, of_stream))),
            _ => {}
        }
    }
}

#[test]
fn windows_of_http2_are_counted_and_take_an_eighth_of_the_budget_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let budget = BUDGET_BYTES.to_string();
    let server = Server::at(dir.path(), &["--memory-budget", &budget]);
    await_ingest(&server, CONNECTION_BYTES);
    let mut open = Vec::new();
    let mut together = 0;
    while let Some((stream, (own, of_stream))) = http2(&server) {
        // The connection's own cannot be smaller than the protocol has it, and is not updated by a byte.
        assert!(
            own.abs_diff(of_stream) <= 1,
            "{own}, of a stream {of_stream}"
        );
        open.push(stream);
        together += of_stream;
        assert!(together <= BUDGET_BYTES / 8, "{together}");
    }
    assert!(open.len() > 400, "{} had room", open.len());
    let count = open.len() as u64;
    // One of HTTP/1 has room all the same.
    await_ingest(&server, together + (count + 1) * CONNECTION_BYTES);
    drop(open);
    await_ingest(&server, CONNECTION_BYTES);
    assert!(http2(&server).is_some(), "there is room again");
}
