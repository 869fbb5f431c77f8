//! Files that are mapped and then change under their readers: the process lives, whoever reads what
//! is gone is told so, nobody gets zeros for values, and it is remembered.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use silverback_storage::db::{Db, DbOptions};
use silverback_storage::env::real::guard_mapped_files;
use silverback_storage::env::{RealEnv, RealOptions};
use silverback_storage::error::{Error, ErrorKind};
use silverback_storage::model::PolicySpec;

use crate::small;
use crate::support::{Contents, Row, each_piece, read_database, row, write};

const ROWS: i64 = 20_000;

fn open_mapped(folder: &Path) -> Db {
    guard_mapped_files().unwrap();
    let env = RealEnv::new(folder, RealOptions { mmap: true });
    Db::open(Arc::new(env), DbOptions::default()).unwrap()
}

/// Values that no codec packs into nothing.
fn rows(seed: i64) -> Vec<Row> {
    let one = |index: i64| {
        let host = format!("h{}", index % 7);
        let mixed = (index + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed());
        let value = small::float(f64::from_bits(mixed.cast_unsigned() >> 2));
        row("cpu", &[("host", &host)], index, &[("f", value)])
    };
    (0..ROWS).map(one).collect()
}

/// A store with one block for each of two databases; the path of the first one's.
fn two_blocks(folder: &Path) -> (Db, PathBuf) {
    let db = open_mapped(folder);
    let blocks = || -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder.join("blocks")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let mut first = None;
    for (seed, database) in [(1, "cut"), (2, "whole")] {
        db.create_database(database, &PolicySpec::default())
            .unwrap();
        write(&db, database, &rows(seed)).unwrap();
        db.flush().unwrap();
        first = first.or_else(|| blocks().pop());
    }
    (db, first.unwrap())
}

fn count(db: &Db, database: &str) -> Result<usize, Error> {
    let mut contents = Contents::new();
    read_database(db, database, &mut contents)?;
    Ok(contents.len())
}

fn cut(path: &Path, size: u64) {
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(size)
        .unwrap();
}

#[test]
fn a_block_that_is_cut_under_its_readers_is_an_error_and_the_rest_is_served() {
    for verified in [false, true] {
        for kept in [
            |_| 0,
            |_| 4096,
            |size| size / 2 / 4096 * 4096,
            |size| size / 2 / 4096 * 4096 + 1000,
            // Only what every reader passes over is gone, or the lists at the end.
            |size| size - 1,
            |size| size - 200,
        ] as [fn(u64) -> u64; 6]
        {
            let folder = tempfile::tempdir().unwrap();
            let (db, path) = two_blocks(folder.path());
            if verified {
                assert_eq!(count(&db, "cut").unwrap(), 20_000);
            }
            let size = path.metadata().unwrap().len();
            let case = format!("{} of {size} bytes, verified {verified}", kept(size));
            cut(&path, kept(size));
            for _ in 0..2 {
                let error = count(&db, "cut").unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{case}: {error}");
                assert_eq!(error.place().unwrap().file.file_name(), path.file_name());
            }
            assert_eq!(count(&db, "whole").unwrap(), 20_000, "{case}");
            let stats = db.stats();
            assert_eq!((stats.blocks, stats.damaged_blocks), (2, 1), "{case}");
            let found = stats.problems[0].file.as_ref().unwrap();
            assert_eq!(found.file_name(), path.file_name(), "{case}");
            assert!(
                db.compact().is_err(),
                "{case}: nothing is made of what is gone"
            );
            assert_eq!(db.stats().blocks, 2);
        }
    }
}

#[test]
fn what_is_cut_while_a_scan_runs_ends_the_scan_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (db, path) = two_blocks(folder.path());
    assert_eq!(count(&db, "cut").unwrap(), 20_000);
    let size = path.metadata().unwrap().len();
    let mut pieces = 0;
    let outcome = each_piece(&db, "cut", &mut |_| {
        pieces += 1;
        if pieces == 1 {
            cut(&path, size - 1);
        }
    });
    assert!(pieces > 1);
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn damage_that_a_reader_meets_is_remembered_once() {
    let folder = tempfile::tempdir().unwrap();
    let (db, path) = two_blocks(folder.path());
    drop(db);
    let db = open_mapped(folder.path());
    assert_eq!(db.stats().problem_count, 0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20_000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(db.stats().problem_count, 0, "nobody has read it");
    for _ in 0..3 {
        assert_eq!(count(&db, "cut").unwrap_err().kind(), ErrorKind::Corrupt);
        let stats = db.stats();
        assert_eq!((stats.problem_count, stats.damaged_blocks), (1, 1));
        assert_eq!(stats.problems[0].offset, 16_384);
    }
    db.drop_database("cut").unwrap();
    assert_eq!(db.stats().problem_count, 0, "what is gone is no problem");
}
