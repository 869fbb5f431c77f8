use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::ScopedJoinHandle;

use proptest::prelude::*;

use super::*;
use crate::index::numbered::{Numbered, hash};
use crate::model::{
    CanonicalKey, MeasurementId, TagKeyId, TagPredicate, TagSet, ValueMatcher, Wanted,
};

/// Passes values that hold this byte, and the missing one if asked to.
#[derive(Debug)]
struct Holds(u8, bool);

impl ValueMatcher for Holds {
    fn matches(&self, value: &[u8]) -> bool {
        value.contains(&self.0) || value.is_empty() && self.1
    }
}

#[derive(Debug)]
struct Listed(Vec<Box<[u8]>>);

impl ValueMatcher for Listed {
    fn matches(&self, value: &[u8]) -> bool {
        self.0.iter().any(|one| **one == *value)
    }

    fn values(&self) -> Option<&[Box<[u8]>]> {
        Some(&self.0)
    }
}

/// Passes values with this prefix, and the missing one if asked to.
#[derive(Debug)]
struct Opens(Vec<u8>, bool);

impl ValueMatcher for Opens {
    fn matches(&self, value: &[u8]) -> bool {
        if value.is_empty() {
            self.1
        } else {
            value.starts_with(&self.0)
        }
    }

    fn prefix(&self) -> &[u8] {
        &self.0
    }
}

/// The ids that `index` gives, ascending.
fn select(index: &LiveIndex, measurement: u32, predicate: &TagPredicate) -> Vec<SeriesId> {
    let wanted = Wanted {
        measurement: MeasurementId(measurement),
        predicate,
        names: &names,
        is_known: &|key| key.0 <= 3,
    };
    let mut ids = Vec::new();
    index.ids(&index.select(&wanted), &mut |id| ids.push(id));
    ids.sort_unstable();
    ids
}

const NAMES: [&[u8]; 4] = [b"dc", b"host", b"rack", b"unknown"];

/// The last name has no id: no series ever had it.
fn names(name: &[u8]) -> Option<TagKeyId> {
    let at = NAMES[..3].iter().position(|one| *one == name)?;
    Some(TagKeyId(u32::try_from(at).unwrap() + 1))
}

fn name() -> impl Strategy<Value = Box<[u8]>> {
    prop::sample::select(NAMES.to_vec()).prop_map(Into::into)
}

fn value() -> impl Strategy<Value = Box<[u8]>> {
    prop::sample::select(vec!["", "a", "b", "ab", "c"]).prop_map(|value| value.as_bytes().into())
}

fn predicate() -> impl Strategy<Value = TagPredicate> {
    let leaf = prop_oneof![
        Just(TagPredicate::All),
        Just(TagPredicate::None),
        (name(), value()).prop_map(|(key, value)| TagPredicate::Equal { key, value }),
        (name(), any::<bool>()).prop_map(|(key, empty)| TagPredicate::Matches {
            key,
            matcher: Arc::new(Holds(b'a', empty)),
        }),
        (name(), value(), any::<bool>()).prop_map(|(key, prefix, empty)| TagPredicate::Matches {
            key,
            matcher: Arc::new(Opens(prefix.into(), empty)),
        }),
        (name(), prop::collection::vec(value(), 0..4)).prop_map(|(key, mut values)| {
            values.sort();
            TagPredicate::Matches {
                key,
                matcher: Arc::new(Listed(values)),
            }
        }),
        (name(), name()).prop_map(|(one, other)| TagPredicate::SameValue(one, other)),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner
                .clone()
                .prop_map(|one| TagPredicate::Not(Box::new(one))),
            prop::collection::vec(inner.clone(), 0..3).prop_map(TagPredicate::And),
            prop::collection::vec(inner, 0..3).prop_map(TagPredicate::Or),
        ]
    })
}

fn entry(id: u64, measurement: u32, tags: &TagSet) -> SeriesEntry {
    let mut tags: Vec<(TagKeyId, &[u8])> = tags
        .iter()
        .map(|(key, value)| (names(key).unwrap(), value))
        .collect();
    SeriesEntry {
        id: SeriesId(id),
        key: CanonicalKey::encode(MeasurementId(measurement), &mut tags),
    }
}

