//! The database that a write is for, made on the way.

use silverback::Result;
use silverback::storage::model::PolicySpec;
use silverback::storage::{Error, ErrorKind};

use crate::app::App;

/// Makes `database`, if there is none. A write to a policy that a new database does not have is
/// refused before: it would be refused anyway, and leave behind what a slip of the pen has named.
///
/// # Errors
/// `NotFound` for the policy, in the engine's words; else those of making a database.
pub(crate) fn ensure_database(app: &App, database: &str, policy: Option<&str>) -> Result<()> {
    if app.engine.has_database(database) {
        return Ok(());
    }
    if let Some(policy) = policy.filter(|name| *name != PolicySpec::default().name()) {
        let message = format!("retention policy not found: {policy}");
        return Err(Error::new(ErrorKind::NotFound, message));
    }
    app.engine.create_database(database)?;
    tracing::info!(database, "made a database for a write");
    Ok(())
}
