//! Runs a list of operations and goes through what may go wrong with it: the machine is switched
//! off before each operation of the disk, or a call of the disk fails. Every disk that may be left
//! is opened and compared with the model.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Mutex;

use silverback_storage::db::{Db, DbOptions};
use silverback_storage::env::SimEnv;
use silverback_storage::env::sim::{Failure, Fault, OpKind};
use silverback_storage::model::{FieldValue, PolicySpec};

use crate::deletes::series;
use crate::history::Model;
use crate::ops::{Draw, Op, any_row};
use crate::parallel::parallel;
use crate::support::{Contents, Row, read, row, write};
use crate::world::{World, open_with};

/// Of so many disks one is also crashed while it is opened.
const AGAIN_EVERY: u64 = 10;
/// Disks of each crash while a disk is opened.
const AGAIN_IMAGES: usize = 8;
/// Of so many disks one also takes writes and is flushed.
const WRITE_EVERY: u64 = 4;

/// What is done, and how the machine is set up.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) name: String,
    pub(crate) seed: u64,
    pub(crate) options: DbOptions,
    /// A machine without bound has none, and each write in one piece.
    pub(crate) short_writes: Option<usize>,
    pub(crate) ops: Vec<Op>,
}

impl Script {
    /// The operations that follow from `seed`, without those that change the machine.
    pub(crate) fn random(seed: u64, count: usize, options: DbOptions) -> Script {
        let mut draw = Draw::new(seed);
        let mut ops = vec![Op::Create("db"), Op::Create("other")];
        while ops.len() < count {
            let op = Op::from_number(draw.bits());
            if matches!(op, Op::Kill) {
                ops.push(Op::Reopen);
            } else if !matches!(op, Op::Crash(_)) {
                ops.push(op);
            }
        }
        Script {
            name: format!("random {seed}"),
            seed,
            options,
            short_writes: seed.is_multiple_of(3).then_some(700),
            ops,
        }
    }

    /// Runs it until the machine is off.
    pub(crate) fn run(&self, env: &SimEnv) -> World {
        self.run_with(env, |_| {})
    }

    /// The same, and calls `after` behind each operation.
    fn run_with(&self, env: &SimEnv, after: impl Fn(&World)) -> World {
        env.set_short_writes(self.short_writes);
        let mut world = World::new(env, self.options);
        for op in &self.ops {
            if env.is_off() {
                break;
            }
            world.apply(op);
            after(&world);
        }
        world
    }
}

/// How much was looked at.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Moments at which the machine was switched off, or calls that failed.
    pub(crate) points: u64,
    /// Disks opened and compared.
    pub(crate) images: u64,
    /// Of those, disks of crashes while a disk was opened.
    pub(crate) again: u64,
    /// Disks that differ from each other, by their bytes.
    pub(crate) distinct: BTreeSet<u64>,
}

impl Counts {
    pub(crate) fn print(&self, what: &str) {
        println!(
            "{what}: {} crash points, {} images, {} distinct, {} of crashes in recovery",
            self.points,
            self.images,
            self.distinct.len(),
            self.again
        );
    }

    pub(crate) fn add(&mut self, mut other: Counts) {
        self.points += other.points;
        self.images += other.images;
        self.again += other.again;
        self.distinct.append(&mut other.distinct);
    }
}

/// All names and bytes of a disk, as one number.
fn fingerprint(env: &SimEnv) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in env.paths() {
        path.hash(&mut hasher);
        env.peek(&path).unwrap().hash(&mut hasher);
    }
    hasher.finish()
}

/// Switches the machine off before every operation of `script` and opens up to `images_per_point`
/// of the disks that each may leave.
pub(crate) fn explore(script: &Script, images_per_point: usize) -> Counts {
    let whole = SimEnv::new(script.seed);
    let world = script.run(&whole);
    let unbounded = !script.ops.iter().any(|op| matches!(op, Op::Space(Some(_))));
    if unbounded {
        assert_eq!(world.failure, None, "{}: whole", script.name);
    }
    drop(world);
    let points = usize::try_from(whole.op_count()).unwrap() + 1;
    let seen = Mutex::new(BTreeSet::new());
    let all = parallel(points, |stop| {
        let env = SimEnv::new(script.seed);
        env.stop_before(stop as u64);
        let world = script.run(&env);
        let point = Point {
            script,
            name: format!("{}, stop {stop}", script.name),
            exact: unbounded,
            model: world.model.clone(),
        };
        drop(world);
        point.look(&env, images_per_point, &seen)
    });
    let mut counts = Counts::default();
    for one in all {
        counts.add(one);
    }
    counts
}

