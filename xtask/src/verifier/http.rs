//! As much of HTTP/1.1 as the verifier needs, of its own: one connection, many requests.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A server that says nothing for this long hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection that is kept.
#[derive(Debug)]
pub(crate) struct Connection {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

fn broken(why: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, why)
}

impl Connection {
    pub(crate) fn new(address: SocketAddr) -> Connection {
        Connection {
            address,
            stream: None,
        }
    }

    /// Where the server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a request; status and body of the answer. After an error it is unknown whether the
    /// server acted.
    pub(crate) fn send(
        &mut self,
        method: &str,
        target: &str,
        accept: &str,
        body: &str,
    ) -> std::io::Result<(u16, String)> {
        let mut stream = if let Some(stream) = self.stream.take() {
            stream
        } else {
            let stream = TcpStream::connect(self.address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            BufReader::new(stream)
        };
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nAccept: {accept}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.get_mut().write_all((head + body).as_bytes())?;
        let answer = read_answer(&mut stream)?;
        self.stream = Some(stream);
        Ok(answer)
    }

    /// The answer to an `InfluxQL` statement, times in ns.
    pub(crate) fn query(&mut self, accept: &str, text: &str) -> Result<String, String> {
        let target = format!("/query?db=k&epoch=ns&q={}", encode(text));
        let answer = self.send("POST", &target, accept, "");
        let (status, body) = answer.map_err(|error| format!("{text}: {error}"))?;
        if status == 200 {
            Ok(body)
        } else {
            Err(format!("{text}: {status} {body}"))
        }
    }
}

fn read_line(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn read_answer(stream: &mut BufReader<TcpStream>) -> std::io::Result<(u16, String)> {
    let first = read_line(stream)?;
    let status = first
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status: u16 = status.ok_or_else(|| broken(&first))?;
    let (mut length, mut is_chunked) = (0, false);
    loop {
        let line = read_line(stream)?.to_ascii_lowercase();
        match line.split_once(':') {
            _ if line.is_empty() => break,
            Some(("content-length", text)) => {
                length = text.trim().parse().map_err(|_| broken(&line))?;
            }
            Some(("transfer-encoding", text)) => is_chunked = text.trim() == "chunked",
            Some(_) | None => {}
        }
    }
    let mut body = Vec::new();
    if is_chunked {
        loop {
            let size = read_line(stream)?;
            let size = u64::from_str_radix(&size, 16).map_err(|_| broken(&size))?;
            stream.by_ref().take(size).read_to_end(&mut body)?;
            read_line(stream)?;
            if size == 0 {
                break;
            }
        }
    } else if status != 204 {
        let read = stream.by_ref().take(length).read_to_end(&mut body)?;
        if (read as u64) < length {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// `text` for a query string.
fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            write!(encoded, "%{byte:02X}").ok();
        }
    }
    encoded
}
