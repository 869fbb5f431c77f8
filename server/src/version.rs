//! Which version this is, and which one it answers to clients that look for `InfluxDB`'s.

/// Of this program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What `X-Influxdb-Version` says: clients compare it with the features of InfluxDB 1.8.
pub(crate) const INFLUXDB_VERSION: &str = "1.8.10";

/// What `X-Influxdb-Build` says.
pub(crate) const INFLUXDB_BUILD: &str = "OSS";
