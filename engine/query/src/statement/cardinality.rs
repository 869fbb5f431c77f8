//! `SHOW ... CARDINALITY`: how many series, measurements, tag keys, tag values, fields.
//!
//! Always exact; what `InfluxDB` calls an estimate is a word in the header.

use std::collections::BTreeSet;

use crate::influxql::ast::Counted;
use crate::result::{Cell, QueryError, ResultSink, SeriesHeader};
use crate::statement::filter::{Filter, Scope, Target};
use crate::statement::show::{keys_of, values_of};

pub(super) fn show(
    scope: &Scope<'_>,
    of: &Counted,
    exact: bool,
    sink: &mut dyn ResultSink,
) -> Result<(), QueryError> {
    if !scope.show.dimensions.is_empty() {
        let text = "GROUP BY in SHOW CARDINALITY is not supported yet";
        return Err(QueryError::statement(text));
    }
    let targets = scope.targets()?;
    let filter = scope.filter()?;
    let whole = !exact && filter.is_empty() && scope.show.sources.is_empty();
    let word = if whole {
        "cardinality estimation"
    } else {
        "count"
    };
    match of {
        Counted::Series if whole => {
            let mut total = 0;
            for target in &targets {
                total += count(scope, of, &filter, target)?;
            }
            total_row(sink, word, total)
        }
        Counted::Measurements => {
            let mut total = 0;
            for target in &targets {
                let found = filter.is_empty() || filter.count(target)? > 0;
                total += usize::from(found);
            }
            total_row(sink, word, total)
        }
        Counted::Series | Counted::TagKeys | Counted::TagValues(_) | Counted::FieldKeys => {
            for target in &targets {
                let count = count(scope, of, &filter, target)?;
                // Of the one row that each has, an offset leaves none.
                if count > 0 && scope.show.offset == 0 {
                    sink.series(&SeriesHeader::plain(Some(&target.info.name), &["count"]))?;
                    sink.row(&[cell(count)])?;
                }
            }
            Ok(())
        }
    }
}

fn cell(count: usize) -> Cell {
    Cell::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

fn total_row(sink: &mut dyn ResultSink, word: &str, total: usize) -> Result<(), QueryError> {
    sink.series(&SeriesHeader::plain(None, &[word]))?;
    sink.row(&[cell(total)])?;
    Ok(())
}

fn count(
    scope: &Scope<'_>,
    of: &Counted,
    filter: &Filter,
    target: &Target,
) -> Result<usize, QueryError> {
    scope.options.stop.check()?;
    Ok(match of {
        Counted::Series => usize::try_from(filter.count(target)?).unwrap_or(usize::MAX),
        Counted::Measurements => 1,
        Counted::TagKeys => keys_of(scope, filter, target)?.len(),
        Counted::TagValues(keys) => {
            let columns = values_of(scope, filter, target, keys)?;
            if let [(_, only)] = &columns[..] {
                return Ok(only.len());
            }
            // A value that two tags have counts once.
            let values = columns
                .iter()
                .flat_map(|(_, values)| (0..values.len()).map(|index| values.get(index)));
            values.collect::<BTreeSet<&[u8]>>().len()
        }
        Counted::FieldKeys => target.info.fields.len(),
    })
}
