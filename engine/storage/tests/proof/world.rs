//! A store to do things to, beside the model of what it may hold.

use std::sync::Arc;
use std::time::Duration;

use silverback_storage::db::{Db, DbOptions, WriteOptions};
use silverback_storage::env::{Env, SimEnv};
use silverback_storage::error::{Error, ErrorKind, Result};
use silverback_storage::model::{Batch, FieldValue, PolicyChange, PolicyInfo, PolicySpec};
use silverback_storage::upkeep::backup::restore;

use crate::deletes::{Choice, delete};
use crate::history::Model;
use crate::names::Change;
use crate::ops::{Aging, Op};
use crate::support::{Cell, Keys, Row, batch, read, row, write};

/// The database that has a policy that ages, the policy, and the measurement that only it has.
const OWNER: &str = "db";
const POLICY: &str = "short";
pub(crate) const AGING: &str = "aging";
const HOUR_NS: i64 = 3_600_000_000_000;
/// How long the policy keeps its points, unless it is altered.
const POLICY_HOURS: i64 = 3;
/// Disks among which a crash chooses.
const CRASH_IMAGES: usize = 16;

/// The store of a machine.
pub(crate) fn open_with(env: &SimEnv, options: DbOptions) -> Result<Db> {
    Db::open(Arc::new(env.clone()), options)
}

/// A store, what it may hold, and how often anything failed so far.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) db: Option<Db>,
    pub(crate) env: SimEnv,
    pub(crate) model: Model,
    /// The last failure, in words.
    pub(crate) failure: Option<String>,
    options: DbOptions,
    /// The machine that has the backups.
    vault: SimEnv,
}

impl World {
    pub(crate) fn new(env: &SimEnv, options: DbOptions) -> World {
        let mut world = World {
            db: None,
            env: env.clone(),
            model: Model::default(),
            failure: None,
            options,
            vault: SimEnv::new(77),
        };
        world.open();
        world
    }

    /// Does it, and notes in the model how it ended.
    pub(crate) fn apply(&mut self, op: &Op) {
        match op {
            Op::Create(database) => self.create(database),
            Op::Write(database, rows) => self.write(database, rows),
            Op::WriteAging(points) => self.write_aging(points),
            Op::Flush => drop(self.attempt(Db::flush)),
            Op::Compact => drop(self.attempt(Db::compact)),
            Op::Steps(count) => {
                self.env.advance(Duration::from_secs(3601));
                self.env.run_steps(*count);
            }
            Op::DropMeasurement(database, measurement) => {
                self.drop_measurement(database, measurement);
            }
            Op::DropDatabase(database) => {
                let outcome = self.attempt(|db| db.drop_database(database));
                self.model.drop_where(|cell| cell.0 == *database, &outcome);
                self.create(database);
            }
            Op::Delete(database, choice) => self.delete(database, choice),
            Op::Alter(database, measurement, change) => {
                self.alter(database, measurement, *change);
            }
            Op::Advance(quarters) => self.env.advance(Duration::from_secs(900 * quarters)),
            Op::SetClock(hours) => self.env.set_now(self.env.now_ns() + hours * HOUR_NS),
            Op::Retention => self.retention(),
            Op::AlterPolicy(hours) => self.alter_policy(*hours),
            Op::DropPolicy => {
                let outcome = self.attempt(|db| db.drop_policy(OWNER, POLICY));
                self.model
                    .drop_where(|cell| cell.0 == OWNER && cell.1 == AGING, &outcome);
                self.create(OWNER);
            }
            Op::Backup => self.back_up(),
            Op::Close => {
                self.attempt(Db::close).ok();
                self.reopen();
            }
            Op::Reopen => self.reopen(),
            Op::Kill => self.move_to(self.env.after_kill()),
            Op::Crash(choice) => {
                let mut images = self.env.crash_images(CRASH_IMAGES);
                let number = choice % images.len();
                let image = images.nth(number).unwrap();
                self.move_to(image.env);
            }
            Op::Space(bytes) => self.bound_space(*bytes),
        }
        if let Some(policy) = self.policy() {
            self.fade(&policy);
        }
    }

    fn open(&mut self) {
        match open_with(&self.env, self.options) {
            Ok(db) => self.db = Some(db),
            Err(error) => self.failed(&error),
        }
    }

    fn reopen(&mut self) {
        self.db = None;
        self.open();
    }

    /// Puts the process on another machine.
    fn move_to(&mut self, env: SimEnv) {
        self.env.power_off();
        self.db = None;
        self.env = env;
        self.open();
    }

    fn failed(&mut self, error: &Error) {
        self.failure = Some(error.to_string());
    }

    fn attempt(&mut self, what: impl FnOnce(&Db) -> Result<()>) -> Result<()> {
        let outcome = match &self.db {
            Some(db) => what(db),
            None => Err(Error::new(ErrorKind::Closed, "it did not open")),
        };
        if let Err(error) = &outcome {
            self.failed(error);
        }
        outcome
    }

    /// Makes a database, and its policy that ages, where they are missing.
    fn create(&mut self, database: &str) {
        self.attempt(|db| db.create_database(database, &PolicySpec::default()))
            .ok();
        if database == OWNER && self.policy().is_none() {
            let spec = PolicySpec {
                name: Some(POLICY.into()),
                duration_ns: Some(POLICY_HOURS * HOUR_NS),
                partition_ns: Some(HOUR_NS),
                replication: None,
            };
            self.attempt(|db| db.create_policy(OWNER, &spec, false))
                .ok();
        }
    }

