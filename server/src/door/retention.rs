//! What retention waits for, as one sentence for people.

use silverback::storage::db::RetentionWait;

/// The wait, its reason and the way out.
pub(crate) fn sentence(wait: &RetentionWait) -> String {
    format!(
        "retention of database {:?} waits: {}; it goes on in {} s, or at once with POST \
         /admin/retention/confirm",
        wait.database,
        wait.reason,
        wait.left.as_secs()
    )
}
