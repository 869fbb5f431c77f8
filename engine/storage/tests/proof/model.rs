//! Random lists of operations on the simulated machine against a naive map: whatever is written,
//! flushed, merged, dropped, crashed and opened again, a scan shows what the map holds, bit by bit.

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use crate::parallel::parallel;
use crate::sequence::run;
use crate::setting;

/// Lists of operations.
const LISTS: u64 = 5000;
/// Lists that one generator of numbers makes.
const LISTS_PER_SEED: u32 = 100;
/// Operations of a list at most.
const OPS_MAX: usize = 40;

/// Runs the lists that follow from each of `seeds` seeds, `first` and those behind it.
pub(crate) fn lists(first: u64, seeds: u64) {
    parallel(usize::try_from(seeds).unwrap(), |index| {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&(first + index as u64).to_le_bytes());
        let config = ProptestConfig {
            cases: LISTS_PER_SEED,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let lists = prop::collection::vec(any::<u64>(), 1..OPS_MAX);
        let outcome = TestRunner::new_with_rng(config, random).run(&lists, |numbers| {
            run(&numbers);
            Ok(())
        });
        if let Err(failure) = outcome {
            panic!("seed {}: {failure}", first + index as u64);
        }
    });
    println!("{} lists of operations", seeds * u64::from(LISTS_PER_SEED));
}

#[test]
fn a_store_shows_what_a_map_holds() {
    let first = setting("SILVERBACK_SEED", 1);
    let seeds = setting("SILVERBACK_RUNS", LISTS / u64::from(LISTS_PER_SEED));
    lists(first, seeds);
}
