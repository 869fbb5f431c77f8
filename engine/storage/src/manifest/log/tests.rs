use super::*;
use crate::env::SimEnv;
use crate::env::sim::{Failure, Fault, OpKind};
use crate::format::definitions::Names;
use crate::format::manifest::CleanStop;
use crate::model::{DatabaseId, MeasurementId, PolicyId, PolicyInfo, Sequence};

fn create(id: u32) -> Vec<Edit> {
    let policy = PolicyInfo {
        id: PolicyId(1),
        name: "autogen".into(),
        duration_ns: 0,
        partition_ns: 1,
        shard_ns: 7,
        replication: 1,
        is_default: true,
    };
    vec![
        Edit::CreateDatabase {
            id: DatabaseId(id),
            name: format!("db{id}").into(),
        },
        Edit::PutPolicy(DatabaseId(id), policy),
    ]
}

fn names_of(manifest: &Manifest) -> Vec<Box<str>> {
    manifest.state().catalog.names()
}

fn reopen(env: &SimEnv) -> Result<Option<Manifest>> {
    Manifest::open(Arc::new(env.clone()))
}

fn new_manifest(env: &SimEnv) -> Manifest {
    assert!(reopen(env).unwrap().is_none());
    Manifest::create(Arc::new(env.clone())).unwrap()
}

/// Where the manifest that counts lies.
fn current_path(env: &SimEnv) -> PathBuf {
    let header = FileHeader::decode(&env.peek(CURRENT).unwrap()).unwrap();
    manifest_path(header.file_id)
}

#[test]
fn edits_are_there_after_a_kill_and_a_second_open() {
    let env = SimEnv::new(1);
    let mut manifest = new_manifest(&env);
    let (id, secret) = (manifest.state().directory_id, manifest.state().secret);
    manifest.commit(&create(1)).unwrap();
    manifest.commit(&create(2)).unwrap();
    for round in 0..2 {
        let env = env.after_kill();
        let mut manifest = reopen(&env).unwrap().unwrap();
        assert_eq!(manifest.state().directory_id, id);
        assert_eq!(manifest.state().secret, secret);
        assert_eq!(names_of(&manifest), ["db1".into(), "db2".into()]);
        manifest
            .commit(&[Edit::DropDatabase(DatabaseId(1))])
            .unwrap();
        let again = reopen(&env.after_kill()).unwrap().unwrap();
        assert_eq!(names_of(&again), ["db2".into()], "round {round}");
        assert_eq!(again.state().catalog.last_database(), 2);
    }
}

#[test]
fn a_crash_at_any_step_leaves_each_edit_whole_or_undone_and_none_answered_for_missing() {
    let script = |env: &SimEnv| -> usize {
        let Ok(mut manifest) = Manifest::create(Arc::new(env.clone())) else {
            return 0;
        };
        for id in 1..=3 {
            if manifest.commit(&create(id)).is_err() {
                return id as usize;
            }
        }
        // A second process: its first edit goes to a new file.
        let Ok(Some(mut manifest)) = Manifest::open(Arc::new(env.clone())) else {
            return 4;
        };
        for id in 4..=5 {
            if manifest.commit(&create(id)).is_err() {
                return id as usize;
            }
        }
        6
    };
    let whole = SimEnv::new(7);
    assert_eq!(script(&whole), 6);
    let mut images = 0;
    for stop in 0..=whole.op_count() {
        let env = SimEnv::new(7);
        env.stop_before(stop);
        let failed_at = script(&env);
        for image in env.crash_images(200) {
            images += 1;
            let case = format!("stop {stop} image {}: {}", image.number, image.choice);
            let found = match reopen(&image.env) {
                Ok(Some(manifest)) => names_of(&manifest).len(),
                Ok(None) => {
                    assert_eq!(failed_at, 0, "{case}");
                    Manifest::create(Arc::new(image.env.clone())).unwrap();
                    continue;
                }
                Err(error) => panic!("{case}: {error}"),
            };
            let answered = failed_at.saturating_sub(1);
            assert!(answered <= found && found <= failed_at, "{case}: {found}");
            let mut manifest = reopen(&image.env).unwrap().unwrap();
            manifest.commit(&create(9)).unwrap();
            let again = reopen(&image.env.after_kill()).unwrap().unwrap();
            assert_eq!(names_of(&again).len(), found + 1, "{case}");
        }
    }
    assert!(images > 500, "{images} images");
}

#[test]
fn an_edit_that_fails_is_undone_for_good_by_the_next_that_does_not() {
    let whole = SimEnv::new(3);
    let mut manifest = new_manifest(&whole);
    manifest.commit(&create(1)).unwrap();
    let before = whole.op_count();
    manifest.commit(&create(2)).unwrap();
    for (after, failure) in (0..whole.op_count() - before)
        .flat_map(|after| [(after, Failure::Io), (after, Failure::Full)])
    {
        let env = SimEnv::new(3);
        let mut manifest = new_manifest(&env);
        manifest.commit(&create(1)).unwrap();
        env.inject(Fault {
            kind: None,
            after,
            failure,
            sticky: false,
        });
        let error = manifest.commit(&create(2)).unwrap_err();
        assert_eq!(error.kind() == ErrorKind::NoSpace, failure == Failure::Full);
        assert!(manifest.is_uncertain());
        assert_eq!(names_of(&manifest), ["db1".into()]);
        manifest.settle().unwrap();
        assert!(!manifest.is_uncertain());
        for image in env.crash_images(100) {
            let found = reopen(&image.env).unwrap().unwrap();
            assert_eq!(names_of(&found), ["db1".into()], "{}", image.choice);
        }
        manifest.commit(&create(3)).unwrap();
        let found = reopen(&env.after_kill()).unwrap().unwrap();
        assert_eq!(names_of(&found), ["db1".into(), "db3".into()]);
    }
}

