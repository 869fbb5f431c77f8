//! Every byte of a store on disk is damaged, every file cut at every length, sectors and files change
//! places: each time the damage is named, or what is shown is whole. Nothing is shown that is wrong,
//! and nothing stops the process.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use silverback_storage::db::Db;
use silverback_storage::env::{Env, SimEnv};
use silverback_storage::format::header::{FileHeader, FileKind};
use silverback_storage::format::sealed::{
    PIECE_BYTES, SealedReader, SealedWriter, TRAILER_BYTES, checksum,
};

use crate::ops::Op;
use crate::parallel::parallel;
use crate::scripts::{rows, tiny};
use crate::support::{Contents, options, read};
use crate::world::{World, open_with};

/// What is put in place of a byte, and what is done to its bits.
const BYTES: [fn(u8) -> u8; 3] = [|_| 0x00, |_| 0xff, |byte| byte ^ 0x10];

/// A store on disk, and what it holds.
struct Golden {
    name: &'static str,
    env: SimEnv,
    contents: Contents,
    /// What lies in blocks of it.
    flushed: Contents,
}

/// Blocks, a registry, a manifest; closed cleanly, or killed with something in the log.
fn golden(name: &'static str, is_closed: bool) -> Golden {
    let env = SimEnv::new(21);
    let first = [
        Op::Create("db"),
        Op::Create("other"),
        Op::Write("db", rows("cpu", 1, 12)),
        Op::Write("other", rows("mem", 2, 4)),
        Op::Flush,
    ];
    let mut world = World::new(&env, if is_closed { options() } else { tiny() });
    let all = |world: &World| read(world.db.as_ref().unwrap()).unwrap();
    for op in &first {
        world.apply(op);
    }
    let flushed = all(&world);
    world.apply(&Op::Write("db", rows("cpu", 4, 9)));
    world.apply(&Op::Write("db", rows("disk", 6, 5)));
    if is_closed {
        world.apply(&Op::Close);
    }
    assert_eq!(world.failure, None);
    Golden {
        name,
        env: env.after_kill(),
        flushed: if is_closed { all(&world) } else { flushed },
        contents: all(&world),
    }
}

/// What became of a damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    /// An error or a report names it.
    Named,
    /// Nothing names it, and everything is there.
    Harmless,
    /// Nothing names it, and the end of the log is missing, as after a crash: of a store that was
    /// killed, the last write where a byte of it is damaged, and those at the end that a cut or a
    /// swap took. Nothing but the log itself knows of them.
    Tail,
}

/// Opens, reads and checks a damaged disk.
fn look(golden: &Golden, damaged: &SimEnv, case: &str) -> Found {
    let checked = Db::check(&(Arc::new(damaged.after_kill()) as Arc<dyn Env>));
    let by_check = checked.map_or(true, |report| !report.problems.is_empty());
    let db = match open_with(damaged, options()) {
        Ok(db) => db,
        Err(error) => {
            assert!(error.place().is_some(), "{case}: {error} names no place");
            return Found::Named;
        }
    };
    let Ok(found) = read(&db) else {
        return Found::Named;
    };
    for (cell, value) in &found {
        let expected = golden.contents.get(cell);
        assert_eq!(Some(value), expected, "{case}: {cell:?}");
    }
    // A damaged record costs its own write: the one behind it is served.
    let is_missing = |measurement: &str| {
        let mut own = golden.contents.keys().filter(|cell| cell.1 == measurement);
        own.any(|cell| !found.contains_key(cell))
    };
    if case.contains(" wal/") && case.contains(": byte ") && is_missing("cpu") {
        assert!(!is_missing("disk"), "{case}: more than one write is gone");
    }
    // Where something is missing the store itself must say so, not only a check that is asked for.
    let is_reported = !db.stats().problems.is_empty();
    let is_whole = found.len() == golden.contents.len();
    if is_reported || is_whole && by_check {
        return Found::Named;
    }
    if is_whole {
        return Found::Harmless;
    }
    let is_one_byte = case.contains(": byte ");
    for cell in golden.contents.keys() {
        // Of the writes behind the flush, the last one alone where one byte is damaged.
        let is_tail = !golden.flushed.contains_key(cell) && (!is_one_byte || cell.1 == "disk");
        assert!(
            is_tail || found.contains_key(cell),
            "{case}: {cell:?} is gone without a word"
        );
    }
    Found::Tail
}

/// The files of a store that hold something: the lock does not.
fn files(golden: &Golden) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = golden.env.paths().into_iter();
    let own =
        paths.filter(|path| path.parent() != Some(Path::new("")) || path.ends_with("CURRENT"));
    own.map(|path| {
        let bytes = golden.env.peek(&path).unwrap();
        (path, bytes)
    })
    .collect()
}

type Tally = BTreeMap<(String, Found), u64>;

/// Looks at every case of a file; what was found, by the kind of file.
fn look_at_each(
    golden: &Golden,
    path: &Path,
    cases: usize,
    damage: impl Fn(usize) -> Option<(Vec<u8>, String)> + Sync,
    tally: &mut Tally,
) {
    let kind = path.parent().and_then(Path::to_str).unwrap_or_default();
    let found = parallel(cases, |case| {
        let (bytes, words) = damage(case)?;
        let env = golden.env.after_kill();
        env.poke(path, &bytes);
        let case = format!("{} {}: {words}", golden.name, path.display());
        Some(look(golden, &env, &case))
    });
    for one in found.into_iter().flatten() {
        *tally.entry((kind.to_owned(), one)).or_default() += 1;
    }
}

