//! Series with those of their tags alone that a query groups by. Of a million series few sets of these are
//! different: each is made once, and series are sorted by the numbers of their sets.

use std::collections::BTreeMap;

use roaring::RoaringTreemap;

use crate::error::Result;
use crate::model::{
    CanonicalKey, MeasurementId, SeriesId, SeriesRequest, TagKeyId, TagSet, push_varint,
    take_varint,
};
use crate::snapshot::Snapshot;
use crate::snapshot::order::order_by_tags;
use crate::snapshot::series::{Found, each_new};

/// Where no place has more series than this, all their tags are read: those of a block are kept for the next query.
const WHOLE_MAX: u64 = if cfg!(test) { 2 } else { 1 << 15 };

/// Different sets that are looked for among those before. When as many more were not among these than were, each series
/// is taken to have its own.
const SETS_MAX: usize = if cfg!(test) { 2 } else { 1 << 14 };

const OWN: &str = "it is what was written";

impl Snapshot {
    /// The series that [`Snapshot::series`] gives, each with those of its tags at least that `keys` name, and sorted
    /// by the tags that it comes with. Of many it is not asked whether each of their tag keys has a name. Memory: of
    /// many series, 48 bytes for each; for each different set of these tags 50 bytes and one piece, and twice that of
    /// the first 16,384.
    ///
    /// # Errors
    /// As [`Snapshot::series`].
    pub fn series_by(
        &self,
        request: SeriesRequest<'_>,
        keys: &[Box<[u8]>],
    ) -> Result<Vec<(SeriesId, TagSet)>> {
        let found = self.find(request)?;
        if found.len_of_largest() <= WHOLE_MAX {
            return self.with_all_tags(request.measurement, found);
        }
        let mut groups = Groups::new(self, request.measurement, keys);
        found.each(&mut |id, key| groups.add(id, key))?;
        found.check_intact()?;
        drop(found);
        Ok(groups.sorted())
    }
}

impl Found<'_> {
    /// How many series were found in the place that has most of them.
    fn len_of_largest(&self) -> u64 {
        let live = self.live.iter().map(|(_, selection)| selection.len());
        let blocks = self.blocks.iter().map(|(_, ordinals)| ordinals.len());
        live.chain(blocks).max().unwrap_or(0)
    }

    /// Calls `new` with the id and the canonical key of each of them once, in the order of [`Found::distinct_ids`].
    fn each(&self, new: &mut dyn FnMut(SeriesId, &[u8])) -> Result<()> {
        let mut seen = RoaringTreemap::new();
        for (block, ordinals) in self.by_size() {
            each_new((block.index(), ordinals), &mut seen, new)?;
        }
        for (index, selection) in &self.live {
            index.keys(selection, &mut |id, key| {
                if seen.insert(id.0) {
                    new(id, key);
                }
            });
        }
        Ok(())
    }
}

/// Series with the numbers of their sets.
struct Groups<'keys> {
    /// Names of tag keys, sorted: those that some series may have.
    names: Vec<&'keys [u8]>,
    /// Their ids, ascending, with their numbers in `names`.
    ids: Vec<(TagKeyId, usize)>,
    /// The first of the different sets by their values: length (varint) and bytes of each, empty where the tag lacks.
    numbers: BTreeMap<Vec<u8>, u32>,
    /// How often more a set was not among these, when there were as many as there may be, than it was.
    misses: usize,
    sets: Vec<TagSet>,
    series: Vec<(SeriesId, u32)>,
    /// Where in its key each value of the series at hand stands.
    places: Vec<std::ops::Range<usize>>,
    /// The values of the series at hand, and of the one before it.
    values: Vec<u8>,
    last: Vec<u8>,
}

