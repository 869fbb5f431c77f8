//! What of a batch is over the bounds of the store, row by row.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{RejectReason, RejectedRow, has};
use crate::db::core::lock;
use crate::db::database::Database;
use crate::db::limits::{Growth, Limits, passes};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::catalog::DatabaseCatalog;
use crate::model::{Batch, FieldColumn, MeasurementRows, PolicyInfo, Presence, SeriesKey, Values};

/// The bounds on what one batch makes.
#[derive(Debug)]
pub(in crate::db) struct Bounds<'db> {
    pub(in crate::db) limits: &'db Limits,
    /// By the monotonic clock.
    pub(in crate::db) now: Duration,
    /// Where series take all the memory they may have: how much they take and may take, MiB.
    pub(in crate::db) memory: Option<(usize, usize)>,
}

/// Whether a batch has a string that is too long: then its rows are looked at one by one.
pub(in crate::db) fn has_long_strings(batch: &Batch<'_>, limits: &Limits) -> bool {
    let fields = batch.rows.iter().flat_map(|rows| &rows.fields);
    fields
        .into_iter()
        .any(|field| !long_strings(field, limits).is_empty())
}

/// Which values of a field are too long.
fn long_strings(field: &FieldColumn, limits: &Limits) -> Vec<usize> {
    let Values::String(strings) = &field.column.values else {
        return Vec::new();
    };
    let max = limits.string_bytes_max;
    if !passes(strings.bytes.len(), max) {
        return Vec::new();
    }
    let long = |value: &usize| passes(strings.get(*value).len(), max);
    (0..strings.len()).filter(long).collect()
}

/// Whether a batch touches no more partitions of a policy than one write may.
///
/// # Errors
/// `Limit` where it does.
pub(in crate::db) fn check_partitions(
    batch: &Batch<'_>,
    policy: &PolicyInfo,
    limits: &Limits,
) -> Result<()> {
    let max = limits.partitions_max;
    if max == 0 {
        return Ok(());
    }
    let width = policy.partition_ns.max(1);
    let partition = |time: &i64| time.div_euclid(width);
    let times = || batch.rows.iter().flat_map(|rows| &rows.timestamps);
    let (Some(first), Some(last)) = (times().min(), times().max()) else {
        return Ok(());
    };
    let spanned = partition(last).abs_diff(partition(first));
    if usize::try_from(spanned).is_ok_and(|spanned| spanned < max) {
        return Ok(());
    }
    let mut touched = BTreeSet::new();
    for time in times() {
        touched.insert(partition(time));
        if touched.len() > max {
            let message = format!(
                "the write touches more than {max} partitions of policy \"{}\" (partitions_max), \
                 from {first} to {last} ns: look at its times and their precision, or send it in \
                 pieces of less time",
                policy.name
            );
            return Err(Error::new(ErrorKind::Limit, message));
        }
    }
    Ok(())
}

/// Rejects rows that have a string that is too long, or a field that a measurement cannot get.
pub(super) fn reject_fields(
    rows: &MeasurementRows,
    (catalog, limits): (&DatabaseCatalog, &Limits),
    keep: &mut [bool],
    rejected: &mut Vec<RejectedRow>,
) {
    let measurement = catalog.measurement(&rows.measurement);
    let mut count = measurement.map_or(0, |measurement| measurement.fields.len());
    for field in &rows.fields {
        let long = long_strings(field, limits);
        if !long.is_empty() {
            let (name, max) = (text(&field.name), limits.string_bytes_max);
            let why =
                format!("a value of field \"{name}\" has more than {max} bytes (string_bytes_max)");
            let long = rows_with(field, &long).into_iter();
            reject(rows, (long, &why), (keep, rejected));
        }
        if measurement.is_some_and(|measurement| measurement.field(&field.name).is_some()) {
            continue;
        }
        count += 1;
        if let Some(why) = refuse_field((rows, field), count, limits) {
            let having = (0..keep.len()).filter(|row| has(&field.column, *row));
            reject(rows, (having, &why), (keep, rejected));
        }
    }
}

