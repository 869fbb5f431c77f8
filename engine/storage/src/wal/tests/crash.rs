//! Stop at every operation, keep every allowed part of what was not synced, open: what was
//! acknowledged is there, in order, and nothing else than what was submitted.

use super::*;

/// What the script got done: the texts that were acknowledged, and those that were submitted.
#[derive(Debug, Default)]
struct Progress {
    acknowledged: Vec<String>,
    submitted: Vec<String>,
}

/// Groups of one and of several, over several segments, with a release and a second run.
fn script(env: &SimEnv, progress: &mut Progress) -> Result<()> {
    for run in 0..2 {
        let wal = open_with(env, 4096, start_at(0, None))?.wal;
        for group in 0..4 {
            let texts: Vec<String> = (0..=group % 3)
                .map(|record| format!("{run}.{group}.{record} {}", "x".repeat(group * 600)))
                .collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            progress
                .submitted
                .extend(texts.iter().map(|text| (*text).to_owned()));
            put(&wal, &texts)?;
            progress.acknowledged = progress.submitted.clone();
        }
        if run == 0 {
            wal.close()?;
        }
    }
    Ok(())
}

fn check(env: &SimEnv, progress: &Progress, place: &str) {
    let opened = open_with(env, 4096, start_at(0, None)).unwrap();
    let texts = opened.texts();
    assert!(
        texts.len() >= progress.acknowledged.len(),
        "{place}: lost {texts:?}"
    );
    assert_eq!(texts, progress.submitted[..texts.len()], "{place}");
    assert!(opened.report.is_complete(), "{place}: {:?}", opened.report);
    // Once more, without a write between: the same records, and nothing left to mend.
    let again = open_with(&env.after_kill(), 4096, start_at(0, None)).unwrap();
    assert_eq!(again.texts(), texts, "{place}, again");
    assert_eq!(again.report.torn, None, "{place}, again");
    // And writing goes on behind it.
    let next = put(&opened.wal, &["next"]).unwrap();
    assert_eq!(next.0, texts.len() as u64 + 1, "{place}");
    let last = open_with(&env.after_kill(), 4096, start_at(0, None)).unwrap();
    assert_eq!(last.texts()[texts.len()..], ["next"], "{place}");
    assert!(last.report.is_complete(), "{place}: {:?}", last.report);
}

fn stopped_before(number: u64) -> (SimEnv, Progress) {
    let env = SimEnv::new(number);
    env.stop_before(number);
    let mut progress = Progress::default();
    let outcome = script(&env, &mut progress);
    assert_eq!(outcome.is_err(), env.is_off());
    (env, progress)
}

fn script_length() -> u64 {
    let (env, progress) = stopped_before(u64::MAX);
    assert_eq!(progress.acknowledged.len(), 14);
    assert!(env.op_count() > 30);
    env.op_count()
}

#[test]
fn a_crash_at_any_operation_loses_nothing_acknowledged() {
    let mut images = 0;
    for number in 0..=script_length() {
        let (env, progress) = stopped_before(number);
        check(
            &env.after_kill(),
            &progress,
            &format!("killed before {number}"),
        );
        for image in env.crash_images(1000) {
            let place = format!("before {number}, image {}: {}", image.number, image.choice);
            check(&image.env, &progress, &place);
            images += 1;
        }
    }
    assert!(images > 2000, "{images}");
}

#[test]
fn a_crash_while_opening_after_a_crash_loses_nothing_either() {
    let mut images = 0;
    for number in (0..=script_length()).step_by(3) {
        let (env, progress) = stopped_before(number);
        for image in env.crash_images(6) {
            let whole = image.env.after_kill();
            open_with(&whole, 4096, start_at(0, None)).unwrap();
            for second in 0..whole.op_count() {
                let env = image.env.after_kill();
                env.stop_before(second);
                let stopped = open_with(&env, 4096, start_at(0, None));
                assert!(stopped.is_err());
                for again in env.crash_images(6) {
                    let place = format!("{number}, {}, {second}, {}", image.choice, again.choice);
                    check(&again.env, &progress, &place);
                    images += 1;
                }
            }
        }
    }
    assert!(images > 500, "{images}");
}

#[test]
fn a_power_cut_takes_of_buffered_writes_only_an_end() {
    let env = SimEnv::new(4);
    let wal = open(&env).unwrap().wal;
    put(&wal, &["durable"]).unwrap();
    let texts: Vec<String> = (0..5)
        .map(|number| format!("{number} {}", "x".repeat(300)))
        .collect();
    for text in &texts {
        let buffered = submission(&[text]).durability(Durability::Buffered);
        wal.submit(buffered).unwrap().wait().unwrap();
    }
    let mut lengths = std::collections::BTreeSet::new();
    for image in env.crash_images(2000) {
        let opened = open(&image.env).unwrap();
        let found = opened.texts();
        assert_eq!(found[0], "durable", "{}", image.choice);
        assert_eq!(found[1..], texts[..found.len() - 1], "{}", image.choice);
        assert!(
            opened.report.is_complete(),
            "{}: {:?}",
            image.choice,
            opened.report
        );
        lengths.insert(found.len());
    }
    assert_eq!(lengths.len(), 6, "every end was tried: {lengths:?}");
}

#[test]
fn a_torn_tail_is_named_and_cut() {
    let env = SimEnv::new(4);
    let wal = open(&env).unwrap().wal;
    put(&wal, &["a"]).unwrap();
    put(&wal, &["b"]).unwrap();
    let path = segments(&env)[0].clone();
    let mut bytes = env.peek(&path).unwrap();
    let after = env.after_kill();
    bytes[1024 + 70] ^= 1;
    after.poke(&path, &bytes);
    let opened = open(&after).unwrap();
    assert_eq!(opened.texts(), ["a"]);
    let torn = opened.report.torn.unwrap();
    assert_eq!((torn.file, torn.offset), (path.clone(), 1024 + 64));
    assert_eq!(torn.bytes, 25, "a header and its payload");
    assert_eq!(after.peek(&path).unwrap().len(), 1024 + 64);
}

#[test]
fn what_was_replayed_after_a_kill_outlives_the_power_cut_that_follows() {
    let env = SimEnv::new(4);
    let wal = open(&env).unwrap().wal;
    let buffered = submission(&["a"]).durability(Durability::Buffered);
    wal.submit(buffered).unwrap().wait().unwrap();
    let after = env.after_kill();
    let opened = open(&after).unwrap();
    assert_eq!(
        (opened.texts(), opened.wal.durable()),
        (vec!["a".to_owned()], Sequence(1))
    );
    for image in after.crash_images(1000) {
        assert_eq!(open(&image.env).unwrap().texts(), ["a"], "{}", image.choice);
    }
}
