//! Deletes, and what they leave: which cells one means, and which series are listed.

use std::collections::{BTreeMap, BTreeSet};

use silverback_storage::db::{Db, Delete};
use silverback_storage::error::Result;
use silverback_storage::model::{SeriesRequest, TagPredicate, TimeRange};

use crate::support::{Cell, tags_by_name, text};

/// What a delete chooses: series by the value of a tag (all for `None`), and a span of time.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub(crate) measurements: Vec<String>,
    pub(crate) host: Option<String>,
    pub(crate) range: TimeRange,
}

impl Choice {
    /// Whether the delete means a cell of its database.
    pub(crate) fn means(&self, cell: &Cell) -> bool {
        let host = cell.2.get("host");
        self.measurements.contains(&cell.1)
            && (self.host.is_none() || self.host.as_ref() == host)
            && self.range.contains(cell.3)
    }
}

/// Deletes what is chosen.
pub(crate) fn delete(db: &Db, database: &str, choice: &Choice) -> Result<()> {
    let predicate = match &choice.host {
        None => TagPredicate::All,
        Some(host) => TagPredicate::Equal {
            key: b"host"[..].into(),
            value: host.as_bytes().into(),
        },
    };
    let names = choice.measurements.iter();
    let measurements = names.map(|name| (name.as_bytes(), predicate.clone()));
    let delete = Delete {
        policy: None,
        measurements: measurements.collect(),
        range: choice.range,
    };
    db.delete(database, &delete)
}

/// The series that a database lists, by measurement and tags; one that comes twice fails the test.
pub(crate) fn series(db: &Db, database: &str) -> Result<BTreeSet<SeriesName>> {
    let mut all = BTreeSet::new();
    let snapshot = db.snapshot(database).unwrap();
    for measurement in snapshot.catalog().measurements() {
        let own = snapshot.series(measurement.id, &TagPredicate::All, None, TimeRange::ALL)?;
        for (key, is_in) in [("host", true), ("nobody", false)] {
            let key: Box<[u8]> = key.as_bytes().into();
            let is_among = own.iter().any(|(_, tags)| tags.get(&key).is_some());
            let lacks = TagPredicate::Equal {
                key,
                value: Box::default(),
            };
            let has = snapshot.has_series(SeriesRequest {
                measurement: measurement.id,
                predicate: &TagPredicate::Not(Box::new(lacks)),
                policy: None,
                range: TimeRange::ALL,
            })?;
            assert_eq!(has, is_among && is_in, "{:?}", measurement.name);
        }
        for (_, tags) in own {
            let name = (text(&measurement.name), tags_by_name(&tags));
            assert!(all.insert(name), "a series comes twice");
        }
    }
    Ok(all)
}

/// A series by measurement and tags.
pub(crate) type SeriesName = (String, BTreeMap<String, String>);