/// A moment at which the machine was switched off.
struct Point<'a> {
    script: &'a Script,
    name: String,
    /// Nothing failed before it, so that one attempt at most is uncertain.
    exact: bool,
    model: Model,
}

impl Point<'_> {
    fn look(&self, env: &SimEnv, count: usize, seen: &Mutex<BTreeSet<(u64, u64)>>) -> Counts {
        let mut counts = Counts {
            points: 1,
            ..Counts::default()
        };
        for image in env.crash_images(count) {
            let print = fingerprint(&image.env);
            // The same disk may be left at another moment: then more may have been acknowledged.
            let is_new = seen.lock().unwrap().insert((print, self.model.attempts()));
            if !is_new {
                continue;
            }
            counts.images += 1;
            counts.distinct.insert(print);
            let case = format!("{} image {}: {}", self.name, image.number, image.choice);
            // Kept apart, for a crash while it is opened.
            let pristine = image.env.after_kill();
            let steps = self.check(&image.env, print, &case);
            if print.is_multiple_of(AGAIN_EVERY) {
                self.crash_again(&pristine, (steps, &case), &mut counts);
            }
        }
        counts
    }

    /// Crashes at each step of opening a disk and opens what that leaves.
    fn crash_again(&self, disk: &SimEnv, (steps, case): (u64, &str), counts: &mut Counts) {
        for stop in 0..steps {
            let env = disk.after_kill();
            env.stop_before(stop);
            drop(open_with(&env, self.script.options));
            for image in env.crash_images(AGAIN_IMAGES) {
                let print = fingerprint(&image.env);
                if counts.distinct.insert(print) {
                    counts.images += 1;
                    counts.again += 1;
                    let case = format!("{case}; again at {stop}: {}", image.choice);
                    self.check(&image.env, print, &case);
                }
            }
        }
    }

    /// Opens a disk and compares it with the model; some are also written to. How many steps the
    /// opening took.
    fn check(&self, env: &SimEnv, print: u64, case: &str) -> u64 {
        check(env, self.script.options, &self.model, case, |db, found| {
            let torn = self.model.torn(found).filter(|_| self.exact);
            assert_eq!(torn, None, "{case}");
            print.is_multiple_of(WRITE_EVERY) && db.databases().iter().any(|name| &**name == "db")
        })
    }
}

/// Opens a disk, compares it with the model, and writes to it where `wants_write` says so. How many
/// steps the opening took.
fn check(
    env: &SimEnv,
    options: DbOptions,
    model: &Model,
    case: &str,
    wants_write: impl FnOnce(&Db, &Contents) -> bool,
) -> u64 {
    let db = open_with(env, options).unwrap_or_else(|error| panic!("{case}: {error}"));
    let steps = env.op_count();
    let found = read(&db).unwrap_or_else(|error| panic!("{case}: {error}"));
    if let Some(fault) = model.fault(&found) {
        panic!("{case}: {fault}");
    }
    for name in db.databases() {
        let listed = series(&db, &name).unwrap();
        assert_eq!(model.listed_fault(&name, &found, &listed), None, "{case}");
    }
    let stats = db.stats();
    assert_eq!(stats.problems, [], "{case}");
    let files = |folder: &str| {
        let paths = env.paths();
        paths.iter().filter(|path| path.starts_with(folder)).count() as u64
    };
    assert_eq!(files("blocks"), stats.blocks, "{case}: an orphan stays");
    assert_eq!(files("registry"), stats.registry_files, "{case}");
    if !wants_write(&db, &found) {
        return steps;
    }
    let mut model = model.clone();
    model.settle(&found);
    db.create_database("db", &PolicySpec::default()).unwrap();
    let more = after();
    let outcome = write(&db, "db", &more);
    assert!(outcome.is_ok(), "{case}: {outcome:?}");
    model.write("db", &more, &outcome);
    // What the crash left of the log's end must not be in the way of what comes behind it.
    let killed = env.after_kill();
    let again = open_with(&killed, options).unwrap_or_else(|error| panic!("{case}: {error}"));
    let found = read(&again).unwrap();
    assert_eq!(model.fault(&found), None, "{case}, killed after a write");
    assert_eq!(again.stats().problems, [], "{case}, killed after a write");
    db.flush().unwrap();
    let found = read(&db).unwrap();
    assert_eq!(model.fault(&found), None, "{case}, after a write");
    steps
}

