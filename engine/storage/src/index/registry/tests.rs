use super::*;
use crate::env::SimEnv;
use crate::error::ErrorKind;
use crate::format::header::HEADER_BYTES;
use crate::format::manifest::RegistryMeta;
use crate::format::registry::{ENTRIES_AT, ENTRY_BYTES};
use crate::model::{DatabaseId, KeyHasher, MeasurementId};

const DIRECTORY: u128 = 77;
const DATABASE: DatabaseId = DatabaseId(1);

fn hash(number: u64) -> KeyHash {
    KeyHasher::new([1, 2, 3, 4]).hash(&number.to_le_bytes())
}

fn known(number: u64) -> Known {
    Known {
        series: SeriesId(number + 1),
        measurement: MeasurementId(3),
    }
}

fn entry(number: u64) -> Entry {
    (hash(number), known(number).series)
}

fn keys(numbers: impl Iterator<Item = u64>) -> Vec<KeyRef> {
    let key = |number| KeyRef {
        offset: 0,
        len: 0,
        hash: hash(number),
    };
    numbers.map(key).collect()
}

fn write(env: &SimEnv, file: u64, numbers: std::ops::Range<u64>) -> Arc<RegistryFile> {
    let mut entries: Vec<Entry> = numbers.map(entry).collect();
    entries.sort_unstable();
    let entries = entries.into_iter().map(Ok);
    RegistryFile::write(env, DIRECTORY, (file, DATABASE), entries).unwrap()
}

#[test]
fn the_front_cache_answers_for_what_it_was_told_and_nothing_else() {
    let registry = Registry::default();
    let mut found = Vec::new();
    assert_eq!(registry.resolve(&keys(0..40), &mut found), 40);
    assert_eq!(found, [Known::NONE; 40]);
    let told: Vec<_> = (0..1000)
        .map(|number| (hash(number), known(number)))
        .collect();
    registry.remember(&told);
    found.clear();
    assert_eq!(registry.resolve(&keys(990..1010), &mut found), 10);
    for (number, found) in (990..1010).zip(&found) {
        assert_eq!(found.is_some(), number < 1000);
        assert!(!found.is_some() || *found == known(number));
    }
    registry.forget();
    found.clear();
    assert_eq!(registry.resolve(&keys(0..40), &mut found), 40);
}

#[test]
fn hashes_with_one_home_do_not_hide_each_other() {
    let registry = Registry::default();
    for number in 0..50 {
        registry.insert([(KeyHash(u128::from(number) << 64 | 5), known(number).series)]);
    }
    for number in 0..50 {
        let found = registry
            .find(KeyHash(u128::from(number) << 64 | 5))
            .unwrap();
        assert_eq!(found, Some(known(number).series));
    }
    assert_eq!(registry.find(KeyHash(50 << 64 | 5)).unwrap(), None);
    // The hash zero is a hash like any other.
    assert_eq!(registry.find(KeyHash(0)).unwrap(), None);
    registry.insert([(KeyHash(0), known(99).series)]);
    assert_eq!(registry.find(KeyHash(0)).unwrap(), Some(known(99).series));
}

#[test]
fn a_file_finds_all_its_series_and_no_other() {
    let env = SimEnv::new(1);
    for count in [0, 1, 2, 3, 100, 5000] {
        let file = write(&env, 10 + count, 0..count);
        for number in 0..count {
            let found = file.find(hash(number)).unwrap();
            assert_eq!(found, Some(known(number).series), "{number} of {count}");
        }
        for number in count..count + 200 {
            assert_eq!(file.find(hash(number)).unwrap(), None);
        }
        for edge in [0, u128::MAX] {
            assert_eq!(file.find(KeyHash(edge)).unwrap(), None);
        }
    }
}

