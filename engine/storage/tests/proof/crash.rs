//! The simulated machine is switched off before every operation of scripted and of drawn runs:
//! whatever disk a crash may leave then opens, holds every acknowledged value bit by bit and none
//! that was never attempted, no request in part, and takes writes. A crash while such a disk is
//! opened leaves one that does the same. And every call of the disk fails, in every way.

use crate::explore::{Counts, Script, explore, fail_each};
use crate::scripts::{scripts, tiny};
use crate::setting;
use crate::support::options;

/// Disks that a crash left, all different, at least.
const DISTINCT_MIN: usize = 50_000;
/// Disks per crash point.
const IMAGES_PER_POINT: usize = 120;
const RANDOM_IMAGES_PER_POINT: usize = 30;
/// Operations of a drawn run.
const RANDOM_OPS: usize = 30;

#[test]
fn every_disk_that_a_crash_may_leave_holds_what_was_acknowledged_and_nothing_else() {
    let mut counts = Counts::default();
    for script in scripts() {
        let found = explore(&script, IMAGES_PER_POINT);
        found.print(&script.name);
        assert!(found.points > 60, "{}: {}", script.name, found.points);
        counts.add(found);
    }
    let first = setting("SILVERBACK_SEED", 1);
    for seed in first..first + setting("SILVERBACK_RUNS", 6) {
        let options = if seed % 2 == 0 { options() } else { tiny() };
        let found = explore(
            &Script::random(seed, RANDOM_OPS, options),
            RANDOM_IMAGES_PER_POINT,
        );
        found.print(&format!("drawn from {seed}"));
        counts.add(found);
    }
    counts.print("all");
    assert!(counts.distinct.len() >= DISTINCT_MIN);
    assert!(counts.again >= 5000, "{}", counts.again);
}

#[test]
fn no_failing_call_loses_what_was_acknowledged_or_stops_the_store_for_good() {
    let mut counts = Counts::default();
    for script in scripts() {
        let found = fail_each(&script, 1);
        println!("{}: {} failing calls", script.name, found.points);
        counts.add(found);
    }
    println!("{} failing calls", counts.points);
    assert!(counts.points > 20_000, "{}", counts.points);
}
