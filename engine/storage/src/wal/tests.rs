//! The log on the simulated machine: crashes, damage, failing calls. Real threads are in `threads`.

mod crash;
mod damage;
mod faults;
mod threads;

use std::path::PathBuf;

use super::*;
use crate::env::SimEnv;

pub(super) const DIRECTORY: u128 = 0xfeed;

/// What opening gives: the log, its report, and the records it replayed.
pub(super) struct Opened {
    pub(super) wal: Wal,
    pub(super) report: RecoveryReport,
    pub(super) records: Vec<(u64, u8, Vec<u8>)>,
}

impl Opened {
    /// The texts of the replayed records.
    pub(super) fn texts(&self) -> Vec<String> {
        let text =
            |(_, _, payload): &(u64, u8, Vec<u8>)| String::from_utf8(payload.clone()).unwrap();
        self.records.iter().map(text).collect()
    }
}

pub(super) fn start_at(released: u64, clean_end: Option<LogEnd>) -> WalStart {
    WalStart {
        directory_id: DIRECTORY,
        released_through: Sequence(released),
        clean_end,
    }
}

pub(super) fn open_with(env: &SimEnv, segment_bytes: u64, start: WalStart) -> Result<Opened> {
    let options = WalOptions {
        segment_bytes,
        ..WalOptions::default()
    };
    let mut records = Vec::new();
    let env = Arc::new(env.clone());
    let (wal, report) = Wal::open(env, options, start, &mut |sequence, kind, payload| {
        records.push((sequence.0, kind, payload.to_vec()));
        Ok(())
    })?;
    Ok(Opened {
        wal,
        report,
        records,
    })
}

pub(super) fn open(env: &SimEnv) -> Result<Opened> {
    open_with(env, 8192, start_at(0, None))
}

pub(super) fn submission(texts: &[&str]) -> Submission {
    let records = texts.iter().map(|text| (7, text.as_bytes().to_vec()));
    Submission::new(records.collect(), |_| ())
}

/// Writes one group of the given records.
pub(super) fn put(wal: &Wal, texts: &[&str]) -> Result<Sequence> {
    let given = wal.submit(submission(texts))?.wait()?;
    Ok(given.sequence.expect("it waited for its group"))
}

pub(super) fn segments(env: &SimEnv) -> Vec<PathBuf> {
    let paths = env.paths().into_iter();
    paths.filter(|path| path.starts_with("wal")).collect()
}

#[test]
fn what_was_acknowledged_is_replayed_in_order_and_once() {
    let env = SimEnv::new(1);
    let opened = open(&env).unwrap();
    assert_eq!(opened.report, RecoveryReport::default());
    assert_eq!(put(&opened.wal, &["a", "b"]).unwrap(), Sequence(2));
    assert_eq!(put(&opened.wal, &["c"]).unwrap(), Sequence(3));
    assert_eq!(opened.wal.durable(), Sequence(3));
    let again = open(&env.after_kill()).unwrap();
    assert_eq!(again.texts(), ["a", "b", "c"]);
    let sequences: Vec<u64> = again.records.iter().map(|record| record.0).collect();
    assert_eq!(sequences, [1, 2, 3]);
    assert!(again.records.iter().all(|record| record.1 == 7));
    assert_eq!(again.report.last, Some(Sequence(3)));
    assert!(again.report.is_complete() && again.report.torn.is_none());
    assert_eq!(put(&again.wal, &["d"]).unwrap(), Sequence(4));
}

