use std::collections::BTreeSet;
use std::io::IoSlice;

use super::*;
use crate::env::{Env, StepOutcome, WriteFile};

fn write(file: &mut Box<dyn WriteFile>, offset: u64, bytes: &[u8]) -> io::Result<()> {
    file.write_at(offset, &[IoSlice::new(bytes)])
}

fn made(env: &SimEnv, path: &str, bytes: &[u8]) -> Box<dyn WriteFile> {
    let mut file = env.create(Path::new(path)).unwrap();
    write(&mut file, 0, bytes).unwrap();
    file
}

fn root(env: &SimEnv) {
    env.sync_dir(Path::new("")).unwrap();
}

/// The contents of `path` over all crash images; `None` where it has no such file.
fn outcomes(env: &SimEnv, path: &str) -> BTreeSet<Option<Vec<u8>>> {
    env.crash_images(usize::MAX)
        .map(|image| image.env.peek(path).ok())
        .collect()
}

#[test]
fn what_runs_sees_its_unsynced_bytes_and_a_crash_may_lose_them() {
    let env = SimEnv::new(1);
    let file = made(&env, "a", b"abc");
    assert_eq!(env.peek("a").unwrap(), b"abc");
    let mut read = [0; 3];
    env.open_read(Path::new("a"))
        .unwrap()
        .read_at(0, &mut read)
        .unwrap();
    assert_eq!(&read, b"abc");
    let outcomes = outcomes(&env, "a");
    for possible in [None, Some(vec![]), Some(b"abc".to_vec()), Some(vec![0; 3])] {
        assert!(outcomes.contains(&possible), "{possible:?}");
    }
    drop(file);
}

#[test]
fn synced_bytes_need_a_synced_name_and_a_synced_name_needs_synced_bytes() {
    let env = SimEnv::new(1);
    let mut file = made(&env, "a", b"abc");
    file.sync_data().unwrap();
    let whole = Some(b"abc".to_vec());
    assert_eq!(outcomes(&env, "a"), BTreeSet::from([None, whole.clone()]));
    root(&env);
    assert_eq!(outcomes(&env, "a"), BTreeSet::from([whole]));

    let env = SimEnv::new(1);
    let _file = made(&env, "a", b"abc");
    root(&env);
    assert!(outcomes(&env, "a").contains(&Some(Vec::new())));
    assert!(!outcomes(&env, "a").contains(&None));
}

#[test]
fn a_file_in_a_folder_without_a_durable_name_is_lost() {
    let env = SimEnv::new(1);
    env.create_dir(Path::new("wal")).unwrap();
    let mut file = made(&env, "wal/1", b"abc");
    file.sync_data().unwrap();
    env.sync_dir(Path::new("wal")).unwrap();
    let whole = Some(b"abc".to_vec());
    assert_eq!(
        outcomes(&env, "wal/1"),
        BTreeSet::from([None, whole.clone()])
    );
    root(&env);
    assert_eq!(outcomes(&env, "wal/1"), BTreeSet::from([whole]));
}

#[test]
fn sectors_fall_alone_and_take_their_synced_neighbours_along() {
    let env = SimEnv::new(7);
    let mut file = made(&env, "a", &[1; 1024]);
    file.sync_data().unwrap();
    root(&env);
    write(&mut file, 500, &[2; 24]).unwrap();
    let seen = outcomes(&env, "a");
    let of = |first: u8, second: u8| {
        move |bytes: &Vec<u8>| [bytes[0], bytes[500], bytes[512]] == [first, first, second]
    };
    let any = |wanted: &dyn Fn(&Vec<u8>) -> bool| seen.iter().flatten().any(wanted);
    assert!(
        any(&of(1, 1)) && any(&of(0, 0)),
        "both lost, to old and to zero"
    );
    assert!(any(&|bytes| bytes[499..501] == [1, 2] && bytes[512] == 1));
    assert!(any(
        &|bytes| bytes[499..501] == [1, 1] && bytes[511..513] == [1, 2]
    ));
    assert!(
        any(&|bytes| !bytes[..512].iter().all(|byte| [0, 1, 2].contains(byte))),
        "garbage"
    );
    assert!(seen.iter().flatten().all(|bytes| bytes.len() == 1024));
}

