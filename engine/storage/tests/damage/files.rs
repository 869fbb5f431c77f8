//! Files that nothing refers to.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use silverback_storage::env::{Env, SimEnv};

use crate::check;
use crate::small::{float, open_with};
use crate::support::{open, row, write};

#[test]
fn a_check_lists_each_file_that_nothing_refers_to_and_no_other() {
    let env = SimEnv::new(1);
    let db = open_with(&env, "db");
    write(&db, "db", &[row("cpu", &[], 1, &[("f", float(0.5))])]).unwrap();
    db.flush().unwrap();
    write(&db, "db", &[row("cpu", &[], 2, &[("f", float(0.5))])]).unwrap();
    drop(db);
    let env = env.after_kill();
    // The space that is kept back, and a copy of damaged bytes: nothing refers to them, they belong.
    for path in ["RESERVE", "quarantine/wal-0000000000000001-200.bin"] {
        env.poke(path, &[0; 10]);
    }
    assert_eq!(check(&env).unwrap().orphans, []);
    let left = [
        "CURRENT.tmp",
        "manifest/0000000000000000.man",
        "wal/core",
        "blocks/00000000000000ff.blk",
        "blocks/0000000000000001.tmp",
        "registry/0000000000000fff.reg",
    ];
    for (index, path) in left.iter().enumerate() {
        env.poke(path, &vec![7; index + 1]);
    }
    let report = check(&env).unwrap();
    let found = report.orphans.iter();
    let found: Vec<(PathBuf, u64)> = found.map(|one| (one.file.clone(), one.bytes)).collect();
    let expected: Vec<(PathBuf, u64)> = left.iter().map(PathBuf::from).zip(1..).collect();
    let sorted = |mut files: Vec<(PathBuf, u64)>| {
        files.sort();
        files
    };
    assert_eq!(sorted(found), sorted(expected));
    assert_eq!(report.problems, [], "they are no damage");
    // What lies among the files of the store goes at the next start, and with its first edit.
    let db = open(&env).unwrap();
    write(&db, "db", &[row("cpu", &[], 3, &[("f", float(0.5))])]).unwrap();
    db.flush().unwrap();
    drop(db);
    let left = check(&env.after_kill()).unwrap().orphans;
    let left: Vec<_> = left.iter().map(|one| one.file.to_str().unwrap()).collect();
    assert_eq!(left, ["wal/core"]);
}

/// Whether a row of the page names the file: as it is, or by what stands before and behind its number.
fn is_on_page(page: &str, path: &str) -> bool {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut names = rows.filter_map(|row| row.split('`').next());
    names.any(|name| match (name.split_once('<'), name.rsplit_once('>')) {
        (Some((start, _)), Some((_, end))) => path.starts_with(start) && path.ends_with(end),
        _ => name == path,
    })
}

#[test]
fn the_page_of_the_directory_names_every_file_of_a_store_at_work() {
    let page = include_str!("../../../../docs/format/directory.md");
    assert!(is_on_page(page, "wal/1.wal") && is_on_page(page, "LOCK"));
    assert!(!is_on_page(page, "other") && !is_on_page(page, "blocks/1.reg"));
    let env = SimEnv::new(1);
    let db = open_with(&env, "db");
    for time in 0..3 {
        write(&db, "db", &[row("cpu", &[], time, &[("f", float(0.5))])]).unwrap();
        db.flush().unwrap();
    }
    db.compact().unwrap();
    // What background steps make.
    env.advance(Duration::from_secs(3601));
    env.run_steps(8);
    let mut folders = BTreeSet::new();
    let mut open = vec![PathBuf::new()];
    while let Some(folder) = open.pop() {
        for entry in env.list(&folder).unwrap() {
            let path = folder.join(&entry.name);
            if entry.is_dir {
                open.push(path);
                continue;
            }
            assert!(
                is_on_page(page, path.to_str().unwrap()),
                "{}",
                path.display()
            );
            folders.insert(folder.clone());
        }
    }
    assert_eq!(folders.len(), 5, "{folders:?}");
    assert!(env.peek("RESERVE").is_ok(), "all of it is there");
}
