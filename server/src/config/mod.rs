//! What the server is told: flags, environment, a TOML file and defaults, in this order. Knows no
//! engine and opens nothing but the file. Every setting stands once in [`Settings`], and once with
//! its default in [`Config`].

mod file;
mod limits;

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::exit::Failure;
use limits::{LimitSettings, Limits};

/// Which writes make a database that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AutoCreate {
    /// All.
    Always,
    /// Those to `/api/v2/write`, whose clients drop what is refused.
    V2,
    /// None.
    Never,
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// `key=value` pairs.
    Logfmt,
    /// A JSON object.
    Json,
}

/// The least severe event that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    /// What failed.
    Error,
    /// And what looks wrong.
    Warn,
    /// And what an operator wants to know.
    Info,
    /// And what a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

/// The settings as one source states them.
#[derive(Clone, Debug, Default, clap::Args, serde::Deserialize)]
pub(crate) struct Settings {
    /// TOML file with settings; keys are the flags' names with underscores
    #[arg(
        long,
        env = "SILVERBACK_CONFIG",
        value_name = "FILE",
        hide_env_values = true
    )]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,

    /// Directory of the data; made if missing [default: ./silverback-data]
    #[arg(
        long,
        env = "SILVERBACK_DATA_DIR",
        value_name = "DIR",
        hide_env_values = true
    )]
    pub(crate) data_dir: Option<PathBuf>,

    /// Read finished files through memory maps; off for network file systems [default: true]
    #[arg(
        long,
        env = "SILVERBACK_MAP_FILES",
        value_name = "BOOL",
        hide_env_values = true
    )]
    pub(crate) map_files: Option<bool>,

    /// Address for HTTP and gRPC [default: 127.0.0.1:8086]
    #[arg(
        long,
        env = "SILVERBACK_HTTP_BIND",
        value_name = "ADDR",
        hide_env_values = true
    )]
    pub(crate) http_bind: Option<SocketAddr>,

    /// A further address for gRPC alone
    #[arg(
        long,
        env = "SILVERBACK_GRPC_BIND",
        value_name = "ADDR",
        hide_env_values = true
    )]
    pub(crate) grpc_bind: Option<SocketAddr>,

    /// Which writes make a database that does not exist [default: v2]
    #[arg(
        long,
        env = "SILVERBACK_AUTO_CREATE",
        value_name = "WHICH",
        hide_env_values = true
    )]
    pub(crate) auto_create: Option<AutoCreate>,

    /// Listen on other addresses than loopback although nothing asks for credentials
    #[arg(long, env = "SILVERBACK_INSECURE_OPEN", value_name = "BOOL", hide_env_values = true,
          num_args = 0..=1, default_missing_value = "true")]
    pub(crate) insecure_open: Option<bool>,

    /// Memory for all that the server holds, in bytes [default: half of the machine's or the control
    /// group's]
    #[arg(
        long,
        env = "SILVERBACK_MEMORY_BUDGET",
        value_name = "BYTES",
        hide_env_values = true
    )]
    pub(crate) memory_budget: Option<usize>,

    /// Largest request body as sent, in bytes [default: 25000000]
    #[arg(
        long,
        env = "SILVERBACK_BODY_BYTES_MAX",
        value_name = "BYTES",
        hide_env_values = true
    )]
    pub(crate) body_bytes_max: Option<usize>,

    /// Largest request body after decompression, in bytes [default: 100000000]
    #[arg(
        long,
        env = "SILVERBACK_INFLATED_BYTES_MAX",
        value_name = "BYTES",
        hide_env_values = true
    )]
    pub(crate) inflated_bytes_max: Option<usize>,

    /// Memory for all request bodies together, in bytes; more are refused with 503
    /// [default: 400000000]
    #[arg(
        long,
        env = "SILVERBACK_BODIES_BYTES_MAX",
        value_name = "BYTES",
        hide_env_values = true
    )]
    pub(crate) bodies_bytes_max: Option<usize>,

    /// Most connections open at a time [default: 4096]
    #[arg(
        long,
        env = "SILVERBACK_CONNECTIONS_MAX",
        value_name = "COUNT",
        hide_env_values = true
    )]
    pub(crate) connections_max: Option<usize>,

    /// Most writes under way at a time; others wait [default: 64]
    #[arg(
        long,
        env = "SILVERBACK_WRITES_MAX",
        value_name = "COUNT",
        hide_env_values = true
    )]
    pub(crate) writes_max: Option<usize>,

    /// Most queries under way at a time; others wait [default: 32]
    #[arg(
        long,
        env = "SILVERBACK_QUERIES_MAX",
        value_name = "COUNT",
        hide_env_values = true
    )]
    pub(crate) queries_max: Option<usize>,

    /// How long a query may take, in ms; 0 = as long as it needs [default: 0]
    #[arg(
        long,
        env = "SILVERBACK_QUERY_TIMEOUT_MS",
        value_name = "MS",
        hide_env_values = true
    )]
    pub(crate) query_timeout_ms: Option<u64>,

    /// Memory of one query statement, in bytes [default: 1073741824]
    #[arg(
        long,
        env = "SILVERBACK_QUERY_MEMORY_BYTES_MAX",
        value_name = "BYTES",
        hide_env_values = true
    )]
    pub(crate) query_memory_bytes_max: Option<u64>,

    /// How long a new connection may take to ask something, in ms [default: 10000]
    #[arg(
        long,
        env = "SILVERBACK_HEADER_TIMEOUT_MS",
        value_name = "MS",
        hide_env_values = true
    )]
    pub(crate) header_timeout_ms: Option<u64>,

    /// How long a connection may lie idle between two requests, in ms [default: 180000]
    #[arg(
        long,
        env = "SILVERBACK_IDLE_TIMEOUT_MS",
        value_name = "MS",
        hide_env_values = true
    )]
    pub(crate) idle_timeout_ms: Option<u64>,

    /// How long requests under way may take after SIGTERM, in ms [default: 20000]
    #[arg(
        long,
        env = "SILVERBACK_DRAIN_TIMEOUT_MS",
        value_name = "MS",
        hide_env_values = true
    )]
    pub(crate) drain_timeout_ms: Option<u64>,

    /// How long the scrubber takes to read every file again, in s; 0 = no scrubber [default: 604800]
    #[arg(
        long,
        env = "SILVERBACK_SCRUB_INTERVAL_S",
        value_name = "S",
        hide_env_values = true
    )]
    pub(crate) scrub_interval_s: Option<u64>,

    /// How a log line is written [default: logfmt]
    #[arg(
        long,
        env = "SILVERBACK_LOG_FORMAT",
        value_name = "FORMAT",
        hide_env_values = true
    )]
    pub(crate) log_format: Option<LogFormat>,

    /// The least severe event that is logged [default: info]
    #[arg(
        long,
        env = "SILVERBACK_LOG_LEVEL",
        value_name = "LEVEL",
        hide_env_values = true
    )]
    pub(crate) log_level: Option<LogLevel>,

    /// How many and how long things may be.
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) limits: LimitSettings,
}

