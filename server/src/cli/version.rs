//! `silverback version`.

use crate::exit::{Exit, Failure};
use crate::version::{INFLUXDB_VERSION, VERSION};

/// Options of `version`.
#[derive(Debug, clap::Args)]
pub(super) struct VersionArgs {
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// Prints the version.
pub(super) fn version(args: &VersionArgs) -> Result<Exit, Failure> {
    let text = if args.json {
        let object = serde_json::json!({
            "name": "silverback",
            "version": VERSION,
            "influxdb_version": INFLUXDB_VERSION,
            "target": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        });
        format!("{object}\n")
    } else {
        format!("silverback {VERSION}\n")
    };
    super::print(text.as_bytes())
}
