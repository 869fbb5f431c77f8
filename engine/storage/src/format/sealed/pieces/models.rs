//! Checks of the same pieces by several threads at once.

use std::sync::Arc;

use super::*;
use crate::sync::{model, together};

#[test]
fn a_piece_that_one_thread_finds_wrong_is_right_for_nobody_afterwards() {
    model(|| {
        let pieces = Arc::new(Pieces::new(2));
        let (reader, scrubber) = (Arc::clone(&pieces), Arc::clone(&pieces));
        let read = move || {
            reader.note(0, true);
            assert!(reader.note(1, true), "nobody found anything wrong in it");
        };
        let scrub = move || {
            assert!(!scrubber.note(0, false));
            assert!(!scrubber.is_right(0), "whoever found it wrong knows it");
            assert!(
                !scrubber.note(0, true),
                "and does not believe the next check"
            );
        };
        together(vec![Box::new(read), Box::new(scrub)]);
        assert!(!pieces.is_right(0));
        assert!(!pieces.note(0, true));
        assert!(pieces.is_right(1));
        assert_eq!(pieces.wrong_count(), 1);
    });
}

#[test]
fn no_bit_of_a_word_is_lost_to_a_neighbour_and_nothing_is_counted_twice() {
    model(|| {
        let pieces = Arc::new(Pieces::new(65));
        let (one, other) = (Arc::clone(&pieces), Arc::clone(&pieces));
        let first = move || {
            one.note(3, true);
            one.note(5, false);
            one.note(64, false);
        };
        let second = move || {
            other.note(4, true);
            other.note(5, false);
        };
        together(vec![Box::new(first), Box::new(second)]);
        let right: Vec<usize> = (0..65).filter(|piece| pieces.is_right(*piece)).collect();
        assert_eq!(right, [3, 4]);
        assert_eq!(pieces.wrong_count(), 2);
    });
}
