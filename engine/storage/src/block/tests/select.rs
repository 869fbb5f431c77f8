//! The index gives exactly the series whose tags satisfy a predicate.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::model::{TagPredicate, TagSet, ValueMatcher};

const KEYS: [&str; 5] = ["a", "b", "c", "d", "nobody-has-it"];

/// Passes values whose last byte is among these; the empty value where `empty`.
#[derive(Debug)]
struct Ends {
    bytes: Vec<u8>,
    empty: bool,
}

impl ValueMatcher for Ends {
    fn matches(&self, value: &[u8]) -> bool {
        value
            .last()
            .map_or(self.empty, |last| self.bytes.contains(last))
    }
}

/// Passes exactly these.
#[derive(Debug)]
struct Listed(Vec<Box<[u8]>>);

impl ValueMatcher for Listed {
    fn matches(&self, value: &[u8]) -> bool {
        self.0.iter().any(|own| **own == *value)
    }

    fn values(&self) -> Option<&[Box<[u8]>]> {
        Some(&self.0)
    }
}

/// Passes values that begin with these bytes; the empty value where `empty`.
#[derive(Debug)]
struct Opens {
    prefix: Box<[u8]>,
    empty: bool,
}

impl ValueMatcher for Opens {
    fn matches(&self, value: &[u8]) -> bool {
        if value.is_empty() {
            self.empty
        } else {
            value.starts_with(&self.prefix)
        }
    }

    fn prefix(&self) -> &[u8] {
        &self.prefix
    }
}

fn any_key() -> impl Strategy<Value = Box<[u8]>> {
    (0..KEYS.len()).prop_map(|index| KEYS[index].as_bytes().into())
}

fn any_value() -> impl Strategy<Value = Box<[u8]>> {
    (0_u8..7).prop_map(|value| match value {
        0 => Box::default(),
        value => format!("v{value}").into_bytes().into(),
    })
}

fn any_predicate() -> impl Strategy<Value = TagPredicate> {
    let leaf = prop_oneof![
        Just(TagPredicate::All),
        Just(TagPredicate::None),
        (any_key(), any_value()).prop_map(|(key, value)| TagPredicate::Equal { key, value }),
        (
            any_key(),
            proptest::collection::vec(b'0'..=b'9', 0..4),
            any::<bool>()
        )
            .prop_map(|(key, bytes, empty)| TagPredicate::Matches {
                key,
                matcher: Arc::new(Ends { bytes, empty }),
            }),
        (any_key(), any_value(), any::<bool>()).prop_map(|(key, prefix, empty)| {
            let matcher = Arc::new(Opens { prefix, empty });
            TagPredicate::Matches { key, matcher }
        }),
        (
            any_key(),
            proptest::collection::btree_set(any_value(), 0..4)
        )
            .prop_map(|(key, values)| {
                let matcher = Arc::new(Listed(values.into_iter().collect()));
                TagPredicate::Matches { key, matcher }
            }),
        (any_key(), any_key()).prop_map(|(one, other)| TagPredicate::SameValue(one, other)),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner
                .clone()
                .prop_map(|inner| TagPredicate::Not(Box::new(inner))),
            proptest::collection::vec(inner.clone(), 0..3).prop_map(TagPredicate::And),
            proptest::collection::vec(inner, 0..3).prop_map(TagPredicate::Or),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_index_agrees_with_the_predicate(
        sets in proptest::collection::btree_set(
            proptest::collection::btree_map(0_usize..4, 1_u8..9, 0..4),
            1..300,
        ),
        predicates in proptest::collection::vec(any_predicate(), 1..12),
        cold in any::<bool>(),
    ) {
        let mut points = Points::default();
        let mut tag_sets = BTreeMap::new();
        for (set, number) in sets.into_iter().zip(1_u64..) {
            let texts: Vec<(usize, String)> =
                set.into_iter().map(|(key, value)| (key, format!("v{value}"))).collect();
            let mut tags: Vec<(TagKeyId, &[u8])> =
                texts.iter().map(|(key, value)| (id_of(*key), value.as_bytes())).collect();
            let key = CanonicalKey::encode(MeasurementId(1), &mut tags);
            let entry = SeriesEntry { id: SeriesId(number), key };
            points.set(&entry, 1, FieldId(1), FieldValue::Boolean(true));
            let tags = texts.iter().map(|(key, value)| {
                (KEYS[*key].as_bytes().into(), value.as_bytes().into())
            });
            tag_sets.insert(entry.id, TagSet::new(tags.collect()).unwrap());
        }
        let effort = if cold { Effort::Cold } else { Effort::Hot };
        let (env, meta, _) = write(&points, effort, 100);
        let block = Block::open(&*env, DIRECTORY, &meta.unwrap()).unwrap();
        let measurement = block.measurement(MeasurementId(1)).unwrap().unwrap();
        let names = |name: &[u8]| {
            let known = KEYS[..4].iter().position(|key| key.as_bytes() == name);
            known.map(id_of)
        };
        for predicate in predicates {
            let mut found = measurement.select(&predicate, &names).unwrap();
            found.sort_unstable();
            let expected: Vec<SeriesId> = tag_sets
                .iter()
                .filter(|(_, tags)| predicate.holds(tags))
                .map(|(id, _)| *id)
                .collect();
            prop_assert_eq!(&found, &expected, "{:?}", predicate);
            let index = measurement.index();
            let ordinals = index.select(&predicate, &names).unwrap();
            for (key, name) in KEYS[..4].iter().enumerate() {
                let mut values: Vec<Vec<u8>> = Vec::new();
                let mut note = |value: &[u8]| values.push(value.to_vec());
                index.values(id_of(key), &ordinals, &mut note).unwrap();
                let of = |id: &SeriesId| tag_sets[id].get(name.as_bytes()).map(<[u8]>::to_vec);
                let expected: BTreeSet<Vec<u8>> = expected.iter().filter_map(of).collect();
                prop_assert_eq!(values, expected.into_iter().collect::<Vec<_>>());
            }
        }
    }
}

fn id_of(key: usize) -> TagKeyId {
    TagKeyId(u32::try_from(key).unwrap() * 200 + 1)
}
