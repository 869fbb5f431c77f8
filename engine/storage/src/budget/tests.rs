use super::*;

const LIMIT: usize = 1000 << 20;

fn with(total: usize) -> Pressure {
    let usage = Usage {
        classes: [total / 2, 0, 0, total - total / 2, 0, 0, 0, 0],
        ..Usage::default()
    };
    Pressure::of(&usage, LIMIT)
}

#[test]
fn pressure_rises_with_what_is_used_and_falls_with_it() {
    assert_eq!(with(LIMIT / 100 * 45 - 1), Pressure::Calm);
    assert_eq!(with(LIMIT / 100 * 45), Pressure::Flush);
    assert_eq!(with(LIMIT / 100 * 60), Pressure::Slow(Duration::ZERO));
    let Pressure::Slow(halfway) = with(LIMIT / 1000 * 725) else {
        panic!("slow");
    };
    assert_eq!(halfway.as_millis(), 250);
    assert_eq!(with(LIMIT / 100 * 85), Pressure::Refuse);
    assert_eq!(with(usize::MAX), Pressure::Refuse);
}

#[test]
fn what_is_charged_is_given_back() {
    let budget = Budget::new(LIMIT);
    let rows = budget.charge(Class::Memtable, 100);
    let body = budget.admit(50).unwrap();
    assert_eq!((rows.bytes(), body.bytes()), (100, 50));
    assert_eq!(budget.usage().total(), 150);
    drop((rows, body));
    assert_eq!(budget.usage(), Usage::default());
}

#[test]
fn a_write_is_refused_with_numbers_and_leaves_nothing_charged() {
    let budget = Budget::new(LIMIT);
    let rows = budget.charge(Class::Memtable, LIMIT / 2);
    let error = budget.admit(LIMIT / 2).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert_eq!(
        error.message(),
        "memory is short: 500 of 1000 MiB are in use (memtable 500, index 0, query 0, ingest 0, \
         upkeep 0, replay 0, deletes 0, cache 0, other 0); come back when rows are flushed, or raise memory_budget"
    );
    assert_eq!(budget.usage().total(), LIMIT / 2);
    drop(rows);
    assert_eq!(budget.check_write().unwrap(), Duration::ZERO);
    assert_eq!(budget.counters().writes_refused, 1);
}

#[test]
fn queries_cannot_take_what_is_the_writers() {
    let budget = Budget::new(LIMIT);
    let (one, other) = (budget.enter_query(|| ()), budget.enter_query(|| ()));
    one.charge(LIMIT / 100 * 20).unwrap();
    other.charge(LIMIT / 100 * 15).unwrap();
    let error = other.charge(1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.message().contains("memory_budget"), "{error}");
    assert_eq!(budget.pressure(), Pressure::Calm, "writers notice nothing");
    one.release(LIMIT / 100 * 20);
    other.charge(LIMIT / 100 * 10).unwrap();
    drop((one, other));
    assert_eq!(budget.usage(), Usage::default());
}

#[test]
fn the_query_that_holds_most_is_stopped_before_a_write_is_refused() {
    let budget = Budget::new(LIMIT);
    let stopped = Arc::new(Mutex::new(Vec::new()));
    let enter = |name: &'static str| {
        let stopped = Arc::clone(&stopped);
        budget.enter_query(move || stopped.lock().unwrap().push(name))
    };
    let (old, large, small) = (enter("old"), enter("large"), enter("small"));
    large.charge(30 << 20).unwrap();
    small.charge(10 << 20).unwrap();
    let rows = budget.charge(Class::Memtable, LIMIT / 100 * 70);
    budget.tick(None, rows.bytes());
    assert_eq!(*stopped.lock().unwrap(), ["large"]);
    assert!(budget.check_write().is_ok());
    // The oldest answers for what is pinned.
    budget.tick(None, rows.bytes() - (20 << 20));
    assert_eq!(*stopped.lock().unwrap(), ["large", "old"]);
    drop((large, rows));
    budget.tick(None, 0);
    assert_eq!(budget.counters().queries_stopped, 2);
    drop((old, small));
}

#[test]
fn memory_that_nobody_counts_is_believed_up_to_a_half() {
    let budget = Budget::new(LIMIT);
    let rows = budget.charge(Class::Memtable, 100 << 20);
    budget.tick(Some(130 << 20), 100 << 20);
    assert_eq!(budget.usage().rest, 30 << 20);
    budget.tick(Some(LIMIT), 100 << 20);
    assert_eq!(budget.usage().rest, LIMIT / 2);
    budget.tick(None, 100 << 20);
    assert_eq!(budget.usage().total(), rows.bytes());
}
