//! Group commit with real threads on a real disk.

use std::sync::atomic::AtomicU64;
use std::sync::{Barrier, mpsc};
use std::task::Wake;

use super::*;
use crate::env::{RealEnv, RealOptions};

fn open_real(folder: &std::path::Path) -> (Arc<Wal>, RecoveryReport, Vec<Vec<u8>>) {
    let env = Arc::new(RealEnv::new(folder, RealOptions { mmap: false }));
    let options = WalOptions {
        segment_bytes: 256 << 10,
        ..WalOptions::default()
    };
    let mut records = Vec::new();
    let (wal, report) = Wal::open(env, options, start_at(0, None), &mut |_, _, payload| {
        records.push(payload.to_vec());
        Ok(())
    })
    .unwrap();
    (Arc::new(wal), report, records)
}

#[test]
fn many_writers_share_groups_and_none_is_lost_or_published_out_of_order() {
    const WRITERS: u64 = 8;
    const WRITES: u64 = 60;
    let folder = tempfile::tempdir().unwrap();
    let (wal, _, _) = open_real(folder.path());
    let published = Arc::new(AtomicU64::new(0));
    let together = Arc::new(Barrier::new(usize::try_from(WRITERS).unwrap()));
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (wal, published, together) = (&wal, &published, Arc::clone(&together));
            scope.spawn(move || {
                together.wait();
                for write in 0..WRITES {
                    let payload = format!("{writer}:{write} {}", "x".repeat(500));
                    let published = Arc::clone(published);
                    let records = vec![(1, payload.into_bytes()), (2, Vec::new())];
                    let apply = move |first: Sequence| {
                        let before = published.swap(first.0 + 1, Ordering::SeqCst);
                        assert_eq!(first.0, before + 1);
                    };
                    let submission = Submission::new(records, apply);
                    let last = wal.submit(submission).unwrap().wait().unwrap();
                    let last = last.sequence.unwrap();
                    assert!(wal.durable() >= last);
                }
            });
        }
    });
    let counters = wal.counters();
    assert_eq!(counters.submissions, WRITERS * WRITES);
    assert!(counters.groups <= counters.submissions);
    wal.close().unwrap();
    let (_, report, records) = open_real(folder.path());
    assert!(report.is_complete() && report.torn.is_none(), "{report:?}");
    assert_eq!(records.len() as u64, 2 * WRITERS * WRITES);
    for writer in 0..WRITERS {
        let prefix = format!("{writer}:");
        let own: Vec<&Vec<u8>> = records
            .iter()
            .filter(|record| record.starts_with(prefix.as_bytes()))
            .collect();
        assert_eq!(own.len() as u64, WRITES);
        for (write, record) in own.iter().enumerate() {
            assert!(record.starts_with(format!("{writer}:{write} ").as_bytes()));
        }
    }
}

struct Bell(mpsc::Sender<()>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.send(()).unwrap();
    }
}

#[test]
fn those_who_poll_are_woken_by_whoever_leads() {
    let folder = tempfile::tempdir().unwrap();
    let (wal, _, _) = open_real(folder.path());
    let (bell, rings) = mpsc::channel();
    let waker = Waker::from(Arc::new(Bell(bell)));
    let tickets: Vec<Ticket> = (0..10)
        .map(|_| {
            let ticket = wal.submit(submission(&["polled"])).unwrap();
            assert!(ticket.poll(&waker).is_pending());
            ticket
        })
        .collect();
    assert!(wal.needs_leader());
    let leader = Arc::clone(&wal);
    let leading = std::thread::Builder::new()
        .spawn(move || leader.lead())
        .unwrap();
    for _ in 0..10 {
        rings.recv().unwrap();
    }
    leading.join().unwrap();
    for (ticket, last) in tickets.iter().zip(1..) {
        assert!(
            matches!(ticket.poll(&waker), Poll::Ready(Ok(given)) if given.sequence == Some(Sequence(last)))
        );
    }
    assert!(!wal.needs_leader());
}

#[test]
fn sleepers_and_pollers_together_all_come_through() {
    let folder = tempfile::tempdir().unwrap();
    let (wal, _, _) = open_real(folder.path());
    let (bell, rings) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (wal, bell) = (&wal, bell.clone());
            scope.spawn(move || {
                let waker = Waker::from(Arc::new(Bell(bell)));
                for _ in 0..50 {
                    let polled = wal.submit(submission(&["polled"])).unwrap();
                    if polled.poll(&waker).is_ready() {
                        waker.wake_by_ref();
                    }
                    put(wal, &["slept"]).unwrap();
                }
            });
        }
    });
    // Every sleeper has come back, and what was queued before it with it.
    for _ in 0..200 {
        rings.recv().unwrap();
    }
    assert_eq!(wal.counters().records, 400);
}
