//! One listener: accepts connections up to a limit and serves HTTP/1 and HTTP/2 on each.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use hyper_util::service::TowerToHyperService;
use silverback::storage::budget::Class;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::app::App;
use crate::config::CONNECTION_BYTES;

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
pub(super) fn start(app: &Arc<App>, listener: TcpListener, router: Router) -> Listener {
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(accept(Arc::clone(app), listener, router, stopped));
    Listener { stop, task }
}

/// Accepts until told to stop, then waits for the connections.
async fn accept(
    app: Arc<App>,
    listener: TcpListener,
    router: Router,
    mut stopped: oneshot::Receiver<()>,
) {
    let builder = Arc::new(protocol(&app));
    let graceful = GracefulShutdown::new();
    let free = Arc::new(Semaphore::new(app.config.connections_max));
    loop {
        let next = async {
            let permit = Arc::clone(&free).acquire_owned().await;
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
        let service = Seen::new(TowerToHyperService::new(router.clone()));
        let has_asked = Arc::clone(&service.has_asked);
        let connection = graceful.watch(connection(&builder, stream, service));
        tokio::spawn(drive(Arc::clone(&app), connection, has_asked, permit));
    }
    drop(listener);
    graceful.shutdown().await;
}

/// Drives a connection to its end, or until it has not asked anything in time.
async fn drive<C>(
    app: Arc<App>,
    connection: C,
    has_asked: Arc<AtomicBool>,
    permit: Result<OwnedSemaphorePermit, AcquireError>,
) where
    C: Future<Output = Result<(), Box<dyn Error + Send + Sync>>>,
{
    app.metrics.connections_total.add(1);
    let budget = app.engine.budget();
    let held = budget.charge(Class::Ingest, CONNECTION_BYTES);
    let open = app.metrics.connections.enter();
    let silent = async {
        tokio::time::sleep(Duration::from_millis(app.config.header_timeout_ms)).await;
        if has_asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        outcome = connection => if let Err(error) = outcome {
            tracing::debug!(error, "a connection ended early");
        },
        () = silent => tracing::debug!("a connection asked nothing in time"),
    }
    drop((open, held));
    drop(permit);
}

/// A service that notes that it was asked.
#[derive(Debug)]
struct Seen<S> {
    inner: S,
    has_asked: Arc<AtomicBool>,
}

impl<S> Seen<S> {
    fn new(inner: S) -> Seen<S> {
        Seen {
            inner,
            has_asked: Arc::default(),
        }
    }
}

impl<S, R> Service<R> for Seen<S>
where
    S: Service<R>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, request: R) -> S::Future {
        self.has_asked.store(true, Ordering::Relaxed);
        self.inner.call(request)
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
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_concurrent_streams(256)
        .keep_alive_interval(Duration::from_secs(30));
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
