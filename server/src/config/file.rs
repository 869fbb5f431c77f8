//! The TOML file. Unknown keys are errors that name what was probably meant.

use std::path::Path;

use super::Settings;
use crate::exit::Failure;

/// Reads the settings of `path`.
///
/// # Errors
/// If it cannot be read, is no TOML, or has a key or value that is no setting.
pub(super) fn read(path: &Path) -> Result<Settings, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("read config {}: {error}", path.display())))?;
    parse(&text).map_err(|message| Failure::usage(format!("config {}: {message}", path.display())))
}

/// The settings in `text`.
fn parse(text: &str) -> Result<Settings, String> {
    let table: toml::Table = text.parse().map_err(|error| format!("{error}"))?;
    for key in table.keys() {
        if !KEYS.contains(&key.as_str()) {
            let hint = match nearest(key) {
                Some(known) => format!(": did you mean {known}?"),
                None => String::new(),
            };
            return Err(format!("unknown key {key}{hint}"));
        }
    }
    // Unknown keys are found above, so each half may leave those of the other.
    let settings: Settings = toml::from_str(text).map_err(|error| error.to_string())?;
    let limits = toml::from_str(text).map_err(|error| error.to_string())?;
    Ok(Settings { limits, ..settings })
}

/// The keys of the file. A test holds that they are the flags.
pub(super) const KEYS: [&str; 35] = [
    "data_dir",
    "map_files",
    "http_bind",
    "grpc_bind",
    "auto_create",
    "insecure_open",
    "memory_budget",
    "body_bytes_max",
    "inflated_bytes_max",
    "bodies_bytes_max",
    "connections_max",
    "writes_max",
    "queries_max",
    "query_timeout_ms",
    "query_memory_bytes_max",
    "header_timeout_ms",
    "idle_timeout_ms",
    "drain_timeout_ms",
    "scrub_interval_s",
    "log_format",
    "log_level",
    "series_max",
    "new_series_per_minute_max",
    "tags_max",
    "name_bytes_max",
    "tag_value_bytes_max",
    "string_bytes_max",
    "fields_max",
    "databases_max",
    "partitions_max",
    "query_queue_max",
    "query_queue_timeout_ms",
    "query_points_max",
    "query_series_max",
    "query_buckets_max",
];

/// The setting that `key` may have meant.
pub(super) fn nearest(key: &str) -> Option<&'static str> {
    let key = key.replace('-', "_");
    KEYS.into_iter()
        .map(|known| (strsim::jaro_winkler(known, &key), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use clap::Args as _;

    use super::*;

    #[test]
    fn every_flag_is_a_key_and_every_key_a_flag() {
        let command = Settings::augment_args(clap::Command::new("settings"));
        let mut flags: Vec<String> = command
            .get_arguments()
            .filter_map(clap::Arg::get_long)
            .map(|name| name.replace('-', "_"))
            .filter(|name| name != "config")
            .collect();
        flags.sort();
        let mut keys: Vec<&str> = KEYS.to_vec();
        keys.sort_unstable();
        assert_eq!(flags, keys);
    }

    #[test]
    fn every_key_stands_in_the_guide() {
        let guide = include_str!("../../../docs/server.md");
        for key in KEYS {
            assert!(guide.contains(&format!("\n| `{key}` | ")), "{key}");
        }
    }

    #[test]
    fn a_mistyped_key_is_refused_with_the_right_one() {
        let refusal = parse("data-dir = \"/x\"").unwrap_err();
        assert_eq!(refusal, "unknown key data-dir: did you mean data_dir?");
        let refusal = parse("autocreate = \"v2\"").unwrap_err();
        assert_eq!(refusal, "unknown key autocreate: did you mean auto_create?");
        assert_eq!(parse("zzz = 1").unwrap_err(), "unknown key zzz");
    }

    #[test]
    fn a_wrong_value_is_refused_with_its_line() {
        let refusal = parse("writes_max = 3\nauto_create = \"sometimes\"").unwrap_err();
        assert!(refusal.contains("line 2"), "{refusal}");
    }

    #[test]
    fn values_are_read() {
        let settings = parse("writes_max = 3\nhttp_bind = \"127.0.0.1:1\"\ntags_max = 9").unwrap();
        assert_eq!(settings.writes_max, Some(3));
        assert_eq!(settings.limits.tags_max, Some(9));
        assert_eq!(settings.http_bind, Some(([127, 0, 0, 1], 1).into()));
    }
}
