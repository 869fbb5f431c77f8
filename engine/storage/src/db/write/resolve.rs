//! From a batch to rows bound to ids: what a write costs before the log.
//!
//! Two ways lead there. The known way needs no lock: every series is in the front cache and every
//! field has its type. The other one, under the sequencing lock, gives ids to what is new and
//! rejects rows. Nothing here is logged, published or durable.

mod bounds;
mod draft;
mod filter;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::db::core::lock;
use crate::db::database::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::format::definitions::Definitions;
use crate::format::rows::{ROWS_MAX, VALUES_MAX, weight};
use crate::index::registry::Known;
use crate::manifest::catalog::DatabaseCatalog;
use crate::model::{
    Batch, Column, FieldColumn, FieldId, FieldType, KeyHash, KeyParser, KeyRef, MeasurementId,
    MeasurementRows, Presence, Rows, SeriesId, SeriesKey,
};

pub(in crate::db) use bounds::{Bounds, check_partitions, has_long_strings};
use bounds::{Room, reject_fields};
use draft::{Draft, key_size};
use filter::{keep_rows, retain};

pub(in crate::db) use filter::reject_late;

/// The longest canonical key, bytes: so that index terms and log records stay small.
///
/// # Source
/// `InfluxDB` 1.x: `max key length exceeded`.
pub const KEY_BYTES_MAX: usize = 65_535;

/// A row that was not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedRow {
    /// Where it stood in the request, from 1.
    pub line: u32,
    /// Why.
    pub reason: RejectReason,
}

/// Why a row is not stored. Displays in the words that clients of `InfluxDB` match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RejectReason {
    /// Its key is none, in the words of its protocol.
    Key(Box<str>),
    /// A field of it has another type than the field has.
    FieldType {
        /// The field's name.
        field: Box<[u8]>,
        /// The measurement's name.
        measurement: Box<[u8]>,
        /// The type that came.
        given: FieldType,
        /// The type that the field has.
        existing: FieldType,
    },
    /// It passes a limit, which is named with the way out.
    Limit(Arc<str>),
    /// It is older than its policy keeps points.
    BeyondRetention,
}

impl fmt::Display for RejectReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RejectReason::Key(words) => out.write_str(words),
            RejectReason::Limit(words) => out.write_str(words),
            RejectReason::BeyondRetention => out.write_str("points beyond retention policy"),
            RejectReason::FieldType {
                field,
                measurement,
                given,
                existing,
            } => write!(
                out,
                "field type conflict: input field \"{}\" on measurement \"{}\" is type {given}, \
                 already exists as type {existing}",
                String::from_utf8_lossy(field),
                String::from_utf8_lossy(measurement)
            ),
        }
    }
}

/// What a batch comes to.
#[derive(Debug)]
pub(in crate::db) struct Bound {
    /// The rows that are stored; no `Rows` is empty.
    pub(in crate::db) rows: Vec<Rows>,
    /// What the rows need that was not there.
    pub(in crate::db) definitions: Definitions,
    /// The catalogue with those names, where there are any.
    pub(in crate::db) catalog: Option<DatabaseCatalog>,
    /// The rows that are not stored, in the order of their lines.
    pub(in crate::db) rejected: Vec<RejectedRow>,
}

/// Lookups of a batch in the front cache, one list for each of its [`MeasurementRows`].
#[derive(Debug)]
pub(in crate::db) struct Lookups {
    found: Vec<Vec<Known>>,
    missing: usize,
}

/// Looks up all keys of a batch. Cost: about one cache miss a row.
pub(in crate::db) fn look_up(batch: &Batch<'_>, database: &Database) -> Lookups {
    let mut lookups = Lookups {
        found: Vec::with_capacity(batch.rows.len()),
        missing: 0,
    };
    for rows in &batch.rows {
        let mut found = Vec::new();
        lookups.missing += database.registry.resolve(&rows.keys, &mut found);
        lookups.found.push(found);
    }
    lookups
}

