//! `SHOW` of names: databases, policies, measurements, series, tags, fields.

use silverback_storage::model::{Strings, TagSet};

use crate::influxql::ast::{NameMatch, Show};
use crate::influxql::go_duration_text;
use crate::lineprotocol::{escape_key, escape_measurement};
use crate::result::{Cell, QueryError, ResultSink, SeriesHeader};
use crate::source::Catalog;
use crate::statement::filter::{Filter, Scope, Target, measurement_passes};

/// How many series are looked at between two looks at the clock.
const CHECK_EVERY: usize = 4096;

/// Rows of one series: `OFFSET` of them left out, `LIMIT` given; the header comes with the first.
struct Rows<'a> {
    sink: &'a mut dyn ResultSink,
    header: Option<SeriesHeader>,
    skip: u64,
    left: u64,
}

impl<'a> Rows<'a> {
    fn new(sink: &'a mut dyn ResultSink, header: SeriesHeader, show: &Show) -> Rows<'a> {
        Rows {
            sink,
            header: Some(header),
            skip: show.offset,
            left: if show.limit == 0 {
                u64::MAX
            } else {
                show.limit
            },
        }
    }

    /// Gives a row; whether more are wanted.
    fn push(&mut self, cells: &[Cell]) -> Result<bool, QueryError> {
        if self.skip > 0 {
            self.skip -= 1;
            return Ok(true);
        }
        if self.left == 0 {
            return Ok(false);
        }
        if let Some(header) = self.header.take() {
            self.sink.series(&header)?;
        }
        self.sink.row(cells)?;
        self.left -= 1;
        Ok(self.left > 0)
    }
}

pub(super) fn databases(
    catalog: &dyn Catalog,
    sink: &mut dyn ResultSink,
) -> Result<(), QueryError> {
    sink.series(&SeriesHeader::plain(Some(b"databases"), &["name"]))?;
    for name in catalog.databases() {
        sink.row(&[Cell::string(name.as_bytes())])?;
    }
    Ok(())
}

pub(super) fn users(sink: &mut dyn ResultSink) -> Result<(), QueryError> {
    sink.series(&SeriesHeader::plain(None, &["user", "admin"]))?;
    Ok(())
}

pub(super) fn continuous_queries(
    catalog: &dyn Catalog,
    sink: &mut dyn ResultSink,
) -> Result<(), QueryError> {
    for name in catalog.databases() {
        let header = SeriesHeader::plain(Some(name.as_bytes()), &["name", "query"]);
        sink.series(&header)?;
    }
    Ok(())
}

pub(super) fn retention_policies(
    scope: &Scope<'_>,
    sink: &mut dyn ResultSink,
) -> Result<(), QueryError> {
    let source = scope.database()?;
    let columns = [
        "name",
        "duration",
        "shardGroupDuration",
        "replicaN",
        "default",
    ];
    sink.series(&SeriesHeader::plain(None, &columns))?;
    // In the order they were made, as InfluxDB lists them.
    let mut policies = source.policies();
    policies.sort_by_key(|policy| policy.id);
    for policy in policies {
        sink.row(&[
            Cell::string(policy.name.as_bytes()),
            Cell::string(go_duration_text(policy.duration_ns)),
            Cell::string(go_duration_text(policy.shard_ns)),
            Cell::Integer(policy.replication.into()),
            Cell::Boolean(policy.is_default),
        ])?;
    }
    Ok(())
}

/// An unknown database has no measurements, and that is no error: old clients ask before they
/// create it.
pub(super) fn measurements(
    scope: &Scope<'_>,
    with: Option<&NameMatch>,
    sink: &mut dyn ResultSink,
) -> Result<(), QueryError> {
    let filter = scope.filter()?;
    if filter.has_time() {
        let text = "SHOW MEASUREMENTS doesn't support time in WHERE clause";
        return Err(QueryError::statement(text));
    }
    let Some(source) = scope.catalog.source(&scope.database_name()?) else {
        return Ok(());
    };
    let header = SeriesHeader::plain(Some(b"measurements"), &["name"]);
    let mut rows = Rows::new(sink, header, scope.show);
    for info in source.measurements() {
        if with.is_some_and(|with| !with.holds(&info.name)) {
            continue;
        }
        scope.options.stop.check()?;
        if let Some(rest) = filter.rest()
            && !measurement_passes(rest, &*source, &info)?
        {
            continue;
        }
        if !rows.push(&[Cell::string(&info.name)])? {
            break;
        }
    }
    Ok(())
}

pub(super) fn series(scope: &Scope<'_>, sink: &mut dyn ResultSink) -> Result<(), QueryError> {
    let targets = scope.targets()?;
    let filter = scope.filter()?;
    let header = SeriesHeader::plain(None, &["key"]);
    let mut rows = Rows::new(sink, header, scope.show);
    for target in &targets {
        for (index, series) in filter.series(target)?.iter().enumerate() {
            if index % CHECK_EVERY == 0 {
                scope.options.stop.check()?;
            }
            let key = key_text(&target.info.name, &series.tags);
            if !rows.push(&[Cell::String(key.into())])? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The series as line protocol writes it.
fn key_text(measurement: &[u8], tags: &TagSet) -> Vec<u8> {
    let mut key = Vec::new();
    escape_measurement(measurement, &mut key);
    for (name, value) in tags {
        key.push(b',');
        escape_key(name, &mut key);
        key.push(b'=');
        escape_key(value, &mut key);
    }
    key
}

/// The tag keys that the series of `target` which pass `filter` have, sorted.
///
/// # Errors
/// As [`Filter::series`].
pub(super) fn keys_of(
    scope: &Scope<'_>,
    filter: &Filter,
    target: &Target,
) -> Result<Vec<Box<[u8]>>, QueryError> {
    let mut keys = Vec::new();
    for key in &target.info.tag_keys {
        scope.options.stop.check()?;
        if filter.any_has(target, key)? {
            keys.push(key.clone());
        }
    }
    Ok(keys)
}

pub(super) fn tag_keys(scope: &Scope<'_>, sink: &mut dyn ResultSink) -> Result<(), QueryError> {
    let targets = scope.targets()?;
    let filter = scope.filter()?;
    for target in &targets {
        let header = SeriesHeader::plain(Some(&target.info.name), &["tagKey"]);
        let mut rows = Rows::new(sink, header, scope.show);
        for key in keys_of(scope, &filter, target)? {
            if !rows.push(&[Cell::String(key)])? {
                break;
            }
        }
    }
    Ok(())
}

/// A tag key and its values.
type Column = (Box<[u8]>, Strings);

/// The tag keys that match `keys`, sorted, and the values that each has among the series of `target`
/// which pass `filter`, sorted.
///
/// # Errors
/// As [`Filter::series`].
pub(super) fn values_of(
    scope: &Scope<'_>,
    filter: &Filter,
    target: &Target,
    keys: &NameMatch,
) -> Result<Vec<Column>, QueryError> {
    let mut values = Vec::new();
    let all = target.info.tag_keys.iter();
    let wanted: Vec<_> = all.filter(|key| keys.holds(key)).collect();
    if wanted.is_empty() {
        // The condition may still be one that is refused.
        filter.check(target)?;
        return Ok(values);
    }
    for key in wanted {
        scope.options.stop.check()?;
        values.push((key.clone(), filter.values(target, key)?));
    }
    Ok(values)
}

pub(super) fn tag_values(
    scope: &Scope<'_>,
    keys: &NameMatch,
    sink: &mut dyn ResultSink,
) -> Result<(), QueryError> {
    let targets = scope.targets()?;
    let filter = scope.filter()?;
    for target in &targets {
        let header = SeriesHeader::plain(Some(&target.info.name), &["key", "value"]);
        let mut rows = Rows::new(sink, header, scope.show);
        'rows: for (key, values) in values_of(scope, &filter, target, keys)? {
            for index in 0..values.len() {
                if index % CHECK_EVERY == 0 {
                    scope.options.stop.check()?;
                }
                let cells = [Cell::string(&key), Cell::string(values.get(index))];
                if !rows.push(&cells)? {
                    break 'rows;
                }
            }
        }
    }
    Ok(())
}

pub(super) fn field_keys(scope: &Scope<'_>, sink: &mut dyn ResultSink) -> Result<(), QueryError> {
    for target in scope.targets()? {
        let header = SeriesHeader::plain(Some(&target.info.name), &["fieldKey", "fieldType"]);
        let mut rows = Rows::new(sink, header, scope.show);
        for field in &target.info.fields {
            let cells = [
                Cell::string(&field.name),
                Cell::string(field.field_type.name()),
            ];
            if !rows.push(&cells)? {
                break;
            }
        }
    }
    Ok(())
}
