//! A disk that says it has made something durable and has not. What it was trusted with may be gone, and
//! no store can help that; but what is shown then was written once, and where anything that came later
//! proves the loss, the store says so.

use std::collections::BTreeMap;

use silverback_storage::env::SimEnv;
use silverback_storage::model::FieldValue;

use crate::explore::Script;
use crate::ops::Op;
use crate::parallel::parallel;
use crate::scripts::scripts;
use crate::support::{Cell, Contents, read};
use crate::world::{World, open_with};

/// What became of what the disk lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    /// Nothing that counts was lost.
    Whole,
    /// An error or a report names it.
    Named,
    /// It is gone, and nothing says so.
    Silent,
}

/// Disks that are looked at behind each lie: one that kept nothing of it, one that kept all, and between
/// them parts, where the rest is old, zero or garbage.
const IMAGES: usize = 6;

/// Runs `script` on a disk that lies during operation `lie`, and is honest again until power fails after
/// operation `end`.
fn look(script: &Script, (lie, end): (usize, usize), seed: u64) -> Vec<Found> {
    let case = format!(
        "{}, lies in {lie}, ends after {end}, seed {seed}",
        script.name
    );
    let env = SimEnv::new(seed);
    let mut world = World::new(&env, script.options);
    let mut written = Written::new();
    for (index, op) in script.ops[..=end].iter().enumerate() {
        env.set_lying(index == lie);
        world.apply(op);
        if let Op::Write(database, rows) = op {
            let mut once = crate::history::Model::default();
            once.write(database, rows, &Ok(()));
            for (cell, value) in once.certain() {
                written.entry(cell.clone()).or_default().push(value.clone());
            }
        }
    }
    let images = env.crash_images(IMAGES);
    images
        .map(|image| {
            let case = format!("{case}, {}", image.choice);
            judge(&image.env, (script, &world), &written, &case)
        })
        .collect()
}

/// What has been written to each place.
type Written = BTreeMap<Cell, Vec<FieldValue>>;

fn judge(
    disk: &SimEnv,
    (script, world): (&Script, &World),
    written: &Written,
    case: &str,
) -> Found {
    let db = match open_with(disk, script.options) {
        Ok(db) => db,
        Err(error) => {
            assert!(error.place().is_some(), "{case}: {error} names no place");
            return Found::Named;
        }
    };
    let Ok(found) = read(&db) else {
        return Found::Named;
    };
    assert_written(&found, written, case);
    if world.model.fault(&found).is_none() {
        Found::Whole
    } else if db.stats().problems.is_empty() {
        Found::Silent
    } else {
        Found::Named
    }
}

/// Every value that is shown was written to its place once.
fn assert_written(found: &Contents, written: &Written, case: &str) {
    for (cell, value) in found {
        let own = written.get(cell);
        let was_written = own.is_some_and(|own| own.contains(value));
        assert!(was_written, "{case}: {cell:?} is {value:?}, never written");
    }
}

/// How many operations lie between the lie and the loss of power, where there are so many.
const DISTANCES: [usize; 5] = [0, 1, 2, 4, 9];

/// Losses that something later knows of are named so many times as often as they are not.
const NAMED_PART: u64 = 5;

#[test]
fn what_a_lying_disk_lost_is_never_shown_as_something_else() {
    let mut tally = BTreeMap::new();
    for name in ["rollover", "many blocks", "restarts", "deletes"] {
        let all = scripts();
        let script = all.iter().find(|script| script.name == name).unwrap();
        let count = script.ops.len();
        let found = parallel(count * DISTANCES.len(), |case| {
            let (lie, distance) = (case % count, DISTANCES[case / count]);
            let end = lie + distance;
            (end < count).then(|| (distance == 0, look(script, (lie, end), case as u64)))
        });
        for (is_last, all) in found.into_iter().flatten() {
            for one in all {
                *tally.entry((one, is_last)).or_insert(0_u64) += 1;
            }
        }
    }
    println!("what a lie took, and whether power failed right behind it: {tally:?}");
    let count = |wanted: Found, is_last: bool| *tally.get(&(wanted, is_last)).unwrap_or(&0);
    // Where nothing came behind what was lost, or nothing that knew of it, nothing proves the loss.
    assert!(count(Found::Named, false) > NAMED_PART * count(Found::Silent, false));
    assert!(count(Found::Whole, false) > 200);
}
