//! What the tests of the whole store share: rows by name, a parser of keys, and reading it all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use silverback_storage::db::{Db, DbOptions, WalOptions, WriteOptions};
use silverback_storage::env::SimEnv;
use silverback_storage::error::{Error, ErrorKind, Result};
use silverback_storage::model::{
    Batch, FieldColumn, FieldValue, KeyError, KeyHasher, KeyParser, KeyRef, MeasurementRows,
    ScanRequest, SeriesId, SeriesKey, SeriesRequest, TagPredicate, TagSet, TimeRange,
};
use silverback_storage::scan;

/// A row by name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) measurement: String,
    /// Tags by key.
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) time: i64,
    pub(crate) fields: Vec<(String, FieldValue)>,
}

/// A value's place: database, measurement, tags, time, field.
pub(crate) type Cell = (String, String, BTreeMap<String, String>, i64, String);

/// What a store holds.
pub(crate) type Contents = BTreeMap<Cell, FieldValue>;

/// Keys as `measurement,tag=value,tag=value`.
pub(crate) struct Keys;

impl KeyParser for Keys {
    fn parse(&self, text: &[u8]) -> std::result::Result<SeriesKey, KeyError> {
        let text = std::str::from_utf8(text).map_err(|_| KeyError("not text".into()))?;
        let mut parts = text.split(',');
        let measurement = parts.next().unwrap_or_default().as_bytes().into();
        let mut tags = Vec::new();
        for part in parts {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| KeyError(format!("missing tag value in {part}")))?;
            tags.push((key.as_bytes().into(), value.as_bytes().into()));
        }
        let tags = TagSet::new(tags).map_err(|_| KeyError("duplicate tags".into()))?;
        Ok(SeriesKey { measurement, tags })
    }
}

/// A row of one float, integer or other value.
pub(crate) fn row(
    measurement: &str,
    tags: &[(&str, &str)],
    time: i64,
    fields: &[(&str, FieldValue)],
) -> Row {
    Row {
        measurement: measurement.into(),
        tags: tags
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect(),
        time,
        fields: fields
            .iter()
            .map(|(name, value)| ((*name).into(), value.clone()))
            .collect(),
    }
}

/// The text of a row's key; tags in the order of their keys, or the other way round.
fn key_text(row: &Row, reversed: bool) -> String {
    let mut tags: Vec<String> = row
        .tags
        .iter()
        .map(|(key, value)| format!(",{key}={value}"))
        .collect();
    if reversed {
        tags.reverse();
    }
    format!("{}{}", row.measurement, tags.concat())
}

/// Rows as a parser would hand them in: columns by measurement.
pub(crate) fn batch(hasher: KeyHasher, rows: &[Row]) -> (Vec<u8>, Vec<MeasurementRows>) {
    let mut text = Vec::new();
    let mut all: Vec<MeasurementRows> = Vec::new();
    for (line, row) in rows.iter().enumerate() {
        let key = key_text(row, line % 2 == 1);
        let key_ref = KeyRef {
            offset: u32::try_from(text.len()).unwrap(),
            len: u32::try_from(key.len()).unwrap(),
            hash: hasher.hash(key.as_bytes()),
        };
        text.extend_from_slice(key.as_bytes());
        let name = row.measurement.as_bytes();
        let at = all
            .iter()
            .position(|one| *one.measurement == *name)
            .unwrap_or_else(|| {
                all.push(MeasurementRows {
                    measurement: name.into(),
                    keys: Vec::new(),
                    timestamps: Vec::new(),
                    lines: Vec::new(),
                    fields: Vec::new(),
                });
                all.len() - 1
            });
        let into = &mut all[at];
        let place = into.timestamps.len();
        into.keys.push(key_ref);
        into.timestamps.push(row.time);
        into.lines.push(u32::try_from(line).unwrap() + 1);
        for (field, value) in &row.fields {
            let same = |own: &FieldColumn| {
                *own.name == *field.as_bytes()
                    && own.column.values.field_type() == value.field_type()
            };
            let column = into.fields.iter().position(same).unwrap_or_else(|| {
                into.fields.push(FieldColumn::absent(
                    field.as_bytes(),
                    value.field_type(),
                    place,
                ));
                into.fields.len() - 1
            });
            into.fields[column].push(place, value);
        }
    }
    for rows in &mut all {
        for field in &mut rows.fields {
            field.pad(rows.timestamps.len());
        }
    }
    (text, all)
}

