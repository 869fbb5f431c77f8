//! Writes large enough to wait for a flush in few bytes, between deletes, drops, kills and reads, against a map.

use silverback_storage::db::{Alter, Db, Delete};
use silverback_storage::env::SimEnv;
use silverback_storage::model::{FieldValue, TagPredicate, TimeRange};

use crate::small::{float, open_with};
use crate::support::{Contents, Row, open, read, row, write};

/// Numbers that look drawn.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (self.0 >> 33) % below
    }
}

/// Rows of three hosts whose whole numbers span a byte, two, four, eight, and which lack some; in any order, some
/// of them twice.
fn rows(dice: &mut Dice) -> Vec<Row> {
    let one = |_| {
        let host = format!("h{}", dice.roll(3));
        let time = i64::try_from(dice.roll(900)).unwrap() * 1_000_000_000;
        let wide = dice.roll(1 << 31) << dice.roll(32);
        let mut fields = vec![
            (
                "byte",
                FieldValue::Integer(i64::try_from(dice.roll(100)).unwrap() - 50),
            ),
            ("two", FieldValue::Unsigned(u64::MAX - dice.roll(60_000))),
            ("wide", FieldValue::Integer(wide.cast_signed())),
            ("float", float(0.5)),
        ];
        if dice.roll(4) > 0 {
            let four = i64::MIN.saturating_add_unsigned(dice.roll(1 << 30));
            fields.push(("four", FieldValue::Integer(four)));
        }
        fields.swap_remove(usize::try_from(dice.roll(4)).unwrap());
        row("cpu", &[("host", &host)], time, &fields)
    };
    (0..400).map(one).collect()
}

fn apply(model: &mut Contents, rows: &[Row]) {
    for row in rows {
        for (field, value) in &row.fields {
            let (database, measurement) = ("db".into(), row.measurement.clone());
            let cell = (
                database,
                measurement,
                row.tags.clone(),
                row.time,
                field.clone(),
            );
            model.insert(cell, value.clone());
        }
    }
}

/// Deletes a span of one host.
fn forget(db: &Db, model: &mut Contents, dice: &mut Dice) {
    let host = format!("h{}", dice.roll(3));
    let start = i64::try_from(dice.roll(900)).unwrap() * 1_000_000_000;
    let range = TimeRange {
        start,
        end: start + 200_000_000_000,
    };
    let predicate = TagPredicate::Equal {
        key: b"host"[..].into(),
        value: host.as_bytes().into(),
    };
    let delete = Delete {
        policy: None,
        measurements: vec![(b"cpu", predicate)],
        range,
    };
    db.delete("db", &delete).unwrap();
    model.retain(|(_, _, tags, time, _), _| tags["host"] != host || !range.contains(*time));
}

#[test]
fn rows_that_wait_in_few_bytes_come_back_whatever_happens_meanwhile() {
    for seed in 1..=12 {
        let mut dice = Dice(seed);
        let mut env = SimEnv::new(seed);
        let mut db = open_with(&env, "db");
        let mut model = Contents::new();
        for step in 0..16 {
            let case = format!("seed {seed}, step {step}");
            match dice.roll(8) {
                0 => db.flush().unwrap(),
                1 if !model.is_empty() => forget(&db, &mut model, &mut dice),
                2 => assert!(read(&db).unwrap() == model, "{case}"),
                3 => {
                    drop(db);
                    env = env.after_kill();
                    db = open(&env).unwrap();
                }
                _ => {
                    let rows = rows(&mut dice);
                    write(&db, "db", &rows).unwrap();
                    apply(&mut model, &rows);
                }
            }
        }
        if model.keys().any(|cell| cell.4 == "byte") {
            db.alter_measurement("db", b"cpu", Alter::DropField(b"byte"))
                .unwrap();
            model.retain(|cell, _| cell.4 != "byte");
        }
        assert!(read(&db).unwrap() == model, "seed {seed}, at the end");
        db.flush().unwrap();
        db.compact().unwrap();
        assert!(read(&db).unwrap() == model, "seed {seed}, compacted");
    }
}