fn tag_set() -> impl Strategy<Value = TagSet> {
    [value(), value(), value()].prop_map(|values| {
        let tags = NAMES
            .iter()
            .zip(values)
            .filter(|(_, value)| !value.is_empty());
        TagSet::new(tags.map(|(key, value)| ((*key).into(), value)).collect()).unwrap()
    })
}

proptest! {
    #[test]
    fn a_selection_is_what_the_predicate_says_of_each_series(
        series in prop::collection::btree_map(1_u64..200, (1_u32..3, tag_set(), 0..4), 0..60),
        predicate in predicate(),
    ) {
        let holds = |measurement: u32, (own, tags, _): &(u32, TagSet, i32)| {
            *own == measurement && predicate.holds(tags)
        };
        for measurement in 1..=3 {
            let index = partly_waiting(&series);
            let expected = series.iter().filter(|(_, own)| holds(measurement, own));
            let expected: Vec<SeriesId> = expected.map(|(id, _)| SeriesId(*id)).collect();
            let found = select(&index, measurement, &predicate);
            prop_assert_eq!(&found, &expected);
            // Keys and values come back as they went in.
            let wanted = Wanted {
                measurement: MeasurementId(measurement),
                predicate: &predicate,
                names: &names,
                is_known: &|_| true,
            };
            // Another, as looks are few.
            let index = partly_waiting(&series);
            let selection = index.select(&wanted);
            let mut ids = Vec::new();
            index.keys(&selection, &mut |id, key| {
                let (own, tags, _) = &series[&id.0];
                assert_eq!(*key, *entry(id.0, *own, tags).key);
                ids.push(id);
            });
            ids.sort_unstable();
            prop_assert_eq!(&ids, &expected);
            let mut values = Vec::new();
            let mut note = |value: &[u8]| values.push(value.to_vec());
            index.values((MeasurementId(measurement), TagKeyId(2)), &selection, &mut note);
            values.sort_unstable();
            let is_twice = |three: &[Vec<u8>]| three[0] == three[2];
            prop_assert!(!values.windows(3).any(is_twice), "once, or where some wait twice");
            values.dedup();
            let of = |id: &SeriesId| series[&id.0].1.get(NAMES[1]).map(<[u8]>::to_vec);
            let of: BTreeSet<Vec<u8>> = expected.iter().filter_map(of).collect();
            let of: Vec<Vec<u8>> = of.into_iter().collect();
            prop_assert_eq!(values, of.clone());
            index.catch_up();
            let (mut values, selection) = (Vec::new(), index.select(&wanted));
            let mut note = |value: &[u8]| values.push(value.to_vec());
            index.values((MeasurementId(measurement), TagKeyId(2)), &selection, &mut note);
            values.sort_unstable();
            prop_assert_eq!(values, of);
        }
    }
}

/// An index of which some series wait: those with a three, and, though they are in it, those with a two.
fn partly_waiting(series: &BTreeMap<u64, (u32, TagSet, i32)>) -> LiveIndex {
    let index = LiveIndex::new();
    // Highest ids first: ids do not come in order where old series are written again.
    for (id, (measurement, tags, waits)) in series.iter().rev() {
        if *waits < 3 {
            assert!(index.add(&entry(*id, *measurement, tags)));
            assert!(!index.add(&entry(*id, *measurement, tags)));
        }
    }
    let waiting = series.iter().rev().filter(|(_, (.., waits))| *waits > 1);
    let waiting = waiting.map(|(id, (measurement, tags, _))| entry(*id, *measurement, tags));
    for some in waiting.collect::<Vec<_>>().chunks(7) {
        index.hand_over(handed(some));
    }
    index
}

#[test]
fn a_series_reads_back_and_a_stranger_is_missing() {
    let index = LiveIndex::new();
    let tags = TagSet::new(vec![(b"host"[..].into(), b"web-1"[..].into())]).unwrap();
    let known = entry(7, 1, &tags);
    assert!(index.add(&known));
    assert_eq!(index.entry(SeriesId(7)), Some(known.clone()));
    assert_eq!(index.entry(SeriesId(8)), None);
    assert!(index.contains(SeriesId(7)) && !index.contains(SeriesId(8)));
    assert!(index.add(&entry(3, 1, &tags)));
    assert_eq!(index.ids_from(0), [SeriesId(7), SeriesId(3)]);
    assert_eq!(index.ids_from(1), [SeriesId(3)]);
}