/// What is written to a disk that was just opened: known series and new ones.
fn after() -> Vec<Row> {
    let float = |bits| FieldValue::Float(bits);
    vec![
        row("cpu", &[("host", "h1")], 77, &[("f0", float(7.7))]),
        row("cpu", &[("host", "new")], 78, &[("f0", float(7.8))]),
        row("new", &[("host", "h1")], 79, &[("f0", float(7.9))]),
    ]
}

/// How long calls fail, from the one on that is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lasts {
    Once,
    /// Until the operation ends that met it: what it tried to undo failed too.
    Operation,
    Ever,
    /// Once, and power fails a few calls later, before anything mends it.
    OnceThenPower,
}

/// Calls from the one that fails to the loss of power.
const CALLS_TO_POWER: u64 = 6;

/// Ways for a call to fail: which calls, how, and how long.
pub(crate) const FAILURES: [(Option<OpKind>, Failure, Lasts); 8] = [
    (None, Failure::Io, Lasts::OnceThenPower),
    (None, Failure::Io, Lasts::Once),
    (None, Failure::Io, Lasts::Operation),
    (None, Failure::Io, Lasts::Ever),
    (None, Failure::Full, Lasts::Once),
    (None, Failure::Full, Lasts::Ever),
    (Some(OpKind::Read), Failure::Io, Lasts::Once),
    (Some(OpKind::Open), Failure::Io, Lasts::Once),
];

/// Lets every call of the disk fail in every way of [`FAILURES`], every `stride`-th of them.
pub(crate) fn fail_each(script: &Script, stride: usize) -> Counts {
    let whole = SimEnv::new(script.seed);
    drop(script.run(&whole));
    // Reads are not counted as changes are: as many are tried, which is about as many as there are.
    let calls = usize::try_from(whole.op_count()).unwrap().div_ceil(stride);
    let all = parallel(calls * FAILURES.len(), |case| {
        let after = (case / FAILURES.len() * stride) as u64;
        fail_one(script, after, FAILURES[case % FAILURES.len()])
    });
    let mut counts = Counts::default();
    for one in all {
        counts.add(one);
    }
    counts
}

fn fail_one(
    script: &Script,
    after: u64,
    (kind, failure, lasts): (Option<OpKind>, Failure, Lasts),
) -> Counts {
    let case = format!(
        "{}, call {after} of {kind:?}, {failure:?}, lasts {lasts:?}",
        script.name
    );
    let env = SimEnv::new(script.seed);
    env.inject(Fault {
        kind,
        after,
        failure,
        sticky: matches!(lasts, Lasts::Operation | Lasts::Ever),
    });
    if lasts == Lasts::OnceThenPower {
        env.stop_before(after + CALLS_TO_POWER);
    }
    let mut world = script.run_with(&env, |world| {
        if lasts == Lasts::Operation && world.failure.is_some() {
            world.env.heal();
        }
    });
    env.heal();
    env.set_capacity(None);
    if let Some(db) = world.db.as_ref().filter(|_| !env.is_off()) {
        match read(db) {
            Ok(found) => assert_eq!(world.model.fault(&found), None, "{case}, still open"),
            // A block that could not be read stays aside until the next start.
            Err(error) => assert!(kind.is_some() && error.place().is_some(), "{case}: {error}"),
        }
        if failure == Failure::Full {
            // Space is back: the store goes on by itself.
            db.create_database("db", &PolicySpec::default())
                .unwrap_or_else(|error| panic!("{case}: {error}"));
            world.write("db", &after_failure());
        }
    }
    drop(world.db.take());
    let mut counts = Counts {
        points: 1,
        ..Counts::default()
    };
    // The process ends; or power failed, and what a failed sync left behind is all there is.
    let disk = match lasts {
        Lasts::OnceThenPower => env.crash_images(1).next().map(|image| image.env),
        Lasts::Once | Lasts::Operation | Lasts::Ever => None,
    };
    let disk = disk.unwrap_or_else(|| env.after_kill());
    counts.images += 1;
    counts.distinct.insert(fingerprint(&disk));
    check(&disk, script.options, &world.model, &case, |_, _| true);
    counts
}

/// What is written once the disk works again.
fn after_failure() -> Vec<Row> {
    let mut draw = Draw::new(500);
    (0..3).map(|_| any_row(&mut draw)).collect()
}
