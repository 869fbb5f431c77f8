//! What open connections may take of the memory budget: an eighth for what each needs, and an eighth for
//! the windows of HTTP/2, into which a client may send before anybody reads.
//!
//! A window is chosen when the connection is accepted and counted when it turns out to speak HTTP/2.

use std::sync::Arc;

use silverback::storage::budget::{Budget, Charge, Class};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::{CONNECTION_BYTES, CONNECTIONS_PART};

/// Windows are counted in so many bytes.
const UNIT_BYTES: usize = 32 << 10;
/// A new window takes one part in so many of the room that is left: 1 MiB with 2 GiB of room, and hundreds of
/// connections whatever the budget.
const WINDOW_PART: usize = 256;
/// The protocol's own smallest window of a connection, and the largest that helps: 50 MB/s at 20 ms.
const WINDOW_UNITS_MIN: usize = 2;
const WINDOW_UNITS_MAX: usize = 32;

/// The room of all listeners.
#[derive(Debug)]
pub(super) struct Room {
    budget: Arc<Budget>,
    connections: Arc<Semaphore>,
    windows: Arc<Semaphore>,
}

/// An open connection's part of it; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    charge: Charge,
    windows: Arc<Semaphore>,
    window_units: u32,
    _connection: OwnedSemaphorePermit,
    window: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// Room for `connections_max` connections.
    pub(super) fn new(connections_max: usize, budget: &Arc<Budget>) -> Room {
        let windows = budget.limit_bytes() / CONNECTIONS_PART / UNIT_BYTES;
        Room {
            budget: Arc::clone(budget),
            connections: Arc::new(Semaphore::new(connections_max)),
            windows: Arc::new(Semaphore::new(windows)),
        }
    }

    /// Waits until one connection more may be open.
    pub(super) async fn wait(&self) -> OwnedSemaphorePermit {
        let permit = Arc::clone(&self.connections).acquire_owned().await;
        permit.expect("nothing closes the semaphore")
    }

    /// The place of a connection that waited.
    pub(super) fn enter(&self, connection: OwnedSemaphorePermit) -> Place {
        Place {
            charge: self.budget.charge(Class::Ingest, CONNECTION_BYTES),
            windows: Arc::clone(&self.windows),
            window_units: window_units(self.windows.available_permits()),
            _connection: connection,
            window: None,
        }
    }
}

fn window_units(left: usize) -> u32 {
    let units = (left / WINDOW_PART).clamp(WINDOW_UNITS_MIN, WINDOW_UNITS_MAX);
    u32::try_from(units).expect("it is between its bounds")
}

impl Place {
    /// What the client may send before anybody reads, where it speaks HTTP/2.
    pub(super) fn window_bytes(&self) -> u32 {
        self.window_units * u32::try_from(UNIT_BYTES).expect("a unit is small")
    }

    /// Counts the window. False where there is no room for it: the connection is to be closed.
    pub(super) fn take_window(&mut self) -> bool {
        let windows = Arc::clone(&self.windows);
        self.window = windows.try_acquire_many_owned(self.window_units).ok();
        if self.window.is_some() {
            let window = usize::try_from(self.window_bytes()).expect("a window fits into memory");
            self.charge.resize(CONNECTION_BYTES + window);
        }
        self.window.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Opens connections of HTTP/2 until there is no room; their windows.
    fn fill(budget_bytes: usize) -> (Arc<Budget>, Vec<Place>) {
        let budget = Budget::new(budget_bytes);
        let room = Room::new(100_000, &budget);
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.build().unwrap();
        let places = std::iter::from_fn(|| {
            let mut place = room.enter(runtime.block_on(room.wait()));
            place.take_window().then_some(place)
        });
        let places = places.collect();
        (budget, places)
    }

    #[test]
    fn windows_shrink_with_the_room_and_stay_within_an_eighth() {
        for (budget_bytes, largest, count_min) in [
            (256 << 20, 128 << 10, 400),
            (1 << 30, 512 << 10, 700),
            (8 << 30, 1 << 20, 1_500),
        ] {
            let (budget, places) = fill(budget_bytes);
            let windows: Vec<u32> = places.iter().map(Place::window_bytes).collect();
            assert_eq!(windows[0], largest);
            assert_eq!(*windows.last().unwrap(), 64 << 10);
            assert!(windows.is_sorted_by(|one, next| one >= next));
            assert!(windows.len() > count_min, "{}", windows.len());
            let together: usize = windows.iter().map(|bytes| *bytes as usize).sum();
            assert!(together <= budget_bytes / 8, "{together}");
            let counted = budget.usage().class(Class::Ingest);
            assert_eq!(counted, together + windows.len() * CONNECTION_BYTES);
            drop(places);
            assert_eq!(budget.usage().class(Class::Ingest), 0);
        }
    }
}