#[test]
fn sizes_are_old_new_or_between() {
    let env = SimEnv::new(3);
    let mut file = made(&env, "a", &[1; 100]);
    file.sync_data().unwrap();
    root(&env);
    file.truncate(10).unwrap();
    let sizes = |env: &SimEnv| -> BTreeSet<usize> {
        outcomes(env, "a")
            .into_iter()
            .flatten()
            .map(|bytes| bytes.len())
            .collect()
    };
    let seen = sizes(&env);
    assert!(seen.contains(&100) && seen.contains(&10), "{seen:?}");
    assert!(seen.iter().any(|size| (11..100).contains(size)), "{seen:?}");
    file.sync_data().unwrap();
    assert_eq!(sizes(&env), BTreeSet::from([10]));
    file.allocate(5000).unwrap();
    assert_eq!(env.peek("a").unwrap().len(), 5000);
    assert!(sizes(&env).contains(&10));
}

#[test]
fn a_rename_leaves_either_name_both_or_neither_and_a_removal_can_be_undone() {
    let env = SimEnv::new(1);
    for (path, bytes) in [("old", b"1"), ("new", b"2")] {
        made(&env, path, bytes).sync_data().unwrap();
    }
    root(&env);
    env.rename(Path::new("new"), Path::new("old")).unwrap();
    assert_eq!(env.peek("old").unwrap(), b"2");
    let both = |env: &SimEnv| (env.peek("old").ok(), env.peek("new").ok());
    let seen: BTreeSet<_> = env
        .crash_images(100)
        .map(|image| both(&image.env))
        .collect();
    let (one, two) = (Some(b"1".to_vec()), Some(b"2".to_vec()));
    let expected = [(&one, &two), (&one, &None), (&two, &two), (&two, &None)];
    let expected = expected.map(|(old, new)| (old.clone(), new.clone()));
    assert_eq!(seen, BTreeSet::from(expected));
    root(&env);
    env.remove(Path::new("old")).unwrap();
    assert_eq!(outcomes(&env, "old"), BTreeSet::from([None, two]));
    root(&env);
    assert_eq!(outcomes(&env, "old"), BTreeSet::from([None]));
}

#[test]
fn many_units_are_sampled_with_both_ends_and_the_same_seed_gives_the_same_images() {
    let env = || {
        let env = SimEnv::new(5);
        let mut file = made(&env, "a", &[1; 512 * 30]);
        root(&env);
        write(&mut file, 100, &[2; 5000]).unwrap();
        (env, file)
    };
    let (first, second) = (env(), env());
    let images = |env: &SimEnv, most| -> Vec<Vec<u8>> {
        env.crash_images(most)
            .map(|image| image.env.peek("a").unwrap())
            .collect()
    };
    let seen = images(&first.0, 100);
    assert_eq!(seen.len(), 100);
    assert_eq!(seen, images(&second.0, 100));
    assert_eq!(seen[0], b"");
    assert_eq!(seen[99], first.0.peek("a").unwrap());
    assert!(images(&first.0, usize::MAX).len() > 500);
}

#[test]
fn the_machine_stops_before_the_operation_asked_for_and_stays_off() {
    let run = |env: &SimEnv| -> io::Result<()> {
        let mut file = env.create(Path::new("a"))?;
        write(&mut file, 0, b"abc")?;
        file.sync_data()?;
        env.sync_dir(Path::new(""))
    };
    let whole = SimEnv::new(1);
    run(&whole).unwrap();
    let kinds: Vec<OpKind> = whole.ops().iter().map(|op| op.kind).collect();
    let expected = [
        OpKind::Create,
        OpKind::Write,
        OpKind::SyncData,
        OpKind::SyncDir,
    ];
    assert_eq!(kinds, expected);
    for number in 0..whole.op_count() {
        let env = SimEnv::new(1);
        let lock = env.lock(Path::new("LOCK")).unwrap();
        env.stop_before(number);
        assert!(run(&env).is_err());
        assert_eq!(env.op_count(), number);
        assert!(env.is_off() && env.list(Path::new("")).is_err());
        let after = env.crash_images(2).next().unwrap().env;
        drop(after.lock(Path::new("LOCK")).unwrap());
        drop(env.after_kill().lock(Path::new("LOCK")).unwrap());
        drop(lock);
    }
}

