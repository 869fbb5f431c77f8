//! Blocks are taken away as retention does it: an edit of the manifest, then out of the stores.

use crate::db::{Db, DbOptions, WalOptions, WriteOptions};
use crate::env::{Env, SimEnv};
use crate::model::{
    Batch, FieldColumn, FieldType, FieldValue, KeyError, KeyParser, KeyRef, MeasurementRows,
    PolicySpec, SeriesKey, TagSet,
};

use super::*;

struct Keys;

impl KeyParser for Keys {
    fn parse(&self, text: &[u8]) -> std::result::Result<SeriesKey, KeyError> {
        Ok(SeriesKey {
            measurement: b"m"[..].into(),
            tags: TagSet::new(vec![(b"host"[..].into(), text.into())]).unwrap(),
        })
    }
}

fn open(env: &SimEnv) -> Db {
    let options = DbOptions {
        wal: WalOptions {
            segment_bytes: 1 << 16,
            ..WalOptions::default()
        },
        ..DbOptions::default()
    };
    let env: Arc<dyn Env> = Arc::new(env.clone());
    Db::open(env, options).unwrap()
}

/// A row at `time` of each of `hosts`.
fn write(db: &Db, hosts: std::ops::Range<u64>, time: i64) {
    let mut text = Vec::new();
    let mut column = FieldColumn::absent(b"v", FieldType::Unsigned, 0);
    let mut keys = Vec::new();
    for (row, host) in hosts.enumerate() {
        let host = format!("host-{host}");
        keys.push(KeyRef {
            offset: u32::try_from(text.len()).unwrap(),
            len: u32::try_from(host.len()).unwrap(),
            hash: db.hasher().hash(host.as_bytes()),
        });
        text.extend_from_slice(host.as_bytes());
        column.push(row, &FieldValue::Unsigned(1));
    }
    let count = keys.len();
    let rows = MeasurementRows {
        measurement: b"m"[..].into(),
        keys,
        timestamps: vec![time; count],
        lines: vec![1; count],
        fields: vec![column],
    };
    let batch = Batch {
        text: &text,
        rows: vec![rows],
    };
    let submitted = db.write("db", None, batch, &Keys, WriteOptions::default());
    submitted.unwrap().ticket.wait().unwrap();
}

/// Takes all blocks away but the newest `kept`.
fn drop_blocks(db: &Db, kept: usize) {
    let database = db.core.database("db").unwrap();
    let mut blocks: Vec<u64> = Vec::new();
    for state in database.stores().policies.values() {
        blocks.extend(state.blocks.iter().map(|block| block.meta().file_id));
    }
    blocks.sort_unstable();
    blocks.truncate(blocks.len().saturating_sub(kept));
    let edits: Vec<Edit> = blocks.iter().copied().map(Edit::RemoveBlock).collect();
    let mut manifest = db.core.manifest();
    db.core.commit(&mut manifest, &edits).unwrap();
    drop(manifest);
    for state in database.stores_mut().policies.values_mut() {
        let lives = |block: &Arc<crate::block::Block>| !blocks.contains(&block.meta().file_id);
        state.blocks.retain(lives);
    }
}

fn entries(db: &Db) -> u64 {
    db.stats().registry_series
}

/// The id of a host's series, by its key.
fn id_of(db: &Db, host: u64) -> Option<SeriesId> {
    let database = db.core.database("db").unwrap();
    let catalog = Arc::clone(&database.stores().catalog);
    let host = format!("host-{host}");
    let measurement = catalog.measurement(b"m").unwrap().id;
    let tag = catalog.tag_key(b"host").unwrap();
    let key = crate::model::CanonicalKey::encode(measurement, &mut [(tag, host.as_bytes())]);
    database.registry.find(database.hasher.hash(&key)).unwrap()
}

fn new_store(env: &SimEnv) -> Db {
    let db = open(env);
    db.create_database("db", &PolicySpec::default()).unwrap();
    db
}

#[test]
fn generations_of_series_leave_memory_and_disk_with_their_rows() {
    let env = SimEnv::new(1);
    let db = new_store(&env);
    for generation in 0..24 {
        write(&db, generation * 1000..(generation + 1) * 1000, 5);
        db.flush().unwrap();
        drop_blocks(&db, 2);
        db.core.retire_series();
        let stats = db.stats();
        assert!(entries(&db) <= 4000, "{} in {generation}", entries(&db));
        assert!(stats.index_bytes < 100_000, "{} bytes", stats.index_bytes);
        // Whose rows live stays found.
        assert!(id_of(&db, generation * 1000 + 7).is_some());
    }
    let stats = db.stats();
    assert!(stats.series_retired >= 20_000, "{}", stats.series_retired);
    assert_eq!(id_of(&db, 7), None);
    let files = env.list(std::path::Path::new("registry")).unwrap();
    let bytes: u64 = files.iter().map(|file| file.size_bytes).sum();
    assert!(bytes < 150_000, "{bytes} bytes of registry files");
    let last = id_of(&db, 23_500);
    db.close().unwrap();
    drop(db);
    let db = open(&env);
    assert_eq!(id_of(&db, 23_500), last);
    assert_eq!(id_of(&db, 7), None);
}

#[test]
fn a_series_that_is_written_again_meanwhile_keeps_its_id() {
    let env = SimEnv::new(2);
    let db = new_store(&env);
    write(&db, 0..3000, 5);
    db.flush().unwrap();
    let ids: Vec<_> = (0..3000).map(|host| id_of(&db, host)).collect();
    // In memory only, when its block goes.
    write(&db, 10..20, 6);
    drop_blocks(&db, 0);
    let database = db.core.database("db").unwrap();
    let stores = database.stores().clone();
    let live = database.live_series(&stores).unwrap();
    assert_eq!(live.ids.len(), 10);
    // Behind the look at what lives.
    write(&db, 30..35, 7);
    let files = database.registry.files();
    let dropped: RoaringTreemap = (1..=3000).filter(|id| !live.ids.contains(*id)).collect();
    let all = merge(&files).unwrap();
    let kept = all.filter(|entry| live.ids.contains(entry.as_ref().unwrap().1.0));
    let id = (db.core.new_file(), database.id);
    let file = RegistryFile::write(&*db.core.env, db.core.directory_id, id, kept).unwrap();
    db.core
        .publish_retired(&database, (files, file), (&live, &dropped))
        .unwrap();
    let check = |db: &Db| {
        for (host, id) in (0_u64..).zip(&ids) {
            let written = (10..20).contains(&host) || (30..35).contains(&host);
            let expected = if written { *id } else { None };
            assert_eq!(id_of(db, host), expected, "host {host}");
        }
    };
    check(&db);
    // The log tells it again, and the next flush writes it down.
    drop(database);
    drop(stores);
    drop(live);
    drop(db);
    let db = open(&env);
    check(&db);
    db.flush().unwrap();
    check(&db);
    // One that comes back is new.
    write(&db, 100..101, 8);
    assert!(id_of(&db, 100).unwrap().0 > 3000);
}

#[test]
fn nothing_is_retired_while_a_block_is_there_and_its_series_with_it() {
    let env = SimEnv::new(3);
    let db = new_store(&env);
    write(&db, 0..2000, 5);
    db.flush().unwrap();
    write(&db, 0..1, 6);
    db.flush().unwrap();
    db.core.retire_series();
    assert_eq!((entries(&db), db.stats().series_retired), (2000, 0));
    drop_blocks(&db, 1);
    db.core.retire_series();
    assert_eq!((entries(&db), db.stats().series_retired), (1, 1999));
    assert_eq!(id_of(&db, 0), Some(SeriesId(1)));
}
