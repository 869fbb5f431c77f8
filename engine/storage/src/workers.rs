//! Threads that help with work that can be shared: whoever has some offers a job, and does the work
//! alone where nobody is free.
//!
//! Invariant: a job may never run. Who offers one must not wait for it to begin.

#[cfg(test)]
mod models;

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock, PoisonError, Weak};
use std::time::Duration;

use crate::budget::{BUDGET_BYTES_UNKNOWN, Budget};
use crate::env::{Env, StepHandle, StepOutcome};
use crate::error::{Error, Result};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// How often a thread that nobody wakes looks for jobs.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// Work to be done by whoever is free. A panic ends the job and nothing else.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Some threads, and the jobs that wait for one.
pub struct Workers {
    /// Where what they read ahead is counted.
    budget: Arc<Budget>,
    jobs: Mutex<VecDeque<Job>>,
    threads: Box<[Thread]>,
    stopping: AtomicBool,
}

#[derive(Default)]
struct Thread {
    handle: OnceLock<Box<dyn StepHandle>>,
    is_idle: AtomicBool,
}

impl Workers {
    /// No threads: every job is refused.
    pub fn none() -> Arc<Workers> {
        Arc::new(Workers {
            budget: Budget::new(BUDGET_BYTES_UNKNOWN),
            jobs: Mutex::default(),
            threads: Box::default(),
            stopping: AtomicBool::new(false),
        })
    }

    /// Starts `count` threads of `env`; what they read ahead is counted in `budget`.
    ///
    /// # Errors
    /// `Io` where the system gives no thread.
    pub(crate) fn start(env: &dyn Env, count: usize, budget: &Arc<Budget>) -> Result<Arc<Workers>> {
        let workers = Arc::new(Workers {
            budget: Arc::clone(budget),
            jobs: Mutex::default(),
            threads: (0..count).map(|_| Thread::default()).collect(),
            stopping: AtomicBool::new(false),
        });
        for (number, thread) in workers.threads.iter().enumerate() {
            thread.is_idle.store(true, Ordering::SeqCst);
            let own: Weak<Workers> = Arc::downgrade(&workers);
            let step = Box::new(move || match own.upgrade() {
                Some(workers) => {
                    workers.work(number);
                    StepOutcome::Idle
                }
                None => StepOutcome::Finished,
            });
            let handle = env.every("scan", LOOK_INTERVAL, step);
            let handle = handle.map_err(|source| Error::io("start a scan thread", "", source))?;
            drop(thread.handle.set(handle));
        }
        Ok(workers)
    }

    /// How many threads there are.
    pub(crate) fn count(&self) -> usize {
        self.threads.len()
    }

    /// Where what they read ahead is counted.
    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Offers a job. False where as many wait already as there are threads: it is dropped.
    pub(crate) fn offer(&self, job: Job) -> bool {
        let mut jobs = self.jobs();
        if jobs.len() >= self.threads.len() {
            return false;
        }
        jobs.push_back(job);
        drop(jobs);
        let mut threads = self.threads.iter();
        // One that is not idle looks for jobs once more before it is.
        let free = threads.find(|thread| thread.is_idle.swap(false, Ordering::SeqCst));
        if let Some(handle) = free.and_then(|thread| thread.handle.get()) {
            handle.wake_beside();
        }
        true
    }

    /// Whether running jobs are to end soon.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Waits until running jobs have ended, and starts no other.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.jobs().clear();
        for thread in &self.threads {
            if let Some(handle) = thread.handle.get() {
                handle.stop();
            }
        }
        // What was offered meanwhile.
        self.jobs().clear();
    }

    /// Does the job that has waited longest, if one waits: a job that is in no hurry lets others go first.
    pub(crate) fn do_next(&self) -> bool {
        let next = self.next_job().filter(|_| !self.is_stopping());
        let is_there = next.is_some();
        if let Some(job) = next {
            // What it left behind says that it failed: whoever offered it sees to that.
            drop(catch_unwind(AssertUnwindSafe(job)));
        }
        is_there
    }

    fn work(&self, number: usize) {
        loop {
            while self.do_next() {}
            self.threads[number].is_idle.store(true, Ordering::SeqCst);
            if self.jobs().is_empty() {
                return;
            }
        }
    }

    fn next_job(&self) -> Option<Job> {
        self.jobs().pop_front()
    }

    fn jobs(&self) -> MutexGuard<'_, VecDeque<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} scan threads", self.threads.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::env::real::{RealEnv, RealOptions};

    fn workers(count: usize) -> (tempfile::TempDir, Arc<Workers>) {
        let folder = tempfile::tempdir().unwrap();
        let env = RealEnv::new(folder.path(), RealOptions { mmap: false });
        let workers = Workers::start(&env, count, &Budget::new(1 << 30)).unwrap();
        (folder, workers)
    }

    #[test]
    fn every_job_that_is_taken_is_done_and_a_panic_costs_only_its_own() {
        let (_folder, workers) = workers(2);
        let (done, seen) = mpsc::channel();
        let mut taken = 0;
        while taken < 1_000 {
            let done = done.clone();
            let number = taken;
            let job = Box::new(move || {
                done.send(number).unwrap();
                assert!(number % 100 != 0, "a job that fails");
            });
            taken += usize::from(workers.offer(job));
        }
        let mut numbers: Vec<usize> = seen.iter().take(taken).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..taken).collect::<Vec<_>>());
    }

    #[test]
    fn nobody_waits_where_no_thread_is_free() {
        assert!(!Workers::none().offer(Box::new(|| ())));
        let (_folder, workers) = workers(1);
        let (go, wait) = mpsc::channel::<()>();
        assert!(workers.offer(Box::new(move || {
            wait.recv().unwrap();
        })));
        while workers.offer(Box::new(|| ())) {}
        go.send(()).unwrap();
        workers.stop();
        assert!(
            workers.offer(Box::new(|| ())),
            "it is never run, and that is all"
        );
    }

    #[test]
    fn a_job_that_is_in_no_hurry_lets_others_go_first() {
        let (_folder, workers) = workers(1);
        let (go, wait) = mpsc::channel::<()>();
        let (done, seen) = mpsc::channel();
        let (own, last) = (Arc::downgrade(&workers), done.clone());
        assert!(workers.offer(Box::new(move || {
            wait.recv().unwrap();
            assert!(own.upgrade().unwrap().do_next());
            last.send("the one in no hurry").unwrap();
        })));
        let offered = || {
            let done = done.clone();
            workers.offer(Box::new(move || done.send("another").unwrap()))
        };
        // Refused until the first has been taken.
        while !offered() {}
        go.send(()).unwrap();
        let order: Vec<_> = seen.iter().take(2).collect();
        assert_eq!(order, ["another", "the one in no hurry"]);
    }
}
