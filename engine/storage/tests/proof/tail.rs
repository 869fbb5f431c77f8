//! What a crash left behind the end of the log never comes back: a write that stood behind a lost one is
//! lost with it, even where the next write takes the lost one's place to the byte.

use silverback_storage::db::{Db, Durability, WriteOptions};
use silverback_storage::env::SimEnv;
use silverback_storage::model::{Batch, FieldValue, PolicySpec};

use crate::support::{Keys, batch, open, read, row};

/// Disks that the crash may leave.
const IMAGES: usize = 300;

fn put(db: &Db, time: i64, durability: Durability) {
    let rows = [row("m", &[], time, &[("f", FieldValue::Integer(time))])];
    let (text, rows) = batch(db.hasher(), &rows);
    let batch = Batch { text: &text, rows };
    let submitted = db.write("db", None, batch, &Keys, WriteOptions { durability });
    submitted.unwrap().ticket.wait().unwrap();
}

fn times(db: &Db) -> Vec<i64> {
    read(db).unwrap().keys().map(|cell| cell.3).collect()
}

/// How many disks had lost a write and kept one behind it.
pub(crate) fn leave_tails() -> usize {
    let env = SimEnv::new(41);
    let db = open(&env).unwrap();
    db.create_database("db", &PolicySpec::default()).unwrap();
    put(&db, 1, Durability::Disk);
    for time in 2..5 {
        put(&db, time, Durability::Buffered);
    }
    let mut shortened = 0;
    for image in env.crash_images(IMAGES) {
        let last = image
            .env
            .paths()
            .into_iter()
            .rfind(|path| path.starts_with("wal"));
        let last = last.unwrap();
        let size = |env: &SimEnv| env.peek(&last).unwrap().len();
        let before = size(&image.env);
        let crashed = open(&image.env).unwrap();
        // Space for more was kept behind the end: it is gone with whatever lay there.
        assert!(
            size(&image.env) < before,
            "{}: the tail is left",
            image.choice
        );
        let mut expected = times(&crashed);
        let is_beginning = (1..).zip(&expected).all(|(number, time)| number == *time);
        assert!(is_beginning, "{}: {expected:?}", image.choice);
        shortened += usize::from(expected.len() < 4);
        // As long as the lost one, so that what lay behind it would follow.
        put(&crashed, 9, Durability::Disk);
        expected.push(9);
        let again = open(&image.env.after_kill()).unwrap();
        assert_eq!(times(&again), expected, "{}", image.choice);
        assert_eq!(again.stats().problems, [], "{}", image.choice);
    }
    shortened
}

#[test]
fn nothing_comes_back_from_behind_the_end_of_the_log() {
    let shortened = leave_tails();
    assert!(shortened > 20, "{shortened}");
}