#[test]
fn applies_are_called_in_order_before_the_tickets_tell() {
    let env = SimEnv::new(1);
    let wal = open(&env).unwrap().wal;
    let published = Arc::new(std::sync::Mutex::new(Vec::new()));
    let tickets: Vec<Ticket> = (0..3)
        .map(|number| {
            let published = Arc::clone(&published);
            let records = vec![(1, vec![number]), (1, vec![number])];
            let apply = move |first: Sequence| published.lock().unwrap().push((number, first.0));
            wal.submit(Submission::new(records, apply)).unwrap()
        })
        .collect();
    assert!(wal.needs_leader());
    assert!(published.lock().unwrap().is_empty());
    for (ticket, last) in tickets.into_iter().zip([2, 4, 6]) {
        assert_eq!(ticket.wait().unwrap().sequence, Some(Sequence(last)));
        assert_eq!(*published.lock().unwrap(), [(0, 1), (1, 3), (2, 5)]);
    }
    let counters = wal.counters();
    assert_eq!(
        (counters.groups, counters.submissions, counters.records),
        (1, 3, 6)
    );
    assert_eq!(
        (counters.syncs, counters.segments, counters.bytes),
        (1, 1, 512)
    );
}

#[test]
fn the_watermark_never_runs_ahead_of_what_is_published() {
    let env = SimEnv::new(1);
    let wal = Arc::new(open(&env).unwrap().wal);
    for first in [1, 3] {
        let seen = Arc::clone(&wal);
        let records = vec![(1, vec![0]), (1, vec![1])];
        let apply = move |given: Sequence| {
            assert_eq!(
                (given, seen.durable()),
                (Sequence(first), Sequence(first - 1))
            );
        };
        let ticket = wal.submit(Submission::new(records, apply)).unwrap();
        ticket.wait().unwrap();
        assert_eq!(wal.durable(), Sequence(first + 1));
    }
}

#[test]
fn a_log_over_many_segments_comes_back_whole() {
    let env = SimEnv::new(1);
    let wal = open_with(&env, 2048, start_at(0, None)).unwrap().wal;
    let texts: Vec<String> = (0..20)
        .map(|number| number.to_string().repeat(200))
        .collect();
    for text in &texts {
        put(&wal, &[text]).unwrap();
    }
    let large = "x".repeat(10_000);
    put(&wal, &[&large]).unwrap();
    assert!(segments(&env).len() > 5);
    let again = open(&env.after_kill()).unwrap();
    assert_eq!(again.texts()[..20], texts);
    assert_eq!(again.texts()[20], large);
    assert!(again.report.is_complete());
}

#[test]
fn released_segments_go_and_released_records_are_not_replayed() {
    let env = SimEnv::new(1);
    let wal = open_with(&env, 1024, start_at(0, None)).unwrap().wal;
    for text in ["a", "b", "c", "d"] {
        put(&wal, &[text]).unwrap();
    }
    assert_eq!(segments(&env).len(), 4);
    wal.release(Sequence(2)).unwrap();
    assert_eq!(segments(&env).len(), 2);
    let again = open_with(&env.after_kill(), 1024, start_at(3, None)).unwrap();
    assert_eq!(again.texts(), ["d"]);
    assert!(again.report.is_complete());
    let all = open_with(&env.after_kill(), 1024, start_at(9, None)).unwrap();
    assert!(all.texts().is_empty() && all.report.is_complete());
    assert_eq!(put(&all.wal, &["e"]).unwrap(), Sequence(10));
    let less = open_with(&env.after_kill(), 1024, start_at(0, None)).unwrap();
    let missing = SequenceSpan {
        first: Sequence(1),
        last: Sequence(2),
    };
    assert_eq!(
        less.report.missing,
        [missing],
        "released without being released"
    );
}