#[test]
fn many_series_stay_small_and_apart() {
    let index = LiveIndex::new();
    for id in 1..=20_000 {
        let host = format!("host-{id}").into_bytes();
        let tags = vec![
            (b"host"[..].into(), host.into()),
            (b"dc"[..].into(), b"x"[..].into()),
        ];
        assert!(index.add(&entry(id, 1, &TagSet::new(tags).unwrap())));
    }
    let per_series = index.size_bytes() / 20_000;
    assert!(per_series < 80, "{per_series} bytes a series");
    let one = TagPredicate::Equal {
        key: b"host"[..].into(),
        value: b"host-777"[..].into(),
    };
    assert_eq!(select(&index, 1, &one), [SeriesId(777)]);
}

#[test]
fn a_series_with_a_tag_key_that_is_not_known_is_left_out() {
    let index = LiveIndex::new();
    let unknown = CanonicalKey::encode(MeasurementId(1), &mut [(TagKeyId(9), b"x")]);
    assert!(index.add(&SeriesEntry {
        id: SeriesId(1),
        key: unknown,
    }));
    assert!(index.add(&entry(2, 1, &TagSet::default())));
    assert_eq!(select(&index, 1, &TagPredicate::All), [SeriesId(2)]);
    let lacks = TagPredicate::Equal {
        key: b"host"[..].into(),
        value: Box::default(),
    };
    assert_eq!(select(&index, 1, &lacks), [SeriesId(2)]);
}

