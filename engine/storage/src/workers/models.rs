//! Jobs that are handed over to threads of the real environment. Where these run in every order, no
//! interval ever passes: a thread that misses its call waits for ever, and that is told.

use super::*;
use crate::budget::Budget;
use crate::env::real::{RealEnv, RealOptions};
use crate::sync::atomic::AtomicUsize;
use crate::sync::{Condvar, model, together};

fn workers(count: usize) -> Arc<Workers> {
    // Threads only: the directory is not touched.
    let env = RealEnv::new("none", RealOptions { mmap: false });
    Workers::start(&env, count, &Budget::new(1 << 30)).expect("there are threads")
}

/// Counts jobs that have run.
#[derive(Clone, Default)]
struct Done(Arc<(Mutex<usize>, Condvar)>);

impl Done {
    fn add(&self) {
        *self.0.0.lock().expect("nobody fails") += 1;
        self.0.1.notify_all();
    }

    fn count(&self) -> usize {
        *self.0.0.lock().expect("nobody fails")
    }

    fn wait_for(&self, count: usize) {
        let mut done = self.0.0.lock().expect("nobody fails");
        while *done < count {
            done = self.0.1.wait(done).expect("nobody fails");
        }
    }
}

fn offer(workers: &Workers, done: &Done) -> usize {
    let done = done.clone();
    usize::from(workers.offer(Box::new(move || done.add())))
}

#[test]
fn a_job_that_is_taken_runs_although_its_thread_was_about_to_rest() {
    model(|| {
        let (workers, done) = (workers(1), Done::default());
        let mut taken = offer(&workers, &done);
        done.wait_for(taken);
        // The thread is on its way to rest now.
        taken += offer(&workers, &done);
        assert_eq!(taken, 2);
        done.wait_for(taken);
        workers.stop();
    });
}

#[test]
fn jobs_of_two_that_offer_at_once_all_run() {
    model(|| {
        let (workers, done) = (workers(1), Done::default());
        let taken = Arc::new(AtomicUsize::new(0));
        let jobs = (0..2).map(|_| {
            let (workers, done) = (Arc::clone(&workers), done.clone());
            let taken = Arc::clone(&taken);
            let job: Box<dyn FnOnce() + Send> = Box::new(move || {
                taken.fetch_add(offer(&workers, &done), Ordering::SeqCst);
            });
            job
        });
        together(jobs.collect());
        let taken = taken.load(Ordering::SeqCst);
        assert!(taken > 0, "the first finds no other waiting");
        done.wait_for(taken);
        workers.stop();
    });
}

#[test]
fn nothing_runs_once_stop_has_returned() {
    model(|| {
        let workers = workers(1);
        let (is_over, late) = (Arc::new(AtomicBool::new(false)), Done::default());
        let (offering, stopping) = (Arc::clone(&workers), Arc::clone(&workers));
        let (seen, told) = (Arc::clone(&is_over), late.clone());
        let offer = move || {
            offering.offer(Box::new(move || {
                if seen.load(Ordering::SeqCst) {
                    told.add();
                }
            }));
        };
        let stop = move || {
            stopping.stop();
            is_over.store(true, Ordering::SeqCst);
        };
        together(vec![Box::new(offer), Box::new(stop)]);
        drop(workers);
        assert_eq!(late.count(), 0, "a job ran behind the stop");
    });
}