/// Options that make a small test meet what a large store meets.
pub(crate) fn options() -> DbOptions {
    DbOptions {
        wal: WalOptions {
            segment_bytes: 16 << 10,
            ..WalOptions::default()
        },
        flush_interval: Duration::from_secs(3600),
        ..DbOptions::default()
    }
}

pub(crate) fn open(env: &SimEnv) -> Result<Db> {
    Db::open(Arc::new(env.clone()), options())
}

/// Writes rows and waits until they are durable. Rows of a wrong type fail the test.
pub(crate) fn write(db: &Db, database: &str, rows: &[Row]) -> Result<()> {
    let (text, rows) = batch(db.hasher(), rows);
    let batch = Batch { text: &text, rows };
    let submitted = db.write(database, None, batch, &Keys, WriteOptions::default())?;
    assert_eq!(submitted.rejected, []);
    submitted.ticket.wait().map(drop)
}

/// Bytes as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Tags by key.
pub(crate) fn tags_by_name(tags: &TagSet) -> BTreeMap<String, String> {
    tags.iter()
        .map(|(key, value)| (text(key), text(value)))
        .collect()
}

/// Everything that a database shows.
///
/// # Errors
/// Those of the scan.
pub(crate) fn read_database(db: &Db, database: &str, contents: &mut Contents) -> Result<()> {
    each_piece(db, database, &mut |cells| {
        for (cell, value) in cells {
            assert!(contents.insert(cell, value).is_none(), "a cell comes twice");
        }
    })
}

/// Hands everything that a database shows to `take`, as the scan gives it.
///
/// # Errors
/// Those of the scan.
pub(crate) fn each_piece(
    db: &Db,
    database: &str,
    take: &mut dyn FnMut(Vec<(Cell, FieldValue)>),
) -> Result<()> {
    let snapshot = db
        .snapshot(database)
        .ok_or_else(|| Error::new(ErrorKind::NotFound, "no such database"))?;
    for measurement in snapshot.catalog().measurements() {
        for policy in snapshot.catalog().policies() {
            let wanted = SeriesRequest {
                measurement: measurement.id,
                predicate: &TagPredicate::All,
                policy: Some(policy.id),
                range: TimeRange::ALL,
            };
            let ids = || -> Result<BTreeSet<SeriesId>> {
                let ids = snapshot.series_ids(wanted)?;
                let distinct: BTreeSet<SeriesId> = ids.iter().copied().collect();
                assert_eq!(distinct.len(), ids.len(), "each once");
                Ok(distinct)
            };
            // Where nobody writes they are the same; series that come meanwhile may be among them.
            let before = ids()?;
            let series = snapshot.series(
                wanted.measurement,
                wanted.predicate,
                wanted.policy,
                wanted.range,
            )?;
            let named: BTreeSet<SeriesId> = series.iter().map(|(id, _)| *id).collect();
            assert!(
                before.is_subset(&named),
                "{before:?} and with names {named:?}"
            );
            let after = ids()?;
            assert!(
                named.is_subset(&after),
                "{named:?} and without names {after:?}"
            );
            let request = ScanRequest {
                policy: policy.id,
                measurement: measurement.id,
                series: series.iter().map(|(id, _)| *id).collect(),
                fields: measurement.fields.iter().map(|field| field.id).collect(),
                range: TimeRange::ALL,
                descending: false,
                filter: None,
            };
            let mut cursor = scan::rows(&snapshot, request, Arc::new(|| Ok(())))?;
            while let Some(rows) = cursor.next_rows()? {
                let tags = tags_by_name(&series[rows.index].1);
                let mut cells = Vec::new();
                for (place, time) in rows.timestamps.iter().enumerate() {
                    for (field, column) in measurement.fields.iter().zip(&rows.columns) {
                        if let Some(value) = column.get(place) {
                            let cell = (
                                database.to_owned(),
                                text(&measurement.name),
                                tags.clone(),
                                *time,
                                text(&field.name),
                            );
                            cells.push((cell, value));
                        }
                    }
                }
                take(cells);
            }
        }
    }
    Ok(())
}

/// Everything that a store shows.
///
/// # Errors
/// Those of the scans.
pub(crate) fn read(db: &Db) -> Result<Contents> {
    let mut contents = Contents::new();
    for database in db.databases() {
        read_database(db, &database, &mut contents)?;
    }
    Ok(contents)
}
