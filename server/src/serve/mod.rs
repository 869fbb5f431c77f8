//! `silverback serve`: opens the engine, listens, and stops in order when it is told to.
//!
//! Stopping: no new connection, requests under way are finished within the drain time, then the
//! engine is closed. A second signal ends the process at once, which the log makes safe.

mod listen;
mod room;
mod signals;
mod watch;

use std::sync::Arc;

use room::Room;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;

use crate::app::App;
use crate::config::{self, Config, Settings};
use crate::door::problem;
use crate::exit::{Exit, Failure};
use crate::grpc;
use crate::http;
use crate::log;
use silverback::storage::db::DbOptions;
use silverback::{Options, Silverback};

/// Problems that are logged at the start; `/health` counts them all.
const PROBLEMS_TOLD_MAX: usize = 20;

/// Runs the server until it is told to stop.
pub(crate) fn serve(settings: Settings) -> Result<Exit, Failure> {
    let config = config::resolve(settings)?;
    log::init(config.log_format, config.log_level);
    for (name, meant) in config::unknown_variables() {
        let hint = meant.map(|key| format!("SILVERBACK_{}", key.to_ascii_uppercase()));
        let hint = hint.unwrap_or_default();
        tracing::warn!(name, did_you_mean = hint, "unknown environment variable");
    }
    raise_descriptors();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(config.writes_max + config.queries_max + 16)
        .build()
        .map_err(|error| Failure::failed(format!("start threads: {error}")))?;
    let outcome = runtime.block_on(run(config));
    // Whatever still runs was given its time; waiting for it would undo a second signal.
    runtime.shutdown_background();
    outcome
}

/// Lets this process open as many files and connections as the system's administrator lets it:
/// shells give it a soft limit made for others.
fn raise_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// The server's life, inside the runtime.
async fn run(config: Config) -> Result<Exit, Failure> {
    let mut signals = signals::Signals::new()?;
    let http_listener = bind(config.http_bind).await?;
    let grpc_listener = match config.grpc_bind {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let app = open(config).await?;
    announce(&app, &http_listener, grpc_listener.as_ref())?;

    let grpc = grpc::router(&app).await;
    let all = http::router(&app, grpc.clone());
    let room = Room::new(app.config.connections_max, app.engine.budget());
    let room = Arc::new(room);
    let mut listeners = vec![listen::start(&app, &room, (http_listener, all))];
    if let Some(listener) = grpc_listener {
        listeners.push(listen::start(&app, &room, (listener, grpc)));
    }
    let watch = tokio::spawn(watch::watch(Arc::clone(&app)));
    let signal = signals.next().await;
    watch.abort();
    tracing::info!(signal, "stopping: finishing the requests under way");
    app.drain();
    let drained = async {
        for listener in listeners {
            listener.drain().await;
        }
    };
    let limit = std::time::Duration::from_millis(app.config.drain_timeout_ms);
    tokio::select! {
        outcome = tokio::time::timeout(limit, drained) => if outcome.is_err() {
            let drain_timeout_ms = app.config.drain_timeout_ms;
            tracing::warn!(drain_timeout_ms, "requests take longer than they may and are cut off");
        },
        signal = signals.next() => {
            tracing::warn!(signal, "stopping at once");
            return Ok(Exit::Failed);
        }
    }
    close(app).await?;
    tracing::info!("stopped");
    Ok(Exit::Done)
}

/// Opens the engine.
async fn open(config: Config) -> Result<Arc<App>, Failure> {
    silverback::guard_mapped_files()
        .map_err(|error| Failure::failed(format!("install a signal handler: {error}")))?;
    let options = Options::new(&config.data_dir)
        .map_files(config.map_files)
        .storage(DbOptions {
            memory_budget_bytes: config.memory_budget,
            scrub_interval: std::time::Duration::from_secs(config.scrub_interval_s),
            limits: config.limits.storage,
            ..DbOptions::default()
        });
    let opened = tokio::task::spawn_blocking(move || Silverback::open(options)).await;
    match opened {
        Ok(Ok(engine)) => {
            let stats = engine.stats();
            for found in stats.problems.iter().take(PROBLEMS_TOLD_MAX) {
                let problem = problem::sentence(found);
                tracing::warn!(problem, "stored bytes are damaged: the rest is served");
            }
            if let Some(torn) = &stats.torn {
                tracing::warn!(
                    file = %torn.file.display(),
                    offset = torn.offset,
                    bytes = torn.bytes,
                    "the log ended in an unfinished write, as a crash leaves it: that end was cut"
                );
            }
            Ok(App::new(config, engine))
        }
        Ok(Err(error)) => {
            let place = format!("open {}", config.data_dir.display());
            Err(Failure::open(&error.context(&place)))
        }
        Err(panic) => Err(Failure::failed(format!("open the data directory: {panic}"))),
    }
}

/// Closes the engine.
async fn close(app: Arc<App>) -> Result<(), Failure> {
    let closed = tokio::task::spawn_blocking(move || app.engine.close()).await;
    match closed {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Failure::failed(format!(
            "close the data directory: {error}"
        ))),
        Err(panic) => Err(Failure::failed(format!(
            "close the data directory: {panic}"
        ))),
    }
}

/// Listens on `address`.
async fn bind(address: std::net::SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .map_err(|error| Failure::failed(format!("listen on {address}: {error}")))
}

/// Says where the data is and how to reach the server.
fn announce(app: &Arc<App>, http: &TcpListener, grpc: Option<&TcpListener>) -> Result<(), Failure> {
    let address = |listener: &TcpListener| {
        listener
            .local_addr()
            .map_err(|error| Failure::failed(format!("ask for the address: {error}")))
    };
    let url = format!("http://{}", address(http)?);
    let data_dir = app.config.data_dir.display().to_string();
    let pid = std::process::id();
    let version = crate::version::VERSION;
    tracing::info!(url, data_dir, pid, version, "silverback is listening");
    if !address(http)?.ip().is_loopback() {
        let hint = "nothing asks for credentials (--insecure-open)";
        tracing::warn!(hint, "other machines can read and write everything");
    }
    if let Some(listener) = grpc {
        let url = format!("http://{}", address(listener)?);
        tracing::info!(url, "gRPC is listening");
    }
    Ok(())
}
