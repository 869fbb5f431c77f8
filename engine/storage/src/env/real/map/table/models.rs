//! What another thread sees of the table while mappings come and go.

use std::sync::Arc;

use super::*;
use crate::sync::atomic::AtomicBool;
use crate::sync::{model, together};

fn leaked_table() -> &'static Table {
    Box::leak(Box::new(Table::new()))
}

#[test]
fn a_slot_knows_its_mapping_and_none_that_is_gone() {
    model(|| {
        let slot = Slot::new();
        assert_eq!(slot.holds(0), None);
        slot.set(4096, 100);
        for (address, inside) in [(4095, false), (4096, true), (4195, true), (4196, false)] {
            assert_eq!(slot.holds(address).is_some(), inside, "{address}");
        }
        slot.version.fetch_add(1, Ordering::AcqRel);
        assert_eq!(slot.holds(4096), None, "it is being changed");
        slot.version.fetch_add(1, Ordering::AcqRel);
        slot.set(0, 0);
        assert_eq!(slot.holds(4096), None);
        assert_eq!(slot.holds(0), None);
    });
}

#[test]
fn the_table_grows_and_its_slots_are_used_again() {
    model(|| {
        let table = leaked_table();
        for _ in 0..2 {
            let entered: Vec<_> = (0..3 * SLOTS)
                .map(|number| table.enter(number * 100, 100, ()))
                .collect();
            for (number, own) in entered.iter().enumerate() {
                let (slot, place) = table.find(number * 100 + 99).expect("it was entered");
                assert_eq!(place, (number * 100, 100));
                assert!(std::ptr::eq(slot, own.slot));
            }
            drop(entered);
            assert!(table.find(0).is_none());
        }
        let pages = std::iter::successors(Some(&table.first), |page| page.next.get().copied());
        assert_eq!(pages.count(), 3);
    });
}

#[test]
fn no_mixture_of_two_mappings_is_ever_seen() {
    const PLACES: [(usize, usize); 2] = [(100, 10), (200, 1000)];
    model(|| {
        let slot = Arc::new(Slot::new());
        slot.set(100, 10);
        let own = Arc::clone(&slot);
        let change = move || {
            own.set(0, 0);
            own.set(200, 1000);
        };
        // In the start of the first with the length of the second, and in neither.
        let look = move || assert_eq!(slot.holds(150), None);
        together(vec![Box::new(change), Box::new(look)]);
    });
    model(|| {
        let slot = Arc::new(Slot::new());
        slot.set(100, 10);
        let own = Arc::clone(&slot);
        let change = move || own.set(200, 1000);
        let look = move || {
            for address in [105, 1150] {
                let place = slot.holds(address);
                let is_one = place.is_none_or(|place| PLACES.contains(&place));
                assert!(is_one, "{place:?}");
            }
        };
        together(vec![Box::new(change), Box::new(look)]);
    });
}

#[test]
fn a_mapping_that_is_there_is_found_whatever_comes_and_goes_beside_it() {
    model(|| {
        let table = leaked_table();
        let gone = table.enter(100, 10, ());
        let kept = table.enter(300, 10, ());
        let change = move || {
            drop(gone);
            // The second makes the table grow where slots are few.
            let others = [table.enter(500, 10, ()), table.enter(600, 10, ())];
            assert!(table.find(605).is_some());
            drop(others);
        };
        let handle = move || {
            let (slot, place) = table.find(305).expect("whoever reads it keeps it");
            assert_eq!(place, (300, 10));
            slot.lose(5);
            assert_eq!(kept.fault(), Some(5));
        };
        together(vec![Box::new(change), Box::new(handle)]);
    });
}

/// Memory at a place that another may have as soon as it is dropped.
struct Place(Arc<AtomicBool>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn a_mapping_in_the_place_of_one_that_went_is_found_by_its_own_slot() {
    model(|| {
        let table = leaked_table();
        let is_free = Arc::new(AtomicBool::new(false));
        let old = table.enter(100, 10, Place(Arc::clone(&is_free)));
        let unmap = move || drop(old);
        let map = move || {
            if is_free.load(Ordering::Acquire) {
                let own = table.enter(100, 10, ());
                let (slot, _) = table.find(105).expect("it is there");
                slot.lose(7);
                assert_eq!(own.fault(), Some(7), "the other's slot was found");
            }
        };
        together(vec![Box::new(unmap), Box::new(map)]);
    });
}
