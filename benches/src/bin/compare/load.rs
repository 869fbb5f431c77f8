//! The data and the client: bodies made beforehand, sent over kept connections as fast as each is
//! answered.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};

use silverback_benches::Devops;

/// Lines of a request, as Telegraf and TSBS send them by default, to the nearest whole step.
const LINES: usize = 5000;

/// Request bodies of TSBS's devops shape.
pub(crate) fn devops(hosts: usize, steps: usize) -> Vec<Vec<u8>> {
    let mut data = Devops::new(7, hosts);
    let steps_each = (LINES / hosts).max(1);
    let mut bodies = Vec::new();
    let mut done = 0;
    while done < steps {
        let mut body = String::new();
        for _ in 0..steps_each.min(steps - done) {
            data.step(&mut body);
            done += 1;
        }
        bodies.push(body.into_bytes());
    }
    bodies
}

/// Sends all bodies over `connections` connections; panics unless each is answered by a 204.
pub(crate) fn send(address: SocketAddr, bodies: &[Vec<u8>], connections: usize) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_nodelay(true).unwrap();
                while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let head = format!(
                        "POST /write?db=bench HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
                        body.len()
                    );
                    stream.write_all(head.as_bytes()).unwrap();
                    stream.write_all(body).unwrap();
                    let answer = read_head(&mut stream);
                    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
                }
            });
        }
    });
}

/// The head of an answer that has no body.
fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    while !head.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "the server closed the connection");
        head.extend_from_slice(&piece[..count]);
    }
    String::from_utf8_lossy(&head).into_owned()
}
