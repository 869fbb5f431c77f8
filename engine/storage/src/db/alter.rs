//! Renames, and fields dropped: edits of the catalogue alone, for keys and rows hold ids. Durable
//! before anybody sees them. A later write of an old name starts anew, with ids of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::db::Db;
use crate::db::limits::Limits;
use crate::error::{Error, ErrorKind, Result};
use crate::format::definitions::Names;
use crate::format::manifest::Edit;
use crate::manifest::catalog::DatabaseCatalog;
use crate::model::{Alteration, MeasurementInfo, NameOf, unwritable};

/// What is to change of a measurement, by names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alter<'names> {
    /// Its name becomes this one.
    Rename(&'names [u8]),
    /// A tag key gets another name in it.
    RenameTag {
        /// What it is called.
        from: &'names [u8],
        /// What it is to be called.
        to: &'names [u8],
    },
    /// A field gets another name.
    RenameField {
        /// What it is called.
        from: &'names [u8],
        /// What it is to be called.
        to: &'names [u8],
    },
    /// A field goes with all its values.
    DropField(&'names [u8]),
}

impl Db {
    /// Renames a measurement, a tag key or a field of it, or drops a field, in all policies. Cost: one
    /// small write, however much is stored. Values of a dropped field are seen no more, and their
    /// blocks are written anew in the background without them. With its last field a measurement goes, as if
    /// it were dropped; where the process stops between the two, it stays, empty.
    ///
    /// # Errors
    /// `NotFound` for the database, measurement, tag key or field; `Conflict` where the new name is
    /// in use; `Invalid` where no line of line protocol can have it, `Limit` where it is longer than
    /// new names may be; `Io` or `NoSpace` where the manifest cannot be written.
    pub fn alter_measurement(
        &self,
        database: &str,
        measurement: &[u8],
        alter: Alter<'_>,
    ) -> Result<()> {
        let core = &self.core;
        let mut sequencer = core.sequencer();
        let database = core.database(database)?;
        // What was submitted before is visible under the names that it was written with.
        core.drain(&sequencer.generation);
        let writer = sequencer.writers.get_mut(&database.id);
        let writer = writer.ok_or_else(|| missing("database", database.stores().catalog.name()))?;
        let info = writer.catalog.measurement(measurement);
        let info = info.ok_or_else(|| missing("measurement", &text(measurement)))?;
        let id = info.id;
        let alteration = alteration(&writer.catalog, info, alter, &core.options.limits)?;
        let mut edits = Vec::new();
        if writer.pending != Names::default() {
            // What is named later in the log than it is altered here would count as new.
            edits.push(Edit::DefineNames(database.id, writer.pending.clone()));
        }
        edits.push(Edit::Alter(database.id, id, alteration.clone()));
        let mut catalog = DatabaseCatalog::clone(&writer.catalog);
        catalog.alter(id, &alteration)?;
        core.commit(&mut core.manifest(), &edits)?;
        writer.pending = Names::default();
        writer.catalog = Arc::new(catalog);
        database.stores_mut().catalog = Arc::clone(&writer.catalog);
        database.registry.forget();
        core.epoch.fetch_add(1, Ordering::AcqRel);
        drop(sequencer);
        if !matches!(alter, Alter::DropField(_)) {
            return Ok(());
        }
        let name = database.stores().catalog.name().to_owned();
        self.drop_measurement_where(&name, measurement, &|snapshot, id| {
            let info = snapshot.catalog().measurement_by_id(id);
            info.is_some_and(|info| info.fields.is_empty())
        })
    }
}

/// The change by ids, where it may be made.
fn alteration(
    catalog: &DatabaseCatalog,
    info: &MeasurementInfo,
    alter: Alter<'_>,
    limits: &Limits,
) -> Result<Alteration> {
    let field = |name: &[u8]| {
        let found = info.field(name).map(|field| field.id);
        found.ok_or_else(|| missing("field", &text(name)))
    };
    let is_free = |of: NameOf, name: &[u8]| {
        check_new(of, name, limits)?;
        if info.field(name).is_some() || info.tag_key_id(name).is_some() {
            return Err(in_use(name, &info.name));
        }
        Ok(())
    };
    match alter {
        Alter::Rename(to) if catalog.measurement(to).is_some() => {
            let message = format!("a measurement {:?} exists", text(to));
            Err(Error::new(ErrorKind::Conflict, message))
        }
        Alter::Rename(to) => {
            check_new(NameOf::Measurement, to, limits)?;
            Ok(Alteration::Rename(to.into()))
        }
        Alter::RenameTag { from, to } => {
            let key = info.tag_key_id(from);
            let key = key.ok_or_else(|| missing("tag key", &text(from)))?;
            is_free(NameOf::TagKey, to)?;
            Ok(Alteration::RenameTagKey(key, to.into()))
        }
        Alter::RenameField { from, to } => {
            let field = field(from)?;
            is_free(NameOf::Field, to)?;
            Ok(Alteration::RenameField(field, to.into()))
        }
        Alter::DropField(name) => Ok(Alteration::DropField(field(name)?)),
    }
}

/// Refuses a name that nobody could write to.
fn check_new(of: NameOf, name: &[u8], limits: &Limits) -> Result<()> {
    if let Some(why) = unwritable(of, name) {
        let message = format!("invalid name {:?}: {why}", text(name));
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    match limits.refuse_name(&format!("the name of the {of}"), name) {
        None => Ok(()),
        Some(why) => Err(Error::new(ErrorKind::Limit, why)),
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn missing(what: &str, name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("{what} not found: {name:?}"))
}

fn in_use(name: &[u8], measurement: &[u8]) -> Error {
    let message = format!(
        "measurement {:?} has a tag key or a field {:?}",
        text(measurement),
        text(name)
    );
    Error::new(ErrorKind::Conflict, message)
}