proptest! {
    #[test]
    fn series_are_put_in_the_order_of_their_keys(
        series in prop::collection::vec(
            prop::collection::btree_map(
                prop::sample::select(vec![1_u32, 2, 3, 5, 130, 256, 257]),
                prop_oneof![
                    "[ab]{0,3}",
                    "[ab]{126,131}",
                    "shared_by_many_[ab]{0,2}",
                ],
                0..5,
            ),
            0..40,
        ),
        has_long_ids in any::<bool>(),
    ) {
        let index = LiveIndex::new();
        let mut keys: Vec<(Box<[u8]>, SeriesId)> = Vec::new();
        for (tags, id) in series.iter().zip(1_u64..) {
            let own = tags.iter().filter(|(key, _)| has_long_ids || **key < 100);
            let mut tags: Vec<(TagKeyId, &[u8])> =
                own.map(|(key, value)| (TagKeyId(*key), value.as_bytes())).collect();
            let key = CanonicalKey::encode(MeasurementId(7), &mut tags);
            // One key is one series; every seventh is not known here.
            if id % 7 != 0 && keys.iter().all(|(known, _)| *known != key) {
                index.add(&SeriesEntry { id: SeriesId(id), key: key.clone() });
                keys.push((key, SeriesId(id)));
            }
        }
        let asked: Vec<SeriesId> = (1..=series.len() as u64).map(SeriesId).collect();
        let ordered = index.key_order(&asked);
        keys.sort();
        let expected: Vec<SeriesId> = keys.into_iter().map(|(_, id)| id).collect();
        let found: Vec<SeriesId> = ordered.iter().map(|place| asked[*place as usize]).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn series_added_together_are_as_those_added_one_by_one(
        series in prop::collection::btree_map(1_u64..400, (1_u32..3, tag_set()), 1..120),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        is_shuffled in any::<bool>(),
        predicate in predicate(),
    ) {
        let mut ids: Vec<u64> = series.keys().copied().collect();
        let again: Vec<u64> = picks.iter().map(|pick| ids[pick.index(ids.len())]).collect();
        if is_shuffled {
            ids.splice(0..0, again);
        } else {
            ids.extend(again);
        }
        let entries: Vec<SeriesEntry> = ids
            .iter()
            .map(|id| entry(*id, series[id].0, &series[id].1))
            .collect();
        let (single, together) = (LiveIndex::new(), LiveIndex::new());
        for entry in &entries {
            single.add(entry);
        }
        together.add_all(entries.iter().map(|entry| (entry.id, &*entry.key)));
        prop_assert_eq!(together.ids_from(0), single.ids_from(0));
        prop_assert_eq!(together.size_bytes(), single.size_bytes());
        for entry in entries {
            prop_assert_eq!(together.entry(entry.id), Some(entry));
        }
        for measurement in 1..3 {
            let found = select(&together, measurement, &predicate);
            prop_assert_eq!(found, select(&single, measurement, &predicate));
            let values = |index: &LiveIndex| {
                let wanted = Wanted {
                    measurement: MeasurementId(measurement),
                    predicate: &TagPredicate::All,
                    names: &names,
                    is_known: &|_| true,
                };
                let selection = index.select(&wanted);
                let mut values = Vec::new();
                let mut note = |value: &[u8]| values.push(value.to_vec());
                index.values((wanted.measurement, TagKeyId(2)), &selection, &mut note);
                values
            };
            prop_assert_eq!(values(&together), values(&single));
        }
    }

    #[test]
    fn a_series_is_found_by_its_id_in_whatever_order_ids_came(
        ids in prop::collection::vec(prop_oneof![1_u64..40, 1000_u64..1010, any::<u64>()], 0..60),
    ) {
        let index = LiveIndex::new();
        let mut known = BTreeSet::new();
        for id in ids {
            let value = id.to_string();
            let key = CanonicalKey::encode(MeasurementId(1), &mut [(TagKeyId(1), value.as_bytes())]);
            let entry = SeriesEntry { id: SeriesId(id), key };
            prop_assert_eq!(index.add(&entry), known.insert(id));
            prop_assert_eq!(index.entry(SeriesId(id)), Some(entry));
        }
        for id in (0..50).chain(995..1015).chain(known.iter().copied()) {
            prop_assert_eq!(index.contains(SeriesId(id)), known.contains(&id), "{}", id);
        }
        prop_assert_eq!(index.len(), known.len());
    }
}

/// A series with a tag that some thousand have one after another, one of a few values, and one that few have.
fn machine(id: u64) -> SeriesEntry {
    let tags = [
        ("dc", format!("dc-{}", id / 3000)),
        ("rack", format!("rack-{}", id % 40)),
        ("host", format!("host-{}", id % 1500)),
    ];
    let tags = tags.map(|(key, value)| (key.as_bytes().into(), value.into_bytes().into()));
    entry(id, 1, &TagSet::new(tags.to_vec()).unwrap())
}

fn has(key: &str, value: &str) -> TagPredicate {
    TagPredicate::Equal {
        key: key.as_bytes().into(),
        value: value.as_bytes().into(),
    }
}

#[test]
fn values_of_many_series_one_after_another_are_theirs_and_nobody_elses() {
    let entries: Vec<SeriesEntry> = (1..=5000).map(machine).collect();
    let (together, single) = (LiveIndex::new(), LiveIndex::new());
    together.add_all(entries.iter().map(|entry| (entry.id, &*entry.key)));
    for entry in &entries {
        assert!(single.add(entry));
    }
    for index in [&together, &single] {
        let found = |key, value: &str| select(index, 1, &has(key, value));
        let expected = |is: &dyn Fn(u64) -> bool| -> Vec<SeriesId> {
            (1..=5000).filter(|id| is(*id)).map(SeriesId).collect()
        };
        for dc in 0..2 {
            assert_eq!(
                found("dc", &format!("dc-{dc}")),
                expected(&|id| id / 3000 == dc)
            );
        }
        for rack in 0..40 {
            assert_eq!(
                found("rack", &format!("rack-{rack}")),
                expected(&|id| id % 40 == rack)
            );
        }
        for host in (0..1500).step_by(13) {
            assert_eq!(
                found("host", &format!("host-{host}")),
                expected(&|id| id % 1500 == host)
            );
        }
        assert_eq!(found("dc", "dc-2"), []);
        for entry in entries.iter().step_by(7) {
            assert_eq!(index.entry(entry.id), Some(entry.clone()));
        }
    }
    // Of what waits for a bitmap there is room in one and perhaps not in the other.
    let (one, other) = (together.size_bytes(), single.size_bytes());
    assert!(one.abs_diff(other) < other / 10, "{one} and {other} bytes");
}

#[test]
fn values_whose_hashes_are_alike_stay_apart() {
    let index = LiveIndex::new();
    let value = |id: u64| format!("value-{id:06}");
    let key =
        |id| CanonicalKey::encode(MeasurementId(1), &mut [(TagKeyId(1), value(id).as_bytes())]);
    // A table knows 32 bits of a hash; of so many values some have these in common.
    let all = 1..=200_000;
    let mut places: Vec<u64> = (all.clone())
        .map(|id| Numbered::place_of(hash(value(id).as_bytes())))
        .collect();
    places.sort_unstable();
    places.dedup();
    assert!(places.len() < 200_000, "no two places are alike");
    for _twice in 0..2 {
        let keys: Vec<_> = all.clone().map(key).collect();
        let ids = (1..).map(SeriesId).zip(keys.iter().map(|key| &**key));
        // The second time under other ids, so that each value is known.
        let first = index.len() as u64;
        index.add_all(ids.map(|(id, key)| (SeriesId(id.0 + first), key)));
    }
    assert_eq!(index.len(), 400_000);
    for id in all {
        for own in [id, id + 200_000] {
            let found = index.entry(SeriesId(own)).map(|entry| entry.key);
            assert_eq!(found, Some(key(id)));
        }
    }
}

/// Those of `entries`, as a record of the log has them.
fn handed(entries: &[SeriesEntry]) -> Handed {
    let mut series = Vec::new();
    for entry in entries {
        push_series(&mut series, entry.id, &entry.key);
    }
    Handed {
        count: entries.len(),
        series,
    }
}

#[test]
fn what_is_handed_over_is_seen_by_whoever_reads_and_stands_as_it_came() {
    type Sees = fn(&LiveIndex) -> bool;
    let all: Vec<SeriesEntry> = (1..=900).map(machine).collect();
    let index = LiveIndex::new();
    index.hand_over(handed(&all[..300]));
    index.hand_over(handed(&all[300..600]));
    let waiting_bytes = index.waiting_bytes();
    assert!(waiting_bytes > 600 * 20, "{waiting_bytes}");
    assert!(index.size_bytes() >= waiting_bytes, "what waits is counted");
    assert!(index.put_in());
    let waits = index.waiting_bytes();
    assert!(waits > 300 * 20 && waits < waiting_bytes, "{waits}");
    // A writer's go behind them, and it puts in two for one that it hands over.
    index.add_all(all[600..].iter().map(|entry| (entry.id, &*entry.key)));
    assert_eq!(index.waiting_bytes(), 0);
    let ids: Vec<SeriesId> = all.iter().map(|entry| entry.id).collect();
    assert_eq!(index.ids_from(0), ids);
    assert_eq!(index.waiting_bytes(), 0);
    assert!(!index.put_in() && !index.try_put_in());
    assert_eq!(index.entries(&ids), all);
    let reads: [(&str, Sees); 4] = [
        ("select", |index| {
            select(index, 1, &has("rack", "rack-3")).len() == 1
        }),
        ("contains", |index| index.contains(SeriesId(3))),
        ("len", |index| index.len() == 3),
        ("order", |index| {
            index.key_order(&[SeriesId(2), SeriesId(1)]).len() == 2
        }),
    ];
    for (name, sees) in reads {
        let index = LiveIndex::new();
        index.hand_over(handed(&all[..3]));
        assert!(sees(&index), "{name}");
    }
}

#[test]
fn readers_see_all_that_was_handed_over_before_whoever_puts_it_in() {
    let all: Vec<SeriesEntry> = (1..=6000).map(machine).collect();
    let index = LiveIndex::new();
    let given = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while given.load(Ordering::Acquire) < all.len() {
                    let before = given.load(Ordering::Acquire);
                    assert!(index.len() >= before, "{} of {before}", index.len());
                }
            });
        }
        scope.spawn(|| {
            while given.load(Ordering::Acquire) < all.len() {
                index.try_put_in();
            }
        });
        for (number, some) in all.chunks(50).enumerate() {
            if number % 3 == 0 {
                index.add_all(some.iter().map(|entry| (entry.id, &*entry.key)));
            } else {
                index.hand_over(handed(some));
            }
            given.fetch_add(some.len(), Ordering::Release);
        }
    });
    let ids: Vec<SeriesId> = all.iter().map(|entry| entry.id).collect();
    assert_eq!(index.ids_from(0), ids);
}

