//! Deleting what is stored, from a program.

use silverback_storage::Result;
use silverback_storage::model::{TagPredicate, TimeRange};

use crate::store::Silverback;
use silverback_query::source::{Alter, Delete};

/// Which points are deleted: those of series that have all the tags, in the time.
///
/// ```
/// # use silverback::{DeleteRequest, Options, Silverback};
/// # let folder = tempfile::tempdir()?;
/// # let db = Silverback::open(Options::new(folder.path()))?;
/// # db.create_database("shop")?;
/// db.write_lines("shop", b"sales,town=Bern amount=4i 2000\nsales,town=Rome amount=5i 2000")?;
/// db.delete(&DeleteRequest::new("shop").measurement("sales").tag("town", "Bern"))?;
/// let answer = db.query("shop", "SELECT count(amount) FROM sales")?;
/// assert_eq!(answer.statements[0].series[0].rows[0][1], silverback::Cell::Integer(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct DeleteRequest<'names> {
    database: &'names str,
    policy: Option<&'names str>,
    measurement: Option<&'names [u8]>,
    tags: Vec<(&'names [u8], &'names [u8])>,
    range: TimeRange,
}

impl<'names> DeleteRequest<'names> {
    /// Everything in `database`, in all its policies.
    pub fn new(database: &'names str) -> DeleteRequest<'names> {
        DeleteRequest {
            database,
            policy: None,
            measurement: None,
            tags: Vec::new(),
            range: TimeRange::ALL,
        }
    }

    /// In this policy alone.
    #[must_use]
    pub fn policy(mut self, policy: &'names str) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Of this measurement alone; one that does not exist is fine.
    #[must_use]
    pub fn measurement(mut self, name: &'names (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.measurement = Some(name.as_ref());
        self
    }

    /// Of series with this tag alone; with an empty value, of those without the tag.
    #[must_use]
    pub fn tag(
        mut self,
        key: &'names (impl AsRef<[u8]> + ?Sized),
        value: &'names (impl AsRef<[u8]> + ?Sized),
    ) -> Self {
        self.tags.push((key.as_ref(), value.as_ref()));
        self
    }

    /// From `start` until before `end` alone, ns UTC.
    #[must_use]
    pub fn times(mut self, start: i64, end: i64) -> Self {
        self.range = TimeRange { start, end }.intersect(TimeRange::ALL);
        self
    }

    fn predicate(&self) -> TagPredicate {
        let equal = |(key, value): &(&[u8], &[u8])| TagPredicate::Equal {
            key: (*key).into(),
            value: (*value).into(),
        };
        if self.tags.is_empty() {
            return TagPredicate::All;
        }
        TagPredicate::And(self.tags.iter().map(equal).collect())
    }
}

impl Silverback {
    /// Deletes points: those that are visible when it begins. Durable and seen by every query that
    /// begins after it has returned. A measurement that has no point left goes, and its fields'
    /// types with it.
    ///
    /// # Errors
    /// `NotFound` for the database or policy; `Limit` where too many deletes wait for compaction;
    /// `Io`, `NoSpace`.
    pub fn delete(&self, request: &DeleteRequest<'_>) -> Result<()> {
        let snapshot = self.db().snapshot(request.database);
        let all = snapshot.iter().flat_map(|own| own.catalog().measurements());
        let wanted = all.filter(|info| request.measurement.is_none_or(|name| *info.name == *name));
        let predicate = request.predicate();
        let delete = Delete {
            policy: request.policy,
            measurements: wanted
                .map(|info| (&*info.name, predicate.clone()))
                .collect(),
            range: request.range,
        };
        self.db().delete(request.database, &delete)
    }

    /// Drops a measurement with all its points; none of that name is fine. Durable when it returns.
    ///
    /// # Errors
    /// `NotFound` for the database; `Io`, `NoSpace`.
    pub fn drop_measurement(&self, database: &str, name: impl AsRef<[u8]>) -> Result<()> {
        self.db().drop_measurement(database, name.as_ref())
    }

    /// Renames a measurement; what is written under its old name from then on starts anew. Cost: one
    /// small write, however much is stored. Durable when it returns.
    ///
    /// # Errors
    /// `NotFound` for the database or measurement, `Conflict` where the new name is in use, `Invalid`
    /// where no line of line protocol can have it; `Io`, `NoSpace`.
    pub fn rename_measurement(
        &self,
        database: &str,
        measurement: impl AsRef<[u8]>,
        to: impl AsRef<[u8]>,
    ) -> Result<()> {
        let alter = Alter::Rename(to.as_ref());
        self.db()
            .alter_measurement(database, measurement.as_ref(), alter)
    }

    /// Changes a tag key or a field of a measurement: as [`Silverback::rename_measurement`]. Values
    /// of a dropped field leave the disk when their blocks are merged.
    ///
    /// # Errors
    /// As [`Silverback::rename_measurement`]; `NotFound` for the tag key or field too.
    pub fn alter_measurement(
        &self,
        database: &str,
        measurement: impl AsRef<[u8]>,
        alter: Alter<'_>,
    ) -> Result<()> {
        self.db()
            .alter_measurement(database, measurement.as_ref(), alter)
    }

    /// Drops a database with all it holds; none of that name is fine. Durable when it returns.
    ///
    /// # Errors
    /// `Io`, `NoSpace`.
    pub fn drop_database(&self, name: &str) -> Result<()> {
        self.db().drop_database(name)
    }
}