    /// The policy that ages, as the store has it.
    fn policy(&self) -> Option<PolicyInfo> {
        let snapshot = self.db.as_ref()?.snapshot(OWNER)?;
        snapshot.catalog().policy(Some(POLICY)).cloned()
    }

    /// Notes what is past its time by now: it may be there or not, until it is dropped for good.
    fn fade(&mut self, policy: &PolicyInfo) {
        let cutoff = policy.cutoff(self.env.now_ns()).unwrap();
        self.model
            .fade(|cell| cell.0 == OWNER && cell.1 == AGING && cell.3 < cutoff);
    }

    pub(crate) fn write(&mut self, database: &str, rows: &[Row]) {
        let outcome = self.attempt(|db| write(db, database, rows));
        self.model.write(database, rows, &outcome);
    }

    fn write_aging(&mut self, points: &[Aging]) {
        let Some(policy) = self.policy() else {
            return;
        };
        let now = self.env.now_ns();
        let one = |point: &Aging| {
            let time = now - point.age * HOUR_NS / 4;
            let fields = [("f1", FieldValue::Integer(point.value))];
            row(AGING, &[("host", point.host)], time, &fields)
        };
        let rows: Vec<Row> = points.iter().map(one).collect();
        let earliest = policy.earliest(now);
        let outcome = self.attempt(|db| {
            let (text, measurements) = batch(db.hasher(), &rows);
            let batch = Batch {
                text: &text,
                rows: measurements,
            };
            let submitted = db.write(OWNER, Some(POLICY), batch, &Keys, WriteOptions::default())?;
            let late = rows.iter().filter(|row| row.time < earliest);
            assert_eq!(submitted.rejected.len(), late.count());
            submitted.ticket.wait().map(drop)
        });
        let mut kept = rows;
        kept.retain(|row| row.time >= earliest);
        self.model.write(OWNER, &kept, &outcome);
    }

    fn drop_measurement(&mut self, database: &str, measurement: &str) {
        let outcome = self.attempt(|db| db.drop_measurement(database, measurement.as_bytes()));
        let gone = |cell: &Cell| cell.0 == database && cell.1 == measurement;
        self.model.drop_where(gone, &outcome);
    }

    fn delete(&mut self, database: &str, choice: &Choice) {
        let outcome = self.attempt(|db| delete(db, database, choice));
        let gone = |cell: &Cell| cell.0 == database && choice.means(cell);
        self.model.drop_where(gone, &outcome);
    }

    /// Changes a measurement if the names allow it, and expects to be refused if they do not.
    fn alter(&mut self, database: &str, measurement: &str, change: Change) {
        let Some(db) = &self.db else {
            return;
        };
        let refusal = change.refusal(db, database, measurement);
        let outcome = change.apply(db, database, measurement);
        if let Some(kind) = refusal {
            if outcome.as_ref().err().map(Error::kind) == Some(kind) {
                return;
            }
            // A measurement that a failed write would have made is not shown, and may be changed all
            // the same; and a disk that fails may say so first.
            let is_hurt = self.failure.is_some() || self.env.is_off();
            assert!(
                is_hurt,
                "{change:?} of {measurement}: {outcome:?}, not {kind:?}"
            );
        }
        if let Err(error) = &outcome {
            let words = error.to_string();
            self.failure = Some(words);
        }
        let after = |cell: &Cell| {
            if cell.0 == database && cell.1 == measurement {
                change.of(cell)
            } else {
                Some(cell.clone())
            }
        };
        self.model.alter(after, &outcome);
    }

    fn alter_policy(&mut self, hours: i64) {
        let Some(policy) = self.policy() else {
            return;
        };
        let change = PolicyChange {
            duration_ns: Some(hours * HOUR_NS),
            ..PolicyChange::default()
        };
        // Past one time or the other: either may be looked at from now on.
        self.fade(&policy.changed(&change).unwrap());
        self.attempt(|db| db.alter_policy(OWNER, POLICY, &change))
            .ok();
    }

    /// Flushes and drops all that is past its time.
    fn retention(&mut self) {
        let Some(policy) = self.policy() else {
            return;
        };
        let outcome = self.attempt(|db| {
            db.flush()?;
            // The first lets what has to wait begin to, the second ends that.
            db.confirm_retention()?;
            db.confirm_retention().map(drop)
        });
        if outcome.is_ok() {
            let cutoff = policy.cutoff(self.env.now_ns()).unwrap();
            let gone = |cell: &Cell| cell.0 == OWNER && cell.1 == AGING && cell.3 < cutoff;
            self.model.drop_where(gone, &outcome);
        }
    }

    /// Backs up to the vault; what it restores to then is what the store holds.
    fn back_up(&mut self) {
        let vault: Arc<dyn Env> = Arc::new(self.vault.clone());
        if self
            .attempt(|db| db.backup(&vault, &mut |_| Ok(())).map(drop))
            .is_err()
        {
            return;
        }
        let target = SimEnv::new(78);
        target.set_now(self.env.now_ns());
        let shared: Arc<dyn Env> = Arc::new(target.clone());
        restore(&self.vault, &shared, &mut |_| Ok(())).unwrap();
        let restored = open_with(&target, self.options).unwrap();
        let found = read(&restored).unwrap();
        assert_eq!(self.model.fault(&found), None, "restored from a backup");
        assert_eq!(restored.stats().problems, []);
    }

    fn bound_space(&self, bytes: Option<u64>) {
        let used = || {
            let paths = self.env.paths();
            let sizes = paths
                .iter()
                .map(|path| self.env.peek(path).unwrap().len() as u64);
            sizes.sum::<u64>()
        };
        self.env.set_capacity(bytes.map(|bytes| bytes + used()));
    }
}
