//! Room for new series: where a database's limit refuses some, those whose rows are gone leave at once, and do not
//! wait for a flush or a merge that may be ten minutes away.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::db::compact::Compacting;
use crate::db::core::Core;
use crate::db::database::Database;
use crate::error::Result;

/// After a look that found room, or after a delete, the next one is no sooner.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// A look that found nothing is repeated later each time, but no later than this: it takes a flush, and a list of all
/// series that live.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// The last look at a database that refused series.
#[derive(Debug, Default)]
pub(super) struct RoomLook {
    /// Nothing is looked for before, by the monotonic clock.
    next: Duration,
    pause: Duration,
    /// What had been dropped and deleted by then.
    gone: Gone,
}

/// How much was ever dropped, and which delete came last.
type Gone = (u64, Option<u64>);

impl RoomLook {
    /// Whether a look is due, now that `gone` is gone.
    fn is_due(&self, now: Duration, gone: Gone) -> bool {
        self.is_more(gone) || now >= self.next
    }

    /// Whether something went since the last look. A delete that is done with is not told any more.
    fn is_more(&self, gone: Gone) -> bool {
        gone.0 > self.gone.0 || gone.1 > self.gone.1
    }

    /// Notes a look.
    fn looked(&mut self, now: Duration, gone: Gone, found: bool) {
        self.pause = if found || self.is_more(gone) {
            PAUSE_MIN
        } else {
            (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX)
        };
        self.next = now + self.pause;
        self.gone = gone;
    }
}

impl Core {
    /// Takes series without rows out of databases that have refused new ones.
    pub(super) fn make_series_room(&self, compacting: &mut Compacting) {
        for database in self.all_databases() {
            let now = self.env.monotonic();
            let gone = database.gone();
            let look = compacting.rooms.entry(database.id).or_default();
            if !database.refused.load(Ordering::Relaxed) || !look.is_due(now, gone) {
                continue;
            }
            database.refused.store(false, Ordering::Relaxed);
            let before = database.registry.len();
            let outcome = self.make_series_room_in(&database, compacting);
            self.note_outcome("series", &outcome);
            let found = database.registry.len() < before;
            let look = compacting.rooms.entry(database.id).or_default();
            look.looked(now, gone, found);
        }
    }

    /// Writes what is in memory to blocks, takes what nobody sees out of blocks, and what has no rows then out of
    /// the registry.
    fn make_series_room_in(
        &self,
        database: &Arc<Database>,
        compacting: &mut Compacting,
    ) -> Result<()> {
        self.flush()?;
        self.purge_all(compacting)?;
        self.retire_series_of(database, true)
    }
}

impl Database {
    fn gone(&self) -> Gone {
        let stores = self.stores();
        let last = stores.tombstones.iter().last();
        (
            stores.catalog.dropped_count(),
            last.map(|tombstone| tombstone.sequence.0),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_finds_nothing_is_repeated_later_each_time_unless_something_goes() {
        let seconds = Duration::from_secs;
        let mut look = RoomLook::default();
        assert!(look.is_due(seconds(0), (0, None)));
        let mut now = seconds(0);
        for pause in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600] {
            look.looked(now, (0, None), false);
            let just_before = seconds(pause).saturating_sub(Duration::from_millis(1));
            assert!(!look.is_due(now + just_before, (0, None)));
            now += seconds(pause);
            assert!(look.is_due(now, (0, None)));
        }
        look.looked(now, (0, None), false);
        assert!(look.is_due(now, (0, Some(7))), "a delete");
        assert!(look.is_due(now, (1, None)), "a drop");
        look.looked(now, (1, None), false);
        assert!(look.is_due(now + seconds(1), (1, None)));
        look.looked(now, (1, Some(9)), true);
        assert!(!look.is_due(now, (1, None)), "the delete is done with");
    }
}
