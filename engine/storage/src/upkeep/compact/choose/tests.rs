//! Choices as printed inputs, and long histories of them in which the newest write must win.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::format::block::BlockInfo;
use crate::model::{Sequence, TimeRange};
use crate::upkeep::compact::plan;
use crate::upkeep::compact::tests::{WIDTH, info};

/// A moment at which no partition of these tests is over.
const EARLY: i64 = 0;
/// One at which all are.
const LATE: i64 = CLOSED_AFTER_NS + 1000 * WIDTH;

fn meta(
    file_id: u64,
    level: u8,
    (first, last): (u64, u64),
    start: i64,
    size_bytes: u64,
) -> BlockMeta {
    BlockMeta {
        file_id,
        info: info(level, first, last),
        range: TimeRange {
            start,
            end: start + 10,
        },
        row_count: 10,
        size_bytes,
    }
}

/// What is chosen where no block has been there for long.
fn chosen(blocks: &[BlockMeta], goal: Goal) -> Vec<u64> {
    files(choose(&busy(blocks, &[]), goal))
}

fn files(choice: Option<Choice>) -> Vec<u64> {
    let blocks = choice.map(|choice| choice.blocks).unwrap_or_default();
    blocks.iter().map(|block| block.file_id).collect()
}

fn busy<'own>(blocks: &'own [BlockMeta], barriers: &'own [BlockMeta]) -> Situation<'own> {
    Situation {
        blocks,
        barriers,
        partition_ns: WIDTH,
        now_ns: EARLY,
        is_quiet: &|_| false,
        inputs_max: 32,
    }
}

/// All partitions are over, and nothing has come for a while.
fn quiet(blocks: &[BlockMeta]) -> Situation<'_> {
    Situation {
        now_ns: LATE,
        is_quiet: &|_| true,
        ..busy(blocks, &[])
    }
}

#[test]
fn level_0_is_merged_whole_and_oldest_first_once_there_are_enough() {
    let mut blocks: Vec<BlockMeta> = (1..=7)
        .map(|at| meta(100 - at, 0, (at * 10, at * 10 + 9), 5, 1000))
        .collect();
    assert_eq!(chosen(&blocks, Goal::Balance), []);
    blocks.push(meta(50, 0, (1, 5), 5, 1000));
    assert_eq!(
        chosen(&blocks, Goal::Balance),
        [50, 99, 98, 97, 96, 95, 94, 93]
    );
    let many: Vec<BlockMeta> = (1..=40).map(|at| meta(at, 0, (at, at), 5, 10)).collect();
    let first: Vec<u64> = (1..=32).collect();
    assert_eq!(chosen(&many, Goal::Balance), first);
    let wide = Situation {
        inputs_max: 5,
        ..busy(&many, &[])
    };
    assert_eq!(files(choose(&wide, Goal::Balance)), [1, 2, 3, 4, 5]);
    assert_eq!(debt(&busy(&many, &[])), 400);
    assert_eq!(debt(&busy(&many[..7], &[])), 0);
}

#[test]
fn the_wider_a_table_the_fewer_blocks_are_merged_at_once() {
    let all = Memory::of_budget(usize::MAX);
    assert_eq!(Situation::inputs_max(0, all), INPUTS_MAX);
    assert_eq!(Situation::inputs_max(10, all), INPUTS_MAX);
    assert_eq!(Situation::inputs_max(100, all), 10);
    assert_eq!(Situation::inputs_max(usize::MAX, all), 2);
    let least = Memory::of_budget(256 << 20);
    assert_eq!(Situation::inputs_max(10, least), 18);
}