/// The settings in force.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Directory of the data.
    pub(crate) data_dir: PathBuf,
    /// Whether finished files are mapped.
    pub(crate) map_files: bool,
    /// Address for HTTP and gRPC.
    pub(crate) http_bind: SocketAddr,
    /// A further address for gRPC.
    pub(crate) grpc_bind: Option<SocketAddr>,
    /// Which writes make a database.
    pub(crate) auto_create: AutoCreate,
    /// Memory for all; 0 = half of what there is.
    pub(crate) memory_budget: usize,
    /// Largest body as sent.
    pub(crate) body_bytes_max: usize,
    /// Largest body after decompression.
    pub(crate) inflated_bytes_max: usize,
    /// All bodies together.
    pub(crate) bodies_bytes_max: usize,
    /// Connections at a time.
    pub(crate) connections_max: usize,
    /// Writes at a time.
    pub(crate) writes_max: usize,
    /// Queries at a time.
    pub(crate) queries_max: usize,
    /// Time for a query; 0 = any.
    pub(crate) query_timeout_ms: u64,
    /// Memory of one statement.
    pub(crate) query_memory_bytes_max: u64,
    /// Time for the first request of a connection.
    pub(crate) header_timeout_ms: u64,
    /// Time between two requests.
    pub(crate) idle_timeout_ms: u64,
    /// Time for requests under way after SIGTERM.
    pub(crate) drain_timeout_ms: u64,
    /// Time of a pass of the scrubber; 0 = none.
    pub(crate) scrub_interval_s: u64,
    /// How a log line is written.
    pub(crate) log_format: LogFormat,
    /// The least severe event that is logged.
    pub(crate) log_level: LogLevel,
    /// How many and how long things may be.
    pub(crate) limits: Limits,
}