/// The batch as rows if all of it is known, else `None`: then the other way must be gone.
pub(in crate::db) fn bind_known(
    batch: &mut Batch<'_>,
    lookups: &Lookups,
    catalog: &DatabaseCatalog,
) -> Option<Vec<Rows>> {
    if lookups.missing > 0 {
        return None;
    }
    let mut ids = Vec::with_capacity(batch.rows.len());
    for (rows, found) in batch.rows.iter().zip(&lookups.found) {
        let Some(first) = found.first() else {
            ids.push((MeasurementId(0), Vec::new()));
            continue;
        };
        let measurement = catalog.measurement_by_id(first.measurement)?;
        if found
            .iter()
            .any(|known| known.measurement != first.measurement)
        {
            return None;
        }
        let mut fields = Vec::with_capacity(rows.fields.len());
        for field in &rows.fields {
            let info = measurement.field(&field.name)?;
            if info.field_type != field.column.values.field_type() {
                return None;
            }
            fields.push(info.id);
        }
        ids.push((first.measurement, fields));
    }
    let bound = batch.rows.drain(..).zip(ids).zip(&lookups.found);
    let bound = bound.filter(|((rows, _), _)| !rows.timestamps.is_empty());
    Some(
        bound
            .map(|((rows, (measurement, fields)), found)| {
                let series = found.iter().map(|known| known.series).collect();
                let columns = fields
                    .into_iter()
                    .zip(rows.fields.into_iter().map(|field| field.column));
                assemble(measurement, series, rows.timestamps, columns.collect())
            })
            .collect(),
    )
}

/// Binds a batch under the sequencing lock: gives ids to what is new and rejects what cannot be
/// stored. `writer` is the catalogue with everything that was ever submitted.
///
/// # Errors
/// `Corrupt` or `Io` where a registry file cannot be read, `Busy` where there is no memory for new
/// series; nothing has changed then.
pub(in crate::db) fn bind_new(
    batch: Batch<'_>,
    database: &Database,
    (writer, last_series): (&DatabaseCatalog, u64),
    parser: &dyn KeyParser,
    bounds: Bounds<'_>,
) -> Result<Bound> {
    let mut binder = Binder {
        text: batch.text,
        database,
        parser,
        draft: Draft::new(writer, last_series),
        texts: Map::default(),
        series: Map::default(),
        fresh: Vec::new(),
        room: Room::new(bounds, database.registry.len_max()),
    };
    let claims = claims(&batch, writer);
    let mut bound = Vec::with_capacity(batch.rows.len());
    let mut rejected = Vec::new();
    for mut rows in batch.rows {
        check_rows(&rows);
        let mut keep = vec![true; rows.timestamps.len()];
        reject_types(&rows, (writer, &claims), &mut keep, &mut rejected);
        let limits = binder.room.limits();
        reject_fields(&rows, (writer, limits), &mut keep, &mut rejected);
        let mut found = Vec::new();
        let missing = database.registry.resolve(&rows.keys, &mut found);
        binder.expect(missing);
        binder.resolve(&rows, &mut found, (&mut keep, &mut rejected))?;
        let kept = found.iter().zip(&keep).find(|(_, keep)| **keep);
        let Some(measurement) = kept.map(|(known, _)| known.measurement) else {
            continue;
        };
        if keep.contains(&false) {
            retain(&mut found, &keep);
            keep_rows(&mut rows, &keep);
        }
        let mut columns = Vec::with_capacity(rows.fields.len());
        for field in rows.fields {
            if !field.column.values.is_empty() {
                let field_type = field.column.values.field_type();
                let id = binder.draft.field(measurement, &field.name, field_type);
                columns.push((id, field.column));
            }
        }
        let series = found.iter().map(|known| known.series).collect();
        bound.push(assemble(measurement, series, rows.timestamps, columns));
    }
    rejected.sort_by_key(|row| row.line);
    let (definitions, catalog) = binder.finish()?;
    Ok(Bound {
        rows: bound,
        definitions,
        catalog,
        rejected,
    })
}

/// Rows with their columns in order. Two columns of one field cannot be: types are settled.
fn assemble(
    measurement: MeasurementId,
    series: Vec<SeriesId>,
    timestamps: Vec<i64>,
    mut columns: Vec<(FieldId, Column)>,
) -> Rows {
    columns.sort_unstable_by_key(|(field, _)| *field);
    Rows {
        measurement,
        series,
        timestamps,
        columns,
    }
}

/// The parallel vectors of a batch are its maker's word: wrong ones are our own mistake.
fn check_rows(rows: &MeasurementRows) {
    let count = rows.timestamps.len();
    assert!(
        rows.keys.len() == count && rows.lines.len() == count,
        "a batch has one key and one line for each row"
    );
}

