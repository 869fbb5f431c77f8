//! Queries on the threads that serve connections.
//!
//! Most queries take less than a millisecond. On a thread of its own such a query waits twice for a
//! thread to wake, which takes a quarter of its time, and finds nothing in that core's cache. So a
//! query begins on the thread that read it, as a task of its own, and gives up what makes that a thread
//! of the runtime as soon as it turns out to be long, or has more to say than fits one piece: another
//! thread goes on with the connections, and the query with itself.
//!
//! That a query is long shows when it asks whether it may go on. Where one is seen not to ask for long,
//! as may be with very many series, none is lent a thread for some time.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

use crate::app::Lending;

/// How long a query may keep a thread that serves connections, besides the time in which it does not ask
/// whether it may go on: a piece of rows takes about a millisecond. To hand over costs half of one, which
/// is much for a query of two and nothing for one of ten.
const LENT_MAX: Duration = Duration::from_millis(5);

/// How long a thread waits for another to take over its connections. One that is busy may come too
/// late: it is waited for again, each time after three times as long.
const HANDOVER: Duration = Duration::from_micros(100);

/// A query that has not asked for so long was lent a thread in error.
const SILENCE_MAX: Duration = Duration::from_millis(50);

thread_local! {
    /// Set on the thread that a query runs on.
    static LOAN: Cell<Option<Loan>> = const { Cell::new(None) };
}

#[derive(Clone, Copy, Debug)]
struct Loan {
    /// When the query asked last.
    asked: Instant,
    /// The longest that it did not ask while the connections were not handed over.
    silence: Duration,
    /// When the connections are to be handed over.
    due: Instant,
    /// How long it is until they are handed over once more.
    wait: Duration,
    is_handed_over: bool,
}

impl Loan {
    fn new() -> Loan {
        let now = Instant::now();
        Loan {
            asked: now,
            silence: Duration::ZERO,
            due: now + LENT_MAX,
            wait: LENT_MAX * 3,
            is_handed_over: false,
        }
    }

    /// The query asks at `now`.
    fn note(&mut self, now: Instant) {
        if !self.is_handed_over {
            self.silence = self.silence.max(now - self.asked);
        }
        self.asked = now;
    }
}

/// Runs a query on this thread, which is one of the runtime's.
pub(super) fn run<T>(lending: &Lending, query: impl FnOnce() -> T) -> T {
    /// Ends the loan however the query ends.
    struct Ended<'l>(&'l Lending);
    impl Drop for Ended<'_> {
        fn drop(&mut self) {
            if let Some(mut loan) = LOAN.take() {
                loan.note(Instant::now());
                if loan.silence > SILENCE_MAX {
                    self.0.close();
                }
            }
        }
    }
    let _ended = Ended(lending);
    LOAN.set(Some(Loan::new()));
    query()
}

/// Called whenever a query asks whether it may go on: hands the connections over where it is due. On
/// threads that a query only has as helpers it does nothing.
pub(super) fn on_check() {
    let Some(mut loan) = LOAN.get() else {
        return;
    };
    let now = Instant::now();
    loan.note(now);
    LOAN.set(Some(loan));
    if now >= loan.due {
        hand_over();
    }
}

/// Lets another thread serve this one's connections, if it still does.
pub(super) fn hand_over() {
    let Some(mut loan) = LOAN.get() else {
        return;
    };
    loan.note(Instant::now());
    tokio::task::block_in_place(|| std::thread::park_timeout(HANDOVER));
    loan.is_handed_over = true;
    loan.due = Instant::now() + loan.wait;
    loan.wait = loan.wait.saturating_mul(3);
    LOAN.set(Some(loan));
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, mpsc};

    use super::*;

    /// A query for each thread of a runtime, none of which ends by itself: others are served.
    #[test]
    fn a_long_query_keeps_nobody_waiting() {
        const THREADS: usize = 2;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            .build()
            .unwrap();
        let (began, begun) = mpsc::channel();
        let is_over = Arc::new(AtomicBool::new(false));
        let queries: Vec<_> = (0..THREADS)
            .map(|_| {
                let (began, is_over) = (began.clone(), Arc::clone(&is_over));
                runtime.spawn(async move {
                    run(&Lending::default(), || {
                        began.send(()).unwrap();
                        while !is_over.load(Ordering::Relaxed) {
                            on_check();
                        }
                    });
                })
            })
            .collect();
        for _ in 0..THREADS {
            begun.recv_timeout(Duration::from_secs(60)).unwrap();
        }
        let (serve, served) = mpsc::channel();
        runtime.spawn(async move { serve.send(7).unwrap() });
        let served = served.recv_timeout(Duration::from_secs(60));
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(served, Ok(7), "it is served meanwhile");
        for query in queries {
            runtime.block_on(query).unwrap();
        }
    }

    #[test]
    fn a_thread_without_a_query_hands_nothing_over() {
        on_check();
        hand_over();
        assert!(run(&Lending::default(), || LOAN.get().is_some()));
        assert!(LOAN.get().is_none());
    }

    #[test]
    fn a_query_that_does_not_ask_for_long_is_the_last_that_is_lent_a_thread() {
        let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
        let lending = Arc::new(Lending::default());
        let work = |asks: bool| {
            let lending = Arc::clone(&lending);
            let query = async move {
                run(&lending, || {
                    for _ in 0..40 {
                        if asks {
                            on_check();
                        }
                        std::thread::park_timeout(Duration::from_millis(2));
                    }
                });
            };
            runtime.block_on(runtime.spawn(query)).unwrap();
        };
        work(true);
        assert!(lending.is_open(), "it asked, and handed its thread over");
        work(false);
        assert!(!lending.is_open());
    }
}