impl<'keys> Groups<'keys> {
    fn new(
        snapshot: &Snapshot,
        measurement: MeasurementId,
        keys: &'keys [Box<[u8]>],
    ) -> Groups<'keys> {
        let info = snapshot.info(measurement);
        let id = |name: &&[u8]| snapshot.catalog().tag_key_in(info, name);
        let keys = keys.iter().map(|key| &**key);
        let mut names: Vec<&[u8]> = keys.filter(|name| id(name).is_some()).collect();
        names.sort_unstable();
        names.dedup();
        let ids = names.iter().enumerate();
        let ids = ids.filter_map(|(number, name)| Some((id(name)?, number)));
        let mut ids: Vec<(TagKeyId, usize)> = ids.collect();
        ids.sort_unstable();
        Groups {
            places: vec![0..0; names.len()],
            names,
            ids,
            numbers: BTreeMap::new(),
            misses: 0,
            sets: Vec::new(),
            series: Vec::new(),
            values: Vec::new(),
            last: Vec::new(),
        }
    }

    /// # Panics
    /// At 2^32 series.
    fn add(&mut self, id: SeriesId, key: &[u8]) {
        self.places.fill(0..0);
        let mut ids = self.ids.iter().peekable();
        CanonicalKey(key).each_place(|tag, place| {
            while let Some((own, number)) = ids.next_if(|(own, _)| *own <= tag) {
                if *own == tag {
                    self.places[*number] = place.clone();
                }
            }
        });
        self.values.clear();
        for place in &self.places {
            push_varint(&mut self.values, place.len() as u64);
            self.values.extend_from_slice(&key[place.clone()]);
        }
        let number = match self.series.last() {
            Some((_, last)) if self.values == self.last => *last,
            Some(_) | None => self.number(),
        };
        self.series.push((id, number));
    }

    /// The number of the set that has the values at hand.
    fn number(&mut self) -> u32 {
        self.last.clone_from(&self.values);
        if let Some(number) = self.numbers.get(&self.values) {
            self.misses = self.misses.saturating_sub(1);
            return *number;
        }
        let number = u32::try_from(self.sets.len()).expect("fewer than 2^32 series");
        if self.misses > SETS_MAX {
            self.numbers.clear();
        } else if self.numbers.len() < SETS_MAX {
            self.numbers.insert(self.values.clone(), number);
        } else {
            self.misses += 1;
        }
        let mut rest = &self.values[..];
        let tags = self.names.iter().map(|name| {
            let len = take_varint(&mut rest).expect(OWN);
            let (value, others) = rest.split_at(usize::try_from(len).expect(OWN));
            rest = others;
            (*name, value)
        });
        let tags: Vec<(&[u8], &[u8])> = tags.filter(|(_, value)| !value.is_empty()).collect();
        self.sets.push(TagSet::from_sorted(tags.into_iter()));
        number
    }

    /// The series by their sets, and with one set as they came.
    fn sorted(self) -> Vec<(SeriesId, TagSet)> {
        let numbered: Vec<(SeriesId, TagSet)> =
            (self.sets.into_iter().map(|set| (SeriesId(0), set))).collect();
        let order = order_by_tags(&numbered);
        let mut counts = vec![0_usize; numbered.len()];
        for (_, number) in &self.series {
            counts[*number as usize] += 1;
        }
        let mut starts = counts;
        let mut start = 0;
        for number in &order {
            let count = &mut starts[*number as usize];
            start += std::mem::replace(count, start);
        }
        let mut places = vec![(SeriesId(0), 0_u32); self.series.len()];
        for (id, number) in self.series {
            let start = &mut starts[number as usize];
            places[*start] = (id, number);
            *start += 1;
        }
        let set = |(id, number): (SeriesId, u32)| (id, numbered[number as usize].1.clone());
        places.into_iter().map(set).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::block::tests::block_of_keys;
    use crate::env::{Env, SimEnv};
    use crate::format::definitions::Names;
    use crate::index::LiveIndex;
    use crate::manifest::catalog::DatabaseCatalog;
    use crate::memtable::{Memtable, Run};
    use crate::model::{
        Column, DatabaseId, FieldId, PolicyId, Presence, Rows, Sequence, SeriesEntry, TagPredicate,
        TimeRange, Values,
    };
    use crate::snapshot::PolicyStores;

    const CPU: MeasurementId = MeasurementId(1);
    /// Their ids have another order.
    const NAMES: [(&str, u32); 3] = [("a", 2), ("b", 3), ("c", 1)];

    /// Tags, an empty value for one that lacks, and whether the series is in the block and in the live index.
    type Series = ([String; 3], bool, bool);

    fn snapshot(series: &[Series]) -> Snapshot {
        let mut catalog = DatabaseCatalog::new(DatabaseId(1), "db");
        let keys = NAMES.map(|(name, id)| (TagKeyId(id), name.as_bytes().into()));
        let pairs = NAMES.map(|(_, id)| (CPU, TagKeyId(id)));
        catalog
            .define(&Names {
                measurements: vec![(CPU, b"cpu"[..].into())],
                tag_keys: keys.to_vec(),
                fields: Vec::new(),
                pairs: pairs.to_vec(),
            })
            .unwrap();
        let entries = (1..).zip(series).map(|(id, (values, ..))| {
            let tags = NAMES.iter().zip(values);
            let tags = tags.filter(|(_, value)| !value.is_empty());
            let mut tags: Vec<(TagKeyId, &[u8])> = tags
                .map(|((_, id), value)| (TagKeyId(*id), value.as_bytes()))
                .collect();
            let key = CanonicalKey::encode(CPU, &mut tags);
            let id = SeriesId(id);
            SeriesEntry { id, key }
        });
        let entries: Vec<SeriesEntry> = entries.collect();
        let index = LiveIndex::new();
        let mut stored = Vec::new();
        for (entry, (_, in_block, in_memory)) in entries.iter().zip(series) {
            if *in_memory || !in_block {
                index.add(entry);
            }
            stored.extend(in_block.then(|| entry.clone()));
        }
        stored.sort_by(|one, other| one.key.cmp(&other.key));
        let env: Arc<dyn Env> = Arc::new(SimEnv::new(1));
        env.create_dir(Path::new("blocks")).unwrap();
        let memtable = Arc::new(Memtable::new());
        let column = Column {
            values: Values::Float(vec![1.0]),
            presence: Presence::All,
        };
        let rows = Rows {
            measurement: CPU,
            series: vec![SeriesId(1)],
            timestamps: vec![5],
            columns: vec![(FieldId(1), column)],
        };
        memtable.push(Arc::new(Run::new(rows, Sequence(1))), Duration::ZERO);
        let stores = PolicyStores {
            blocks: (!stored.is_empty())
                .then(|| block_of_keys(&env, CPU, &stored))
                .into_iter()
                .collect(),
            memtables: vec![memtable],
            ..PolicyStores::default()
        };
        let policies = [(PolicyId(1), stores)].into();
        let indexes = vec![Arc::new(index)];
        Snapshot::new(Sequence(1), Arc::new(catalog), policies, indexes)
    }

    fn series() -> impl Strategy<Value = Series> {
        let value = |name: &'static str, count: u32| {
            (0..count).prop_map(move |number| match number {
                0 => String::new(),
                _ => format!("{name}{number}"),
            })
        };
        let own = (value("v", 3), value("v", 3), 0_u32..200, any::<[bool; 2]>());
        own.prop_map(|(a, b, c, [in_block, in_memory])| {
            ([a, b, c.to_string()], in_block, in_memory)
        })
    }

    proptest! {
        #[test]
        fn series_come_once_and_sorted_with_the_tags_that_were_asked_for(
            mut series in prop::collection::vec(series(), 0..40),
            keys in prop::sample::subsequence(vec!["c", "a", "none", "b"], 0..4).prop_shuffle(),
        ) {
            series.sort_by(|one, other| one.0.cmp(&other.0));
            series.dedup_by(|one, other| one.0 == other.0);
            let snapshot = snapshot(&series);
            let keys: Vec<Box<[u8]>> = keys.iter().map(|key| key.as_bytes().into()).collect();
            let request = SeriesRequest {
                measurement: CPU,
                predicate: &TagPredicate::All,
                policy: None,
                range: TimeRange::ALL,
            };
            let whole = snapshot.series(CPU, &TagPredicate::All, None, TimeRange::ALL).unwrap();
            let whole: BTreeMap<SeriesId, TagSet> = whole.into_iter().collect();
            prop_assert_eq!(whole.len(), series.len());
            let found = snapshot.series_by(request, &keys).unwrap();
            prop_assert!(found.is_sorted_by(|one, other| one.1 <= other.1));
            prop_assert_eq!(found.len(), whole.len());
            let is_many = snapshot.find(request).unwrap().len_of_largest() > WHOLE_MAX;
            for (id, tags) in &found {
                for key in &keys {
                    prop_assert_eq!(tags.get(key), whole[id].get(key));
                }
                let is_wanted = |(key, _): (&[u8], &[u8])| keys.iter().any(|own| **own == *key);
                prop_assert!(!is_many || tags.iter().all(is_wanted));
            }
            let mut ids: Vec<SeriesId> = found.into_iter().map(|(id, _)| id).collect();
            ids.sort_unstable();
            ids.dedup();
            prop_assert_eq!(ids.len(), whole.len());
        }
    }
}
