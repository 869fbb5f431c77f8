//! `silverback query`.

use bytes::Bytes;
use silverback::query::output::{CsvSink, Epoch, JsonOptions, JsonSink};
use silverback::query::result::{QueryError, QueryOptions, Stopped};

use super::client::Client;
use super::table;
use super::target::{Missing, Target, TargetArgs};
use crate::door::clock;
use crate::exit::{Exit, Failure};
use silverback::Silverback;

/// How the answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Columns for people.
    Table,
    /// CSV as `InfluxDB` writes it.
    Csv,
    /// JSON as `InfluxDB` writes it.
    Json,
}

/// Options of `query`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  silverback query -d demo 'SELECT * FROM cpu LIMIT 10'")]
pub(super) struct QueryArgs {
    #[command(flatten)]
    target: TargetArgs,

    /// Database of sources that name none
    #[arg(short, long, value_name = "NAME", default_value = "")]
    database: String,

    /// How the answer is printed
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    format: Format,

    /// Print times as integers of this unit: ns, u, ms, s, m, h
    #[arg(long, value_name = "UNIT", default_value = "")]
    epoch: String,

    /// InfluxQL statements, separated by semicolons
    #[arg(value_name = "STATEMENTS", required = true)]
    statements: Vec<String>,
}

/// Runs statements and prints their results.
pub(super) fn query(args: &QueryArgs) -> Result<Exit, Failure> {
    let text = args.statements.join(" ");
    match args.target.open(Missing::Refuse)? {
        Target::Server(client) => remote(args, &client, &text),
        Target::Directory(engine) => {
            let answer = local(args, &engine, &text);
            Target::Directory(engine).close()?;
            match args.format {
                Format::Table => table::print(&answer?),
                Format::Csv | Format::Json => super::print(&answer?),
            }
        }
    }
}

/// Asks a server.
fn remote(args: &QueryArgs, client: &Client, text: &str) -> Result<Exit, Failure> {
    let parameters = [
        ("db", args.database.as_str()),
        ("epoch", &args.epoch),
        ("q", text),
    ];
    let accept = match args.format {
        Format::Csv => "text/csv",
        Format::Json => "application/json",
        Format::Table => {
            let reply = client.post("/query", &parameters, Bytes::new())?;
            if reply.status != 200 {
                return Err(Failure::failed(reply.error()));
            }
            return table::print(&reply.body);
        }
    };
    client.stream("/query", &parameters, accept)?;
    Ok(Exit::Done)
}

/// Asks a directory. The answer is held whole: it is for people and scripts.
fn local(args: &QueryArgs, engine: &Silverback, text: &str) -> Result<Vec<u8>, Failure> {
    let options = QueryOptions {
        database: Some(args.database.as_str())
            .filter(|name| !name.is_empty())
            .map(Into::into),
        now_ns: clock::now_ns(),
        ..QueryOptions::default()
    };
    let epoch = Epoch::of(&args.epoch);
    let failed = |error: QueryError| Failure::failed(error.message());
    let full = |_: Stopped| Failure::failed("the answer does not fit in memory");
    if args.format == Format::Csv {
        let mut sink = CsvSink::new(Vec::new(), epoch);
        engine
            .query_into(text, &options, &mut sink)
            .map_err(failed)?;
        return sink.finish().map_err(full);
    }
    let json = JsonOptions {
        epoch,
        pretty: false,
        chunk_rows: None,
    };
    let mut sink = JsonSink::new(Vec::new(), json);
    engine
        .query_into(text, &options, &mut sink)
        .map_err(failed)?;
    sink.finish().map_err(full)
}
