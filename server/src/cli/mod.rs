//! The command line: one program, a command for each thing an operator does.

mod backup;
mod check;
mod client;
mod completions;
mod files;
mod import;
mod progress;
mod put;
mod query;
mod table;
mod target;
mod version;
mod write;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::config::Settings;
use crate::exit::{Exit, Failure};
use crate::serve;

/// Silverback, a time-series database: takes the place of InfluxDB behind Telegraf and Grafana.
///
/// Without a command it serves, with the options listed here.
#[derive(Debug, Parser)]
#[command(name = "silverback", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: Settings,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (as without a command)
    Serve(Box<ServeArgs>),
    /// Write line protocol
    Write(Box<write::WriteArgs>),
    /// Run InfluxQL statements
    Query(Box<query::QueryArgs>),
    /// Import files of line protocol
    Import(Box<import::ImportArgs>),
    /// Make a backup of all data
    Backup(Box<backup::BackupArgs>),
    /// Restore a backup into a new data directory
    Restore(backup::RestoreArgs),
    /// Verify every checksum of a data directory (exit code 3: problems found)
    Check(check::CheckArgs),
    /// Print the version
    Version(version::VersionArgs),
    /// Print the completions of a shell
    Completions(completions::CompletionsArgs),
}

/// The server's options.
#[derive(Debug, Args)]
struct ServeArgs {
    #[command(flatten)]
    settings: Settings,
}

/// Does what the process's arguments say.
pub(crate) fn run() -> ExitCode {
    let outcome = match Cli::try_parse_from(std::env::args_os()) {
        Ok(cli) => act(cli),
        Err(refusal) => {
            let exit = if refusal.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
            // A closed terminal is no reason to fail.
            drop(refusal.print());
            return exit.into();
        }
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            drop(writeln!(std::io::stderr(), "silverback: {failure}"));
            failure.exit().into()
        }
    }
}

fn act(cli: Cli) -> Result<Exit, Failure> {
    match cli.command {
        None => serve::serve(cli.settings),
        Some(Command::Serve(args)) => serve::serve(args.settings),
        Some(Command::Write(args)) => write::write(&args),
        Some(Command::Query(args)) => query::query(&args),
        Some(Command::Import(args)) => import::import(&args),
        Some(Command::Backup(args)) => backup::backup(&args),
        Some(Command::Restore(args)) => backup::restore(&args),
        Some(Command::Check(args)) => check::check(&args),
        Some(Command::Version(args)) => version::version(&args),
        Some(Command::Completions(args)) => completions::completions(&args, Cli::command()),
    }
}

/// Writes `text` to stdout. A reader that left is not an error.
fn print(text: &[u8]) -> Result<Exit, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("write to stdout: {error}")))
        }
        Ok(()) | Err(_) => Ok(Exit::Done),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        let arguments = ["silverback"].iter().chain(arguments).map(OsString::from);
        Cli::try_parse_from(arguments)
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_means_serve() {
        let cli = parse(&["--writes-max", "3"]).unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.settings.writes_max, Some(3));
        let cli = parse(&["serve", "--writes-max", "4", "--insecure-open"]).unwrap();
        let Some(Command::Serve(args)) = cli.command else {
            panic!("{cli:?}");
        };
        assert_eq!(args.settings.writes_max, Some(4));
        assert_eq!(args.settings.insecure_open, Some(true));
    }

    #[test]
    fn an_unknown_flag_is_a_usage_error_that_names_the_right_one() {
        let refusal = parse(&["serve", "--data-dri", "x"]).unwrap_err();
        assert_eq!(refusal.exit_code(), 2);
        assert!(refusal.to_string().contains("--data-dir"), "{refusal}");
    }
}
