use super::*;
use crate::model::{FieldId, FieldInfo, FieldType, SeriesId, SeriesSet, TagKeyId};

fn every_edit() -> Vec<Edit> {
    let names = Names {
        measurements: vec![(MeasurementId(1), b"cpu"[..].into())],
        tag_keys: vec![(TagKeyId(1), b"host"[..].into())],
        fields: vec![(
            MeasurementId(1),
            FieldInfo {
                id: FieldId(1),
                name: b"idle"[..].into(),
                field_type: FieldType::Unsigned,
            },
        )],
        pairs: vec![(MeasurementId(1), TagKeyId(1))],
    };
    let mut edits = named_edits(DatabaseId(300), names);
    edits.extend(file_edits(DatabaseId(300)));
    edits
}

fn named_edits(database: DatabaseId, names: Names) -> Vec<Edit> {
    vec![
        Edit::Directory {
            id: u128::MAX - 1,
            secret: [1, 2, 3, u64::MAX],
        },
        Edit::SnapshotEnd,
        Edit::CreateDatabase {
            id: database,
            name: "metrics".into(),
        },
        Edit::DropDatabase(database),
        Edit::PutPolicy(
            database,
            PolicyInfo {
                id: PolicyId(7),
                name: "autogen".into(),
                duration_ns: 0,
                partition_ns: i64::MIN,
                shard_ns: i64::MAX,
                replication: 1,
                is_default: true,
            },
        ),
        Edit::DropPolicy(database, PolicyId(u32::MAX)),
        Edit::DefaultPolicy(database, "gone".into()),
        Edit::DefineNames(database, names),
        Edit::DropMeasurement(database, MeasurementId(u32::MAX)),
        Edit::Alter(
            database,
            MeasurementId(1),
            Alteration::Rename(b"x"[..].into()),
        ),
        Edit::Alter(
            database,
            MeasurementId(1),
            Alteration::RenameTagKey(TagKeyId(200), b"y"[..].into()),
        ),
        Edit::Alter(
            database,
            MeasurementId(1),
            Alteration::RenameField(FieldId(300), b"z"[..].into()),
        ),
        Edit::Alter(
            database,
            MeasurementId(1),
            Alteration::DropField(FieldId(1)),
        ),
    ]
}

fn file_edits(database: DatabaseId) -> Vec<Edit> {
    vec![
        Edit::AddBlock(BlockMeta {
            file_id: u64::MAX,
            info: BlockInfo {
                database,
                policy: PolicyId(7),
                level: 3,
                sequences: SequenceRange {
                    first: Sequence(5),
                    last: Sequence(1 << 40),
                },
            },
            range: TimeRange {
                start: i64::MIN,
                end: i64::MAX,
            },
            row_count: 1_000_000,
            size_bytes: 1 << 33,
        }),
        Edit::RemoveBlock(9),
        Edit::AddRegistry(RegistryMeta {
            file: 10,
            database,
            series_count: 11,
            size_bytes: 12,
        }),
        Edit::RemoveRegistry(10),
        Edit::FlushedThrough(Sequence(77)),
        Edit::CleanStop(CleanStop {
            segment: 4,
            offset: 1 << 20,
            sequence: Sequence(78),
        }),
        Edit::Given(
            database,
            LastIds {
                policy: 1,
                measurement: 2,
                tag_key: 3,
                field: 4,
                series: u64::MAX,
            },
        ),
        Edit::GivenInDirectory {
            database: 9,
            file: 10,
            sequence: Sequence(11),
        },
        Edit::PutTombstone(
            database,
            Arc::new(Tombstone {
                sequence: Sequence(12),
                policy: Some(PolicyId(7)),
                targets: vec![(MeasurementId(1), SeriesSet::of(vec![SeriesId(5)]))],
                range: TimeRange::ALL,
            }),
        ),
        Edit::RemoveTombstone(database, Sequence(12)),
    ]
}

const PLACE: RecordPlace = RecordPlace {
    file: 3,
    offset: 64,
    number: 5,
};

#[test]
fn every_edit_reads_back_as_written() {
    let record = encode_record(&every_edit(), PLACE).unwrap();
    let payload = find_record(&record, PLACE).unwrap();
    assert_eq!(decode_payload(payload).unwrap(), every_edit());
}

#[test]
fn a_record_is_found_only_whole_unharmed_and_in_its_place() {
    let record = encode_record(&every_edit(), PLACE).unwrap();
    for end in 0..record.len() {
        assert_eq!(find_record(&record[..end], PLACE), None, "cut at {end}");
    }
    for bit in 0..record.len() * 8 {
        let mut damaged = record.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(find_record(&damaged, PLACE), None, "bit {bit}");
    }
    assert_eq!((record.len() + 64) % SECTOR_BYTES, 0);
    let elsewhere = [
        RecordPlace { file: 4, ..PLACE },
        RecordPlace {
            offset: 65,
            ..PLACE
        },
        RecordPlace { number: 6, ..PLACE },
    ];
    for place in elsewhere {
        assert_eq!(find_record(&record, place), None, "{place:?}");
    }
}

#[test]
fn a_cut_or_changed_payload_never_panics_and_never_reads_as_the_same() {
    let mut payload = Vec::new();
    for edit in every_edit() {
        edit.encode(&mut payload);
    }
    for index in 0..payload.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut changed = payload.clone();
            changed[index] = value;
            if let Ok(edits) = decode_payload(&changed) {
                assert!(changed == payload || edits != every_edit(), "byte {index}");
            }
        }
        // A cut between two edits leaves fewer edits; elsewhere it is an error.
        if let Ok(edits) = decode_payload(&payload[..index]) {
            assert!(every_edit().starts_with(&edits) && edits.len() < every_edit().len());
        }
    }
}

#[test]
fn an_edit_of_a_later_build_is_an_error_and_not_skipped() {
    let error = decode_payload(&[200, 1, 2]).unwrap_err();
    assert_eq!(error.message(), "no edit has the tag 200");
}

#[test]
fn the_page_names_every_tag_of_the_code() {
    let page = include_str!("../../../../../docs/format/manifest.md");
    let mut tags = std::collections::BTreeMap::new();
    for edit in every_edit() {
        let mut bytes = Vec::new();
        edit.encode(&mut bytes);
        let debug = format!("{edit:?}");
        let name: String = debug.chars().take_while(|c| c.is_alphanumeric()).collect();
        let row = format!("| {:>3} | {name} |", bytes[0]);
        assert!(page.contains(&row), "the page lacks: {row}");
        let known = tags.insert(bytes[0], name.clone());
        assert!(
            known.is_none_or(|known| known == name),
            "tag {} stands for two edits",
            bytes[0]
        );
    }
    let (_, edits) = page.split_once("## Edits").unwrap();
    let rows = edits.lines().filter(|line| {
        let cell = line.split('|').nth(1).unwrap_or_default().trim();
        cell.parse::<u8>().is_ok() && !line.contains("| reserved |")
    });
    assert_eq!(rows.count(), tags.len(), "the page has rows the code lacks");
    assert!(page.contains(&format!("frame of {FRAME_BYTES} bytes")));
    assert!(page.contains(&format!("a multiple of {SECTOR_BYTES} bytes")));
}
