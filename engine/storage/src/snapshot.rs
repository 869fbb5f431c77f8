//! What a reader holds: the names, the runs and the blocks of one database as of one moment.
//!
//! It reads no values. What it holds stays as it is while writes, flushes and drops go on: a reader
//! that asks twice is told the same. Rows of dropped measurements may still be there; their ids are
//! no longer in the catalogue, so nobody asks for them.

mod names;
mod order;
mod series;
mod shown;

pub use names::SeriesNames;
pub use series::TAG_VALUES_BYTES_MAX;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::block::Block;
use crate::error::{Error, Result};
use crate::format::block::BlockMeta;
use crate::index::LiveIndex;
use crate::manifest::catalog::DatabaseCatalog;
use crate::memtable::{Memtable, Run};
use crate::model::{
    MeasurementId, MeasurementInfo, PolicyId, Sequence, SeriesRequest, TagPredicate, TimeRange,
    Tombstones,
};

/// What one policy holds.
#[derive(Clone, Debug, Default)]
pub struct PolicyStores {
    /// Its blocks, oldest sequences first.
    pub blocks: Vec<Arc<Block>>,
    /// Its memtables, oldest first: those being flushed, then the open one. All their rows are
    /// newer than those of the blocks.
    pub memtables: Vec<Arc<Memtable>>,
    /// Its blocks that cannot be opened.
    pub set_aside: Vec<Arc<SetAside>>,
}

/// A block that cannot be opened: who needs its rows is told why.
#[derive(Debug)]
pub struct SetAside {
    /// What the manifest says of it.
    pub meta: BlockMeta,
    /// Why it cannot be opened.
    pub error: Error,
}

/// Sorted runs, oldest first.
type Runs = Arc<[Arc<Run>]>;

/// One database as of one moment.
#[derive(Debug)]
pub struct Snapshot {
    sequence: Sequence,
    catalog: Arc<DatabaseCatalog>,
    policies: BTreeMap<PolicyId, PolicyStores>,
    indexes: Vec<Arc<LiveIndex>>,
    tombstones: Tombstones,
    /// What the memtables held when a measurement was first asked for.
    runs: Mutex<BTreeMap<(PolicyId, MeasurementId), Runs>>,
    names: Option<Arc<SeriesNames>>,
}

impl Snapshot {
    /// The snapshot that holds everything up to `sequence`: `indexes` know every series that has
    /// rows in the memtables of `policies`. Takes pointers only.
    pub fn new(
        sequence: Sequence,
        catalog: Arc<DatabaseCatalog>,
        policies: BTreeMap<PolicyId, PolicyStores>,
        indexes: Vec<Arc<LiveIndex>>,
    ) -> Snapshot {
        Snapshot {
            sequence,
            catalog,
            policies,
            indexes,
            tombstones: Tombstones::default(),
            runs: Mutex::default(),
            names: None,
        }
    }

    /// The same, with names of series that earlier snapshots have worked out.
    #[must_use]
    pub fn with_names(mut self, names: &Arc<SeriesNames>) -> Snapshot {
        self.names = Some(Arc::clone(names));
        self
    }

    /// The same, seen through deletes.
    #[must_use]
    pub fn with_tombstones(mut self, tombstones: Tombstones) -> Snapshot {
        self.tombstones = tombstones;
        self
    }

    /// The deletes that hide rows.
    pub fn tombstones(&self) -> &Tombstones {
        &self.tombstones
    }

    /// The sequence up to which every row is held; later ones may be.
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// Policies, measurements, fields and tag keys.
    pub fn catalog(&self) -> &DatabaseCatalog {
        &self.catalog
    }

    /// The blocks of `policy`, oldest sequences first.
    pub fn blocks(&self, policy: PolicyId) -> &[Arc<Block>] {
        self.policies
            .get(&policy)
            .map_or(&[], |stores| &stores.blocks)
    }

    /// Whether every block of `policy` (any where `None`) that has rows in `range` is there.
    ///
    /// # Errors
    /// Why the first that is not cannot be opened.
    pub fn check_blocks(&self, policy: Option<PolicyId>, range: TimeRange) -> Result<()> {
        let stores = self.policies.iter();
        let missing = stores
            .filter(|(own, _)| policy.is_none_or(|wanted| wanted == **own))
            .flat_map(|(_, stores)| &stores.set_aside)
            .find(|block| !block.meta.range.intersect(range).is_empty());
        missing.map_or(Ok(()), |block| Err(block.error.duplicate()))
    }