/// Which type each field gets that has none yet, by measurement and name: that of the first line
/// that has a value of it.
type Claims = BTreeMap<(Box<[u8]>, Box<[u8]>), (u32, FieldType)>;

fn claims(batch: &Batch<'_>, catalog: &DatabaseCatalog) -> Claims {
    let mut claims = Claims::new();
    for rows in &batch.rows {
        let measurement = catalog.measurement(&rows.measurement);
        for field in &rows.fields {
            if measurement.is_some_and(|known| known.field(&field.name).is_some()) {
                continue;
            }
            let Some(line) = first_line(rows, field) else {
                continue;
            };
            let claim = (line, field.column.values.field_type());
            let first = claims
                .entry((rows.measurement.clone(), field.name.clone()))
                .or_insert(claim);
            if line < first.0 {
                *first = claim;
            }
        }
    }
    claims
}

/// The line of the first row that has a value of the field.
fn first_line(rows: &MeasurementRows, field: &FieldColumn) -> Option<u32> {
    let mut lines = (0..rows.lines.len())
        .filter(|row| has(&field.column, *row))
        .map(|row| rows.lines[row]);
    lines.next()
}

fn has(column: &Column, row: usize) -> bool {
    match &column.presence {
        Presence::All => true,
        Presence::Some(bits) => bits.get(row),
    }
}

/// Rejects the rows that have a field of another type than it has or gets.
fn reject_types(
    rows: &MeasurementRows,
    (catalog, claims): (&DatabaseCatalog, &Claims),
    keep: &mut [bool],
    rejected: &mut Vec<RejectedRow>,
) {
    let measurement = catalog.measurement(&rows.measurement);
    for field in &rows.fields {
        let given = field.column.values.field_type();
        let known = measurement.and_then(|measurement| measurement.field(&field.name));
        let existing = known.map_or_else(
            || {
                let key = (rows.measurement.clone(), field.name.clone());
                claims.get(&key).map_or(given, |(_, claimed)| *claimed)
            },
            |info| info.field_type,
        );
        if existing == given {
            continue;
        }
        for (row, keep) in keep.iter_mut().enumerate() {
            if *keep && has(&field.column, row) {
                *keep = false;
                let reason = RejectReason::FieldType {
                    field: field.name.clone(),
                    measurement: rows.measurement.clone(),
                    given,
                    existing,
                };
                let line = rows.lines[row];
                rejected.push(RejectedRow { line, reason });
            }
        }
    }
}

/// What a key text comes to.
enum Resolved {
    Series(Known),
    Rejected(RejectReason),
}

type Map = hashbrown::HashMap<KeyHash, Known, foldhash::fast::FixedState>;

/// Finds or makes the series of rows that the front cache does not know.
struct Binder<'batch, 'catalog> {
    text: &'batch [u8],
    database: &'batch Database,
    parser: &'batch dyn KeyParser,
    draft: Draft<'catalog>,
    /// By hash of the text: a batch often has a new series many times, and it is parsed once.
    texts: Map,
    /// By hash of the canonical key.
    series: Map,
    /// Those of them that no registry has.
    fresh: Vec<KeyHash>,
    room: Room<'batch>,
}

impl Binder<'_, '_> {
    /// Makes room for `count` keys more.
    fn expect(&mut self, count: usize) {
        self.texts.reserve(count);
        self.series.reserve(count);
    }

    fn resolve(
        &mut self,
        rows: &MeasurementRows,
        found: &mut [Known],
        (keep, rejected): (&mut [bool], &mut Vec<RejectedRow>),
    ) -> Result<()> {
        for row in 0..found.len() {
            if !keep[row] || found[row].is_some() {
                continue;
            }
            let key = &rows.keys[row];
            if let Some(known) = self.texts.get(&key.hash) {
                found[row] = *known;
                continue;
            }
            match self.series(&rows.measurement, key)? {
                Resolved::Series(known) => {
                    self.texts.insert(key.hash, known);
                    found[row] = known;
                }
                Resolved::Rejected(reason) => {
                    keep[row] = false;
                    let line = rows.lines[row];
                    rejected.push(RejectedRow { line, reason });
                }
            }
        }
        Ok(())
    }

