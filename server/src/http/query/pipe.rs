//! From the thread that runs a query to the connection: a few pieces under way, so that a slow
//! reader slows its query down, and a reader that left stops it.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use silverback::query::result::StopFlag;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{SendTimeoutError, TrySendError};

use super::lent;

/// How long a reader may stand still before its query is stopped: it holds memory and a permit.
const READER_PAUSE_MAX: Duration = Duration::from_secs(60);

/// How often a query that waits for its reader looks whether it is to stop.
const STOP_LOOK: Duration = Duration::from_millis(100);

/// Bytes gathered before a piece is sent, and pieces under way. Each piece is a turn of two threads: an
/// answer of a few hundred kilobytes takes one.
const PIECE_BYTES: usize = 256 << 10;
const PIECES_MAX: usize = 4;

/// A piece of an answer.
#[derive(Debug)]
enum Piece {
    /// Bytes.
    Data(Bytes),
    /// All bytes there are, and the end.
    Whole(Bytes),
    /// All has been said: without it the answer is broken off, never just shorter.
    End,
}

/// A pipe of one query, made inside a runtime. `stop` is set when the reading end goes before the end of the answer.
pub(super) fn pipe(stop: Arc<StopFlag>) -> (Pipe, Drain) {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let pipe = Pipe {
        sender,
        runtime: Handle::current(),
        gathered: Vec::new(),
        written: 0,
        is_long: false,
        is_broken: false,
        stop: Arc::clone(&stop),
    };
    let drain = Drain {
        receiver,
        first: None,
        stop: StopOnDrop(Some(stop)),
    };
    (pipe, drain)
}

/// The writing end. What is written is sent by pieces and at [`Write::flush`].
#[derive(Debug)]
pub(super) struct Pipe {
    sender: mpsc::Sender<Piece>,
    runtime: Handle,
    gathered: Vec<u8>,
    written: u64,
    /// Whether a part of the answer was sent.
    is_long: bool,
    /// A piece was lost: nothing may follow it.
    is_broken: bool,
    stop: Arc<StopFlag>,
}

impl Pipe {
    /// Sends what is left and the end: a short answer is one piece, and one turn of its reader.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if self.gathered.len() as u64 == self.written && self.written > 0 {
            let whole = std::mem::take(&mut self.gathered);
            return self.send(Piece::Whole(whole.into()));
        }
        self.send_gathered()?;
        self.send(Piece::End)
    }

    /// Sends what is gathered, as a part of the answer.
    fn send_gathered(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.gathered);
        if !self.is_long {
            // Whoever reads it is served by another thread from here on.
            lent::hand_over();
            self.is_long = true;
        }
        self.send(Piece::Data(piece.into()))
    }

    /// Bytes written so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Sends unless a piece was lost before: what says that the query was stopped would otherwise end an
    /// answer with a hole as if it were whole.
    fn send(&mut self, piece: Piece) -> io::Result<()> {
        if self.is_broken {
            let why = "a piece of the answer was lost";
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, why));
        }
        let sent = self.pass_on(piece);
        self.is_broken = sent.is_err();
        sent
    }

    /// Waits for the reader, but no longer than the query may run: what it holds is wanted by others.
    fn pass_on(&self, piece: Piece) -> io::Result<()> {
        let broken = |why: &str| io::Error::new(io::ErrorKind::BrokenPipe, why);
        let mut piece = match self.sender.try_send(piece) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Closed(_)) => return Err(broken("the client left")),
            Err(TrySendError::Full(piece)) => piece,
        };
        for _ in 0..READER_PAUSE_MAX.as_millis() / STOP_LOOK.as_millis() {
            let sent = self.sender.send_timeout(piece, STOP_LOOK);
            piece = match tokio::task::block_in_place(|| self.runtime.block_on(sent)) {
                Ok(()) => return Ok(()),
                Err(SendTimeoutError::Closed(_)) => return Err(broken("the client left")),
                Err(SendTimeoutError::Timeout(piece)) => piece,
            };
            if let Err(stopped) = self.stop.check() {
                return Err(broken(stopped.message()));
            }
        }
        Err(broken("the client stood still"))
    }
}

impl Write for Pipe {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(data);
        self.written += data.len() as u64;
        if self.gathered.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send_gathered()
    }
}

/// Stops the query if it is dropped before the end was read.
#[derive(Debug)]
struct StopOnDrop(Option<Arc<StopFlag>>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if let Some(stop) = &self.0 {
            stop.interrupt();
        }
    }
}

/// The reading end.
#[derive(Debug)]
pub(super) struct Drain {
    receiver: mpsc::Receiver<Piece>,
    first: Option<Piece>,
    stop: StopOnDrop,
}

