//! A [`Source`] over the store's own snapshot. It adds nothing: what is read, and how, is storage's.

use std::sync::Arc;

use silverback_storage::Result;
use silverback_storage::model::{
    AggregateRequest, MeasurementInfo, PolicyInfo, ScanRequest, SeriesId, SeriesRequest,
    SeriesRows, Strings, TagSet, WindowBatch,
};
use silverback_storage::scan::{self, SharedRows, SharedWindows};
use silverback_storage::snapshot::Snapshot;
use silverback_storage::workers::Workers;

use crate::source::{RowScan, SeriesInfo, Source, WindowScan};

/// A snapshot of one database, read as long as a query lasts.
#[derive(Clone, Debug)]
pub struct SnapshotSource {
    snapshot: Arc<Snapshot>,
    workers: Arc<Workers>,
}

impl SnapshotSource {
    /// The source of `snapshot`, whose large scans are shared with `workers`.
    pub fn new(snapshot: Arc<Snapshot>, workers: Arc<Workers>) -> SnapshotSource {
        SnapshotSource { snapshot, workers }
    }
}

impl Source for SnapshotSource {
    fn policies(&self) -> Vec<PolicyInfo> {
        self.snapshot.catalog().policies().to_vec()
    }

    fn default_policy(&self) -> Box<str> {
        self.snapshot.catalog().default_policy().into()
    }

    fn measurements(&self) -> Vec<Arc<MeasurementInfo>> {
        self.snapshot.catalog().measurements().to_vec()
    }

    fn measurement(&self, name: &[u8]) -> Option<Arc<MeasurementInfo>> {
        self.snapshot.catalog().measurement(name).cloned()
    }

    fn series(&self, request: SeriesRequest<'_>) -> Result<Vec<SeriesInfo>> {
        let SeriesRequest {
            measurement,
            predicate,
            policy,
            range,
        } = request;
        let series = self
            .snapshot
            .series(measurement, predicate, policy, range)?;
        Ok(infos(series))
    }

    fn series_by(&self, request: SeriesRequest<'_>, keys: &[Box<[u8]>]) -> Result<Vec<SeriesInfo>> {
        Ok(infos(self.snapshot.series_by(request, keys)?))
    }

    fn series_ids(&self, request: SeriesRequest<'_>) -> Result<Vec<SeriesId>> {
        self.snapshot.series_ids(request)
    }

    fn series_count(&self, request: SeriesRequest<'_>) -> Result<u64> {
        self.snapshot.series_count(request)
    }

    fn has_series(&self, request: SeriesRequest<'_>) -> Result<bool> {
        self.snapshot.has_series(request)
    }

    fn tag_values(&self, request: SeriesRequest<'_>, key: &[u8]) -> Result<Strings> {
        self.snapshot.tag_values(request, key)
    }

    fn scan(&self, request: ScanRequest) -> Result<Box<dyn RowScan + '_>> {
        // Whoever drives a query asks between the pieces it gets whether it may go on.
        let cursor = scan::shared_rows(&self.snapshot, request, &self.workers)?;
        Ok(Box::new(cursor))
    }

    fn aggregate(&self, request: AggregateRequest) -> Result<Box<dyn WindowScan + '_>> {
        let cursor = scan::shared_aggregates(&self.snapshot, request, &self.workers)?;
        Ok(Box::new(cursor))
    }
}

fn infos(series: Vec<(SeriesId, TagSet)>) -> Vec<SeriesInfo> {
    let info = |(id, tags)| SeriesInfo { id, tags };
    series.into_iter().map(info).collect()
}

impl RowScan for SharedRows<'_> {
    fn next_rows(&mut self) -> Result<Option<SeriesRows>> {
        SharedRows::next_rows(self)
    }
}