/// The ids that `index` gives, in their order.
fn ids_of(index: &LiveIndex, measurement: u32, predicate: &TagPredicate) -> Vec<SeriesId> {
    let wanted = Wanted {
        measurement: MeasurementId(measurement),
        predicate,
        names: &names,
        is_known: &|key| key.0 <= 3,
    };
    let selection = index.select(&wanted);
    let mut ids = Vec::new();
    index.ids(&selection, &mut |id| ids.push(id));
    assert_eq!(selection.len(), ids.len() as u64);
    assert_eq!(selection.is_empty(), ids.is_empty());
    let kept = index.filter(&selection, &mut |id| id.0 % 2 == 0);
    let mut even = Vec::new();
    index.ids(&kept, &mut |id| even.push(id));
    let expected = ids.iter().filter(|id| id.0 % 2 == 0);
    assert_eq!(even, expected.copied().collect::<Vec<_>>());
    ids
}

#[test]
fn ids_of_a_measurement_are_told_before_the_index_has_them() {
    let entry = |id: u64, measurement: u32, tag: u32| SeriesEntry {
        id: SeriesId(id),
        key: CanonicalKey::encode(
            MeasurementId(measurement),
            &mut [(TagKeyId(tag), format!("v{id}").as_bytes())],
        ),
    };
    let index = LiveIndex::new();
    assert_eq!(ids_of(&index, 1, &TagPredicate::All), []);
    let of = |ids: std::ops::Range<u64>| ids.map(|id| entry(id, 1, 1)).collect::<Vec<_>>();
    // One batch is in the index, one of its series is handed over again; others are of another measurement, or
    // came after the names.
    index.hand_over(handed(&of(1..400)));
    assert!(index.put_in());
    let mut more = of(300..700);
    more.extend((700..800).map(|id| entry(id, 2, 1)));
    more.extend((800..900).map(|id| entry(id, 1, 4)));
    index.hand_over(handed(&more));
    index.hand_over(handed(&of(900..1000)));
    let waiting = index.waiting_bytes();
    let expected: Vec<SeriesId> = (1..700).chain(900..1000).map(SeriesId).collect();
    assert_eq!(ids_of(&index, 1, &TagPredicate::All), expected);
    assert_eq!(
        ids_of(&index, 2, &TagPredicate::All),
        (700..800).map(SeriesId).collect::<Vec<_>>()
    );
    assert_eq!(ids_of(&index, 3, &TagPredicate::All), []);
    assert_eq!(index.waiting_bytes(), waiting, "nobody had to put them in");
    // Each once, ascending where they did not come so.
    index.hand_over(handed(&of(1020..1030)));
    index.hand_over(handed(&of(990..1020)));
    let expected: Vec<SeriesId> = (1..700).chain(900..1030).map(SeriesId).collect();
    assert_eq!(ids_of(&index, 1, &TagPredicate::All), expected);
    assert!(index.waiting_bytes() > waiting);
    index.catch_up();
    let mut found = ids_of(&index, 1, &TagPredicate::All);
    found.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn series_with_a_tag_are_found_before_the_index_has_them() {
    let index = LiveIndex::new();
    let all: Vec<SeriesEntry> = (1..=900).map(machine).collect();
    index.hand_over(handed(&all));
    let waiting = index.waiting_bytes();
    assert_eq!(ids_of(&index, 1, &has("host", "host-3")), [SeriesId(3)]);
    let not = TagPredicate::Not(Box::new(has("host", "host-3")));
    assert_eq!(ids_of(&index, 1, &not).len(), 899);
    let either = TagPredicate::Or(vec![has("host", "host-5"), has("host", "host-9")]);
    assert_eq!(ids_of(&index, 1, &either), [SeriesId(5), SeriesId(9)]);
    assert_eq!(index.waiting_bytes(), waiting, "nobody had to put them in");
    // A condition with as many tags as looks are left for, and one with more.
    let many = |count| TagPredicate::Or((0..count).map(|_| has("host", "host-7")).collect());
    assert_eq!(ids_of(&index, 1, &many(4)), [SeriesId(7)]);
    assert_eq!(index.waiting_bytes(), waiting, "nobody had to put them in");
    for costly in [many(9), matching(3)] {
        let fresh = LiveIndex::new();
        fresh.hand_over(handed(&all));
        ids_of(&fresh, 1, &costly);
        assert_eq!(fresh.waiting_bytes(), 0, "a look costs more");
        // It spent none of the looks.
        fresh.hand_over(handed(&all));
        let waiting = fresh.waiting_bytes();
        assert_eq!(ids_of(&fresh, 1, &matching(2)).len(), 900);
        assert_eq!(fresh.waiting_bytes(), waiting);
    }
}

/// A condition that asks so many regular expressions.
fn matching(count: usize) -> TagPredicate {
    let one = |_| TagPredicate::Matches {
        key: b"host"[..].into(),
        matcher: Arc::new(Holds(b'h', false)),
    };
    TagPredicate::And((0..count).map(one).collect())
}

#[test]
fn a_waiting_series_with_an_unknown_tag_key_is_left_out_wherever_that_stands() {
    // Keys up to 3 are known.
    let keys: [&[u32]; 9] = [
        &[1, 4],
        &[1, 2],
        &[4, 5],
        &[1, 2, 3],
        &[1, 2, 4],
        &[2],
        &[],
        &[2, 4],
        &[1, 3],
    ];
    let entry = |(id, keys): (u64, &&[u32])| {
        let tags = keys.iter().map(|key| (TagKeyId(*key), &b"x"[..]));
        let mut tags: Vec<(TagKeyId, &[u8])> = tags.collect();
        SeriesEntry {
            id: SeriesId(id),
            key: CanonicalKey::encode(MeasurementId(1), &mut tags),
        }
    };
    let all: Vec<SeriesEntry> = (1..).zip(&keys).map(entry).collect();
    let index = LiveIndex::new();
    index.hand_over(handed(&all));
    let known = [2, 4, 6, 7, 9].map(SeriesId);
    assert_eq!(ids_of(&index, 1, &TagPredicate::All), known);
    assert_eq!(ids_of(&index, 1, &has("dc", "x")), [2, 4, 9].map(SeriesId));
    // One may have lost its name before others.
    let wanted = Wanted {
        measurement: MeasurementId(1),
        predicate: &TagPredicate::All,
        names: &names,
        is_known: &|key| key.0 != 1,
    };
    let mut found = Vec::new();
    index.ids(&index.select(&wanted), &mut |id| found.push(id.0));
    assert_eq!(found, [3, 6, 7, 8]);
    assert!(index.waiting_bytes() > 0);
}

#[test]
fn ids_are_told_once_each_while_they_are_put_in() {
    let all: Vec<SeriesEntry> = (1..=20_000).map(machine).collect();
    let index = LiveIndex::new();
    for some in all.chunks(40) {
        index.hand_over(handed(some));
    }
    let ids: Vec<SeriesId> = all.iter().map(|entry| entry.id).collect();
    let of_dc: Vec<SeriesId> = (3000..6000).map(SeriesId).collect();
    let looks = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let readers = [(); 2].map(|()| {
            scope.spawn(|| {
                while index.waiting_bytes() > 0 {
                    assert_eq!(ids_of(&index, 1, &TagPredicate::All), ids);
                    assert_eq!(ids_of(&index, 1, &has("dc", "dc-1")), of_dc);
                    looks.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        // Slowly enough for them to look.
        let mut number = 0;
        while index.put_in() {
            number += 1;
            let before = looks.load(Ordering::Relaxed);
            while number % 100 == 0
                && looks.load(Ordering::Relaxed) == before
                && !readers.iter().all(ScopedJoinHandle::is_finished)
            {
                std::thread::yield_now();
            }
        }
    });
    assert!(looks.load(Ordering::Relaxed) > 1, "nobody looked");
}

#[test]
fn what_waits_is_looked_at_some_times_and_then_put_in() {
    let all: Vec<SeriesEntry> = (1..=100).map(machine).collect();
    let ids: Vec<SeriesId> = all.iter().map(|entry| entry.id).collect();
    let index = LiveIndex::new();
    index.hand_over(handed(&all));
    for _ in 0..8 {
        assert_eq!(ids_of(&index, 1, &TagPredicate::All), ids);
        assert!(index.waiting_bytes() > 0);
    }
    assert_eq!(ids_of(&index, 1, &TagPredicate::All), ids);
    assert_eq!(index.waiting_bytes(), 0);
}
