//! The product with real parts around it: the binary itself, driven by the clients people have.
//! `cargo xtask test` installs them and says where they are.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]
#![expect(clippy::print_stdout, reason = "a test says how much it looked at")]
#![expect(
    clippy::disallowed_methods,
    reason = "these tests wait for processes, on the machine's own clock"
)]

mod differential;
mod full_disk;
mod grafana;
mod http;
mod influx_shell;
mod influxd;
mod overload;
mod product;
mod python;
mod telegraf;

use std::path::PathBuf;

/// The program that `cargo xtask test` names by `variable`.
fn tool(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable);
    PathBuf::from(path.unwrap_or_else(|| {
        panic!("{variable} is not set: run these tests by `cargo xtask test`, which installs it")
    }))
}
