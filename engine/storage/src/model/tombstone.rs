//! Deletes: which series and which time, and what they hide.
//!
//! A tombstone has a sequence, as a write has: it hides what was written before it and nothing
//! after it. Its series were resolved when it was made, so that what it hides does not depend on
//! what is named, defined or written later.

use std::sync::Arc;

use crate::model::{MeasurementId, PolicyId, Sequence, SeriesId, TimeRange};

/// Series of one measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeriesSet {
    /// All there are.
    All,
    /// Those in these spans, which ascend and do not touch: first and last id of each.
    Spans(Vec<(SeriesId, SeriesId)>),
}

/// A durable delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// Rows written up to it are hidden.
    pub sequence: Sequence,
    /// In this policy alone, or in all.
    pub policy: Option<PolicyId>,
    /// Rows of these series, ascending by measurement, each once.
    pub targets: Vec<(MeasurementId, SeriesSet)>,
    /// Rows of this time.
    pub range: TimeRange,
}

/// The deletes of one database, ascending by sequence. Cloning copies a pointer.
#[derive(Clone, Debug, Default)]
pub struct Tombstones(Arc<Vec<Arc<Tombstone>>>);

/// The deletes that hide rows of one place: a run or a block, one measurement of it.
#[derive(Clone, Debug, Default)]
pub struct Hides(Vec<(Arc<Tombstone>, usize)>);

impl SeriesSet {
    /// The set of these series, in any order.
    pub fn of(mut series: Vec<SeriesId>) -> SeriesSet {
        series.sort_unstable();
        let mut spans: Vec<(SeriesId, SeriesId)> = Vec::new();
        for id in series {
            match spans.last_mut() {
                Some((_, last)) if last.0.checked_add(1).is_none_or(|next| next >= id.0) => {
                    *last = id;
                }
                Some(_) | None => spans.push((id, id)),
            }
        }
        SeriesSet::Spans(spans)
    }

    /// Whether `series` is among them. Cost: a binary search.
    pub fn contains(&self, series: SeriesId) -> bool {
        match self {
            SeriesSet::All => true,
            SeriesSet::Spans(spans) => {
                let at = spans.partition_point(|(first, _)| *first <= series);
                at > 0 && series <= spans[at - 1].1
            }
        }
    }
}

impl Tombstone {
    /// The number of the target that has `measurement`, where rows of `policy` are meant.
    fn target(&self, policy: PolicyId, measurement: MeasurementId) -> Option<usize> {
        if self.policy.is_some_and(|own| own != policy) {
            return None;
        }
        let found = self
            .targets
            .binary_search_by_key(&measurement, |(id, _)| *id);
        found.ok()
    }

    /// Anonymous memory, bytes.
    pub fn size_bytes(&self) -> usize {
        let spans = self.targets.iter().map(|(_, set)| match set {
            SeriesSet::All => 0,
            SeriesSet::Spans(spans) => size_of_val(&spans[..]),
        });
        size_of::<Tombstone>() + size_of_val(&self.targets[..]) + spans.sum::<usize>()
    }
}

impl Tombstones {
    /// Those of `list`, in any order.
    pub fn of(list: impl IntoIterator<Item = Arc<Tombstone>>) -> Tombstones {
        let mut list: Vec<Arc<Tombstone>> = list.into_iter().collect();
        list.sort_by_key(|one| one.sequence);
        Tombstones(Arc::new(list))
    }

    /// All, ascending by sequence.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Tombstone>> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts one in its place; one of its sequence that is there stays.
    pub fn put(&mut self, tombstone: Arc<Tombstone>) {
        let place = self
            .0
            .binary_search_by_key(&tombstone.sequence, |one| one.sequence);
        if let Err(place) = place {
            Arc::make_mut(&mut self.0).insert(place, tombstone);
        }
    }

    /// Takes those away for which `gone` holds.
    pub fn remove(&mut self, gone: impl Fn(&Tombstone) -> bool) {
        Arc::make_mut(&mut self.0).retain(|one| !gone(one));
    }

    /// Those up to `sequence`.
    #[must_use]
    pub fn through(&self, sequence: Sequence) -> Tombstones {
        let count = self.0.partition_point(|one| one.sequence <= sequence);
        Tombstones(Arc::new(self.0[..count].to_vec()))
    }

    /// The sequence of the last one.
    pub fn last(&self) -> Option<Sequence> {
        self.0.last().map(|one| one.sequence)
    }

    /// Those that concern `measurement` in `policy` and were made after `written`, the last
    /// sequence of the rows in question.
    pub fn hides(&self, written: Sequence, policy: PolicyId, measurement: MeasurementId) -> Hides {
        let start = self.0.partition_point(|one| one.sequence <= written);
        let later = self.0[start..].iter();
        let own = later.filter_map(|one| {
            let target = one.target(policy, measurement)?;
            Some((Arc::clone(one), target))
        });
        Hides(own.collect())
    }
}

impl Hides {
    /// Whether nothing is hidden.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The times at which rows of `series` are hidden: spans that ascend and do not meet.
    pub fn ranges(&self, series: SeriesId) -> Vec<TimeRange> {
        let mut ranges: Vec<TimeRange> = Vec::new();
        for (tombstone, target) in &self.0 {
            let (_, set) = &tombstone.targets[*target];
            if !tombstone.range.is_empty() && set.contains(series) {
                ranges.push(tombstone.range);
            }
        }
        ranges.sort_unstable_by_key(|range| range.start);
        ranges.dedup_by(|later, earlier| {
            let meet = later.start <= earlier.end;
            if meet {
                earlier.end = earlier.end.max(later.end);
            }
            meet
        });
        ranges
    }
}

