//! Bad bytes anywhere: an acknowledged record is replayed or reported, never silently gone.

use super::*;

const TEXTS: [&[&str]; 4] = [
    &["alpha", "beta"],
    &["gamma"],
    &["delta", "epsilon"],
    &["zeta"],
];

/// A log of two segments with every group acknowledged, stopped cleanly.
fn log() -> (SimEnv, LogEnd) {
    let env = SimEnv::new(11);
    let wal = open_with(&env, 1536, start_at(0, None)).unwrap().wal;
    for texts in TEXTS {
        put(&wal, texts).unwrap();
    }
    let end = wal.close().unwrap();
    assert_eq!((segments(&env).len(), end.sequence), (2, Sequence(6)));
    (env, end)
}

/// Replayed and reported together are everything; nothing is replayed that was not written.
fn check(opened: &Opened, place: &str) {
    let all = TEXTS.concat();
    let mut told = vec![0; all.len()];
    for (sequence, _, payload) in &opened.records {
        let index = usize::try_from(*sequence - 1).unwrap();
        assert_eq!(payload, all[index].as_bytes(), "{place}");
        told[index] += 1;
    }
    let order = opened.records.iter().map(|record| record.0);
    assert!(order.is_sorted_by(|one, two| one < two), "{place}");
    let lost = opened.report.damage.iter().filter_map(|damage| damage.lost);
    for span in lost.chain(opened.report.missing.iter().copied()) {
        for sequence in span.first.0..=span.last.0 {
            told[usize::try_from(sequence - 1).unwrap()] += 1;
        }
    }
    assert_eq!(told, [1; 6], "{place}: {:?}", opened.report);
}

#[test]
fn damage_at_any_byte_is_survived_and_told() {
    let (whole, end) = log();
    for path in segments(&whole) {
        let bytes = whole.peek(&path).unwrap();
        for at in 0..bytes.len() {
            for mutation in [bytes[at] ^ 1, bytes[at] ^ 0x80, !bytes[at]] {
                let mut damaged = bytes.clone();
                damaged[at] = mutation;
                let env = whole.after_kill();
                env.poke(&path, &damaged);
                let place = format!("{} byte {at} = {mutation:#x}", path.display());
                let opened = open_with(&env, 1536, start_at(0, Some(end))).unwrap();
                check(&opened, &place);
                assert!(!opened.report.is_complete(), "{place} is not told");
                assert!(opened.records.len() >= 5, "{place}: {:?}", opened.report);
                assert_eq!(opened.report.torn, None, "{place}");
                let again = open_with(&env.after_kill(), 1536, start_at(0, Some(end))).unwrap();
                assert_eq!(again.report, opened.report, "{place}, again");
            }
        }
    }
}

