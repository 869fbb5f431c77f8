//! Counters that several threads change at once.

use super::*;
use crate::sync::{model, together};

const LIMIT: usize = 1000;
/// What queries may hold together.
const MAX: usize = 350;

#[test]
fn what_two_threads_charge_and_give_back_leaves_nothing() {
    model(|| {
        let budget = Budget::new(LIMIT);
        let (one, other) = (Arc::clone(&budget), Arc::clone(&budget));
        let first = move || {
            let mut rows = one.charge(Class::Ingest, 100);
            rows.resize(30);
            assert!(one.usage().class(Class::Ingest) >= 30);
        };
        let second = move || {
            let body = other.admit(50).expect("there is room");
            assert!(other.usage().class(Class::Ingest) >= 50);
            drop(body);
        };
        together(vec![Box::new(first), Box::new(second)]);
        assert_eq!(budget.usage(), Usage::default());
    });
}

#[test]
fn queries_together_never_hold_more_than_their_share() {
    model(|| {
        let budget = Budget::new(LIMIT);
        let granted = Arc::new(AtomicUsize::new(0));
        let jobs = (0..2).map(|_| {
            let (share, granted) = (budget.enter_query(|| ()), Arc::clone(&granted));
            let job: Box<dyn FnOnce() + Send> = Box::new(move || {
                if share.charge(200).is_ok() {
                    let now = granted.fetch_add(200, Relaxed) + 200;
                    assert!(now <= MAX, "{now} are granted");
                    granted.fetch_sub(200, Relaxed);
                    share.release(200);
                }
            });
            job
        });
        together(jobs.collect());
        assert_eq!(budget.usage(), Usage::default());
    });
}

#[test]
fn a_charge_that_fits_is_not_refused_because_anothers_does_not() {
    model(|| {
        let budget = Budget::new(LIMIT);
        let (large, small) = (budget.enter_query(|| ()), budget.enter_query(|| ()));
        let first = move || {
            let error = large.charge(MAX + 1).expect_err("it never fits");
            assert_eq!(error.kind(), ErrorKind::Limit);
        };
        let second = move || small.charge(MAX).expect("nothing else is held");
        together(vec![Box::new(first), Box::new(second)]);
        assert_eq!(budget.usage(), Usage::default());
    });
}

#[test]
fn threads_of_one_query_give_back_what_it_holds_and_no_more() {
    model(|| {
        let budget = Budget::new(LIMIT);
        let share = budget.enter_query(|| ());
        share.charge(100).expect("there is room");
        let jobs = (0..2).map(|_| {
            let share = Arc::clone(&share);
            let job: Box<dyn FnOnce() + Send> = Box::new(move || share.release(70));
            job
        });
        together(jobs.collect());
        assert_eq!((share.held_bytes(), budget.usage().total()), (0, 0));
    });
}

#[test]
fn a_query_is_stopped_once() {
    model(|| {
        let budget = Budget::new(LIMIT);
        let stops = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&stops);
        let share = budget.enter_query(move || {
            seen.fetch_add(1, Relaxed);
        });
        share.charge(300).expect("there is room");
        let rows = budget.charge(Class::Memtable, 500);
        let jobs = (0..2).map(|_| {
            let budget = Arc::clone(&budget);
            let job: Box<dyn FnOnce() + Send> = Box::new(move || budget.tick(None, 500));
            job
        });
        together(jobs.collect());
        assert_eq!(stops.load(Relaxed), 1);
        assert_eq!(budget.counters().queries_stopped, 1);
        drop((share, rows));
        assert_eq!(budget.usage().counted(), 0);
    });
}
