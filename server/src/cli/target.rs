//! Where a command works: on a server, or in a data directory that it opens itself.

use std::path::{Path, PathBuf};

use super::client::Client;
use crate::exit::Failure;
use silverback::storage::Error;
use silverback::{Options, Silverback};

/// Options that say where.
#[derive(Debug, clap::Args)]
pub(super) struct TargetArgs {
    /// URL of the server
    #[arg(
        long,
        env = "SILVERBACK_HOST",
        value_name = "URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8086"
    )]
    host: String,

    /// Work in this data directory instead, while no server has it; stands before --host
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Where a command works.
#[derive(Debug)]
pub(super) enum Target {
    /// On a server.
    Server(Box<Client>),
    /// In a directory, which this process holds until it ends.
    Directory(Silverback),
}

/// What a command does where its data directory has no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Says so and leaves nothing behind: a mistyped name would read as a store without data.
    Refuse,
    /// Makes it, since it is to make a database too.
    Make,
}

impl TargetArgs {
    /// Opens it.
    pub(super) fn open(&self, missing: Missing) -> Result<Target, Failure> {
        match &self.data_dir {
            None => Ok(Target::Server(Box::new(Client::new(&self.host)?))),
            Some(dir) => directory(dir, missing).map(Target::Directory),
        }
    }
}

fn directory(dir: &Path, missing: Missing) -> Result<Silverback, Failure> {
    let shown = dir.display();
    let failed = |error: Error| Failure::open(&error.context(&format!("open {shown}")));
    if missing == Missing::Refuse && !Silverback::has_data(dir).map_err(failed)? {
        return Err(Failure::failed(format!(
            "no data directory {shown}: name one that has data; `silverback write --create`, \
             `silverback import` and `silverback serve` make one"
        )));
    }
    Silverback::open(Options::new(dir)).map_err(failed)
}

impl Target {
    /// Lets go of it.
    pub(super) fn close(self) -> Result<(), Failure> {
        match self {
            Target::Server(_) => Ok(()),
            Target::Directory(engine) => engine
                .close()
                .map_err(|error| Failure::failed(format!("close the data directory: {error}"))),
        }
    }
}
