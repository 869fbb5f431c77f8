//! The same cases, read from real blocks and a memtable by way of a snapshot.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::block::{Block, BlockWriter};
use crate::codec::Effort;
use crate::env::Env;
use crate::env::sim::SimEnv;
use crate::format::block::{BlockInfo, SequenceRange};
use crate::format::definitions::Names;
use crate::index::LiveIndex;
use crate::manifest::catalog::DatabaseCatalog;
use crate::memtable::Memtable;
use crate::model::{CanonicalKey, DatabaseId, FieldInfo, SeriesEntry, TagKeyId, TagPredicate};
use crate::snapshot::PolicyStores;

fn catalog() -> Arc<DatabaseCatalog> {
    let measurement = MeasurementId(1);
    let fields = (1..).zip(TYPES).map(|(id, field_type)| {
        let name = format!("field{id}").into_bytes().into();
        let id = FieldId(id);
        (
            measurement,
            FieldInfo {
                id,
                name,
                field_type,
            },
        )
    });
    let mut catalog = DatabaseCatalog::new(DatabaseId(1), "db");
    catalog
        .define(&Names {
            measurements: vec![(measurement, b"cpu"[..].into())],
            tag_keys: vec![(TagKeyId(1), b"host"[..].into())],
            fields: fields.collect(),
            pairs: vec![(measurement, TagKeyId(1))],
        })
        .unwrap();
    Arc::new(catalog)
}

fn entry(series: SeriesId) -> SeriesEntry {
    let host = format!("host-{}", series.0).into_bytes();
    SeriesEntry {
        id: series,
        key: CanonicalKey::encode(MeasurementId(1), &mut [(TagKeyId(1), &host)]),
    }
}

fn block_of(env: &Arc<dyn Env>, rows: &[Row], sequence: u64) -> Arc<Block> {
    let info = BlockInfo {
        database: DatabaseId(1),
        policy: PolicyId(1),
        level: 0,
        sequences: SequenceRange {
            first: Sequence(sequence),
            last: Sequence(sequence),
        },
    };
    let run = Arc::new(Run::new(rows_of(rows), Sequence(sequence))).sorted();
    let mut ids = run.rows().series.clone();
    ids.dedup();
    let entries: Vec<SeriesEntry> = ids.into_iter().map(entry).collect();
    let mut writer = BlockWriter::create(env, sequence, 7, info, Effort::Hot).unwrap();
    writer.begin_measurement(MeasurementId(1)).unwrap();
    writer.push(&run.rows(), &entries).unwrap();
    let meta = writer.finish().unwrap().unwrap();
    Arc::new(Block::open(&**env, 7, &meta).unwrap())
}

/// The snapshot of a case; blocks are older than runs, whatever the case says.
pub(super) fn snapshot_of(case: &mut Case) -> Snapshot {
    case.writes.sort_by_key(|(_, chunk)| chunk.is_none());
    let env: Arc<dyn Env> = Arc::new(SimEnv::new(1));
    env.create_dir(Path::new("blocks")).unwrap();
    let memtable = Memtable::new();
    let index = LiveIndex::new();
    let mut blocks = Vec::new();
    for ((rows, chunk), sequence) in case.writes.iter().zip(1..) {
        if chunk.is_some() {
            blocks.push(block_of(&env, rows, sequence));
            continue;
        }
        for series in rows_of(rows).series {
            index.add(&entry(series));
        }
        let run = Arc::new(Run::new(rows_of(rows), Sequence(sequence)));
        memtable.push(run, Duration::ZERO);
    }
    let stores = PolicyStores {
        blocks,
        memtables: vec![Arc::new(memtable)],
        ..PolicyStores::default()
    };
    let policies = [(PolicyId(1), stores)].into();
    Snapshot::new(Sequence(9), catalog(), policies, vec![Arc::new(index)])
}

pub(super) fn scanned(
    snapshot: &Snapshot,
    case: &Case,
) -> Vec<Vec<(i64, Vec<Option<FieldValue>>)>> {
    let mut found = vec![Vec::new(); case.request.series.len()];
    let mut cursor = rows(snapshot, case.request.clone(), no_check()).unwrap();
    while let Some(piece) = cursor.next_rows().unwrap() {
        for (row, time) in piece.timestamps.iter().enumerate() {
            let fields = piece.columns.iter().map(|column| column.get(row));
            found[piece.index].push((*time, fields.collect()));
        }
    }
    found
}

fn windows(snapshot: &Snapshot, case: &Case) -> Vec<WindowBatch> {
    let windows = |request| {
        let mut cursor = aggregates(snapshot, request, no_check()).unwrap();
        std::iter::from_fn(|| cursor.next_windows().unwrap()).collect::<Vec<_>>()
    };
    let request = aggregates_of(&case.request, &case.edges);
    assert_each_alone(request.clone(), windows);
    windows(request)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn blocks_and_runs_answer_as_one(case in case()) {
        let mut case = case;
        let snapshot = snapshot_of(&mut case);
        for (index, found) in scanned(&snapshot, &case).into_iter().enumerate() {
            let mut expected = case.expected(index, case.request.range);
            if case.request.descending {
                expected.reverse();
            }
            prop_assert_eq!(found, expected);
        }
        assert_windows(&windows(&snapshot, &case), &expected_windows(&case));
        let all = snapshot
            .series(MeasurementId(1), &TagPredicate::All, None, TimeRange::ALL)
            .unwrap();
        let ids: Vec<u64> = all.iter().map(|(id, _)| id.0).collect();
        let mut written: Vec<u64> = case.model().keys().map(|(series, _)| *series).collect();
        written.dedup();
        prop_assert_eq!(ids, written);
    }
}