impl WindowScan for SharedWindows<'_> {
    fn next_windows(&mut self) -> Result<Option<WindowBatch>> {
        SharedWindows::next_windows(self)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use silverback_storage::format::definitions::Names;
    use silverback_storage::index::LiveIndex;
    use silverback_storage::manifest::catalog::DatabaseCatalog;
    use silverback_storage::memtable::{Memtable, Run};
    use silverback_storage::model::{
        AggregateSet, CanonicalKey, Column, DatabaseId, FieldId, FieldInfo, FieldType,
        MeasurementId, PolicyId, Presence, Rows, Sequence, SeriesEntry, SeriesId, TagKeyId,
        TagPredicate, TimeRange, Values,
    };
    use silverback_storage::snapshot::PolicyStores;

    use super::*;

    /// Two hosts, the later id with the lower name, one point each.
    fn source() -> SnapshotSource {
        let measurement = MeasurementId(1);
        let field = FieldInfo {
            id: FieldId(1),
            name: b"value"[..].into(),
            field_type: FieldType::Integer,
        };
        let mut catalog = DatabaseCatalog::new(DatabaseId(1), "db");
        catalog.put_policy(PolicyInfo {
            id: PolicyId(1),
            name: "autogen".into(),
            duration_ns: 0,
            partition_ns: 86_400_000_000_000,
            shard_ns: 86_400_000_000_000,
            replication: 1,
            is_default: true,
        });
        catalog
            .define(&Names {
                measurements: vec![(measurement, b"cpu"[..].into())],
                tag_keys: vec![(TagKeyId(1), b"host"[..].into())],
                fields: vec![(measurement, field)],
                pairs: vec![(measurement, TagKeyId(1))],
            })
            .unwrap();
        let index = LiveIndex::new();
        for (id, host) in [(1, b"b"), (2, b"a")] {
            let key = CanonicalKey::encode(measurement, &mut [(TagKeyId(1), host)]);
            assert!(index.add(&SeriesEntry {
                id: SeriesId(id),
                key
            }));
        }
        let column = Column {
            values: Values::Integer(vec![10, 20]),
            presence: Presence::All,
        };
        let rows = Rows {
            measurement,
            series: [1, 2].map(SeriesId).into(),
            timestamps: vec![100, 200],
            columns: vec![(FieldId(1), column)],
        };
        let memtable = Memtable::new();
        memtable.push(Arc::new(Run::new(rows, Sequence(1))), Duration::ZERO);
        let stores = PolicyStores {
            memtables: vec![Arc::new(memtable)],
            ..PolicyStores::default()
        };
        let policies = BTreeMap::from([(PolicyId(1), stores)]);
        let indexes = vec![Arc::new(index)];
        let snapshot = Snapshot::new(Sequence(1), Arc::new(catalog), policies, indexes);
        SnapshotSource::new(Arc::new(snapshot), Workers::none())
    }

    #[test]
    fn what_the_store_holds_is_what_a_query_sees() {
        let source = source();
        assert_eq!(source.policies().len(), 1);
        assert_eq!(source.measurements().len(), 1);
        let cpu = source.measurement(b"cpu").unwrap();
        assert!(source.measurement(b"mem").is_none());
        let series = source
            .series(SeriesRequest {
                measurement: cpu.id,
                predicate: &TagPredicate::All,
                policy: None,
                range: TimeRange::ALL,
            })
            .unwrap();
        let hosts: Vec<_> = series.iter().map(|one| one.tags.get(b"host")).collect();
        assert_eq!(hosts, [Some(&b"a"[..]), Some(&b"b"[..])]);
        let request = ScanRequest {
            policy: PolicyId(1),
            measurement: cpu.id,
            series: series.iter().map(|one| one.id).collect(),
            fields: vec![cpu.field(b"value").unwrap().id],
            range: TimeRange::ALL,
            descending: false,
            filter: None,
        };
        let mut scan = source.scan(request.clone()).unwrap();
        let mut found = Vec::new();
        while let Some(rows) = scan.next_rows().unwrap() {
            found.push((rows.index, rows.timestamps, rows.columns[0].values.clone()));
        }
        let expected = [
            (0, vec![200], Values::Integer(vec![20])),
            (1, vec![100], Values::Integer(vec![10])),
        ];
        assert_eq!(found, expected);
        let aggregate = AggregateRequest {
            scan: request,
            wanted: vec![AggregateSet::COUNT],
            edges: [0, 150, 300].into(),
        };
        let mut windows = source.aggregate(aggregate).unwrap();
        let mut numbers = Vec::new();
        while let Some(series) = windows.next_windows().unwrap() {
            numbers.extend(series.windows);
        }
        assert_eq!(numbers, [1, 0]);
    }
}
