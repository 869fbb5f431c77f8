//! What the fuzzer asks of the log: any bytes end in a value or an error, and opening twice tells the
//! same.

use std::path::Path;
use std::sync::Arc;

use super::recover::segment_path;
use super::{RecoveryReport, Submission, Wal, WalOptions, WalStart};
use crate::env::SimEnv;
use crate::error::Result;
use crate::model::Sequence;

const DIRECTORY: u128 = 9;
const TEXTS: [&[u8]; 5] = [b"one", b"two two", b"", b"four", b"five"];

/// Reads `data` as a segment, and a sound segment that `data` changes: a length to cut it to (two
/// bytes), then offset (two bytes) and new byte, again and again.
///
/// # Panics
/// If reading does, if a second opening finds other records, or if one appears that nobody wrote.
#[doc(hidden)]
pub fn fuzz_reader(data: &[u8]) {
    let path = segment_path(1);
    let env = SimEnv::new(1);
    env.poke(&path, data);
    open_twice(&env);
    let (env, mut bytes) = sound(&path);
    if let Some(([low, high], changes)) = data.split_first_chunk::<2>() {
        for change in changes.chunks_exact(3) {
            let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % bytes.len();
            bytes[at] = change[2];
        }
        bytes.truncate(usize::from(u16::from_le_bytes([*low, *high])));
    }
    env.poke(&path, &bytes);
    for (sequence, payload) in open_twice(&env) {
        let written = usize::try_from(sequence.0 - 1)
            .ok()
            .and_then(|index| TEXTS.get(index));
        assert_eq!(written.copied(), Some(&payload[..]), "{sequence:?}");
    }
}

type Records = Vec<(Sequence, Vec<u8>)>;

fn open(env: &SimEnv) -> Result<(Wal, RecoveryReport, Records)> {
    let start = WalStart {
        directory_id: DIRECTORY,
        released_through: Sequence(0),
        clean_end: None,
    };
    let options = WalOptions {
        segment_bytes: 4096,
        ..WalOptions::default()
    };
    let mut records = Vec::new();
    let env = Arc::new(env.clone());
    let (wal, report) = Wal::open(env, options, start, &mut |sequence, _, payload| {
        records.push((sequence, payload.to_vec()));
        Ok(())
    })?;
    Ok((wal, report, records))
}

fn open_twice(env: &SimEnv) -> Records {
    let Ok((_, first, records)) = open(env) else {
        return Vec::new();
    };
    let (_, second, again) = open(env).expect("what was opened and mended opens again");
    assert_eq!(records, again, "a second opening finds the same records");
    assert_eq!(first.missing, second.missing, "and misses the same");
    assert_eq!(second.torn, None, "and has nothing to mend");
    records
}

/// A log of three groups.
fn sound(path: &Path) -> (SimEnv, Vec<u8>) {
    let env = SimEnv::new(1);
    let (wal, _, _) = open(&env).expect("an empty directory opens");
    for texts in [&TEXTS[..2], &TEXTS[2..4], &TEXTS[4..]] {
        let records = texts.iter().map(|text| (1, text.to_vec())).collect();
        let ticket = wal.submit(Submission::new(records, |_| ()));
        ticket
            .and_then(super::Ticket::wait)
            .expect("nothing fails on this machine");
    }
    wal.close().expect("nothing fails on this machine");
    let bytes = env.peek(path).expect("the segment was written");
    (env, bytes)
}