impl Drain {
    /// Waits for the first piece; false where the query ended without one.
    pub(super) async fn first(&mut self) -> bool {
        self.first = self.receiver.recv().await;
        if let None | Some(Piece::End | Piece::Whole(_)) = self.first {
            self.stop.0 = None;
        }
        matches!(self.first, Some(Piece::Data(_) | Piece::Whole(_)))
    }

    /// Lets the query run on with nobody listening.
    pub(super) fn detach(mut self) {
        self.stop.0 = None;
        tokio::spawn(async move { while self.receiver.recv().await.is_some() {} });
    }

    /// The answer as a body. It ends with an error where the query broke off.
    pub(super) fn into_body(self) -> Body {
        if let Some(Piece::Whole(data)) = self.first {
            return Body::from(data);
        }
        let pieces = stream::unfold(Some(self), async |drain| {
            let mut drain = drain?;
            let piece = match drain.first.take() {
                Some(first) => Some(first),
                None => drain.receiver.recv().await,
            };
            match piece {
                Some(Piece::Data(data)) => Some((Ok(data), Some(drain))),
                // Whole answers are first pieces, and bodies of their own.
                Some(Piece::End | Piece::Whole(_)) => {
                    drain.stop.0 = None;
                    None
                }
                None => Some((Err(io::Error::other("the query broke off")), None)),
            }
        });
        Body::from_stream(pieces)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    /// A pipe, and the runtime that it is written and read in.
    fn pipe_of(stop: &Arc<StopFlag>) -> (Pipe, Drain, tokio::runtime::Runtime) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let (pipe, drain) = runtime.block_on(async { pipe(Arc::clone(stop)) });
        (pipe, drain, runtime)
    }

    #[test]
    fn pieces_arrive_in_order_and_the_end_is_seen() {
        let stop = Arc::new(StopFlag::default());
        let (mut pipe, mut drain, runtime) = pipe_of(&stop);
        pipe.write_all(b"one ").unwrap();
        pipe.flush().unwrap();
        pipe.write_all(b"two").unwrap();
        pipe.finish().unwrap();
        let body = runtime.block_on(async {
            assert!(drain.first().await);
            drain.into_body().collect().await.unwrap().to_bytes()
        });
        assert_eq!(&*body, b"one two");
        assert!(stop.check().is_ok());
    }

    #[test]
    fn a_short_answer_is_one_piece_with_its_length() {
        let stop = Arc::new(StopFlag::default());
        let (mut pipe, mut drain, runtime) = pipe_of(&stop);
        pipe.write_all(b"all of it").unwrap();
        pipe.finish().unwrap();
        let body = runtime.block_on(async {
            assert!(drain.first().await);
            drain.into_body()
        });
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(9));
        let body = runtime.block_on(async { body.collect().await.unwrap().to_bytes() });
        assert_eq!(&*body, b"all of it");
        assert!(stop.check().is_ok());
    }

    #[test]
    fn an_answer_that_breaks_off_is_an_error_and_not_a_short_answer() {
        let (mut pipe, mut drain, runtime) = pipe_of(&Arc::default());
        pipe.write_all(b"half").unwrap();
        pipe.flush().unwrap();
        drop(pipe);
        runtime.block_on(async {
            assert!(drain.first().await);
            drain.into_body().collect().await.unwrap_err();
        });
    }

    #[test]
    fn nothing_follows_a_piece_that_was_lost() {
        let stop = Arc::new(StopFlag::default());
        // Its clock goes while the pipe waits.
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(1).enable_time().build().unwrap();
        let (mut pipe, mut drain) = runtime.block_on(async { pipe(Arc::clone(&stop)) });
        for _ in 0..PIECES_MAX {
            pipe.write_all(b"a piece ").unwrap();
            pipe.flush().unwrap();
        }
        stop.interrupt();
        pipe.write_all(b"the lost one").unwrap();
        pipe.flush().unwrap_err();
        // There is room again.
        assert!(runtime.block_on(drain.first()));
        pipe.write_all(b"and what became of the query").unwrap();
        pipe.finish().unwrap_err();
        drop(pipe);
        runtime.block_on(async { drain.into_body().collect().await.unwrap_err() });
    }

    #[test]
    fn a_reader_that_leaves_stops_the_query() {
        let stop = Arc::new(StopFlag::default());
        let (mut pipe, drain, _runtime) = pipe_of(&stop);
        drop(drain);
        assert!(stop.check().is_err());
        pipe.write_all(b"x").unwrap();
        assert_eq!(pipe.flush().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
