//! Starts servers and speaks HTTP/1.1 to them, byte by byte, so that a test sees what a client sees.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// The longest any answer may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary with `arguments` and an environment without settings.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_silverback"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SILVERBACK_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the binary to its end, which it must reach within a minute.
pub(crate) fn run(arguments: &[&str]) -> Output {
    let own = command(arguments);
    let mut bounded = Command::new("timeout");
    bounded
        .args(["--signal=KILL", "60"])
        .arg(own.get_program())
        .args(own.get_args());
    for (name, _) in own.get_envs() {
        bounded.env_remove(name);
    }
    bounded.stdin(Stdio::null()).output().unwrap()
}

/// What a process wrote to stderr.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A server; it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    log: BufReader<ChildStderr>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What it has logged until it listened.
    pub(crate) greeting: String,
}

impl Server {
    /// A server on a fresh directory.
    pub(crate) fn start() -> (Server, TempDir) {
        let dir = TempDir::new().unwrap();
        (Server::at(dir.path(), &[]), dir)
    }

    /// A server on `dir` with more arguments.
    pub(crate) fn at(dir: &Path, arguments: &[&str]) -> Server {
        let data = dir.join("data");
        let mut all = vec!["serve", "--data-dir", data.to_str().unwrap()];
        all.extend(["--http-bind", "127.0.0.1:0"]);
        all.extend(arguments);
        Server::spawn(command(&all))
    }

    /// Starts `command` and waits until it listens.
    pub(crate) fn spawn(mut command: Command) -> Server {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut greeting = String::new();
        loop {
            let mut line = String::new();
            let size = log.read_line(&mut line).unwrap();
            greeting.push_str(&line);
            assert!(size > 0, "the server ended before it listened:\n{greeting}");
            if line.contains("silverback is listening") {
                break;
            }
        }
        let after = greeting.rsplit("http://").next().unwrap();
        let end = after.find(|c: char| c.is_whitespace() || c == '"').unwrap();
        let address = after.get(..end).unwrap().parse().unwrap();
        Server {
            child,
            log,
            address,
            greeting,
        }
    }

    /// The next line of the log.
    pub(crate) fn next_log_line(&mut self) -> String {
        let mut line = String::new();
        assert!(
            self.log.read_line(&mut line).unwrap() > 0,
            "the server has ended"
        );
        line
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let status = Command::new("kill")
            .args(["-s", name, &pid])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for the end: exit code and the rest of the log.
    pub(crate) fn wait(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }

    /// A connection.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// The answer to a request.
    pub(crate) fn send(&self, request: &Request<'_>) -> Answer {
        let mut stream = self.connect();
        stream.write_all(&request.bytes()).unwrap();
        answer(&mut stream, request.method == "HEAD")
    }

    /// The answer to a GET.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(&Request::new("GET", path))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Request<'a> {
    /// The method.
    pub(crate) method: &'a str,
    /// Path and query string.
    pub(crate) path: &'a str,
    /// Headers besides host, length and connection.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: &'a [u8],
}

impl<'a> Request<'a> {
    /// Without headers and body.
    pub(crate) fn new(method: &'a str, path: &'a str) -> Request<'a> {
        Request {
            method,
            path,
            headers: Vec::new(),
            body: b"",
        }
    }

    /// With one more header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Request<'a> {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let first = format!("{} {} HTTP/1.1", self.method, self.path);
        let mut lines = vec![first, "Host: x".to_owned(), "Connection: close".to_owned()];
        lines.extend(
            self.headers
                .iter()
                .map(|(name, value)| format!("{name}: {value}")),
        );
        if !matches!(self.method, "GET" | "HEAD") {
            lines.push(format!("Content-Length: {}", self.body.len()));
        }
        let head = lines.join("\r\n") + "\r\n\r\n";
        [head.as_bytes(), self.body].concat()
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The headers, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The body, put together from its chunks.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The header `name`, in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Reads one answer to the end of the connection.
pub(crate) fn answer(stream: &mut TcpStream, is_head: bool) -> Answer {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line
        .split(' ')
        .nth(1)
        .unwrap_or_else(|| panic!("no status in {line:?}"));
    let status = status.parse().unwrap();
    let mut headers = Vec::new();
    loop {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).unwrap();
        // Headers may hold bytes that are no UTF-8; each is one character here, as in Latin-1.
        let line: String = line.into_iter().map(char::from).collect();
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            assert_eq!(line, "\r\n", "a header without a value");
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let mut answer = Answer {
        status,
        headers,
        body: Vec::new(),
    };
    if is_head || answer.status == 204 {
        return answer;
    }
    if answer.header("transfer-encoding") == Some("chunked") {
        read_chunks(&mut reader, &mut answer.body);
    } else {
        let size = answer.header("content-length").unwrap().parse().unwrap();
        answer.body = vec![0; size];
        reader.read_exact(&mut answer.body).unwrap();
    }
    answer
}

fn read_chunks(reader: &mut BufReader<&mut TcpStream>, body: &mut Vec<u8>) {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let size = usize::from_str_radix(line.trim(), 16).unwrap();
        let start = body.len();
        body.resize(start + size + 2, 0);
        reader.read_exact(&mut body[start..]).unwrap();
        assert!(body.ends_with(b"\r\n"));
        body.truncate(start + size);
        if size == 0 {
            return;
        }
    }
}