#[test]
fn neighbours_of_like_size_are_merged_and_partitions_never_meet() {
    let day = |partition: i64| partition * WIDTH + 1;
    let mut blocks = vec![
        meta(1, 3, (1, 9), day(0), 1_000_000),
        meta(2, 1, (10, 19), day(0), 900),
        meta(3, 1, (20, 29), day(0), 1000),
        meta(4, 1, (30, 39), day(0), 5000),
        meta(5, 1, (1, 39), day(1), 1000),
    ];
    assert_eq!(chosen(&blocks, Goal::Balance), []);
    blocks.push(meta(6, 1, (40, 49), day(0), 1000));
    assert_eq!(chosen(&blocks, Goal::Balance), [2, 3, 4, 6]);
    assert_eq!(debt(&busy(&blocks, &[])), 7900);
    blocks[2].size_bytes = 1_000_000;
    assert_eq!(
        chosen(&blocks, Goal::Balance),
        [],
        "what lies between is never passed over"
    );
}

#[test]
fn the_final_form_is_one_compacted_block_for_each_partition() {
    let single = [meta(1, 0, (1, 2), 5, 10)];
    assert_eq!(chosen(&single, Goal::Final), [1]);
    let day = |partition: i64| partition * WIDTH + 1;
    let mut blocks = vec![
        meta(1, 2, (1, 9), day(-1), 1_000_000),
        meta(2, LEVEL_FINAL, (10, 19), day(1), 900),
        meta(3, 1, (20, 29), day(-1), 5),
    ];
    assert_eq!(chosen(&blocks, Goal::Final), [1, 3]);
    blocks.pop();
    assert_eq!(
        chosen(&blocks, Goal::Final),
        [1],
        "it is not encoded to stay"
    );
    blocks[0].info.level = LEVEL_FINAL;
    assert_eq!(chosen(&blocks, Goal::Final), []);
}

#[test]
fn what_will_be_merged_again_is_not_encoded_to_stay() {
    let mut blocks = vec![
        meta(1, LEVEL_FINAL, (1, 9), WIDTH, 1000),
        meta(2, 0, (10, 19), WIDTH, 1000),
    ];
    let choice = choose(&busy(&blocks, &[]), Goal::Final).unwrap();
    assert_eq!(choice.goal, Goal::Final);
    assert_eq!(choice.layout, Layout::Split(BTreeSet::from([1])));
    blocks.extend((0..40).map(|at| meta(10 + at, 0, (20 + at, 20 + at), 0, 10)));
    let choice = choose(&busy(&blocks, &[]), Goal::Final).unwrap();
    assert_eq!((choice.goal, choice.blocks.len()), (Goal::Balance, 32));
}

#[test]
fn a_partition_that_is_over_and_quiet_becomes_one_block_that_stays() {
    let blocks = [
        meta(1, 1, (1, 9), 5, 1000),
        meta(2, 1, (10, 19), 5, 10),
        meta(3, 1, (1, 19), WIDTH + 5, 10),
    ];
    let now = CLOSED_AFTER_NS + WIDTH;
    let just = |now_ns| Situation {
        now_ns,
        ..quiet(&blocks)
    };
    assert_eq!(files(choose(&just(now - 1), Goal::Balance)), []);
    let choice = choose(&just(now), Goal::Balance).unwrap();
    assert_eq!(choice.goal, Goal::Final);
    assert_eq!(files(Some(choice)), [1, 2]);
    let hurried = Situation {
        is_quiet: &|block| block.file_id != 2,
        ..quiet(&blocks)
    };
    assert_eq!(files(choose(&hurried, Goal::Balance)), [3]);
    assert_eq!(debt(&quiet(&blocks)), 1020);
}

#[test]
fn rows_that_came_late_are_folded_in_once_they_are_worth_it() {
    let row_count = |block: BlockMeta, row_count: u64| BlockMeta { row_count, ..block };
    let mut blocks = vec![
        row_count(meta(1, LEVEL_FINAL, (1, 9), 5, 100_000), 10_000),
        row_count(meta(2, 1, (10, 19), 5, 10), 100),
    ];
    assert_eq!(files(choose(&quiet(&blocks), Goal::Balance)), []);
    blocks[1].row_count = 101;
    assert_eq!(files(choose(&quiet(&blocks), Goal::Balance)), [1, 2]);
    blocks[1].row_count = 1;
    // Of unlike size, so that they are no neighbours.
    for (at, size) in (0..7).zip([10_u64, 1000, 10, 1000, 10, 1000, 10]) {
        blocks.push(row_count(meta(3 + at, 1, (20 + at, 20 + at), 5, size), 1));
    }
    assert_eq!(files(choose(&quiet(&blocks), Goal::Balance)).len(), 9);
    assert_eq!(files(choose(&quiet(&blocks[..8]), Goal::Balance)), []);
}