/// What an open connection takes: 18 KiB were resident for each of 2,000 that had asked once, 26 after a body
/// of 60 KB. What one reads ahead of a body is more, bounded by itself, and soon counted with the body.
pub(crate) const CONNECTION_BYTES: usize = 32 << 10;
/// Connections take at most this part of the memory budget, and windows of HTTP/2 as much again.
pub(crate) const CONNECTIONS_PART: usize = 8;

/// Bodies take at most this part of the memory budget: what is parsed of them, and the rows, take
/// as much again each.
const BODIES_PART: usize = 4;

impl Config {
    /// The same, with no more connections and no larger bodies than a memory budget of `budget_bytes` has
    /// room for.
    pub(crate) fn within(self, budget_bytes: usize) -> Config {
        let connections_max = budget_bytes / CONNECTIONS_PART / CONNECTION_BYTES;
        let config = Config {
            connections_max: self.connections_max.min(connections_max),
            ..self
        };
        config.with_bodies_within(budget_bytes)
    }

    fn with_bodies_within(self, budget_bytes: usize) -> Config {
        let bodies_bytes_max = budget_bytes / BODIES_PART;
        if bodies_bytes_max >= self.bodies_bytes_max {
            return self;
        }
        let config = Config {
            bodies_bytes_max,
            body_bytes_max: self.body_bytes_max.min(bodies_bytes_max / 4),
            inflated_bytes_max: self.inflated_bytes_max.min(bodies_bytes_max / 4 * 3),
            ..self
        };
        tracing::info!(
            memory_budget = budget_bytes,
            bodies_bytes_max = config.bodies_bytes_max,
            body_bytes_max = config.body_bytes_max,
            inflated_bytes_max = config.inflated_bytes_max,
            "the memory budget makes request bodies smaller than they may be"
        );
        config
    }
}

/// Settles the configuration from `flags` (which hold the environment already), the file they name
/// and the defaults.
///
/// # Errors
/// If the file cannot be read, has an unknown key, or the settings contradict each other.
pub(crate) fn resolve(flags: Settings) -> Result<Config, Failure> {
    let file = match &flags.config {
        Some(path) => file::read(path)?,
        None => Settings::default(),
    };
    let insecure_open = flags.insecure_open.or(file.insecure_open).unwrap_or(false);
    let config = layered(flags, file);
    for address in [Some(config.http_bind), config.grpc_bind]
        .into_iter()
        .flatten()
    {
        if !address.ip().is_loopback() && !insecure_open {
            return Err(Failure::usage(format!(
                "{address} can be reached from other machines, and nothing asks for credentials: \
                 give --insecure-open if that is meant"
            )));
        }
    }
    if config.bodies_bytes_max
        < config
            .body_bytes_max
            .saturating_add(config.inflated_bytes_max)
    {
        return Err(Failure::usage(format!(
            "bodies_bytes_max ({}) must hold one body as sent and decompressed: body_bytes_max ({}) \
             and inflated_bytes_max ({}) together",
            config.bodies_bytes_max, config.body_bytes_max, config.inflated_bytes_max
        )));
    }
    Ok(config)
}

