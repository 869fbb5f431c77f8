//! `SHOW QUERIES` and `KILL QUERY`.

use crate::influxql::go_duration_text;
use crate::result::{Cell, QueryError, QueryOptions, ResultSink, SeriesHeader};

/// Columns as `InfluxDB` 1.6 has them. How long a query has run is shown to its leading unit.
pub(super) fn show(options: &QueryOptions, sink: &mut dyn ResultSink) -> Result<(), QueryError> {
    let columns = ["qid", "query", "database", "duration", "status"];
    sink.series(&SeriesHeader::plain(None, &columns))?;
    let running = options.running.as_ref();
    for query in running.map(|running| running.list()).unwrap_or_default() {
        let took = options.now_ns.saturating_sub(query.began_ns).max(0);
        let unit = [1_000_000_000, 1_000_000, 1_000]
            .into_iter()
            .find(|unit| took >= *unit);
        let took = took - took % unit.unwrap_or(1);
        let status = if query.is_stopped {
            "killed"
        } else {
            "running"
        };
        sink.row(&[
            Cell::Integer(i64::try_from(query.id).unwrap_or(i64::MAX)),
            Cell::string(&*query.text),
            Cell::string(&*query.database),
            Cell::string(go_duration_text(took)),
            Cell::string(status),
        ])?;
    }
    Ok(())
}

/// The host of `KILL QUERY 1 ON "host"` is not looked at, as in a single `influxd`.
pub(super) fn kill(id: u64, options: &QueryOptions) -> Result<(), QueryError> {
    match &options.running {
        Some(running) => running.kill(id),
        None => Err(QueryError::statement(format!("no such query id: {id}"))),
    }
}