#[test]
fn series_are_found_before_during_and_after_a_flush_and_after_one_that_failed() {
    let env = SimEnv::new(1);
    let registry = Registry::default();
    let all_found = |registry: &Registry, end: u64| {
        for number in 0..end {
            let found = registry.find(hash(number)).unwrap();
            assert_eq!(found, Some(known(number).series), "{number} of {end}");
        }
        assert_eq!(registry.find(hash(end)).unwrap(), None);
    };
    registry.insert((0..10).map(entry));
    registry.freeze();
    registry.insert((10..15).map(entry));
    all_found(&registry, 15);
    registry.thaw();
    all_found(&registry, 15);
    registry.freeze();
    registry.insert((15..20).map(entry));
    let entries = registry.frozen();
    assert_eq!(entries.len(), 15);
    let entries = entries.iter().map(Ok);
    let file = RegistryFile::write(&env, DIRECTORY, (1, DATABASE), entries).unwrap();
    registry.persisted(vec![file]);
    all_found(&registry, 20);
    registry.freeze();
    assert_eq!(registry.frozen().len(), 5);
}

#[test]
fn files_of_about_one_size_are_merged_and_a_large_one_is_left_alone() {
    let meta = |file, series_count| RegistryMeta {
        file,
        database: DATABASE,
        series_count,
        size_bytes: 0,
    };
    let files = [meta(1, 10), meta(2, 100_000), meta(3, 12), meta(4, 9)];
    assert_eq!(choose_merge(&files), Vec::<usize>::new());
    let more = [&files[..], &[meta(5, 36)]].concat();
    assert_eq!(choose_merge(&more), [3, 0, 2, 4]);
    let env = SimEnv::new(1);
    // Each flush adds a file of ten series; the count of files stays small.
    let mut files: Vec<RegistryMeta> = Vec::new();
    for round in 0..500 {
        files.push(meta(round, 10));
        let chosen = choose_merge(&files);
        if !chosen.is_empty() {
            let sum = chosen.iter().map(|index| files[*index].series_count).sum();
            let gone: Vec<u64> = chosen.iter().map(|index| files[*index].file).collect();
            files.retain(|file| !gone.contains(&file.file));
            files.push(meta(10_000 + round, sum));
        }
        assert!(files.len() <= 16, "{} files in round {round}", files.len());
    }
    let parts = [write(&env, 1, 0..10), write(&env, 2, 5..20)];
    let merged: Vec<Entry> = merge(&parts).unwrap().map(Result::unwrap).collect();
    assert_eq!(merged.len(), 20);
    assert!(merged.windows(2).all(|pair| pair[0].0 < pair[1].0));
}

#[test]
fn a_damaged_file_is_an_error_where_it_is_touched_and_never_a_missing_series() {
    let env = SimEnv::new(1);
    let file = write(&env, 1, 0..3000);
    let path = RegistryFile::path(1);
    let bytes = env.peek(&path).unwrap();
    for at in (0..bytes.len()).step_by(997) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        env.poke(&path, &damaged);
        let Ok(file) = RegistryFile::open(&env, DIRECTORY, file.meta()) else {
            continue;
        };
        let mut errors = 0;
        for number in 0..3000 {
            match file.find(hash(number)) {
                Ok(found) => assert_eq!(found, Some(known(number).series)),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt);
                    assert_eq!(error.place().unwrap().file, path);
                    errors += 1;
                }
            }
        }
        assert!(errors > 0, "byte {at} goes unnoticed");
    }
    env.poke(&path, &bytes);
    let other = RegistryMeta {
        series_count: 2999,
        ..file.meta()
    };
    assert!(RegistryFile::open(&env, DIRECTORY, other).is_err());
}

#[test]
fn the_page_states_the_layout_of_the_code() {
    let page = include_str!("../../../../../docs/format/registry.md");
    for row in [
        format!("| {:>6} | {:>5} | file header |", 0, HEADER_BYTES),
        format!("| {ENTRIES_AT:>6} | {ENTRY_BYTES} each | entries, ascending by hash"),
    ] {
        assert!(page.contains(&row), "the page lacks: {row}");
    }
}

