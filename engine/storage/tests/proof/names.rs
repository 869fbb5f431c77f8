//! Names that change: of measurements, tag keys and fields; and fields that go.

use silverback_storage::db::{Alter, Db};
use silverback_storage::error::{ErrorKind, Result};

use crate::ops::Draw;
use crate::support::Cell;

/// Names that measurements may have; those that are written come first.
pub(crate) const MEASUREMENTS: [&str; 5] = ["cpu", "mem", "disk", "x", "y"];
const TAGS: [&str; 4] = ["host", "dc", "a", "z"];
/// Those that are written, and what each may be renamed to and from.
const FIELDS: [&str; 5] = ["f0", "f1", "f2", "f3", "f4"];
const FIELDS_RENAMED: [&str; 5] = ["g0", "g1", "g2", "g3", "g4"];

/// A change of a measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Rename(&'static str),
    RenameTag(&'static str, &'static str),
    RenameField(&'static str, &'static str),
    DropField(&'static str),
}

impl Change {
    pub(crate) fn any(draw: &mut Draw) -> Change {
        let kind = draw.below(FIELDS.len());
        let (mut from, mut to) = (FIELDS[kind], FIELDS_RENAMED[kind]);
        if draw.below(2) == 0 {
            (from, to) = (to, from);
        }
        match draw.below(4) {
            0 => Change::Rename(draw.one_of(&MEASUREMENTS)),
            1 => Change::RenameTag(draw.one_of(&TAGS), draw.one_of(&TAGS)),
            2 => Change::RenameField(from, to),
            _ => Change::DropField(from),
        }
    }

    /// How the store must refuse it, by the names that it shows; `None` where it must not.
    pub(crate) fn refusal(self, db: &Db, database: &str, measurement: &str) -> Option<ErrorKind> {
        let snapshot = db.snapshot(database);
        let catalog = snapshot.as_ref().map(|snapshot| snapshot.catalog());
        let info = catalog.and_then(|catalog| catalog.measurement(measurement.as_bytes()));
        let Some(info) = info else {
            return Some(ErrorKind::NotFound);
        };
        let tag = |name: &str| info.tag_key_id(name.as_bytes()).is_some();
        let field = |name: &str| info.field(name.as_bytes()).is_some();
        let (is_there, is_taken) = match self {
            Change::Rename(to) => {
                let other = catalog.and_then(|catalog| catalog.measurement(to.as_bytes()));
                (true, other.is_some())
            }
            Change::RenameTag(from, to) => (tag(from), tag(to)),
            Change::RenameField(from, to) => (field(from), field(to)),
            Change::DropField(from) => (field(from), false),
        };
        match (is_there, is_taken) {
            (false, _) => Some(ErrorKind::NotFound),
            (true, true) => Some(ErrorKind::Conflict),
            (true, false) => None,
        }
    }

    pub(crate) fn apply(self, db: &Db, database: &str, measurement: &str) -> Result<()> {
        let alter = match self {
            Change::Rename(to) => Alter::Rename(to.as_bytes()),
            Change::RenameTag(from, to) => Alter::RenameTag {
                from: from.as_bytes(),
                to: to.as_bytes(),
            },
            Change::RenameField(from, to) => Alter::RenameField {
                from: from.as_bytes(),
                to: to.as_bytes(),
            },
            Change::DropField(from) => Alter::DropField(from.as_bytes()),
        };
        db.alter_measurement(database, measurement.as_bytes(), alter)
    }

    /// What it makes of a cell of its measurement; `None` where the cell goes.
    pub(crate) fn of(self, cell: &Cell) -> Option<Cell> {
        let mut cell = cell.clone();
        match self {
            Change::Rename(to) => to.clone_into(&mut cell.1),
            Change::RenameTag(from, to) => {
                if let Some(value) = cell.2.remove(from) {
                    cell.2.insert(to.to_owned(), value);
                }
            }
            Change::RenameField(from, to) if cell.4 == from => to.clone_into(&mut cell.4),
            Change::DropField(from) if cell.4 == from => return None,
            Change::RenameField(..) | Change::DropField(_) => {}
        }
        Some(cell)
    }
}