/// Chunks of a block have statistics from 256 rows on.
#[test]
fn long_chunks_are_aggregated_as_if_decoded() {
    let old = integers((0..20_000).map(|at| (at, at % 997)));
    let newer = integers((0..400).map(|at| (9_000 + 3 * at, -at)));
    for write in [
        vec![(old.clone(), Some(1))],
        vec![(old, Some(1)), (newer, None)],
    ] {
        let mut case = integer_case(write);
        case.edges = vec![-5, 100, 8_500, 11_000, 30_000];
        for (start, end) in [(i64::MIN + 2, i64::MAX), (50, 19_000), (9_001, 9_002)] {
            case.request.range = TimeRange { start, end };
            let snapshot = snapshot_of(&mut case);
            assert_windows(&windows(&snapshot, &case), &expected_windows(&case));
        }
    }
}

/// NaN, zeros of both signs and holes in chunks that have statistics: a window must not tell
/// whether it was answered from them.
#[test]
fn statistics_of_every_type_mean_what_decoded_rows_do() {
    let float = |at: i64| match at % 7 {
        0 => f64::NAN,
        1 => -0.0,
        2 => 0.0,
        _ if at < 900 => f64::NAN,
        rest => f64::from(i32::try_from(rest * at).unwrap()) / 8.0,
    };
    let row = |at: i64| {
        let fields = [
            FieldValue::Float(float(at)),
            FieldValue::Integer(i64::MAX - at % 5),
            FieldValue::Unsigned(u64::MAX - at.cast_unsigned() % 3),
            FieldValue::Boolean(at % 11 == 10),
            FieldValue::String(format!("text {}", at % 13).into_bytes().into()),
        ];
        let holes = (0..)
            .zip(fields)
            .map(|(field, value)| ((at + field) % 5 > 0).then_some(value));
        let holes: Vec<Option<FieldValue>> = holes.collect();
        (1, at, holes.try_into().expect("five fields"))
    };
    let mut case = integer_case(vec![((0..20_000).map(row).collect(), Some(1))]);
    case.request.fields = (1..=5).map(FieldId).collect();
    for edges in [
        vec![0, 20_000],
        vec![0, 8_192, 16_384, 20_000],
        vec![0, 300, 10_000, 19_999],
    ] {
        case.edges = edges;
        let snapshot = snapshot_of(&mut case);
        assert_windows(&windows(&snapshot, &case), &expected_windows(&case));
    }
}

/// Runs of equal values of every type, and what else a page may be, in chunks that no series shares: a window must not
/// tell in what form its values stood.
#[test]
fn runs_of_values_are_added_up_as_if_decoded() {
    let float = |at: i64| match at / 500 % 6 {
        0 => f64::NAN,
        1 if at % 1000 < 700 => -0.0,
        1 => 0.0,
        2 => f64::INFINITY,
        3 => 1e308,
        _ => f64::from(i32::try_from(at / 70).unwrap()) / 4.0,
    };
    let row = |at: i64, step: fn(i64) -> i64| {
        let fields = [
            Some(FieldValue::Float(float(at))),
            Some(FieldValue::Integer(i64::MIN + at / 900 % 3)),
            (at < 9_000).then_some(FieldValue::Unsigned(u64::MAX)),
            Some(FieldValue::Boolean(at % 4000 > 10)),
            (at % 7 > 0).then(|| FieldValue::String(b"text"[..].into())),
        ];
        (1, step(at), fields)
    };
    let even = |at| 10 * at;
    let uneven = |at| 10 * at + at % 3;
    for step in [even, uneven] {
        let rows: Vec<Row> = (0..12_000).map(|at| row(at, step)).collect();
        let mut case = integer_case(vec![(rows, Some(1))]);
        case.request.fields = (1..=5).map(FieldId).collect();
        for (range, width) in [
            (TimeRange::ALL, 7_777),
            (
                TimeRange {
                    start: 4_321,
                    end: 99_999,
                },
                1_000,
            ),
            (
                TimeRange {
                    start: 50,
                    end: 119_000,
                },
                60_000,
            ),
        ] {
            case.request.range = range;
            case.edges = (0..=120_000 / width + 1).map(|at| at * width).collect();
            let snapshot = snapshot_of(&mut case);
            assert_windows(&windows(&snapshot, &case), &expected_windows(&case));
        }
    }
}

#[test]
fn what_does_not_exist_is_said_so() {
    let mut case = integer_case(vec![(integers([(1, 1)].into_iter()), None)]);
    let snapshot = snapshot_of(&mut case);
    let error = |request: ScanRequest| rows(&snapshot, request, no_check()).unwrap_err();
    let mut request = case.request.clone();
    request.fields = vec![FieldId(6)];
    assert_eq!(error(request).to_string(), "the field does not exist");
    let mut request = case.request.clone();
    request.measurement = MeasurementId(2);
    assert_eq!(error(request).kind(), ErrorKind::NotFound);
}