/// The first of flag, file and default, for each setting.
fn layered(flags: Settings, file: Settings) -> Config {
    /// The flag's value, else the file's, else the default.
    macro_rules! first {
        ($name:ident, $default:expr) => {
            flags.$name.or(file.$name).unwrap_or($default)
        };
    }
    Config {
        data_dir: first!(data_dir, PathBuf::from("./silverback-data")),
        map_files: first!(map_files, true),
        http_bind: first!(http_bind, SocketAddr::from(([127, 0, 0, 1], 8086))),
        grpc_bind: flags.grpc_bind.or(file.grpc_bind),
        auto_create: first!(auto_create, AutoCreate::V2),
        memory_budget: first!(memory_budget, 0),
        body_bytes_max: first!(body_bytes_max, 25_000_000),
        inflated_bytes_max: first!(inflated_bytes_max, 100_000_000),
        bodies_bytes_max: first!(bodies_bytes_max, 400_000_000),
        connections_max: first!(connections_max, 4096).max(1),
        writes_max: first!(writes_max, 64).max(1),
        queries_max: first!(queries_max, 32).max(1),
        query_timeout_ms: first!(query_timeout_ms, 0),
        query_memory_bytes_max: first!(query_memory_bytes_max, 1 << 30),
        header_timeout_ms: first!(header_timeout_ms, 10_000),
        idle_timeout_ms: first!(idle_timeout_ms, 180_000),
        drain_timeout_ms: first!(drain_timeout_ms, 20_000),
        scrub_interval_s: first!(scrub_interval_s, 7 * 24 * 3600),
        log_format: first!(log_format, LogFormat::Logfmt),
        log_level: first!(log_level, LogLevel::Info),
        limits: Limits::layered(&flags.limits, &file.limits),
    }
}

/// The variables of the environment that begin like a setting and are none, each with the setting
/// it may have meant. Not an error: container platforms set such names for services they know.
pub(crate) fn unknown_variables() -> Vec<(String, Option<&'static str>)> {
    let known: Vec<String> = file::KEYS
        .into_iter()
        .chain(["config", "host"])
        .map(|key| format!("SILVERBACK_{}", key.to_ascii_uppercase()))
        .collect();
    std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("SILVERBACK_") && !known.contains(name))
        .map(|name| {
            let key = name.trim_start_matches("SILVERBACK_").to_ascii_lowercase();
            let meant = file::nearest(&key);
            (name, meant)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_beats_the_file_and_the_file_beats_the_default() {
        let flags = Settings {
            writes_max: Some(3),
            ..Settings::default()
        };
        let file = Settings {
            writes_max: Some(5),
            queries_max: Some(7),
            ..Settings::default()
        };
        let config = layered(flags, file);
        assert_eq!((config.writes_max, config.queries_max), (3, 7));
        assert_eq!(config.connections_max, 4096);
    }

    #[test]
    fn an_open_address_needs_consent() {
        let open = Settings {
            http_bind: Some(SocketAddr::from(([0, 0, 0, 0], 0))),
            ..Settings::default()
        };
        let refusal = resolve(open.clone()).unwrap_err();
        assert_eq!(refusal.exit().code(), 2);
        assert!(refusal.to_string().contains("--insecure-open"), "{refusal}");
        let consented = Settings {
            insecure_open: Some(true),
            ..open
        };
        assert!(resolve(consented).is_ok());
    }

    #[test]
    fn a_small_budget_makes_bodies_small_and_a_large_one_leaves_them() {
        let config = layered(Settings::default(), Settings::default());
        let small = config.clone().within(64 << 20);
        assert_eq!(small.connections_max, 256);
        assert_eq!(
            (small.bodies_bytes_max, small.body_bytes_max),
            (16 << 20, 4 << 20)
        );
        assert_eq!(small.inflated_bytes_max, 12 << 20);
        let large = config.clone().within(8 << 30);
        assert_eq!(large.connections_max, 4096);
        assert_eq!(
            (large.bodies_bytes_max, large.body_bytes_max),
            (config.bodies_bytes_max, config.body_bytes_max)
        );
        assert_eq!(large.inflated_bytes_max, config.inflated_bytes_max);
    }

    #[test]
    fn the_limit_of_all_bodies_holds_at_least_one() {
        let small = Settings {
            bodies_bytes_max: Some(1000),
            ..Settings::default()
        };
        assert!(
            resolve(small)
                .unwrap_err()
                .to_string()
                .contains("bodies_bytes_max")
        );
    }
}