#[test]
fn flushed_blocks_that_no_others_follow_are_split() {
    let blocks = [meta(1, 0, (1, 9), 5, 10), meta(2, 0, (10, 19), 5, 10)];
    let choice = choose(&quiet(&blocks), Goal::Balance).unwrap();
    assert_eq!(choice.layout, Layout::Split(BTreeSet::new()));
    assert_eq!(files(Some(choice)), [1, 2]);
    let one_is_new = Situation {
        is_quiet: &|block| block.file_id == 1,
        ..quiet(&blocks)
    };
    assert_eq!(files(choose(&one_is_new, Goal::Balance)), []);
}

#[test]
fn a_damaged_block_keeps_apart_what_it_lies_between_and_nothing_else() {
    let day = |partition: i64| partition * WIDTH + 1;
    let blocks: Vec<BlockMeta> = (0..8)
        .map(|at| meta(1 + at, 1, (10 * at + 1, 10 * at + 9), day(0), 1000))
        .chain((0..4).map(|at| meta(21 + at, 1, (10 * at + 1, 10 * at + 9), day(1), 1000)))
        .collect();
    let within = [meta(99, 1, (40, 40), day(0), 1000)];
    assert_eq!(
        files(choose(&busy(&blocks, &within), Goal::Balance)),
        [1, 2, 3, 4]
    );
    assert_eq!(
        files(choose(&busy(&blocks[4..], &within), Goal::Balance)),
        [5, 6, 7, 8]
    );
    assert_eq!(
        files(choose(&busy(&blocks[2..], &within), Goal::Balance)),
        [5, 6, 7, 8]
    );
    assert_eq!(
        files(choose(&busy(&blocks[5..], &within), Goal::Balance)),
        [21, 22, 23, 24]
    );
    // Of those that may span partitions, what lies before it goes first and whole.
    let flushed: Vec<BlockMeta> = (0..8)
        .map(|at| meta(at, 0, (at * 2, at * 2), 5, 9))
        .collect();
    let within = [meta(99, 0, (3, 3), 5, 9)];
    let choice = choose(&busy(&flushed, &within), Goal::Balance).unwrap();
    assert_eq!(choice.layout, Layout::Split(BTreeSet::new()));
    assert_eq!(files(Some(choice)), [0, 1]);
}

#[test]
fn what_is_not_split_yet_keeps_apart_what_it_lies_between() {
    let blocks: Vec<BlockMeta> = (0..4)
        .map(|at| meta(1 + at, 1, (10 * at + 1, 10 * at + 9), 5, 1000))
        .collect();
    assert_eq!(chosen(&blocks, Goal::Balance), [1, 2, 3, 4]);
    let mut between = blocks.clone();
    between.push(meta(9, 0, (20, 20), 5, 10));
    assert_eq!(chosen(&between, Goal::Balance), [], "put back, for one");
    between[4].range = TimeRange {
        start: WIDTH,
        end: WIDTH + 1,
    };
    assert_eq!(
        chosen(&between, Goal::Balance),
        [1, 2, 3, 4],
        "they never meet"
    );
}

/// A block of a history: what a merge would read.
#[derive(Clone, Debug)]
struct Stored {
    meta: BlockMeta,
    /// Which write each time has its row of.
    rows: BTreeMap<i64, u64>,
}

/// What happens to a policy's blocks.
#[derive(Clone, Debug)]
enum Event {
    Flush(Vec<i64>),
    /// Merges, so many at most.
    Merge(usize),
    /// One is written anew for a delete's sake that hid nothing.
    Purge(usize),
    Damage(usize),
    Repair,
    Rest,
}

