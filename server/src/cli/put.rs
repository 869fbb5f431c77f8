//! One batch of line protocol to wherever a command works: what `write` and `import` share.

use std::time::Duration;

use bytes::Bytes;
use silverback::query::lineprotocol::Precision;

use super::target::Target;
use crate::door::refused;
use crate::exit::Failure;
use silverback::{PendingWrite, WriteRequest};

/// How often a batch is sent again to a server that says "later".
const ATTEMPTS_MAX: u32 = 20;

/// Options that say what the lines are for.
#[derive(Debug, clap::Args)]
pub(super) struct BatchArgs {
    /// Database to write to
    #[arg(short, long, value_name = "NAME")]
    pub(super) database: String,

    /// Retention policy [default: the database's]
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,

    /// Unit of the timestamps
    #[arg(long, value_name = "UNIT", default_value = "ns",
          value_parser = ["ns", "us", "ms", "s", "m", "h"])]
    precision: String,
}

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// All of it is durable.
    Stored,
    /// Some lines were refused, for this reason; the others are durable.
    Refused(String),
}

impl BatchArgs {
    /// Makes the database, if there is none of that name.
    pub(super) fn create(&self, target: &Target) -> Result<(), Failure> {
        match target {
            Target::Directory(engine) if engine.has_database(&self.database) => Ok(()),
            Target::Directory(engine) => engine
                .create_database(&self.database)
                .map_err(|error| Failure::failed(error.to_string())),
            Target::Server(client) => {
                let name = self.database.replace('\\', "\\\\").replace('"', "\\\"");
                let statement = format!("CREATE DATABASE \"{name}\"");
                let reply = client.post("/query", &[("q", &statement)], Bytes::new())?;
                if reply.status == 200 {
                    return Ok(());
                }
                Err(Failure::failed(reply.error()))
            }
        }
    }

    /// Stores `lines`, durably.
    pub(super) fn put(&self, target: &Target, lines: &Bytes) -> Result<Put, Failure> {
        match target {
            Target::Directory(engine) => {
                let request = WriteRequest {
                    policy: self.policy.as_deref(),
                    precision: Precision::from_v1(&self.precision).unwrap_or_default(),
                    ..WriteRequest::new(&self.database)
                };
                let written = engine.submit(&request, lines).and_then(PendingWrite::wait);
                let written = written.map_err(|error| Failure::failed(error.to_string()))?;
                Ok(match refused::text(&written) {
                    None => Put::Stored,
                    Some(text) => Put::Refused(String::from_utf8_lossy(&text).into_owned()),
                })
            }
            Target::Server(client) => {
                let mut parameters = vec![
                    ("db", self.database.as_str()),
                    ("precision", &self.precision),
                ];
                parameters.extend(self.policy.as_deref().map(|policy| ("rp", policy)));
                for _ in 0..ATTEMPTS_MAX {
                    let reply = client.post("/write", &parameters, lines.clone())?;
                    match (reply.status, reply.retry_after_s) {
                        (204, _) => return Ok(Put::Stored),
                        (400, _) => return Ok(Put::Refused(reply.error())),
                        (_, Some(seconds)) => client.rest(Duration::from_secs(seconds.min(60))),
                        _ => return Err(Failure::failed(reply.error())),
                    }
                }
                Err(Failure::failed("the server keeps saying \"later\""))
            }
        }
    }
}
