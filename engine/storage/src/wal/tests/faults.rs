//! Calls that fail: what is refused, what goes on, and what is there afterwards.

use super::*;
use crate::env::sim::{Failure, Fault, OpKind};

fn fault(kind: OpKind, after: u64, failure: Failure) -> Fault {
    Fault {
        kind: Some(kind),
        after,
        failure,
        sticky: false,
    }
}

#[test]
fn a_failed_sync_refuses_everything_until_a_new_segment_and_a_second_one_is_final() {
    let env = SimEnv::new(1);
    let wal = open(&env).unwrap().wal;
    put(&wal, &["a"]).unwrap();
    env.inject(fault(OpKind::SyncData, 0, Failure::Io));
    let applied = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let given_back = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (flag, back) = (Arc::clone(&applied), Arc::clone(&given_back));
    let lost = Submission::new(vec![(1, b"lost".to_vec())], move |_| {
        flag.store(true, Ordering::SeqCst);
    })
    .on_refused(move |records, error| {
        assert_eq!(error.kind(), ErrorKind::Io);
        back.lock().unwrap().extend(records);
    });
    let error = wal.submit(lost).unwrap().wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("outcome unknown"), "{error}");
    assert!(!applied.load(Ordering::SeqCst));
    assert_eq!(*given_back.lock().unwrap(), [(1, b"lost".to_vec())]);
    assert_eq!(put(&wal, &["b"]).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(wal.durable(), Sequence(1));
    wal.resume_in_new_segment().unwrap();
    assert_eq!(
        put(&wal, &["c"]).unwrap(),
        Sequence(3),
        "a refused number is not used again"
    );
    let again = open(&env.after_kill()).unwrap();
    assert_eq!(
        again.texts(),
        ["a", "c"],
        "what was refused stays invisible"
    );
    assert!(again.report.is_complete(), "{:?}", again.report);
    env.inject(fault(OpKind::SyncData, 0, Failure::Io));
    assert_eq!(put(&wal, &["d"]).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(
        wal.resume_in_new_segment().unwrap_err().kind(),
        ErrorKind::Closed
    );
    assert_eq!(put(&wal, &["e"]).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(wal.counters().sync_failures, 2);
}

#[test]
fn the_failed_segment_is_never_synced_again() {
    let env = SimEnv::new(1);
    let wal = open(&env).unwrap().wal;
    put(&wal, &["a"]).unwrap();
    env.inject(fault(OpKind::SyncData, 0, Failure::Io));
    put(&wal, &["b"]).unwrap_err();
    let failed = env.ops().last().unwrap().path.clone();
    let before = env.op_count();
    wal.resume_in_new_segment().unwrap();
    put(&wal, &["c"]).unwrap();
    wal.close().unwrap();
    let later = &env.ops()[usize::try_from(before).unwrap()..];
    assert!(later.iter().all(|op| op.path != failed), "{later:?}");
}

#[test]
fn a_full_disk_refuses_and_works_again_when_space_returns() {
    let env = SimEnv::new(1);
    let wal = open_with(&env, 2048, start_at(0, None)).unwrap().wal;
    put(&wal, &["a"]).unwrap();
    env.set_capacity(Some(3000));
    let mut acknowledged = vec!["a"];
    for text in ["b", "c", "d", "e"] {
        match put(&wal, &[text]) {
            Ok(_) => acknowledged.push(text),
            Err(error) => assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}"),
        }
    }
    assert_eq!(acknowledged, ["a", "b", "c"], "what was reserved is used");
    let full = open_with(&env.after_kill(), 2048, start_at(0, None)).unwrap();
    assert_eq!(full.texts(), acknowledged, "a full disk can be opened");
    env.set_capacity(None);
    assert_eq!(put(&wal, &["f"]).unwrap(), Sequence(4));
    let again = open(&env.after_kill()).unwrap();
    assert_eq!(again.texts(), ["a", "b", "c", "f"]);
    assert!(again.report.is_complete());
}

#[test]
fn a_failed_write_refuses_its_group_and_the_next_goes_elsewhere() {
    for seed in 0..20 {
        let env = SimEnv::new(seed);
        let wal = open(&env).unwrap().wal;
        put(&wal, &["a"]).unwrap();
        env.inject(fault(OpKind::Write, 0, Failure::Io));
        let error = put(&wal, &["lost"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert_eq!(put(&wal, &["b"]).unwrap(), Sequence(3));
        assert_eq!(segments(&env).len(), 2);
        let again = open(&env.after_kill()).unwrap();
        assert_eq!(again.texts(), ["a", "b"], "seed {seed}");
        assert!(
            again.report.is_complete(),
            "seed {seed}: {:?}",
            again.report
        );
    }
}

/// Every call that changes the disk fails once, in every way: what was acknowledged is there, what
/// was refused before something later was acknowledged is not, and writing goes on.
#[test]
fn one_failure_anywhere_loses_nothing_acknowledged() {
    let mut failures = 0;
    for failure in [Failure::Io, Failure::Full, Failure::Quota] {
        for after in 0..60 {
            let env = SimEnv::new(after);
            env.inject(Fault {
                kind: None,
                after,
                failure,
                sticky: false,
            });
            let Ok(opened) = open_with(&env, 1536, start_at(0, None)) else {
                failures += 1;
                continue;
            };
            let wal = opened.wal;
            let mut acknowledged = Vec::new();
            for number in 0..12 {
                let text = format!("{number}");
                match put(&wal, &[&text, &text]) {
                    Ok(_) => acknowledged.extend([text.clone(), text]),
                    Err(error) => {
                        failures += 1;
                        let full = failure != Failure::Io;
                        assert_eq!(error.kind() == ErrorKind::NoSpace, full, "{error}");
                        wal.resume_in_new_segment().unwrap();
                    }
                }
            }
            if put(&wal, &["end"]).is_err() {
                wal.resume_in_new_segment().unwrap();
                put(&wal, &["end"]).unwrap();
            }
            acknowledged.push("end".to_owned());
            assert!(acknowledged.len() >= 23);
            let place = format!("{failure:?} after {after}");
            for image in env.crash_images(20) {
                let opened = open(&image.env).unwrap();
                assert_eq!(opened.texts(), acknowledged, "{place}, {}", image.choice);
                assert!(opened.report.is_complete(), "{place}: {:?}", opened.report);
            }
            let opened = open(&env.after_kill()).unwrap();
            assert_eq!(opened.texts(), acknowledged, "{place}");
        }
    }
    assert!(failures > 90, "{failures}");
}

#[test]
fn a_failed_sync_of_what_was_acknowledged_unsynced_is_told() {
    let env = SimEnv::new(1);
    let wal = open(&env).unwrap().wal;
    let buffered = submission(&["a"]).durability(Durability::Buffered);
    wal.submit(buffered).unwrap().wait().unwrap();
    env.inject(fault(OpKind::SyncData, 0, Failure::Full));
    assert_eq!(wal.sync_written().unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(wal.durable(), Sequence(0));
    assert_eq!(put(&wal, &["b"]).unwrap_err().kind(), ErrorKind::Io);
}

#[test]
fn a_panic_while_publishing_seals_the_log_and_leaves_nobody_waiting() {
    let env = SimEnv::new(1);
    let wal = Arc::new(open(&env).unwrap().wal);
    let bad = Submission::new(vec![(1, vec![1])], |_| panic!("a reader's invariant broke"));
    let bad = wal.submit(bad).unwrap();
    let behind = wal.submit(submission(&["behind"])).unwrap();
    let leader = Arc::clone(&wal);
    let led = std::thread::Builder::new()
        .spawn(move || leader.lead())
        .unwrap()
        .join();
    assert!(led.is_err());
    assert_eq!(bad.wait().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(behind.wait().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(put(&wal, &["late"]).unwrap_err().kind(), ErrorKind::Closed);
}