#[derive(Default)]
struct History {
    blocks: Vec<Stored>,
    damaged: Vec<Stored>,
    truth: BTreeMap<i64, u64>,
    sequence: u64,
    file: u64,
    /// Files up to it have been there for long.
    seen: u64,
    now_ns: i64,
}

impl History {
    fn flush(&mut self, times: &[i64]) {
        let first = self.sequence + 1;
        let mut rows = BTreeMap::new();
        for time in times {
            self.sequence += 1;
            rows.insert(*time, self.sequence);
            self.truth.insert(*time, self.sequence);
        }
        self.store(info(0, first, self.sequence), rows);
    }

    fn store(&mut self, info: BlockInfo, rows: BTreeMap<i64, u64>) {
        let (Some((start, _)), Some((end, _))) = (rows.first_key_value(), rows.last_key_value())
        else {
            return;
        };
        self.file += 1;
        let meta = BlockMeta {
            file_id: self.file,
            info,
            range: TimeRange {
                start: *start,
                end: end + 1,
            },
            row_count: rows.len() as u64,
            size_bytes: 100 + 10 * rows.len() as u64,
        };
        self.blocks.push(Stored { meta, rows });
    }

    /// As compaction does it: sources and their order, the level and sequences of the new ones.
    fn merge(&mut self, choice: &Choice) {
        let (mut sources, others): (Vec<Stored>, Vec<Stored>) = std::mem::take(&mut self.blocks)
            .into_iter()
            .partition(|own| choice.blocks.contains(&own.meta));
        assert_eq!(sources.len(), choice.blocks.len(), "they are live");
        self.blocks = others;
        sources.sort_by_key(|own| order(&own.meta));
        let mut rows = BTreeMap::new();
        let mut whole = sources[0].meta.info;
        for source in &sources {
            rows.extend(source.rows.clone());
            let own = source.meta.info;
            whole.level = whole.level.max(own.level);
            whole.sequences.first = whole.sequences.first.min(own.sequences.first);
            whole.sequences.last = whole.sequences.last.max(own.sequences.last);
        }
        let mut parts: BTreeMap<i64, BTreeMap<i64, u64>> = BTreeMap::new();
        for (time, write) in rows {
            let own = parts.entry(partition(time, WIDTH)).or_default();
            own.insert(time, write);
        }
        let counts = parts.iter();
        let counts = counts
            .map(|(own, rows)| (*own, rows.len() as u64))
            .collect();
        if !plan::is_split(&choice.layout, &counts) {
            let level = match choice.layout {
                Layout::Together => whole.level,
                Layout::Split(_) | Layout::SplitWhereDense => {
                    whole.level.saturating_add(1).min(LEVEL_FINAL - 1)
                }
            };
            let rows = parts.into_values().flatten().collect();
            self.store(BlockInfo { level, ..whole }, rows);
            return;
        }
        for (own, rows) in parts {
            let is_beside =
                matches!(&choice.layout, Layout::Split(beside) if beside.contains(&own));
            let level = if choice.goal == Goal::Final && !is_beside {
                LEVEL_FINAL
            } else {
                whole.level.saturating_add(1).min(LEVEL_FINAL - 1)
            };
            self.store(BlockInfo { level, ..whole }, rows);
        }
    }

    fn choose(&self, goal: Goal) -> Option<Choice> {
        let metas = |own: &[Stored]| own.iter().map(|own| own.meta).collect::<Vec<_>>();
        let (blocks, barriers) = (metas(&self.blocks), metas(&self.damaged));
        let situation = Situation {
            now_ns: self.now_ns,
            is_quiet: &|block| block.file_id <= self.seen,
            ..busy(&blocks, &barriers)
        };
        choose(&situation, goal)
    }