#[test]
fn zeroed_swapped_and_repeated_sectors_are_survived_and_told() {
    let (whole, end) = log();
    let paths = segments(&whole);
    let sector_of = |bytes: &[u8], sector: usize| bytes[sector * 512..][..512].to_vec();
    for path in &paths {
        let bytes = whole.peek(path).unwrap();
        let other = whole
            .peek(paths.iter().find(|other| *other != path).unwrap())
            .unwrap();
        for target in 0..bytes.len() / 512 {
            let mut sources = vec![
                vec![0; 512],
                vec![0x55; 512],
                sector_of(&other, target.min(2)),
            ];
            sources.extend((0..bytes.len() / 512).map(|source| sector_of(&bytes, source)));
            for (number, source) in sources.into_iter().enumerate() {
                if source == sector_of(&bytes, target) {
                    continue;
                }
                let mut damaged = bytes.clone();
                damaged[target * 512..][..512].copy_from_slice(&source);
                let env = whole.after_kill();
                env.poke(path, &damaged);
                let place = format!("{} sector {target} from {number}", path.display());
                match open_with(&env, 1536, start_at(0, Some(end))) {
                    Ok(opened) => check(&opened, &place),
                    // The other segment's first sector is a sound header in a wrong place.
                    Err(error) => {
                        assert_eq!((error.kind(), target), (ErrorKind::Conflict, 0), "{place}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_segment_cut_to_any_length_or_gone_is_survived_and_told() {
    let (whole, end) = log();
    for path in segments(&whole) {
        let bytes = whole.peek(&path).unwrap();
        for length in 0..bytes.len() {
            let env = whole.after_kill();
            env.poke(&path, &bytes[..length]);
            let opened = open_with(&env, 1536, start_at(0, Some(end))).unwrap();
            let place = format!("{} cut to {length}", path.display());
            check(&opened, &place);
            let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
            if length <= used {
                assert!(!opened.report.is_complete(), "{place} is not told");
            }
            let next = put(&opened.wal, &["next"]).unwrap();
            assert_eq!(next, Sequence(7), "{place}: no number is used twice");
        }
        let env = whole.after_kill();
        env.snatch(&path).unwrap();
        let opened = open_with(&env, 1536, start_at(0, Some(end))).unwrap();
        check(&opened, &format!("{} gone", path.display()));
    }
}

#[test]
fn without_a_clean_stop_only_the_last_group_can_pass_for_a_torn_tail() {
    let (whole, _) = log();
    let last = segments(&whole)[1].clone();
    let bytes = whole.peek(&last).unwrap();
    for at in 512..bytes.len() {
        let env = whole.after_kill();
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        env.poke(&last, &damaged);
        let opened = open(&env).unwrap();
        let torn = opened.report.torn.is_some();
        assert!(
            torn != (opened.report.damage_count > 0),
            "byte {at} is told: {:?}",
            opened.report
        );
        assert!(
            !torn || at >= 1024,
            "byte {at} is below a recorded durable sequence"
        );
        assert!(opened.records.len() >= 5 || torn, "byte {at}");
    }
}

#[test]
fn bad_bytes_are_copied_aside() {
    let (whole, end) = log();
    let path = segments(&whole)[0].clone();
    let mut bytes = whole.peek(&path).unwrap();
    bytes[512 + 64 + 24] ^= 1;
    let env = whole.after_kill();
    env.poke(&path, &bytes);
    let opened = open_with(&env, 1536, start_at(0, Some(end))).unwrap();
    let damage = &opened.report.damage[0];
    assert_eq!((damage.offset, damage.bytes), (512 + 64, 24 + 5));
    let one = SequenceSpan {
        first: Sequence(1),
        last: Sequence(1),
    };
    assert_eq!(damage.lost, Some(one));
    let copy = damage.quarantine.clone().unwrap();
    assert_eq!(
        copy,
        PathBuf::from("quarantine/wal-0000000000000001-240.bin")
    );
    assert_eq!(env.peek(copy).unwrap(), bytes[576..605]);
}

#[test]
fn an_error_of_the_disk_is_never_the_end_of_the_log() {
    use crate::env::sim::{Failure, Fault, OpKind};
    let (whole, end) = log();
    let mut failed = 0;
    for kind in [OpKind::Read, OpKind::Open, OpKind::List] {
        for after in 0.. {
            let env = whole.after_kill();
            env.inject(Fault {
                kind: Some(kind),
                after,
                failure: Failure::Io,
                sticky: false,
            });
            match open_with(&env, 1536, start_at(0, Some(end))) {
                Ok(opened) => {
                    assert_eq!(opened.records.len(), 6);
                    break;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Io),
            }
            failed += 1;
        }
    }
    assert!(failed > 5, "{failed}");
}

#[test]
fn any_bytes_as_a_segment_are_read_to_an_end() {
    let mut random = crate::env::sim::Random(3);
    for _ in 0..2000 {
        let length = random.below(3000);
        let data: Vec<u8> = (0..length)
            .map(|_| random.next().to_le_bytes()[0])
            .collect();
        fuzz_reader(&data);
    }
    fuzz_reader(&[]);
}
