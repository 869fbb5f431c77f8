//! A store of maps in memory that is obviously right, for tests of whatever reads through
//! [`crate::source`]. Gives rows in small pieces, so that readers meet their ends.

mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use silverback_storage::manifest::catalog::check_name;
use silverback_storage::model::{
    FieldId, FieldInfo, FieldType, FieldValue, KeyHasher, KeyParser, MeasurementId,
    MeasurementInfo, PolicyId, PolicyInfo, SeriesId, SeriesKey, TagKeyId, TagSet, TimeRange,
};
use silverback_storage::{Error, ErrorKind, Result};

use crate::lineprotocol::{Keys, ParseOptions, Precision, parse};
use crate::source::{Alter, Catalog, Delete, PolicyChange, PolicySpec, Source};

type Row = BTreeMap<FieldId, FieldValue>;

#[derive(Clone, Debug)]
struct Measurement {
    id: MeasurementId,
    fields: BTreeMap<Box<[u8]>, (FieldId, FieldType)>,
    series: BTreeMap<TagSet, SeriesId>,
    rows: BTreeMap<(SeriesId, PolicyId, i64), Row>,
}

/// One database.
#[derive(Clone, Debug)]
pub struct NaiveDatabase {
    policies: Vec<PolicyInfo>,
    default_policy: Box<str>,
    measurements: BTreeMap<Box<[u8]>, Measurement>,
    /// The last id given, of any kind.
    last_id: u32,
}

/// All databases.
#[derive(Debug, Default)]
pub struct NaiveCatalog {
    databases: Mutex<BTreeMap<Box<str>, Arc<NaiveDatabase>>>,
}

impl NaiveDatabase {
    fn new(spec: &PolicySpec) -> NaiveDatabase {
        let mut database = NaiveDatabase {
            policies: Vec::new(),
            default_policy: Box::default(),
            measurements: BTreeMap::new(),
            last_id: 0,
        };
        database.add_policy(spec, true);
        database
    }

    fn next_id(&mut self) -> u32 {
        self.last_id += 1;
        self.last_id
    }

    fn add_policy(&mut self, spec: &PolicySpec, is_default: bool) {
        let id = PolicyId(self.next_id());
        let policy = PolicyInfo::new(id, spec, is_default).expect("a test's policy can be");
        self.put_policy(policy);
    }

    fn put_policy(&mut self, policy: PolicyInfo) {
        if policy.is_default {
            self.default_policy.clone_from(&policy.name);
        }
        self.policies.retain(|one| one.id != policy.id);
        self.policies.push(policy);
        self.policies.sort_by(|a, b| a.name.cmp(&b.name));
        for policy in &mut self.policies {
            policy.is_default = policy.name == self.default_policy;
        }
    }

    /// Writes one point, field by field; a later one of equal series, field and time wins.
    ///
    /// # Panics
    /// If the policy is not there, or a field has another type.
    pub fn insert(
        &mut self,
        policy: &str,
        key: SeriesKey,
        timestamp: i64,
        fields: &[(&[u8], FieldValue)],
    ) {
        let policy = self.policies.iter().find(|one| *one.name == *policy);
        let policy = policy.expect("the policy is there").id;
        let id = MeasurementId(self.last_id + 1);
        let measurement = self.measurements.entry(key.measurement);
        let measurement = measurement.or_insert_with(|| Measurement {
            id,
            fields: BTreeMap::new(),
            series: BTreeMap::new(),
            rows: BTreeMap::new(),
        });
        let next = u64::from(self.last_id) + 2;
        let series = *measurement.series.entry(key.tags).or_insert(SeriesId(next));
        self.last_id += 2;
        let row = measurement.rows.entry((series, policy, timestamp));
        let row = row.or_default();
        for (name, value) in fields {
            self.last_id += 1;
            let claimed = (FieldId(self.last_id), value.field_type());
            let (id, field_type) = *measurement.fields.entry((*name).into()).or_insert(claimed);
            assert_eq!(field_type, value.field_type(), "a field has one type");
            row.insert(id, value.clone());
        }
    }

    fn by_id(&self, id: MeasurementId) -> Option<&Measurement> {
        self.measurements.values().find(|one| one.id == id)
    }
}

impl Measurement {
    fn info(&self, name: &[u8]) -> Arc<MeasurementInfo> {
        let fields = self
            .fields
            .iter()
            .map(|(name, (id, field_type))| FieldInfo {
                id: *id,
                name: name.clone(),
                field_type: *field_type,
            });
        let keys: BTreeSet<Box<[u8]>> = self
            .series
            .keys()
            .flat_map(|tags| tags.iter().map(|(key, _)| key.into()))
            .collect();
        Arc::new(MeasurementInfo {
            id: self.id,
            name: name.into(),
            fields: fields.collect(),
            tag_key_ids: (1..).map(TagKeyId).take(keys.len()).collect(),
            tag_keys: keys.into_iter().collect(),
        })
    }

