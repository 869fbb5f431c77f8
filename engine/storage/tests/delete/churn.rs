//! Series that come, get a row and end, as those of containers do: nothing of them is left once
//! their rows are gone, whether retention or a delete took those.

use std::sync::Arc;
use std::time::Duration;

use silverback_storage::db::{Db, DbOptions, Limits};
use silverback_storage::env::SimEnv;
use silverback_storage::model::{FieldValue, PolicySpec, TimeRange};

use crate::deletes::{Choice, delete, series};
use crate::support::{Row, options, row, write};

/// Series of a generation.
const PODS: i64 = 1500;
/// Generations whose rows there are at once, at most.
const LIVE: i64 = 5;
const GENERATIONS: i64 = 24;
const HOUR_NS: i64 = 3_600_000_000_000;

fn open(env: &SimEnv, policy: &PolicySpec) -> Db {
    let options = DbOptions {
        // A third of those that are ever made.
        limits: Limits {
            series_max: u64::try_from(PODS * (LIVE + 3)).unwrap(),
            ..Limits::default()
        },
        ..options()
    };
    let db = Db::open(Arc::new(env.clone()), options).unwrap();
    db.create_database("db", policy).unwrap();
    db
}

fn write_generation(db: &Db, generation: i64, time: i64) {
    let host = generation.to_string();
    let of_pod = |pod: i64| {
        let pod = format!("pod-{generation}-{pod}");
        let tags = [("host", &*host), ("pod", &*pod)];
        row("pods", &tags, time, &[("v", FieldValue::Integer(time))])
    };
    let rows: Vec<Row> = (0..PODS).map(of_pod).collect();
    write(db, "db", &rows).unwrap();
}

/// What a generation left, once the first few are gone.
struct Watched {
    disk_bytes: usize,
}

impl Watched {
    fn check(&mut self, (env, db): (&SimEnv, &Db), generation: i64) {
        let files = env.paths().into_iter().map(|path| env.peek(&path).unwrap());
        let disk_bytes: usize = files.map(|bytes| bytes.len()).sum();
        if generation <= LIVE {
            self.disk_bytes = self.disk_bytes.max(disk_bytes);
            return;
        }
        let stats = db.stats();
        let shown = series(db, "db").unwrap().len();
        let live = usize::try_from(PODS * LIVE).unwrap();
        assert!(shown <= live, "{shown} series are shown in {generation}");
        let held = stats.registry_series;
        assert!(
            held <= 2 * live as u64,
            "{held} in the registry in {generation}"
        );
        let index = stats.index_bytes;
        assert!(index < 200_000, "{index} bytes of index in {generation}");
        let bound = self.disk_bytes * 2;
        assert!(
            disk_bytes <= bound,
            "{disk_bytes} of {bound} bytes in {generation}"
        );
        assert_eq!(stats.problems, []);
    }
}

#[test]
fn what_retention_drops_takes_its_series_along() {
    let env = SimEnv::new(1);
    env.set_now(480_000 * HOUR_NS);
    let policy = PolicySpec {
        name: Some("short".into()),
        duration_ns: Some(3 * HOUR_NS),
        partition_ns: Some(HOUR_NS),
        replication: Some(1),
    };
    let db = open(&env, &policy);
    let mut watched = Watched { disk_bytes: 0 };
    for generation in 0..GENERATIONS {
        write_generation(&db, generation, (480_000 + generation) * HOUR_NS + 1);
        db.flush().unwrap();
        env.advance(Duration::from_secs(3600));
        env.run_steps(64);
        watched.check((&env, &db), generation);
    }
    let retired = db.stats().series_retired;
    assert!(
        retired >= 12 * PODS.cast_unsigned(),
        "{retired} are retired"
    );
}

#[test]
fn what_a_delete_hides_takes_its_series_along_once_it_is_purged() {
    let env = SimEnv::new(2);
    let db = open(&env, &PolicySpec::default());
    let mut watched = Watched { disk_bytes: 0 };
    for generation in 0..GENERATIONS {
        write_generation(&db, generation, generation);
        db.flush().unwrap();
        let choice = Choice {
            measurements: vec!["pods".into()],
            host: Some((generation - 2).to_string()),
            range: TimeRange::ALL,
        };
        delete(&db, "db", &choice).unwrap();
        db.compact().unwrap();
        watched.check((&env, &db), generation);
    }
    let retired = db.stats().series_retired;
    assert!(
        retired >= 12 * PODS.cast_unsigned(),
        "{retired} are retired"
    );
}