    fn purge(&mut self, at: usize) {
        if self.blocks.is_empty() {
            return;
        }
        let mut own = self.blocks.swap_remove(at % self.blocks.len());
        self.file += 1;
        self.sequence += 1;
        own.meta.file_id = self.file;
        own.meta.info.sequences.last = Sequence(self.sequence);
        if own.meta.info.level != 0 {
            own.meta.info.level = own.meta.info.level.saturating_add(1).min(LEVEL_FINAL - 1);
        }
        self.blocks.push(own);
    }

    /// What a reader sees, the damaged blocks mended.
    fn read(&self) -> BTreeMap<i64, u64> {
        let mut all: Vec<&Stored> = self.blocks.iter().chain(&self.damaged).collect();
        all.sort_by_key(|own| order(&own.meta));
        all.iter().flat_map(|own| own.rows.clone()).collect()
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Flush(times) => self.flush(times),
            Event::Merge(count) => {
                for _ in 0..*count {
                    let Some(choice) = self.choose(Goal::Balance) else {
                        break;
                    };
                    self.merge(&choice);
                }
            }
            Event::Purge(at) => self.purge(*at),
            Event::Damage(at) => {
                if !self.blocks.is_empty() {
                    let own = self.blocks.swap_remove(at % self.blocks.len());
                    self.damaged.push(own);
                }
            }
            Event::Repair => self.blocks.append(&mut self.damaged),
            Event::Rest => {
                self.seen = self.file;
                self.now_ns = LATE;
            }
        }
    }

    /// Merges until there is nothing to do; how often.
    fn exhaust(&mut self, goal: Goal) -> usize {
        let mut rounds = 0;
        while let Some(choice) = self.choose(goal) {
            self.merge(&choice);
            rounds += 1;
            assert!(rounds < 10_000, "merging ends: {choice:?}");
        }
        rounds
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    let near = proptest::collection::vec(0..3 * WIDTH, 1..20);
    let far = proptest::collection::vec(-30 * WIDTH..30 * WIDTH, 1..60);
    prop_oneof![
        6 => near.prop_map(Event::Flush),
        2 => far.prop_map(Event::Flush),
        4 => (1..4_usize).prop_map(Event::Merge),
        1 => any::<usize>().prop_map(Event::Purge),
        1 => any::<usize>().prop_map(Event::Damage),
        1 => Just(Event::Repair),
        1 => Just(Event::Rest),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_newest_write_wins_whatever_is_merged_when(
        events in proptest::collection::vec(any_event(), 1..150),
    ) {
        let mut history = History::default();
        for event in &events {
            history.happen(event);
            prop_assert_eq!(&history.read(), &history.truth, "after {:?}", event);
        }
        history.exhaust(Goal::Balance);
        prop_assert_eq!(&history.read(), &history.truth);
        history.damaged.clear();
        history.truth = history.read();
        history.exhaust(Goal::Final);
        prop_assert_eq!(&history.read(), &history.truth);
        let mut partitions = BTreeSet::new();
        for own in &history.blocks {
            prop_assert_eq!(own.meta.info.level, LEVEL_FINAL);
            prop_assert!(partitions.insert(partition(own.meta.range.start, WIDTH)));
        }
    }

}

proptest! {
    // Long ones: 200 flushes each.
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_backfill_in_any_order_leaves_few_blocks_at_any_time(
        seed in any::<u64>(),
        partitions in 1..200_i64,
    ) {
        let mut history = History::default();
        let mut random = crate::env::sim::Random(seed);
        let mut most = 0;
        for _ in 0..200 {
            let span = u64::try_from(partitions * WIDTH).unwrap();
            let times: Vec<i64> = (0..50).map(|_| i64::try_from(random.below(span)).unwrap()).collect();
            history.flush(&times);
            history.exhaust(Goal::Balance);
            most = most.max(history.blocks.len());
        }
        // Flushed ones and, of each partition, some of each size.
        let bound = 2 * LEVEL_0_BLOCKS_MAX + 3 * NEIGHBOURS_MIN * usize::try_from(partitions).unwrap();
        prop_assert!(most <= bound, "{} blocks of {} partitions", most, partitions);
        prop_assert_eq!(history.read(), history.truth);
    }
}