#[test]
fn a_file_is_not_appended_to_after_a_sync_of_it_failed() {
    let env = SimEnv::new(4);
    let mut manifest = new_manifest(&env);
    manifest.commit(&create(1)).unwrap();
    let before = current_path(&env);
    env.inject(Fault {
        kind: Some(OpKind::SyncData),
        after: 0,
        failure: Failure::Io,
        sticky: false,
    });
    assert!(manifest.commit(&create(2)).is_err());
    manifest.commit(&create(3)).unwrap();
    assert_ne!(current_path(&env), before);
    assert!(!manifest.is_uncertain());
    for image in env.crash_images(100) {
        let found = reopen(&image.env).unwrap().unwrap();
        assert_eq!(
            names_of(&found),
            ["db1".into(), "db3".into()],
            "{}",
            image.choice
        );
    }
}

#[test]
fn damage_is_an_error_with_its_place_and_a_torn_end_is_cut() {
    let env = SimEnv::new(5);
    let mut manifest = new_manifest(&env);
    for id in 1..=3 {
        manifest.commit(&create(id)).unwrap();
    }
    let path = current_path(&env);
    let bytes = env.peek(&path).unwrap();
    let last = bytes.len() - 512;
    for at in (0..bytes.len()).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        let image = env.after_kill();
        image.poke(&path, &damaged);
        if at >= last {
            let found = reopen(&image).unwrap().unwrap();
            assert_eq!(names_of(&found).len(), 2, "the last edit is torn");
            assert_eq!(found.torn_bytes(), 512);
            continue;
        }
        let error = reopen(&image).unwrap_err();
        assert_eq!(error.place().unwrap().file, path, "byte {at}: {error}");
        assert_eq!(image.peek(&path).unwrap(), damaged, "nothing is touched");
    }
    for end in 0..bytes.len() {
        let image = env.after_kill();
        image.poke(&path, &bytes[..end]);
        match reopen(&image) {
            Ok(found) => assert!(names_of(&found.unwrap()).len() < 3, "cut at {end}"),
            Err(error) => assert_eq!(error.place().unwrap().file, path),
        }
    }
}

#[test]
fn a_newer_manifest_is_refused_by_name_and_left_as_it_is() {
    let env = SimEnv::new(6);
    new_manifest(&env).commit(&create(1)).unwrap();
    let path = current_path(&env);
    for file in [PathBuf::from(CURRENT), path] {
        let image = env.after_kill();
        let mut bytes = image.peek(&file).unwrap();
        let mut header = FileHeader::decode(&bytes).unwrap();
        let newer = header.kind.version() + 1;
        (header.version, header.reader_version_min) = (newer, newer);
        bytes[..HEADER_BYTES].copy_from_slice(&header.encode());
        image.poke(&file, &bytes);
        let before = image.op_count();
        let error = reopen(&image).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        let named = error
            .to_string()
            .contains(&format!("format version {newer}"));
        assert!(named, "{error}");
        assert_eq!(image.op_count(), before, "nothing is written");
    }
}

#[test]
fn a_long_manifest_is_written_anew_and_older_files_go() {
    let env = SimEnv::new(8);
    let mut manifest = new_manifest(&env);
    manifest.commit(&create(1)).unwrap();
    let first = current_path(&env);
    let mut measurements = 0;
    while current_path(&env) == first {
        measurements += 1;
        assert!(measurements < 10_000, "the file grows for ever");
        let names = Names {
            measurements: vec![(
                MeasurementId(measurements),
                format!("{measurements:0900}").as_bytes().into(),
            )],
            ..Names::default()
        };
        manifest
            .commit(&[Edit::DefineNames(DatabaseId(1), names)])
            .unwrap();
    }
    let files = env
        .paths()
        .iter()
        .filter(|path| path.starts_with(FOLDER))
        .count();
    assert_eq!(files, 1);
    let found = reopen(&env.after_kill()).unwrap().unwrap();
    let database = found.state().catalog.by_name("db1").unwrap();
    assert_eq!(database.measurements().len(), measurements as usize);
}

#[test]
fn a_snapshot_makes_the_same_state_again() {
    let mut state = State::default();
    state
        .apply(&Edit::Directory {
            id: 5,
            secret: [1, 2, 3, 4],
        })
        .unwrap();
    for id in 1..=3 {
        for edit in create(id) {
            state.apply(&edit).unwrap();
        }
    }
    let names = Names {
        measurements: (1..=3)
            .map(|id| (MeasurementId(id), format!("m{id}").as_bytes().into()))
            .collect(),
        ..Names::default()
    };
    let edits = [
        Edit::DefineNames(DatabaseId(2), names.clone()),
        Edit::DropMeasurement(DatabaseId(2), MeasurementId(3)),
        Edit::DropDatabase(DatabaseId(3)),
        Edit::FlushedThrough(Sequence(9)),
        Edit::CleanStop(CleanStop {
            segment: 1,
            offset: 2,
            sequence: Sequence(12),
        }),
    ];
    for edit in &edits {
        state.apply(edit).unwrap();
    }
    let mut again = State::default();
    for edit in state.snapshot().iter().flatten() {
        again.apply(edit).unwrap();
    }
    assert_eq!(format!("{again:?}"), format!("{state:?}"));
    // The dropped one stays dropped when the log defines it once more.
    again
        .apply(&Edit::DefineNames(DatabaseId(2), names))
        .unwrap();
    assert_eq!(
        again.catalog.by_name("db2").unwrap().measurements().len(),
        2
    );
}
