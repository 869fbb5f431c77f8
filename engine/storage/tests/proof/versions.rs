//! A file of a later format makes the store refuse the directory by the file's name, and leave it as it
//! is: of each kind of file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use silverback_storage::env::SimEnv;
use silverback_storage::error::ErrorKind;

use crate::ops::Op;
use crate::scripts::rows;
use crate::support::options;
use crate::world::{World, open_with};

/// No build has come to it yet.
const VERSION: u32 = 9999;

/// Every file with its bytes, but for the lock, which says who has the directory open.
fn files(env: &SimEnv) -> BTreeMap<PathBuf, Vec<u8>> {
    let own = env
        .paths()
        .into_iter()
        .filter(|path| !path.ends_with("LOCK"));
    own.map(|path| {
        let bytes = env.peek(&path).unwrap();
        (path, bytes)
    })
    .collect()
}

/// Says in a file's header that it is of [`VERSION`], under a right checksum: docs/format/file-header.md.
fn of_later_version(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&VERSION.to_le_bytes());
    let sum = crc32fast::hash(&bytes[..60]);
    bytes[60..64].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Opens a store with one file of each kind of a later version.
pub(crate) fn refuse_later_versions() -> usize {
    let mut world = World::new(&SimEnv::new(31), options());
    for op in [
        Op::Create("db"),
        Op::Write("db", rows("cpu", 1, 12)),
        Op::Flush,
        Op::Write("db", rows("cpu", 4, 9)),
    ] {
        world.apply(&op);
    }
    let disk = world.env.after_kill();
    drop(world);
    let mut kinds = 0;
    for kind in ["blocks", "registry", "manifest", "wal", "CURRENT"] {
        let paths = disk.paths();
        let path = paths.iter().find(|path| path.starts_with(kind));
        let path = path.unwrap_or_else(|| panic!("no file of {kind}"));
        let env = disk.after_kill();
        env.poke(path, &of_later_version(env.peek(path).unwrap()));
        let before = files(&env);
        let Err(error) = open_with(&env, options()) else {
            panic!("{kind} of a later version is opened");
        };
        assert_eq!(error.kind(), ErrorKind::Conflict, "{kind}: {error}");
        assert!(error.to_string().contains("9999"), "{kind}: {error}");
        let place = error.place().map(|place| place.file.clone());
        assert_eq!(place.as_ref(), Some(path), "{error}");
        assert!(
            files(&env) == before,
            "{kind}: the directory is left as it is"
        );
        kinds += 1;
    }
    kinds
}

#[test]
fn a_directory_of_a_later_version_is_refused_by_name_and_left_untouched() {
    assert_eq!(refuse_later_versions(), 5);
}
