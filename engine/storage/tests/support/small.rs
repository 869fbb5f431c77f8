//! Small stores: one database, one value a row.

use silverback_storage::db::Db;
use silverback_storage::env::SimEnv;
use silverback_storage::model::{FieldValue, PolicySpec};

use crate::support::{open, read};

pub(crate) fn float(value: f64) -> FieldValue {
    FieldValue::Float(value)
}

/// A new store with a database.
pub(crate) fn open_with(env: &SimEnv, database: &str) -> Db {
    let db = open(env).unwrap();
    db.create_database(database, &PolicySpec::default())
        .unwrap();
    db
}

/// The values of one field with their times, by series.
pub(crate) fn values(db: &Db, field: &str) -> Vec<(i64, FieldValue)> {
    let contents = read(db).unwrap();
    let own = contents.into_iter().filter(|(cell, _)| cell.4 == field);
    own.map(|(cell, value)| (cell.3, value)).collect()
}