#[test]
fn faults_hit_the_calls_they_name_once_or_for_good() {
    let env = SimEnv::new(1);
    let mut file = made(&env, "a", b"abc");
    let fault = |kind, after, sticky| Fault {
        kind: Some(kind),
        after,
        failure: Failure::Full,
        sticky,
    };
    env.inject(fault(OpKind::Write, 1, false));
    write(&mut file, 0, b"1").unwrap();
    let full = write(&mut file, 0, b"2").unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    write(&mut file, 0, b"3").unwrap();
    env.inject(fault(OpKind::Allocate, 0, true));
    assert!(file.allocate(100).is_err());
    assert!(file.allocate(100).is_err());
    env.heal();
    file.allocate(100).unwrap();
}

#[test]
fn what_a_failed_sync_lost_no_later_sync_brings_back() {
    let mut lost = 0;
    for seed in 0..20 {
        let env = SimEnv::new(seed);
        let mut file = made(&env, "a", &[1; 4096]);
        file.sync_data().unwrap();
        root(&env);
        write(&mut file, 0, &[2; 4096]).unwrap();
        let (kind, failure) = (Some(OpKind::SyncData), Failure::Io);
        env.inject(Fault {
            kind,
            after: 0,
            failure,
            sticky: false,
        });
        assert!(file.sync_data().is_err());
        file.sync_data().unwrap();
        assert_eq!(
            env.peek("a").unwrap(),
            [2; 4096],
            "the page cache still shows it"
        );
        let after = outcomes(&env, "a");
        assert_eq!(after.len(), 1);
        lost += usize::from(!after.contains(&Some(vec![2; 4096])));
    }
    assert!(lost > 15);
}

#[test]
fn a_full_disk_takes_what_fits_and_works_again() {
    let env = SimEnv::new(1);
    env.set_capacity(Some(1000));
    let mut file = made(&env, "a", &[1; 600]);
    assert_eq!(env.free_bytes().unwrap(), 400);
    for refused in [write(&mut file, 600, &[1; 401]), file.allocate(1001)] {
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
    assert!(env.peek("a").unwrap().len() <= 1000);
    file.truncate(600).unwrap();
    write(&mut file, 0, &[2; 600]).unwrap();
    env.set_capacity(None);
    write(&mut file, 600, &[1; 401]).unwrap();
}

#[test]
fn short_writes_are_operations_of_their_own() {
    let env = SimEnv::new(1);
    env.set_short_writes(Some(100));
    let _file = made(&env, "a", &[1; 250]);
    assert_eq!(env.peek("a").unwrap(), [1; 250]);
    assert_eq!(env.op_count(), 4);
}

#[test]
fn a_killed_process_leaves_its_writes_readable_but_not_durable() {
    let env = SimEnv::new(1);
    let _file = made(&env, "a", b"abc");
    let after = env.after_kill();
    assert_eq!(after.peek("a").unwrap(), b"abc");
    assert!(outcomes(&after, "a").contains(&None));
}

#[test]
fn readers_keep_a_removed_file() {
    let env = SimEnv::new(1);
    drop(made(&env, "a", b"abc"));
    let reader = env.open_read(Path::new("a")).unwrap();
    env.remove(Path::new("a")).unwrap();
    root(&env);
    let mut bytes = [0; 3];
    reader.read_at(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"abc");
    assert!(reader.read_at(1, &mut bytes).is_err());
}

#[test]
fn steps_run_in_an_order_of_the_seed_and_not_after_they_finished() {
    let run = |seed| {
        let env = SimEnv::new(seed);
        let order = Arc::new(Mutex::new(String::new()));
        let mut handles = Vec::new();
        for name in ['a', 'b', 'c'] {
            let (order, mut left) = (Arc::clone(&order), 5);
            let step = move || {
                order.lock().unwrap().push(name);
                left -= 1;
                if left == 0 {
                    StepOutcome::Finished
                } else {
                    StepOutcome::Idle
                }
            };
            handles.push(env.every("x", Duration::ZERO, Box::new(step)).unwrap());
        }
        assert_eq!(env.run_steps(6), 6);
        handles[2].stop();
        assert!(env.run_steps(100) < 10);
        order.lock().unwrap().clone()
    };
    assert_eq!(run(1), run(1));
    assert!((2..10).any(|seed| run(seed) != run(1)));
}

#[test]
fn clocks_move_by_hand() {
    let env = SimEnv::new(1);
    env.set_now(5);
    let before = env.monotonic();
    env.advance(Duration::from_nanos(7));
    assert_eq!(env.now_ns(), 12);
    assert_eq!(env.monotonic(), before + Duration::from_nanos(7));
    assert_eq!(env.random(), SimEnv::new(1).random());
}
