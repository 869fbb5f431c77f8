//! Real file systems that run out of names, or may not be written: small ones in memory, mounted for the
//! test and unmounted with it. That takes root; elsewhere the tests say that they did not run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use silverback_storage::db::Db;
use silverback_storage::env::{Env, RealEnv, RealOptions};
use silverback_storage::error::{ErrorKind, Result};
use silverback_storage::model::PolicySpec;

use crate::small::float;
use crate::support::{options, read, row, write};

/// Names that the store starts with, about: folders, lock, manifest, a segment of the log.
const INODES_FEW: &str = "nr_inodes=24";
const INODES_MANY: &str = "nr_inodes=4000";
/// Flushes until there must be no name left.
const FLUSHES_MAX: i64 = 100;

/// A mounted file system, unmounted when the value goes.
#[derive(Debug)]
struct Mounted {
    folder: tempfile::TempDir,
}

fn mount(options: &str, folder: &Path) -> bool {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]);
    mount
        .arg(folder)
        .output()
        .is_ok_and(|output| output.status.success())
}

impl Mounted {
    /// `None` where this machine does not let the test mount one.
    fn new(options: &str) -> Option<Mounted> {
        let folder = tempfile::tempdir().unwrap();
        if mount(&format!("size=64m,{options}"), folder.path()) {
            return Some(Mounted { folder });
        }
        assert!(std::env::var_os("CI").is_none(), "this test needs root");
        println!("1 test not run: a file system of its own needs root");
        None
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,size=64m,{options}");
        assert!(mount(&options, self.folder.path()), "{options}");
    }

    fn copy_to(&self, folder: &Path) {
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(self.folder.path().join("data"));
        assert!(copy.arg(folder).status().unwrap().success(), "cp");
    }

    fn env(&self) -> Arc<dyn Env> {
        let data: PathBuf = self.folder.path().join("data");
        Arc::new(RealEnv::new(data, RealOptions { mmap: true }))
    }

    fn open(&self) -> Result<Db> {
        Db::open(self.env(), options())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.folder.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "umount");
    }
}

fn put(db: &Db, time: i64) -> Result<()> {
    write(db, "db", &[row("cpu", &[], time, &[("f", float(0.5))])])
}

#[test]
fn a_disk_without_a_free_name_refuses_writes_and_loses_nothing() {
    let Some(disk) = Mounted::new(INODES_FEW) else {
        return;
    };
    let db = disk.open().unwrap();
    db.create_database("db", &PolicySpec::default()).unwrap();
    let mut acknowledged = 0;
    let refused = (0..FLUSHES_MAX).find_map(|time| {
        if let Err(error) = put(&db, time) {
            return Some(error);
        }
        acknowledged += 1;
        db.flush().err()
    });
    let refused = refused.expect("a name was always free");
    assert_eq!(refused.kind(), ErrorKind::NoSpace, "{refused}");
    assert!(acknowledged > 3, "{acknowledged}");
    assert_eq!(read(&db).unwrap().len(), acknowledged);
    let problems = db.stats().problems;
    assert!(!problems.is_empty(), "whoever looks after it is told");
    // What a crash would leave now has all of it, too: nothing let go of the log too early.
    let left = tempfile::tempdir().unwrap();
    disk.copy_to(left.path());
    let crashed = RealEnv::new(left.path().join("data"), RealOptions { mmap: false });
    let crashed = Db::open(Arc::new(crashed), options()).unwrap();
    assert_eq!(read(&crashed).unwrap().len(), acknowledged);
    // Names are free again: the store goes on by itself.
    disk.remount(INODES_MANY);
    put(&db, FLUSHES_MAX).unwrap();
    db.flush().unwrap();
    drop(db);
    let db = disk.open().unwrap();
    assert_eq!(read(&db).unwrap().len(), acknowledged + 1);
    assert_eq!(db.stats().problems, []);
}

#[test]
fn a_directory_that_may_not_be_written_is_refused_and_can_be_checked() {
    let Some(disk) = Mounted::new(INODES_MANY) else {
        return;
    };
    let db = disk.open().unwrap();
    db.create_database("db", &PolicySpec::default()).unwrap();
    put(&db, 1).unwrap();
    db.flush().unwrap();
    put(&db, 2).unwrap();
    drop(db);
    disk.remount("ro");
    let refused = disk.open().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Io, "{refused}");
    assert!(refused.to_string().contains("Read-only"), "{refused}");
    assert_eq!(Db::check(&disk.env()).unwrap().problems, []);
    disk.remount("rw");
    assert_eq!(read(&disk.open().unwrap()).unwrap().len(), 2);
}
