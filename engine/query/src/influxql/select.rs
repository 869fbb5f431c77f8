//! Runs a `SELECT`: compiles it to a plan and gives the plan's rows.

use crate::exec;
use crate::influxql::ast::Select;
use crate::influxql::compile::{Compiler, compile};
use crate::result::{QueryError, QueryOptions, ResultSink};
use crate::source::Catalog;

/// Gives the series and rows of `select` to `sink`, between its calls of `statement` and `end`,
/// which are the caller's. Series come by measurement and tag values (backwards where newest rows
/// come first); rows are given as they are found, and what is given stays given on an error.
///
/// # Errors
/// `Statement` in `InfluxDB`'s words for what cannot be answered; `Limit`, `Timeout` and
/// `Interrupted` by the options; `Storage` where the store cannot be read.
pub fn run(
    catalog: &dyn Catalog,
    select: &Select,
    options: &QueryOptions,
    sink: &mut dyn ResultSink,
) -> Result<(), QueryError> {
    let plan = compile(Compiler { catalog, options }, select)?;
    exec::run(&plan, options, sink)
}