/// Why a measurement cannot get a field as its field number `count`, if it cannot.
fn refuse_field(
    (rows, field): (&MeasurementRows, &FieldColumn),
    count: usize,
    limits: &Limits,
) -> Option<String> {
    let named = limits.refuse_name("a field's name", &field.name);
    named.or_else(|| {
        let (measurement, name) = (text(&rows.measurement), text(&field.name));
        let max = limits.fields_max;
        passes(count, max).then(|| {
            format!(
                "measurement \"{measurement}\" cannot get field \"{name}\": at most {max} \
                 (fields_max)"
            )
        })
    })
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// The rows that have the values with the numbers `values`, ascending.
fn rows_with(field: &FieldColumn, values: &[usize]) -> Vec<usize> {
    let Presence::Some(bits) = &field.column.presence else {
        return values.to_vec();
    };
    let having = (0..bits.len()).filter(|row| bits.get(*row)).enumerate();
    let wanted = having.filter(|(value, _)| values.binary_search(value).is_ok());
    wanted.map(|(_, row)| row).collect()
}

fn reject(
    rows: &MeasurementRows,
    (which, why): (impl Iterator<Item = usize>, &str),
    (keep, rejected): (&mut [bool], &mut Vec<RejectedRow>),
) {
    let reason: Arc<str> = why.into();
    for row in which {
        if std::mem::replace(&mut keep[row], false) {
            let reason = RejectReason::Limit(Arc::clone(&reason));
            let line = rows.lines[row];
            rejected.push(RejectedRow { line, reason });
        }
    }
}

/// Whether a database may have one more series.
#[derive(Debug)]
pub(super) struct Room<'db> {
    bounds: Bounds<'db>,
    /// Series that it has, or somewhat more: what is near the limit is counted.
    known: u64,
    /// Why it may have none, found once for a batch.
    refused: Option<Arc<str>>,
}

impl<'db> Room<'db> {
    pub(super) fn new(bounds: Bounds<'db>, known: u64) -> Room<'db> {
        Room {
            bounds,
            known,
            refused: None,
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        self.bounds.limits
    }

    /// Whether there is memory for a new series of `key`.
    ///
    /// # Errors
    /// `Busy` where there is none: a flush makes room, or a larger budget.
    pub(super) fn check_memory(&self, database: &Database, key: &SeriesKey) -> Result<()> {
        let Some((used, max)) = self.bounds.memory else {
            return Ok(());
        };
        let words = format!(
            "new series have to wait for a flush: those in memory take {used} MiB, and {max} is \
             their part of memory_budget"
        );
        let growth = lock(&database.growth);
        let message = String::from(&*explain(&words, &growth, key));
        Err(Error::new(ErrorKind::Busy, message))
    }

    /// Why the database cannot have a series of `key` besides those it has and the `made` that this
    /// batch makes, if so.
    pub(super) fn refuse(
        &mut self,
        database: &Database,
        key: &SeriesKey,
        made: u64,
    ) -> Option<Arc<str>> {
        let Limits {
            series_max,
            new_series_per_minute_max: per_minute,
            ..
        } = *self.bounds.limits;
        if series_max > 0 && self.known + made >= series_max {
            self.known = database.registry.len();
        }
        let full = series_max > 0 && self.known + made >= series_max;
        if !full && per_minute == 0 {
            return None;
        }
        let mut growth = lock(&database.growth);
        let words = if full {
            database.refused.store(true, Ordering::Relaxed);
            // InfluxDB's words come first: clients match them.
            format!("max-series-per-database limit exceeded: ({series_max}), series_max")
        } else if growth.made_in_minute(self.bounds.now) >= per_minute {
            format!("more than {per_minute} new series in a minute, new_series_per_minute_max")
        } else {
            return None;
        };
        let refused = self
            .refused
            .get_or_insert_with(|| explain(&words, &growth, key));
        Some(Arc::clone(refused))
    }
}

fn explain(words: &str, growth: &Growth, key: &SeriesKey) -> Arc<str> {
    let grown = growth.grown(&key.tags);
    format!("{words}; {grown}: write what has so many values as a field, or raise the limit").into()
}
