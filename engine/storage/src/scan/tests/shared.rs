//! What threads share comes as if one had read it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::blocks::snapshot_of;
use super::*;
use crate::budget::{Budget, Class};
use crate::env::real::{RealEnv, RealOptions};
use crate::manifest::catalog::DatabaseCatalog;
use crate::model::DatabaseId;
use crate::scan::shared::{
    Cursor, MORSEL_BYTES_MAX, MORSEL_VALUES, SHARED_VALUES_MIN, Scan, morsel_series,
};

fn workers(count: usize) -> (tempfile::TempDir, Arc<Workers>) {
    let folder = tempfile::tempdir().unwrap();
    let env = RealEnv::new(folder.path(), RealOptions { mmap: false });
    let workers = Workers::start(&env, count, &Budget::new(1 << 30)).unwrap();
    (folder, workers)
}

fn empty() -> Arc<Snapshot> {
    let catalog = Arc::new(DatabaseCatalog::new(DatabaseId(1), "db"));
    Arc::new(Snapshot::new(
        Sequence(1),
        catalog,
        BTreeMap::new(),
        Vec::new(),
    ))
}

/// Series of a few numbers each, one of which may be where reading ends badly.
#[derive(Clone, Debug)]
struct Numbers {
    series: usize,
    each: usize,
    fails_at: Option<usize>,
    /// All threads but this one panic there.
    asker: Option<std::thread::ThreadId>,
    /// How long each takes to read behind the first series.
    slow: Option<Duration>,
    bytes: usize,
    /// Items that were read and not dropped.
    held: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Number {
    value: usize,
    bytes: usize,
    held: Arc<AtomicUsize>,
}

impl Drop for Number {
    fn drop(&mut self) {
        self.held.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Reader(Numbers, Range<usize>);

impl Cursor for Reader {
    type Item = Number;

    fn seek(&mut self, series: Range<usize>) {
        self.1 = series.start * self.0.each..series.end * self.0.each;
    }

    fn next_item(&mut self) -> Result<Option<Number>> {
        let Some(value) = self.1.next() else {
            return Ok(None);
        };
        if self.0.fails_at == Some(value) {
            let asker = self.0.asker.unwrap_or(std::thread::current().id());
            assert_eq!(std::thread::current().id(), asker, "a helper that fails");
            return Err(Error::corrupt("blocks/1.blk", value as u64, "bad"));
        }
        if let Some(time) = self.0.slow.filter(|_| value >= self.0.each) {
            std::thread::park_timeout(time);
        }
        self.0.held.fetch_add(1, Ordering::SeqCst);
        Ok(Some(Number {
            value,
            bytes: self.0.bytes,
            held: Arc::clone(&self.0.held),
        }))
    }

    fn values(&self) -> u64 {
        0
    }

    fn bytes(item: &Number) -> usize {
        item.bytes
    }
}

impl Scan for Numbers {
    type Cursor<'snapshot> = Reader;
    type Item = Number;

    fn open(&self, _: &Snapshot, _: Check) -> Result<Reader> {
        Ok(Reader(self.clone(), 0..self.series * self.each))
    }

    fn series_count(&self) -> usize {
        self.series
    }
}

impl Numbers {
    fn new(series: usize, each: usize) -> Numbers {
        Numbers {
            series,
            each,
            fails_at: None,
            asker: None,
            slow: None,
            bytes: 1,
            held: Arc::default(),
        }
    }

    fn shared<'s>(
        &self,
        snapshot: &'s Arc<Snapshot>,
        (workers, morsel_series): (&Arc<Workers>, usize),
    ) -> Shared<'s, Numbers> {
        let reader = Reader(self.clone(), 0..0);
        Shared::new((self.clone(), reader), snapshot, workers, morsel_series)
    }
}

#[test]
fn work_is_cut_into_as_many_morsels_for_each_thread() {
    let of = |series, morsels, threads| morsel_series((series, morsels * MORSEL_VALUES), threads);
    assert_eq!(of(32, 8, 2), 4);
    assert_eq!(of(32, 9, 2), 4);
    assert_eq!(of(32, 11, 2), 3);
    assert_eq!(of(400, 26, 2), 16);
    assert_eq!(of(400, 26, 4), 15);
    // Little work, one thread, and more work than series.
    assert_eq!(of(32, 7, 2), 32);
    assert_eq!(of(8, 100, 1), 8);
    assert_eq!(of(3, 100, 2), 1);
    assert_eq!(of(1, 100, 2), 1);
    assert_eq!(of(0, 100, 2), 0);
    assert_eq!(morsel_series((8, SHARED_VALUES_MIN - 1), 2), 8);
    assert_eq!(morsel_series((8, SHARED_VALUES_MIN), 2), 1);
    assert_eq!(morsel_series((5, u64::MAX), 64), 1);
}

#[test]
fn morsels_come_in_their_order_whoever_reads_them() {
    let snapshot = empty();
    for count in 0..4 {
        let (_folder, workers) = workers(count);
        for (series, each, morsel) in [(0, 1, 1), (1, 5, 3), (7, 3, 2), (200, 4, 1), (1000, 1, 7)] {
            let numbers = Numbers::new(series, each);
            let mut shared = numbers.shared(&snapshot, (&workers, morsel));
            for expected in 0..series * each {
                assert_eq!(shared.next_item().unwrap().unwrap().value, expected);
            }
            assert!(shared.next_item().unwrap().is_none());
        }
    }
}

/// Reads until the error, which comes behind all numbers before it.
fn error_of(shared: &mut Shared<'_, Numbers>, fails_at: usize) -> Error {
    for expected in 0..fails_at {
        assert_eq!(shared.next_item().unwrap().unwrap().value, expected);
    }
    shared.next_item().unwrap_err()
}

#[test]
fn a_morsel_that_ends_badly_is_an_error_in_its_place() {
    let snapshot = empty();
    let (_folder, workers) = workers(2);
    for fails_at in [8, 9, 17, 63] {
        let numbers = Numbers {
            fails_at: Some(fails_at),
            ..Numbers::new(16, 4)
        };
        let error = error_of(&mut numbers.shared(&snapshot, (&workers, 1)), fails_at);
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn a_helper_that_panics_leaves_an_error_and_never_a_shorter_answer() {
    let snapshot = empty();
    let (_folder, workers) = workers(2);
    let numbers = Numbers {
        fails_at: Some(17),
        asker: Some(std::thread::current().id()),
        ..Numbers::new(16, 4)
    };
    let mut shared = numbers.shared(&snapshot, (&workers, 1));
    // Three morsels are the helpers' and a number behind them: whoever has that has claimed the one that
    // fails, and the asker has read nothing yet.
    while numbers.held.load(Ordering::SeqCst) < 13 {
        std::thread::yield_now();
    }
    assert_eq!(error_of(&mut shared, 17).kind(), ErrorKind::Closed);
}

#[test]
fn little_is_read_ahead_of_the_one_who_takes_and_nothing_is_left_behind() {
    let snapshot = empty();
    let (_folder, workers) = workers(2);
    let numbers = Numbers {
        bytes: MORSEL_BYTES_MAX / 4,
        ..Numbers::new(100, 50)
    };
    let mut shared = numbers.shared(&snapshot, (&workers, 1));
    let counted = || workers.budget().usage().class(Class::Query);
    // Of two helpers one has put what it read before it read again.
    while numbers.held.load(Ordering::SeqCst) < 3 {
        std::thread::yield_now();
    }
    assert!(counted() > 0);
    for _ in 0..120 {
        shared.next_item().unwrap().unwrap();
        assert!(counted() <= (6 * 4 + 1) * MORSEL_BYTES_MAX / 4);
        // Six morsels may be begun, of each four items are enough to stop at.
        assert!(numbers.held.load(Ordering::SeqCst) <= 6 * 4 + 1);
    }
    drop(shared);
    workers.stop();
    assert_eq!((numbers.held.load(Ordering::SeqCst), counted()), (0, 0));
}

/// A helper that has no more room waits for the asker: whoever of both waits for the other, waits for ever.
#[test]
fn an_asker_that_waits_is_told_of_a_morsel_that_is_full_before_its_end() {
    let snapshot = empty();
    let (_folder, workers) = workers(1);
    let numbers = Numbers {
        bytes: MORSEL_BYTES_MAX,
        slow: Some(Duration::from_millis(5)),
        ..Numbers::new(2, 20)
    };
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let (found, is_late) = std::thread::scope(|scope| {
        let own = Arc::clone(&workers);
        let watched = scope.spawn(move || {
            let is_late = ended.recv_timeout(Duration::from_secs(20)).is_err();
            // Who helps then leaves, and the asker is told that.
            own.stop();
            is_late
        });
        let mut shared = numbers.shared(&snapshot, (&workers, 1));
        // The second morsel is the helper's.
        while numbers.held.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        let mut found = Vec::new();
        while let Ok(Some(item)) = shared.next_item() {
            found.push(item.value);
        }
        done.send(()).ok();
        (found, watched.join().unwrap())
    });
    assert!(!is_late);
    assert_eq!(found, (0..40).collect::<Vec<_>>());
}

#[test]
fn series_of_which_statistics_tell_are_shared_where_there_are_many() {
    let value = || [None, Some(FieldValue::Integer(1)), None, None, None];
    // Ids of three digits: keys in their order.
    let ids = 100..700;
    let rows = ids.clone().map(|id| (id, 5, value())).collect();
    let mut case = Case {
        writes: vec![(rows, Some(1))],
        ..integer_case(Vec::new())
    };
    case.request.series = ids.map(SeriesId).collect();
    let snapshot = Arc::new(snapshot_of(&mut case));
    let (_folder, workers) = workers(1);
    let request = |count| {
        let mut request = aggregates_of(&case.request, &[0, 10]);
        request.scan.series = request.scan.series[..count].into();
        request
    };
    let mut many = Shared::open(request(600), &snapshot, &workers).unwrap();
    assert_eq!(format!("{many:?}"), "scan at morsel 0 of 18");
    let mut windows = Vec::new();
    while let Some(batch) = many.next_item().unwrap() {
        windows.extend((0..batch.windows.len()).map(|at| batch.columns[0].count(at)));
    }
    assert_eq!(windows, [1; 600]);
    let few = Shared::open(request(200), &snapshot, &workers).unwrap();
    assert_eq!(format!("{few:?}"), "scan at morsel 0 of 1");
}

#[test]
fn threads_that_end_leave_the_rest_to_the_asker_or_say_so() {
    let snapshot = empty();
    let (_folder, workers) = workers(2);
    let numbers = Numbers {
        bytes: MORSEL_BYTES_MAX,
        ..Numbers::new(100, 50)
    };
    let mut shared = numbers.shared(&snapshot, (&workers, 1));
    shared.next_item().unwrap().unwrap();
    // Nobody takes what the helpers have: their threads end all the same.
    workers.stop();
    let mut last = 0;
    while let Ok(Some(item)) = shared.next_item() {
        assert_eq!(item.value, last + 1);
        last = item.value;
    }
    drop(shared);
    assert_eq!(numbers.held.load(Ordering::SeqCst), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn shared_scans_are_those_of_one_thread(case in case(), morsel_series in 1..4_usize, count in 0..3_usize) {
        let mut case = case;
        let snapshot = Arc::new(snapshot_of(&mut case));
        let (_folder, workers) = workers(count);
        let mut alone = rows(&snapshot, case.request.clone(), no_check()).unwrap();
        let cursor = rows(&snapshot, case.request.clone(), no_check()).unwrap();
        let mut shared = Shared::new((case.request.clone(), cursor), &snapshot, &workers, morsel_series);
        while let Some(expected) = alone.next_rows().unwrap() {
            prop_assert_eq!(shared.next_item().unwrap(), Some(expected));
        }
        prop_assert_eq!(shared.next_item().unwrap(), None);
        let request = aggregates_of(&case.request, &case.edges);
        let cursor = aggregates(&snapshot, request.clone(), no_check()).unwrap();
        let mut shared = Shared::new((request, cursor), &snapshot, &workers, morsel_series);
        let found: Vec<_> = std::iter::from_fn(|| shared.next_item().unwrap()).collect();
        assert_windows(&found, &expected_windows(&case));
    }
}
