//! The sets that pages share, as readers need them: decoded once, and kept as long as there is room.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::block::reader::Measurement;
use crate::codec::Shared;
use crate::error::Result;
use crate::format::block::bytes::Damage;
use crate::format::block::directory::Pages;
use crate::format::block::stats;

/// Sets of one column that a reader keeps at most: one for 32 MiB of pages.
const SETS_MAX: usize = 16;

/// Sets of all blocks of a store that were read last. A query of few rows mostly pays for the tables of
/// its sets: here they outlive it.
#[derive(Debug)]
pub struct DecodedSets {
    bytes_max: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// By file and offset: the set, what it holds, and when it was asked for last.
    sets: BTreeMap<(u64, u64), (Arc<Shared>, usize, u64)>,
    bytes: usize,
    now: u64,
}

impl DecodedSets {
    /// Room for `bytes_max` bytes of sets.
    pub fn new(bytes_max: usize) -> DecodedSets {
        DecodedSets {
            bytes_max,
            kept: Mutex::default(),
        }
    }

    fn get(&self, place: (u64, u64)) -> Option<Arc<Shared>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.now += 1;
        let now = kept.now;
        let (shared, _, used) = kept.sets.get_mut(&place)?;
        *used = now;
        Some(Arc::clone(shared))
    }

    /// Keeps a set, and lets go of those that were asked for longest ago. Cost: a look at all of them
    /// where there is no room.
    fn put(&self, place: (u64, u64), shared: &Arc<Shared>) {
        let size = shared.decoded_bytes();
        if size > self.bytes_max {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // Two readers may have met it at once.
        if let Some((_, old, _)) = kept.sets.remove(&place) {
            kept.bytes -= old;
        }
        while kept.bytes + size > self.bytes_max {
            let all = kept.sets.iter();
            let oldest = all.min_by_key(|(_, (_, _, used))| *used);
            let Some(oldest) = oldest.map(|(place, _)| *place) else {
                break;
            };
            if let Some((_, size, _)) = kept.sets.remove(&oldest) {
                kept.bytes -= size;
            }
        }
        kept.now += 1;
        let entry = (Arc::clone(shared), size, kept.now);
        kept.sets.insert(place, entry);
        kept.bytes += size;
    }
}

/// The sets of one column that were read last, the newest at the end: series that are read in an order
/// of their own take turns among a few.
#[derive(Debug, Default)]
pub(super) struct SetCache(Vec<(usize, Arc<Shared>)>);

impl SetCache {
    /// The set that a page names `number`: 0 is none, else it is counted from 1 among `sets`.
    pub(super) fn get(
        &mut self,
        measurement: &Measurement<'_>,
        sets: &Pages,
        number: u64,
    ) -> Result<&Shared> {
        if number == 0 {
            return Ok(Shared::none());
        }
        let at = usize::try_from(number - 1).unwrap_or(usize::MAX);
        if at >= sets.len() {
            return Err(measurement.corrupt(Damage("a page names a set that is none")));
        }
        let known = self.0.iter().position(|(own, _)| *own == at);
        let place = if let Some(place) = known {
            place
        } else {
            let shared = read(measurement, sets, at)?;
            if self.0.len() == SETS_MAX {
                self.0.remove(0);
            }
            self.0.push((at, shared));
            self.0.len() - 1
        };
        Ok(&self.0[place].1)
    }
}

/// Set `at` of `sets`, from those that are kept or from the block.
fn read(measurement: &Measurement<'_>, sets: &Pages, at: usize) -> Result<Arc<Shared>> {
    let span = measurement.entry(|_, bytes| sets.get(bytes, at))?;
    let block = measurement.block();
    let place = (block.meta().file_id, span.offset);
    let kept = block.sets();
    if let Some(shared) = kept.and_then(|kept| kept.get(place)) {
        return Ok(shared);
    }
    let bytes = block.file().read(span.offset..span.end())?;
    let shared =
        Shared::decode(&bytes).map_err(|error| block.corrupt(span.offset, stats::damage(error)))?;
    let shared = Arc::new(shared);
    if let Some(kept) = kept {
        // What is kept outlives the reader who would have noticed.
        block.check_intact()?;
        kept.put(place, &shared);
    }
    Ok(shared)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Values;

    #[test]
    fn sets_are_kept_within_their_room_the_last_used_longest() {
        let column = Values::Integer((0..2_000_i64).map(|at| at * at % 7).collect());
        let set = || Arc::new(Shared::of_values(&[&column, &column]));
        let size = set().decoded_bytes();
        assert!(size > 0);
        let kept = DecodedSets::new(3 * size);
        for offset in 0..3 {
            kept.put((7, offset), &set());
        }
        assert!(kept.get((7, 0)).is_some());
        kept.put((7, 3), &set());
        let there: Vec<u64> = (0..4).filter(|at| kept.get((7, *at)).is_some()).collect();
        assert_eq!(there, [0, 2, 3]);
        kept.put((7, 3), &set());
        assert_eq!(kept.kept.lock().unwrap().bytes, 3 * size);
        assert!(kept.get((8, 0)).is_none());
        DecodedSets::new(size - 1).put((7, 0), &set());
    }
}