    /// The runs of `measurement` in `policy`, oldest first, as they were written; the same at every
    /// call. Who reads rows of one asks for it [`Run::sorted`]: most are not read at all.
    pub fn runs(&self, policy: PolicyId, measurement: MeasurementId) -> Arc<[Arc<Run>]> {
        let mut pinned = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = pinned.entry((policy, measurement)).or_insert_with(|| {
            let stores = self.policies.get(&policy).into_iter();
            let memtables = stores.flat_map(|stores| &stores.memtables);
            memtables
                .flat_map(|memtable| memtable.settled_runs(measurement))
                .collect()
        });
        Arc::clone(runs)
    }

    /// The same rows for who does not read them: in more runs, where they wait for a reader.
    fn unread_runs(&self, policy: PolicyId, measurement: MeasurementId) -> Vec<Arc<Run>> {
        let pinned = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runs) = pinned.get(&(policy, measurement)) {
            return runs.to_vec();
        }
        let stores = self.policies.get(&policy).into_iter();
        let memtables = stores.flat_map(|stores| &stores.memtables);
        memtables
            .flat_map(|memtable| memtable.runs(measurement))
            .collect()
    }

    /// Whether `measurement` has no row in any policy that a delete does not hide. Cost: a look at
    /// each block, unless deletes touch all there is; then as [`Snapshot::series`].
    ///
    /// # Errors
    /// As [`Snapshot::series`].
    pub fn is_empty(&self, measurement: MeasurementId) -> Result<bool> {
        self.check_blocks(None, TimeRange::ALL)?;
        for policy in self.policies.keys() {
            let is_whole = |last| (self.tombstones.hides(last, *policy, measurement)).is_empty();
            let runs = self.unread_runs(*policy, measurement);
            if runs.iter().any(|run| is_whole(run.sequences().1)) {
                return Ok(false);
            }
            for block in self.blocks(*policy) {
                let last = block.meta().info.sequences.last;
                if is_whole(last) && block.measurement(measurement)?.is_some() {
                    return Ok(false);
                }
            }
        }
        let left = self.series_count(SeriesRequest {
            measurement,
            predicate: &TagPredicate::All,
            policy: None,
            range: TimeRange::ALL,
        })?;
        Ok(left == 0)
    }

    /// Whether any run may have rows there.
    fn is_live(
        &self,
        measurement: MeasurementId,
        policy: Option<PolicyId>,
        range: TimeRange,
    ) -> bool {
        let policies = self.policies.keys().copied();
        policies
            .filter(|own| policy.is_none_or(|wanted| wanted == *own))
            .any(|policy| {
                let runs = self.unread_runs(policy, measurement);
                runs.iter().any(|run| {
                    let (first, last) = run.times();
                    range.overlaps(first, last)
                })
            })
    }

    fn info(&self, measurement: MeasurementId) -> Option<&MeasurementInfo> {
        let found = self.catalog.measurement_by_id(measurement);
        found.map(|info| &**info)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::format::definitions::Names;
    use crate::model::{
        CanonicalKey, Column, DatabaseId, FieldId, FieldInfo, FieldType, Presence, Rows,
        SeriesEntry, SeriesId, TagKeyId, TagSet, Values,
    };

    fn catalog() -> Arc<DatabaseCatalog> {
        let mut catalog = DatabaseCatalog::new(DatabaseId(1), "db");
        let field = FieldInfo {
            id: FieldId(1),
            name: b"value"[..].into(),
            field_type: FieldType::Integer,
        };
        catalog
            .define(&Names {
                measurements: vec![(MeasurementId(1), b"cpu"[..].into())],
                tag_keys: vec![(TagKeyId(1), b"host"[..].into())],
                fields: vec![(MeasurementId(1), field)],
                pairs: vec![(MeasurementId(1), TagKeyId(1))],
            })
            .unwrap();
        Arc::new(catalog)
    }

    fn entry(id: u64, host: &str) -> SeriesEntry {
        SeriesEntry {
            id: SeriesId(id),
            key: CanonicalKey::encode(MeasurementId(1), &mut [(TagKeyId(1), host.as_bytes())]),
        }
    }

    fn run(series: u64, time: i64, sequence: u64) -> Arc<Run> {
        let column = Column {
            values: Values::Integer(vec![time]),
            presence: Presence::All,
        };
        let rows = Rows {
            measurement: MeasurementId(1),
            series: vec![SeriesId(series)],
            timestamps: vec![time],
            columns: vec![(FieldId(1), column)],
        };
        Arc::new(Run::new(rows, Sequence(sequence)))
    }

    fn snapshot(memtable: &Arc<Memtable>, indexes: Vec<Arc<LiveIndex>>) -> Snapshot {
        let stores = PolicyStores {
            blocks: Vec::new(),
            memtables: vec![Arc::clone(memtable)],
            ..PolicyStores::default()
        };
        let policies = [(PolicyId(1), stores)].into();
        Snapshot::new(Sequence(1), catalog(), policies, indexes)
    }

    fn hosts(snapshot: &Snapshot, policy: Option<PolicyId>, range: TimeRange) -> Vec<String> {
        let request = SeriesRequest {
            measurement: MeasurementId(1),
            predicate: &TagPredicate::All,
            policy,
            range,
        };
        let series = snapshot.series(MeasurementId(1), &TagPredicate::All, policy, range);
        let count = snapshot.series_count(request).unwrap();
        assert_eq!(count, series.as_ref().unwrap().len() as u64);
        let mut ids = snapshot.series_ids(request).unwrap();
        let mut named: Vec<SeriesId> = series.as_ref().unwrap().iter().map(|one| one.0).collect();
        ids.sort_unstable();
        named.sort_unstable();
        assert_eq!(ids, named);
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        let host = |tags: &TagSet| text(tags.get(b"host").unwrap());
        let hosts: Vec<String> = series.unwrap().iter().map(|(_, tags)| host(tags)).collect();
        let values = snapshot.tag_values(request, b"host").unwrap();
        let values = (0..values.len()).map(|index| text(values.get(index)));
        assert_eq!(values.collect::<Vec<_>>(), hosts);
        let none = snapshot.tag_values(request, b"unknown").unwrap();
        assert!(none.is_empty());
        hosts
    }

    #[test]
    fn a_reader_is_told_the_same_while_writes_go_on() {
        let memtable = Arc::new(Memtable::new());
        memtable.push(run(1, 5, 1), Duration::ZERO);
        let snapshot = snapshot(&memtable, Vec::new());
        let times = || -> Vec<i64> {
            let runs = snapshot.runs(PolicyId(1), MeasurementId(1));
            runs.iter().map(|run| run.times().0).collect()
        };
        assert_eq!(times(), [5]);
        memtable.push(run(1, 6, 2), Duration::ZERO);
        assert_eq!(times(), [5]);
        assert!(snapshot.runs(PolicyId(2), MeasurementId(1)).is_empty());
    }

    #[test]
    fn series_of_all_indexes_come_once_and_sorted_by_tags() {
        let memtable = Arc::new(Memtable::new());
        memtable.push(run(1, 5, 1), Duration::ZERO);
        let (old, new) = (Arc::new(LiveIndex::new()), Arc::new(LiveIndex::new()));
        assert!(old.add(&entry(1, "b")) && old.add(&entry(2, "c")));
        assert!(new.add(&entry(1, "b")) && new.add(&entry(3, "a")));
        let snapshot = snapshot(&memtable, vec![old, new]);
        assert_eq!(hosts(&snapshot, None, TimeRange::ALL), ["a", "b", "c"]);
        let later = TimeRange { start: 6, end: 9 };
        assert!(hosts(&snapshot, None, later).is_empty());
        assert!(hosts(&snapshot, Some(PolicyId(2)), TimeRange::ALL).is_empty());
    }

    #[test]
    fn a_series_with_a_tag_key_from_later_on_is_left_out() {
        let memtable = Arc::new(Memtable::new());
        memtable.push(run(1, 5, 1), Duration::ZERO);
        let index = Arc::new(LiveIndex::new());
        let later = CanonicalKey::encode(MeasurementId(1), &mut [(TagKeyId(9), b"x")]);
        assert!(index.add(&entry(1, "a")));
        assert!(index.add(&SeriesEntry {
            id: SeriesId(2),
            key: later,
        }));
        let snapshot = snapshot(&memtable, vec![index]);
        assert_eq!(hosts(&snapshot, None, TimeRange::ALL), ["a"]);
    }
}
