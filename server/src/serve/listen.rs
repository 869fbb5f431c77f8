//! One listener: accepts connections up to a limit and serves HTTP/1 and HTTP/2 on each.

use std::error::Error;
use std::future::{Pending, pending};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::{Request, Version};
use futures_util::future::Either;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::room::{Place, Room};
use crate::app::App;

/// How long accepting rests after the system refused a connection, as it does without descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// A listener at work.
#[derive(Debug)]
pub(super) struct Listener {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Takes no further connection and waits until every request under way is answered.
    pub(super) async fn drain(self) {
        let told = self.stop.send(());
        let ended = self.task.await;
        if told.is_err() || ended.is_err() {
            tracing::error!("a listener had ended before it was told to");
        }
    }
}

/// Serves `router` on `listener`.
pub(super) fn start(
    app: &Arc<App>,
    room: &Arc<Room>,
    (listener, router): (TcpListener, Router),
) -> Listener {
    let (stop, stopped) = oneshot::channel();
    let (app, room) = (Arc::clone(app), Arc::clone(room));
    let task = tokio::spawn(accept(app, room, (listener, router), stopped));
    Listener { stop, task }
}

/// Accepts until told to stop, then waits for the connections.
async fn accept(
    app: Arc<App>,
    room: Arc<Room>,
    (listener, router): (TcpListener, Router),
    mut stopped: oneshot::Receiver<()>,
) {
    let builder = protocol(&app);
    let graceful = GracefulShutdown::new();
    loop {
        let next = async {
            let permit = room.wait().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            _ = &mut stopped => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
        };
        let place = room.enter(permit);
        let builder = with_window(&builder, place.window_bytes());
        let service = Seen::new(TowerToHyperService::new(router.clone()), place);
        let asked = Arc::clone(&service.asked);
        let connection = graceful.watch(connection(&builder, stream, service));
        tokio::spawn(drive(Arc::clone(&app), connection, asked));
    }
    drop(listener);
    graceful.shutdown().await;
}

/// Drives a connection to its end, or until it has not asked anything in time, or has no room.
async fn drive<C>(app: Arc<App>, connection: C, asked: Arc<Asked>)
where
    C: Future<Output = Result<(), Box<dyn Error + Send + Sync>>>,
{
    app.metrics.connections_total.add(1);
    let open = app.metrics.connections.enter();
    let silent = async {
        tokio::time::sleep(Duration::from_millis(app.config.header_timeout_ms)).await;
        if asked.anything.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
    };
    tokio::select! {
        outcome = connection => if let Err(error) = outcome {
            tracing::debug!(error, "a connection ended early");
        },
        () = silent => tracing::debug!("a connection asked nothing in time"),
        () = asked.crowded.notified() => tracing::warn!(
            "a connection of HTTP/2 was closed: windows take an eighth of the memory budget"
        ),
    }
    drop(open);
}

/// What a connection has asked so far.
#[derive(Debug, Default)]
struct Asked {
    anything: AtomicBool,
    /// Told where its first request found no room for the window that it came through.
    crowded: Notify,
}

/// A service that notes that it was asked, and answers nothing where there is no room for that.
#[derive(Debug)]
struct Seen<S> {
    inner: S,
    asked: Arc<Asked>,
    /// Given back with the connection.
    place: Mutex<Place>,
}

impl<S> Seen<S> {
    fn new(inner: S, place: Place) -> Seen<S> {
        Seen {
            inner,
            asked: Arc::default(),
            place: Mutex::new(place),
        }
    }
}

impl<S, B> Service<Request<B>> for Seen<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Pending<Result<S::Response, S::Error>>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let is_first = !self.asked.anything.swap(true, Ordering::Relaxed);
        if is_first && request.version() == Version::HTTP_2 {
            let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
            if !place.take_window() {
                self.asked.crowded.notify_one();
                return Either::Right(pending());
            }
        }
        Either::Left(self.inner.call(request))
    }
}

/// What a connection may read ahead, bytes: a thousandth of the budget, but enough to be read at once
/// and no more than helps.
fn buffer_bytes(budget_bytes: usize) -> usize {
    (budget_bytes / 1024).clamp(64 << 10, 256 << 10)
}

/// The protocol's settings.
fn protocol(app: &App) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // Also how long a connection may lie idle between two requests.
        .header_read_timeout(Duration::from_millis(app.config.idle_timeout_ms))
        .max_buf_size(buffer_bytes(app.engine.budget().limit_bytes()));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .keep_alive_interval(Duration::from_secs(30));
    builder
}

/// The same, with the window of one connection. Its streams share it.
fn with_window(builder: &Builder<TokioExecutor>, bytes: u32) -> Builder<TokioExecutor> {
    let mut builder = builder.clone();
    builder
        .http2()
        .initial_stream_window_size(bytes)
        .initial_connection_window_size(bytes);
    builder
}

/// One connection, ready to be driven. Errors come as text: they are only logged.
fn connection(
    builder: &Builder<TokioExecutor>,
    stream: TcpStream,
    service: Seen<TowerToHyperService<Router>>,
) -> impl GracefulConnection<Error = Box<dyn Error + Send + Sync>> + use<> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps its delay");
    }
    builder
        .serve_connection(TokioIo::new(stream), service)
        .into_owned()
}