#[test]
fn series_learnt_in_any_order_are_found_and_those_known_before_stay() {
    let env = SimEnv::new(1);
    let registry = Registry::new(vec![write(&env, 1, 0..1000)]);
    registry.insert((1000..2000).map(entry));
    registry.freeze();
    registry.insert((2000..3000).map(entry));
    // Some thousand at a time, so that the table is cut into shards on the way; each twice, the second
    // time under another id, and those that are there already as well.
    let numbers: Vec<u64> = (0..60_000).map(|number| number * 7919 % 60_000).collect();
    for numbers in numbers.chunks(7000) {
        let later = numbers
            .iter()
            .map(|number| (hash(*number), SeriesId(1_000_000 + number)));
        let mut series = Learnt::default();
        let first = numbers.iter().copied().map(entry);
        first.chain(later).for_each(|entry| series.push(entry));
        assert_eq!(series.len(), 2 * numbers.len());
        registry.learn(&mut series);
        assert!(series.is_empty());
        // Some are taken in at once, some when more come to wait, and most when they are asked for.
        for _ in 0..100 {
            assert!(registry.take_in());
        }
    }
    for number in 0..60_000 {
        let (hash, id) = entry(number);
        assert_eq!(registry.find(hash).unwrap(), Some(id), "{number}");
    }
    assert_eq!(registry.find(hash(60_000)).unwrap(), None);
    assert_eq!(registry.len(), 60_000);
    let each = registry.size_bytes() / 58_000;
    assert!(each < 24 * 8 / 5, "{each} bytes a series");
}

#[test]
fn what_a_log_left_is_known_before_it_is_taken_in() {
    let learnt = |numbers: std::ops::Range<u64>| {
        let mut series = Learnt::default();
        for number in numbers {
            series.push(entry(number));
        }
        series
    };
    let env = SimEnv::new(1);
    let made = || {
        let registry = Registry::new(vec![write(&env, 1, 0..1000)]);
        registry.learn(&mut learnt(500..9000));
        registry
    };
    // Those of the file are known twice until somebody looks.
    let registry = made();
    assert_eq!(registry.len_max(), 9500);
    assert!(registry.size_bytes() >= 8500 * 24, "what waits is counted");
    assert_eq!(registry.len(), 9000);
    assert_eq!(registry.len_max(), 9000);
    assert!(!registry.take_in(), "nothing is left");
    // Whoever asks for one does not take all in.
    let registry = made();
    assert_eq!(registry.find(hash(8000)).unwrap(), Some(entry(8000).1));
    assert_eq!(registry.find(hash(9000)).unwrap(), None);
    assert!(registry.len_max() > 9400, "{}", registry.len_max());
    // One that waits stays what it is.
    let registry = made();
    registry.insert((8990..9010).map(|number| (hash(number), SeriesId(7_000_000 + number))));
    assert_eq!(registry.find(hash(8990)).unwrap(), Some(entry(8990).1));
    let new = SeriesId(7_009_009);
    assert_eq!(registry.find(hash(9009)).unwrap(), Some(new));
    assert_eq!(registry.len(), 9010);
    // A flush sets all of it aside, and what files say does not change what the log said.
    let registry = made();
    registry.freeze();
    assert_eq!(registry.frozen().len(), 8000);
    assert_eq!(registry.find(hash(8999)).unwrap(), Some(entry(8999).1));
    let registry = made();
    registry.mend(
        Vec::new(),
        &[(hash(8999), SeriesId(1)), (hash(3), entry(3).1)],
    );
    assert_eq!(registry.find(hash(8999)).unwrap(), Some(entry(8999).1));
    assert_eq!(registry.find(hash(3)).unwrap(), Some(entry(3).1));
    let registry = made();
    registry.replace(Vec::new(), vec![(hash(8998), SeriesId(1))]);
    assert_eq!(registry.find(hash(8998)).unwrap(), Some(entry(8998).1));
}
