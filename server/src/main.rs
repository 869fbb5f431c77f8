//! The `silverback` binary: a server and its tools in one program. It turns arguments, requests and
//! signals into calls of the engine, and the engine's answers into exit codes, HTTP and gRPC.

mod allocator;
mod app;
mod cli;
mod config;
mod door;
mod exit;
mod grpc;
mod http;
mod log;
mod metrics;
mod serve;
mod version;

use std::process::ExitCode;

fn main() -> ExitCode {
    allocator::give_back_soon();
    cli::run()
}