/// Whether `time` lies in one of `ranges`, as [`Hides::ranges`] gives them.
pub fn is_hidden(ranges: &[TimeRange], time: i64) -> bool {
    let at = ranges.partition_point(|range| range.start <= time);
    at > 0 && time < ranges[at - 1].end
}

/// Whether all of `first..=last` lies in `ranges`.
pub fn covers(ranges: &[TimeRange], first: i64, last: i64) -> bool {
    let at = ranges.partition_point(|range| range.start <= first);
    at > 0 && last < ranges[at - 1].end
}

/// Whether any of `first..=last` lies in `ranges`.
pub fn meets(ranges: &[TimeRange], first: i64, last: i64) -> bool {
    ranges.iter().any(|range| range.overlaps(first, last))
}

/// The numbers of the rows that are not hidden; `None` where they are all.
///
/// # Panics
/// If there are 2^32 rows or more.
pub fn visible(ranges: &[TimeRange], timestamps: &[i64]) -> Option<Vec<u32>> {
    if !timestamps.iter().any(|time| is_hidden(ranges, *time)) {
        return None;
    }
    let rows = (0_u32..).zip(timestamps);
    let shown = rows.filter(|(_, time)| !is_hidden(ranges, **time));
    let rows: Vec<u32> = shown.map(|(row, _)| row).collect();
    assert!(
        u32::try_from(timestamps.len()).is_ok(),
        "rows come in pieces"
    );
    Some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    const M: MeasurementId = MeasurementId(1);
    const P: PolicyId = PolicyId(1);

    fn set(ids: &[u64]) -> SeriesSet {
        SeriesSet::of(ids.iter().map(|id| SeriesId(*id)).collect())
    }

    fn tombstone(sequence: u64, series: SeriesSet, range: (i64, i64)) -> Arc<Tombstone> {
        Arc::new(Tombstone {
            sequence: Sequence(sequence),
            policy: None,
            targets: vec![(M, series)],
            range: TimeRange {
                start: range.0,
                end: range.1,
            },
        })
    }

    #[test]
    fn a_set_holds_what_it_was_made_of_and_nothing_between() {
        let one = set(&[9, 3, 4, 5, 5, u64::MAX, 1]);
        for id in [1, 3, 4, 5, 9, u64::MAX] {
            assert!(one.contains(SeriesId(id)), "{id}");
        }
        for id in [0, 2, 6, 8, 10, u64::MAX - 1] {
            assert!(!one.contains(SeriesId(id)), "{id}");
        }
        assert!(!set(&[]).contains(SeriesId(1)) && SeriesSet::All.contains(SeriesId(7)));
    }

    #[test]
    fn what_was_written_later_or_elsewhere_is_not_hidden() {
        let mut all = Tombstones::of([tombstone(7, set(&[2]), (10, 20))]);
        let ranges = |all: &Tombstones, written, policy, measurement| {
            let hides = all.hides(Sequence(written), policy, measurement);
            hides.ranges(SeriesId(2))
        };
        assert_eq!(ranges(&all, 6, P, M).len(), 1);
        assert!(ranges(&all, 7, P, M).is_empty());
        assert!(ranges(&all, 6, P, MeasurementId(2)).is_empty());
        let hides = all.hides(Sequence(1), P, M);
        assert!(hides.ranges(SeriesId(3)).is_empty() && !hides.is_empty());
        let own = Tombstone {
            policy: Some(PolicyId(2)),
            ..Tombstone::clone(&tombstone(9, SeriesSet::All, (0, 5)))
        };
        all.put(Arc::new(own));
        assert_eq!(ranges(&all, 8, PolicyId(2), M).len(), 1);
        assert!(ranges(&all, 8, P, M).is_empty());
        assert_eq!(all.through(Sequence(8)).last(), Some(Sequence(7)));
        all.remove(|one| one.sequence == Sequence(7));
        assert_eq!(all.iter().len(), 1);
    }

    #[test]
    fn spans_that_meet_become_one() {
        let list = [(30, 40), (0, 10), (10, 20), (15, 18), (5, 5)];
        let list = (1..)
            .zip(list)
            .map(|(sequence, range)| tombstone(sequence, SeriesSet::All, range));
        let hides = Tombstones::of(list).hides(Sequence(0), P, M);
        let ranges = hides.ranges(SeriesId(1));
        let ends: Vec<(i64, i64)> = ranges.iter().map(|one| (one.start, one.end)).collect();
        assert_eq!(ends, [(0, 20), (30, 40)]);
        assert!(covers(&ranges, 0, 19) && !covers(&ranges, 0, 20) && !covers(&ranges, -1, 3));
        assert!(meets(&ranges, 20, 30) && !meets(&ranges, 20, 29));
        assert_eq!(
            visible(&ranges, &[-1, 0, 19, 20, 35, 40]),
            Some(vec![0, 3, 5])
        );
        assert_eq!(visible(&ranges, &[-1, 20]), None);
    }
}