#[test]
fn a_clean_stop_gives_space_back_and_tells_a_cut_tail_from_a_crash() {
    let env = SimEnv::new(1);
    let wal = open(&env).unwrap().wal;
    put(&wal, &["a"]).unwrap();
    put(&wal, &["b"]).unwrap();
    let reserved = env.peek(&segments(&env)[0]).unwrap().len();
    let end = wal.close().unwrap();
    assert_eq!(
        (reserved, end.offset, end.sequence),
        (8192, 1536, Sequence(2))
    );
    assert_eq!(put(&wal, &["late"]).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(wal.close().unwrap_err().kind(), ErrorKind::Closed);
    let path = segments(&env)[0].clone();
    let bytes = env.peek(&path).unwrap();
    assert_eq!(bytes.len(), 1536);
    let whole = open_with(&env.after_kill(), 8192, start_at(0, Some(end))).unwrap();
    assert_eq!((whole.texts().len(), whole.report.is_complete()), (2, true));
    env.poke(&path, &bytes[..1024]);
    let cut = open_with(&env.after_kill(), 8192, start_at(0, Some(end))).unwrap();
    let missing = SequenceSpan {
        first: Sequence(2),
        last: Sequence(2),
    };
    assert_eq!(cut.report.missing, [missing]);
    assert_eq!(
        put(&cut.wal, &["c"]).unwrap(),
        Sequence(3),
        "numbers are not used twice"
    );
    let crashed = open(&env.after_kill()).unwrap();
    assert!(
        crashed.report.is_complete(),
        "nothing recorded says that it was durable"
    );
}

#[test]
fn less_durability_is_published_before_it_is_durable_and_never_the_watermark() {
    let env = SimEnv::new(1);
    let wal = open(&env).unwrap().wal;
    let buffered = |text| submission(&[text]).durability(Durability::Buffered);
    let given = wal.submit(buffered("a")).unwrap().wait().unwrap();
    assert_eq!(
        (given.sequence, given.durability),
        (Some(Sequence(1)), Durability::Buffered)
    );
    assert_eq!(wal.durable(), Sequence(0));
    assert_eq!(
        open(&env.after_kill()).unwrap().texts(),
        ["a"],
        "it survives a kill"
    );
    wal.sync_written().unwrap();
    assert_eq!(wal.durable(), Sequence(1));
    wal.submit(buffered("b")).unwrap().wait().unwrap();
    put(&wal, &["c"]).unwrap();
    assert_eq!(wal.durable(), Sequence(3));
}

#[test]
fn a_segment_of_another_directory_or_place_is_refused_by_name() {
    let env = SimEnv::new(1);
    put(&open(&env).unwrap().wal, &["a"]).unwrap();
    let path = segments(&env)[0].clone();
    let start = WalStart {
        directory_id: 1,
        ..start_at(0, None)
    };
    let error = open_with(&env.after_kill(), 8192, start)
        .map(|_| ())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
    env.poke("wal/0000000000000009.wal", &env.peek(&path).unwrap());
    let error = open(&env.after_kill()).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[test]
fn wrong_calls_are_told_apart() {
    let env = SimEnv::new(1);
    let wal = open(&env).unwrap().wal;
    assert_eq!(put(&wal, &[]).unwrap_err().kind(), ErrorKind::Invalid);
    let large = Submission::new(vec![(1, vec![0; PAYLOAD_BYTES_MAX + 1])], |_| ());
    assert_eq!(wal.submit(large).unwrap_err().kind(), ErrorKind::Limit);
    let options = WalOptions {
        segment_bytes: 4096,
        queue_bytes_max: 100,
    };
    let env = Arc::new(SimEnv::new(2));
    let (wal, _) = Wal::open(env, options, start_at(0, None), &mut |_, _, _| Ok(())).unwrap();
    let text = "x".repeat(90);
    let first = wal.submit(submission(&[&text])).unwrap();
    assert_eq!(put(&wal, &["y"]).unwrap_err().kind(), ErrorKind::Busy);
    first.wait().unwrap();
    put(&wal, &["y"]).unwrap();
}

#[test]
fn an_error_of_replay_is_an_error_of_open_and_changes_nothing() {
    let env = SimEnv::new(1);
    put(&open(&env).unwrap().wal, &["a"]).unwrap();
    let after = env.after_kill();
    let refuse = &mut |_: Sequence, _: u8, _: &[u8]| Err(Error::new(ErrorKind::Invalid, "no"));
    let opened = Wal::open(
        Arc::new(after.clone()),
        WalOptions::default(),
        start_at(0, None),
        refuse,
    );
    assert_eq!(opened.map(|_| ()).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(after.op_count(), 0);
    let report = Wal::inspect(&after, &start_at(0, None), &mut |_, _, _| Ok(())).unwrap();
    assert_eq!((report.records, after.op_count()), (1, 0));
}