    /// What is new; from now on the registry knows it too. Others may see the ids at once, but they
    /// cannot use them before this write is queued: that takes the lock which the caller holds.
    fn finish(self) -> Result<(Definitions, Option<DatabaseCatalog>)> {
        let finished = self.draft.finish(self.database.id)?;
        let fresh = self.fresh.iter();
        let fresh = fresh.map(|hash| (*hash, self.series[hash].series));
        self.database.registry.insert(fresh);
        let texts: Vec<_> = self.texts.into_iter().collect();
        self.database.registry.remember(&texts);
        Ok(finished)
    }

    fn series(&mut self, measurement: &[u8], key: &KeyRef) -> Result<Resolved> {
        let start = key.offset as usize;
        let text = self.text.get(start..start + key.len as usize);
        let text = text.expect("a key lies in its batch's text");
        let rejected = |words: String| {
            let reason = RejectReason::Key(words.into());
            Ok(Resolved::Rejected(reason))
        };
        let parsed = match self.parser.parse(text) {
            Ok(parsed) => parsed,
            Err(error) => return rejected(error.0),
        };
        if *parsed.measurement != *measurement {
            return rejected("the key names another measurement than its rows".into());
        }
        let size = key_size(&parsed);
        if size > KEY_BYTES_MAX {
            return rejected(format!("max key length exceeded: {size} > {KEY_BYTES_MAX}"));
        }
        // Names of what is refused get no ids.
        let is_new = !self.draft.knows(&parsed);
        if is_new && let Some(why) = self.refuse(&parsed)? {
            return Ok(why);
        }
        let (measurement, key) = self.draft.canonical(&parsed);
        let hash = self.database.hasher.hash(&key);
        if let Some(known) = self.series.get(&hash) {
            return Ok(Resolved::Series(*known));
        }
        let found = self.database.registry.find(hash)?;
        if found.is_none()
            && !is_new
            && let Some(why) = self.refuse(&parsed)?
        {
            return Ok(why);
        }
        let known = Known {
            series: found.unwrap_or_else(|| self.draft.new_series()),
            measurement,
        };
        self.series.insert(hash, known);
        if found.is_none() {
            self.fresh.push(hash);
            lock(&self.database.growth).note(&parsed.tags);
        }
        self.draft.define(known.series, key);
        Ok(Resolved::Series(known))
    }
}

impl Binder<'_, '_> {
    /// Why there cannot be a new series of `key`, if so.
    ///
    /// # Errors
    /// `Busy` where there is no memory for it.
    fn refuse(&mut self, key: &SeriesKey) -> Result<Option<Resolved>> {
        self.room.check_memory(self.database, key)?;
        let made = self.draft.series_made();
        let why = self.room.limits().refuse_key(key).map(Arc::from);
        let why = why.or_else(|| self.room.refuse(self.database, key, made));
        Ok(why.map(|why| Resolved::Rejected(RejectReason::Limit(why))))
    }
}

/// Whether the rows of each measurement fit one record of the log.
///
/// # Errors
/// `Limit` where they do not.
pub(in crate::db) fn check_size(batch: &Batch<'_>) -> Result<()> {
    for rows in &batch.rows {
        let count = rows.timestamps.len();
        let weight = count.saturating_mul(rows.fields.len() + 2);
        if count > ROWS_MAX || weight > VALUES_MAX {
            let message = format!(
                "a batch has {count} rows of {} fields of one measurement; at most {ROWS_MAX} rows \
                 and {VALUES_MAX} values go at once",
                rows.fields.len()
            );
            return Err(Error::new(ErrorKind::Limit, message));
        }
    }
    Ok(())
}

/// Splits rows into groups that each fit one record of the log, in order; each `Rows` fits one.
pub(in crate::db) fn groups(rows: Vec<Rows>) -> Vec<Vec<Rows>> {
    let mut groups: Vec<Vec<Rows>> = Vec::new();
    let (mut count, mut sum) = (0, 0);
    for rows in rows {
        let (more, weight) = (rows.len(), weight(&rows));
        let fits = count + more <= ROWS_MAX && sum + weight <= VALUES_MAX;
        if let Some(group) = groups.last_mut().filter(|_| fits) {
            (count, sum) = (count + more, sum + weight);
            group.push(rows);
        } else {
            (count, sum) = (more, weight);
            groups.push(vec![rows]);
        }
    }
    groups
}
