//! Limits: how many and how long things may be. Each stands once in [`LimitSettings`], and once with
//! its default in [`Limits`].

use silverback::query::result::QueryLimits;
use silverback::storage::db;

/// The limits as one source states them.
#[derive(Clone, Debug, Default, clap::Args, serde::Deserialize)]
pub(crate) struct LimitSettings {
    /// Series of one database, at most; 0 = any number [default: 10000000]
    #[arg(
        long,
        env = "SILVERBACK_SERIES_MAX",
        value_name = "COUNT",
        hide_env_values = true
    )]
    pub(crate) series_max: Option<u64>,

    /// Series made in one database within a minute, at most; 0 = any number [default: 0]
    #[arg(
        long,
        env = "SILVERBACK_NEW_SERIES_PER_MINUTE_MAX",
        value_name = "COUNT",
        hide_env_values = true
    )]
    pub(crate) new_series_per_minute_max: Option<u64>,

    /// Tags of a series, at most; 0 = any number [default: 256]
    #[arg(
        long,
        env = "SILVERBACK_TAGS_MAX",
        value_name = "COUNT",
        hide_env_values = true
    )]
    pub(crate) tags_max: Option<usize>,

    /// Longest name of a measurement, tag or field, in bytes; 0 = any [default: 4096]
    #[arg(
        long,
        env = "SILVERBACK_NAME_BYTES_MAX",
        value_name = "BYTES",
        hide_env_values = true
    )]
    pub(crate) name_bytes_max: Option<usize>,

    /// Longest value of a tag, in bytes; 0 = any [default: 32768]
    #[arg(
        long,
        env = "SILVERBACK_TAG_VALUE_BYTES_MAX",
        value_name = "BYTES",
        hide_env_values = true
    )]
    pub(crate) tag_value_bytes_max: Option<usize>,

    /// Longest string value of a field, in bytes; 0 = any [default: 1048576]
    #[arg(
        long,
        env = "SILVERBACK_STRING_BYTES_MAX",
        value_name = "BYTES",
        hide_env_values = true
    )]
    pub(crate) string_bytes_max: Option<usize>,

    /// Fields of a measurement, at most; 0 = any number [default: 4096]
    #[arg(
        long,
        env = "SILVERBACK_FIELDS_MAX",
        value_name = "COUNT",
        hide_env_values = true
    )]
    pub(crate) fields_max: Option<usize>,

    /// Databases, at most; 0 = any number [default: 1000]
    #[arg(
        long,
        env = "SILVERBACK_DATABASES_MAX",
        value_name = "COUNT",
        hide_env_values = true
    )]
    pub(crate) databases_max: Option<usize>,

    /// Partitions that one write touches, at most; 0 = any number [default: 4096]
    #[arg(
        long,
        env = "SILVERBACK_PARTITIONS_MAX",
        value_name = "COUNT",
        hide_env_values = true
    )]
    pub(crate) partitions_max: Option<usize>,

    /// Queries that wait for their turn, at most; more are refused with 503 [default: 256]
    #[arg(
        long,
        env = "SILVERBACK_QUERY_QUEUE_MAX",
        value_name = "COUNT",
        hide_env_values = true
    )]
    pub(crate) query_queue_max: Option<usize>,

    /// How long a query waits for its turn, in ms [default: 30000]
    #[arg(
        long,
        env = "SILVERBACK_QUERY_QUEUE_TIMEOUT_MS",
        value_name = "MS",
        hide_env_values = true
    )]
    pub(crate) query_queue_timeout_ms: Option<u64>,

    /// Points that one SELECT reads, at most; 0 = any number [default: 0]
    #[arg(
        long,
        env = "SILVERBACK_QUERY_POINTS_MAX",
        value_name = "COUNT",
        hide_env_values = true
    )]
    pub(crate) query_points_max: Option<u64>,

    /// Series that one SELECT reads, at most; 0 = any number [default: 0]
    #[arg(
        long,
        env = "SILVERBACK_QUERY_SERIES_MAX",
        value_name = "COUNT",
        hide_env_values = true
    )]
    pub(crate) query_series_max: Option<u64>,

    /// Windows of GROUP BY time in one SELECT, at most; 0 = the engine's own limit [default: 0]
    #[arg(
        long,
        env = "SILVERBACK_QUERY_BUCKETS_MAX",
        value_name = "COUNT",
        hide_env_values = true
    )]
    pub(crate) query_buckets_max: Option<u64>,
}

/// The limits in force.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// What the engine takes.
    pub(crate) storage: db::Limits,
    /// Queries that wait for their turn.
    pub(crate) query_queue_max: usize,
    /// How long they wait.
    pub(crate) query_queue_timeout_ms: u64,
    /// What one query may cost.
    pub(crate) query: QueryLimits,
}

impl Limits {
    /// The first of flag, file and default, for each.
    pub(super) fn layered(flags: &LimitSettings, file: &LimitSettings) -> Limits {
        /// The flag's value, else the file's, else the default.
        macro_rules! first {
            ($name:ident, $default:expr) => {
                flags.$name.or(file.$name).unwrap_or($default)
            };
        }
        let usual = db::Limits::default();
        Limits {
            storage: db::Limits {
                series_max: first!(series_max, usual.series_max),
                new_series_per_minute_max: first!(
                    new_series_per_minute_max,
                    usual.new_series_per_minute_max
                ),
                tags_max: first!(tags_max, usual.tags_max),
                name_bytes_max: first!(name_bytes_max, usual.name_bytes_max),
                tag_value_bytes_max: first!(tag_value_bytes_max, usual.tag_value_bytes_max),
                string_bytes_max: first!(string_bytes_max, usual.string_bytes_max),
                fields_max: first!(fields_max, usual.fields_max),
                databases_max: first!(databases_max, usual.databases_max),
                partitions_max: first!(partitions_max, usual.partitions_max),
            },
            query_queue_max: first!(query_queue_max, 256),
            query_queue_timeout_ms: first!(query_queue_timeout_ms, 30_000),
            query: QueryLimits {
                points_max: first!(query_points_max, 0),
                series_max: first!(query_series_max, 0),
                buckets_max: first!(query_buckets_max, 0),
                ..QueryLimits::default()
            },
        }
    }
}