    /// The rows of one series in one policy, oldest first.
    fn rows_of(
        &self,
        series: SeriesId,
        policy: PolicyId,
        range: TimeRange,
    ) -> impl DoubleEndedIterator<Item = (i64, &Row)> {
        let start = Bound::Included((series, policy, range.start));
        let end = Bound::Excluded((series, policy, range.end.max(range.start)));
        let rows = self.rows.range((start, end));
        rows.map(|((_, _, timestamp), row)| (*timestamp, row))
    }
}

impl NaiveCatalog {
    /// Writes the lines of `body`, times in nanoseconds, into `policy` of `database`.
    ///
    /// # Panics
    /// If a line is bad, or the database or the policy is not there.
    pub fn write(&self, database: &str, policy: &str, body: &[u8]) {
        let options = ParseOptions {
            hasher: KeyHasher::new([1, 2, 3, 4]),
            precision: Precision::Nanosecond,
            now_ns: 0,
        };
        let parsed = parse(body, options);
        assert!(parsed.errors.is_empty(), "{:?}", parsed.errors);
        self.change(database, |database| {
            for rows in &parsed.batch.rows {
                for (row, timestamp) in rows.timestamps.iter().enumerate() {
                    let start = rows.keys[row].offset as usize;
                    let text = &body[start..start + rows.keys[row].len as usize];
                    let key = Keys.parse(text).expect("the line is good");
                    let fields = rows.fields.iter().filter_map(|field| {
                        let value = field.column.get(row)?;
                        Some((&*field.name, value))
                    });
                    let fields: Vec<_> = fields.collect();
                    database.insert(policy, key, *timestamp, &fields);
                }
            }
        });
    }

    /// Adds a policy to `database`.
    ///
    /// # Panics
    /// If the database is not there.
    pub fn add_policy(&self, database: &str, spec: &PolicySpec) {
        self.change(database, |database| database.add_policy(spec, false));
    }

    fn try_change(
        &self,
        database: &str,
        change: impl FnOnce(&mut NaiveDatabase) -> Result<()>,
    ) -> Result<()> {
        let mut databases = self
            .databases
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(database) = databases.get_mut(database) else {
            let text = format!("database not found: {database}");
            return Err(Error::new(ErrorKind::NotFound, text));
        };
        change(Arc::make_mut(database))
    }

    /// Changes `database`; those who read it go on reading what was.
    ///
    /// # Panics
    /// If the database is not there.
    pub fn change(&self, database: &str, change: impl FnOnce(&mut NaiveDatabase)) {
        let mut databases = self
            .databases
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let database = databases.get_mut(database);
        change(Arc::make_mut(database.expect("the database is there")));
    }
}

fn is_same(one: &PolicyInfo, other: &PolicyInfo) -> bool {
    let other = PolicyInfo {
        id: one.id,
        is_default: one.is_default,
        ..other.clone()
    };
    *one == other
}

impl Catalog for NaiveCatalog {
    fn databases(&self) -> Vec<Box<str>> {
        let databases = self
            .databases
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        databases.keys().cloned().collect()
    }

    fn source(&self, name: &str) -> Option<Arc<dyn Source>> {
        let databases = self
            .databases
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let database = Arc::clone(databases.get(name)?);
        Some(database)
    }

    fn create_database(&self, name: &str, spec: &PolicySpec) -> Result<()> {
        check_name(name)?;
        if let Some(policy) = &spec.name {
            check_name(policy)?;
        }
        let asked = PolicyInfo::new(PolicyId(0), spec, true)?;
        let mut databases = self
            .databases
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(existing) = databases.get(name) else {
            databases.insert(name.into(), Arc::new(NaiveDatabase::new(spec)));
            return Ok(());
        };
        let found = existing.policies.iter().find(|one| one.name == asked.name);
        let same = found.is_some_and(|found| is_same(found, &asked));
        if *spec != PolicySpec::default() && !same {
            let text = "retention policy conflicts with an existing policy";
            return Err(Error::new(ErrorKind::Conflict, text));
        }
        Ok(())
    }

    fn drop_database(&self, name: &str) -> Result<()> {
        let mut databases = self
            .databases
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        databases.remove(name);
        Ok(())
    }

    fn create_policy(&self, database: &str, spec: &PolicySpec, makes_default: bool) -> Result<()> {
        self.try_change(database, |database| {
            let asked = PolicyInfo::new(PolicyId(database.next_id()), spec, makes_default)?;
            check_name(&asked.name)?;
            let Some(found) = database.policies.iter().find(|one| one.name == asked.name) else {
                database.put_policy(asked);
                return Ok(());
            };
            let text = if !is_same(found, &asked) {
                "retention policy already exists"
            } else if asked.is_default && !found.is_default {
                "retention policy conflicts with an existing policy"
            } else {
                return Ok(());
            };
            Err(Error::new(ErrorKind::Conflict, text))
        })
    }

    fn alter_policy(&self, database: &str, name: &str, change: &PolicyChange) -> Result<()> {
        self.try_change(database, |database| {
            let found = database.policies.iter().find(|one| *one.name == *name);
            let missing = || {
                let text = format!("retention policy not found: {name}");
                Error::new(ErrorKind::NotFound, text)
            };
            let changed = found.ok_or_else(missing)?.changed(change)?;
            database.put_policy(changed);
            Ok(())
        })
    }