fn damage_bytes(golden: &Golden, stride: usize, tally: &mut Tally) {
    for (path, bytes) in files(golden) {
        let cases = bytes.len().div_ceil(stride) * BYTES.len();
        let damage = |case: usize| {
            let (at, change) = (case / BYTES.len() * stride, BYTES[case % BYTES.len()]);
            let mut damaged = bytes.clone();
            damaged[at] = change(damaged[at]);
            (damaged != bytes).then(|| (damaged, format!("byte {at}, way {}", case % BYTES.len())))
        };
        look_at_each(golden, &path, cases, damage, tally);
    }
}

fn cut_files(golden: &Golden, stride: usize, tally: &mut Tally) {
    for (path, bytes) in files(golden) {
        let cut = |case: usize| {
            let len = case * stride;
            Some((bytes[..len].to_vec(), format!("cut to {len}")))
        };
        look_at_each(golden, &path, bytes.len().div_ceil(stride), cut, tally);
    }
}

fn swap_sectors(golden: &Golden, tally: &mut Tally) {
    for size in [512, 4096] {
        for (path, bytes) in files(golden) {
            let count = bytes.len() / size;
            let swap = |case: usize| {
                let (one, other) = (case / count, case % count);
                let mut damaged = bytes.clone();
                if one < other {
                    let (left, right) = damaged.split_at_mut(other * size);
                    left[one * size..][..size].swap_with_slice(&mut right[..size]);
                }
                let words = format!("sectors {one} and {other} of {size} swapped");
                (damaged != bytes).then_some((damaged, words))
            };
            look_at_each(golden, &path, count * count, swap, tally);
        }
    }
}

/// Each file stands where another one should.
fn swap_files(golden: &Golden, others: &[&Golden], tally: &mut Tally) {
    let all: Vec<_> = others.iter().flat_map(|other| files(other)).collect();
    for (path, bytes) in files(golden) {
        let swap = |case: usize| {
            let (other, other_bytes) = &all[case];
            let words = format!("holds what {} did", other.display());
            (*other_bytes != bytes).then(|| (other_bytes.clone(), words))
        };
        look_at_each(golden, &path, all.len(), swap, tally);
    }
}

/// A piece of a finished file that was written to the place of another, with its checksum, which a
/// checksum of bytes alone fits.
fn move_piece() {
    let env = SimEnv::new(22);
    let path = Path::new("moved");
    let header = FileHeader::new(FileKind::Block, 7, 99);
    let mut writer = SealedWriter::new(env.create(path).unwrap(), path, &header);
    for piece in 0..4_u8 {
        writer.write(&[piece; PIECE_BYTES]).unwrap();
    }
    let contents = usize::try_from(writer.position()).unwrap();
    writer.finish().unwrap();
    let mut bytes = env.peek(path).unwrap();
    bytes.copy_within(PIECE_BYTES..2 * PIECE_BYTES, 2 * PIECE_BYTES);
    bytes.copy_within(contents + 4..contents + 8, contents + 8);
    // The checksums' own one and the trailer's are made to fit.
    let trailer = bytes.len() - TRAILER_BYTES;
    let seal = |bytes: &mut [u8], range: Range<usize>, at: usize| {
        let sum = checksum(header.file_id, range.start as u64, &bytes[range]);
        bytes[at..at + 4].copy_from_slice(&sum.to_le_bytes());
    };
    seal(&mut bytes, contents..trailer, trailer + 12);
    seal(&mut bytes, trailer..trailer + 20, trailer + 20);
    env.poke(path, &bytes);
    let reader = SealedReader::open(env.open_read(path).unwrap(), path, &header).unwrap();
    let errors = reader.verify_all();
    assert_eq!(errors.len(), 1, "its checksum came along, its seed did not");
}

/// Does every damage, of the bytes every `stride`-th. What was found, by the kind of file.
pub(crate) fn damage_everything(stride: usize) -> u64 {
    move_piece();
    let closed = golden("closed", true);
    let killed = golden("killed", false);
    let mut tally = Tally::new();
    for golden in [&closed, &killed] {
        damage_bytes(golden, stride, &mut tally);
        cut_files(golden, stride, &mut tally);
        swap_sectors(golden, &mut tally);
        swap_files(golden, &[&closed, &killed], &mut tally);
    }
    let total: u64 = tally.values().sum();
    println!("{total} damages: {tally:?}");
    for ((kind, found), count) in &tally {
        // What lies behind the end of the log, or of the manifest, says nothing; nor does the last
        // record of a manifest where everything that it names is found all the same.
        let is_fine = match found {
            Found::Named => true,
            Found::Harmless => kind == "wal" || kind == "manifest",
            Found::Tail => kind == "wal",
        };
        assert!(is_fine, "{count} damages of {kind:?} are {found:?}");
    }
    total
}

#[test]
fn every_damaged_byte_is_named_or_harmless() {
    let total = damage_everything(1);
    assert!(total > 30_000, "{total}");
}
