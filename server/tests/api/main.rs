//! The server from outside: each test starts the real binary on a port of its own and talks to it
//! over a socket.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail like tests"
)]

mod backup;
mod commands;
mod connections;
mod damage;
mod delete;
mod grpc;
mod harness;
mod health;
mod query;
mod recorded;
mod retention;
mod startup;
mod write;