    fn drop_policy(&self, database: &str, name: &str) -> Result<()> {
        let dropped = self.try_change(database, |database| {
            database.policies.retain(|one| *one.name != *name);
            Ok(())
        });
        dropped.or(Ok(()))
    }

    fn drop_measurement(&self, database: &str, measurement: &[u8]) -> Result<()> {
        self.try_change(database, |database| {
            database.measurements.remove(measurement);
            Ok(())
        })
    }

    fn alter_measurement(
        &self,
        database: &str,
        measurement: &[u8],
        alter: Alter<'_>,
    ) -> Result<()> {
        let found = |is_there: bool| {
            let missing = || Error::new(ErrorKind::NotFound, "what is altered is not there");
            is_there.then_some(()).ok_or_else(missing)
        };
        let mut outcome = Ok(());
        self.change(database, |database| {
            let Some(mut own) = database.measurements.remove(measurement) else {
                outcome = found(false);
                return;
            };
            let mut name: Box<[u8]> = measurement.into();
            match alter {
                Alter::Rename(to) => name = to.into(),
                Alter::RenameTag { from, to } => {
                    let rename = |tags: TagSet| {
                        let renamed = tags.iter().map(|(key, value)| {
                            let key = if key == from { to } else { key };
                            (key.into(), value.into())
                        });
                        TagSet::new(renamed.collect()).expect("the new name is free")
                    };
                    let series = std::mem::take(&mut own.series).into_iter();
                    own.series = series.map(|(tags, id)| (rename(tags), id)).collect();
                }
                Alter::RenameField { from, to } => match own.fields.remove(from) {
                    Some(field) => {
                        own.fields.insert(to.into(), field);
                    }
                    None => outcome = found(false),
                },
                Alter::DropField(field) => {
                    let gone = own.fields.remove(field);
                    outcome = found(gone.is_some());
                    for row in own.rows.values_mut() {
                        row.retain(|id, _| gone.is_none_or(|(gone, _)| gone != *id));
                    }
                }
            }
            database.measurements.insert(name, own);
        });
        outcome
    }

    fn delete(&self, database: &str, delete: &Delete<'_>) -> Result<()> {
        self.change(database, |database| {
            for (name, predicate) in &delete.measurements {
                let Some(own) = database.measurements.get_mut(*name) else {
                    continue;
                };
                let meant: BTreeSet<SeriesId> = own
                    .series
                    .iter()
                    .filter(|(tags, _)| predicate.holds(tags))
                    .map(|(_, id)| *id)
                    .collect();
                own.rows.retain(|(series, _, time), _| {
                    !meant.contains(series) || !delete.range.contains(*time)
                });
                let left: BTreeSet<SeriesId> = own.rows.keys().map(|key| key.0).collect();
                own.series.retain(|_, id| left.contains(id));
                if own.series.is_empty() {
                    database.measurements.remove(*name);
                }
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use silverback_storage::model::{
        AggregateRequest, AggregateSet, ScanRequest, Selected, SeriesRequest, TagPredicate,
    };

    use super::*;

    fn catalog() -> NaiveCatalog {
        let catalog = NaiveCatalog::default();
        let spec = PolicySpec::default();
        catalog.create_database("db", &spec).unwrap();
        let body = "m,t=a x=1,y=2i 10\nm,t=a x=-7 20\nm,t=b y=5i 10\nm,t=a y=3i 30\nm,t=a x=2 10";
        catalog.write("db", "autogen", body.as_bytes());
        catalog
    }

    #[test]
    fn what_is_written_is_read_and_later_writes_win() {
        let source = catalog().source("db").unwrap();
        let info = source.measurement(b"m").unwrap();
        let policy = source.policies()[0].id;
        let range = TimeRange::ALL;
        let series = source.series(SeriesRequest {
            measurement: info.id,
            predicate: &TagPredicate::All,
            policy: Some(policy),
            range,
        });
        let series: Arc<[SeriesId]> = series.unwrap().iter().map(|one| one.id).collect();
        assert_eq!(series.len(), 2);
        let scan = ScanRequest {
            policy,
            measurement: info.id,
            series,
            fields: info.fields.iter().map(|field| field.id).collect(),
            range,
            descending: true,
            filter: None,
        };
        let mut rows = source.scan(scan.clone()).unwrap();
        let first = rows.next_rows().unwrap().unwrap();
        assert_eq!(first.timestamps, [30, 20, 10]);
        assert_eq!(first.columns[0].get(2), Some(FieldValue::Float(2.0)));
        let request = AggregateRequest {
            wanted: vec![AggregateSet::ALL; scan.fields.len()],
            scan,
            edges: [0, 15, 40].into(),
        };
        let mut windows = source.aggregate(request).unwrap();
        let first = windows.next_windows().unwrap().unwrap();
        assert_eq!(first.windows.len(), 2);
        let (last, _) = first.columns[0].point(Selected::Last, 1).unwrap();
        assert_eq!((first.columns[0].count(1), last), (1, 20));
    }
}
