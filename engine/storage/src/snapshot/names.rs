//! The series of a block with the names of their tags, as they were worked out for an earlier query: the
//! next one asks for the same ones, and a block never changes.
//!
//! A name may change while its block stays. What is kept is good for one catalogue, and no other.

use std::fmt;
use std::sync::{Arc, Weak};

use roaring::{RoaringBitmap, RoaringTreemap};

use crate::block::Measurement;
use crate::budget::{Budget, Kept};
use crate::error::Result;
use crate::manifest::catalog::DatabaseCatalog;
use crate::model::{MeasurementId, SeriesId, TagSet};
use crate::snapshot::Snapshot;
use crate::snapshot::order::order_by_tags;
use crate::snapshot::series::{Namer, add_series};

/// Series of a block's measurement whose names are kept at most: of more, whoever asks for all of them
/// waits for other things.
const SERIES_MAX: usize = 1 << 15;

/// Names are worked out for all series where a query asks for more than this part of them.
const WHOLE_PART: u64 = 4;

/// Memory of a series beside its tags, bytes.
const SERIES_BYTES: usize = size_of::<(SeriesId, TagSet)>() + size_of::<u32>();

/// Named series of the measurements of blocks.
pub struct SeriesNames(Kept<(u64, MeasurementId), Arc<Named>>);

impl SeriesNames {
    /// Room for `bytes_max` bytes of them, counted in `budget`.
    pub fn new(bytes_max: usize, budget: &Arc<Budget>) -> SeriesNames {
        SeriesNames(Kept::new(bytes_max, budget))
    }
}

impl fmt::Debug for SeriesNames {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "named series, {:?}", self.0)
    }
}

/// All series that a block has of a measurement.
pub(super) struct Named {
    /// Whose names they are. Held weakly: an address is not used again as long as somebody has it.
    catalog: Weak<DatabaseCatalog>,
    /// By tags.
    series: Box<[(SeriesId, TagSet)]>,
    /// Where the series of each ordinal stands.
    places: Box<[u32]>,
}

impl Named {
    fn new(catalog: &Arc<DatabaseCatalog>, by_ordinal: Vec<(SeriesId, TagSet)>) -> Named {
        let order = order_by_tags(&by_ordinal);
        let mut places = vec![0; order.len()];
        for (place, ordinal) in (0_u32..).zip(&order) {
            places[*ordinal as usize] = place;
        }
        let mut by_ordinal: Vec<_> = by_ordinal.into_iter().map(Some).collect();
        let series = order.iter().map(|ordinal| {
            let series = by_ordinal[*ordinal as usize].take();
            series.expect("each ordinal stands there once")
        });
        Named {
            catalog: Arc::downgrade(catalog),
            series: series.collect(),
            places: places.into_boxed_slice(),
        }
    }

    fn size_bytes(&self) -> usize {
        let tags = self.series.iter().map(|(_, tags)| tags.size_bytes());
        tags.sum::<usize>() + self.series.len() * SERIES_BYTES
    }

    /// The series of an ordinal.
    pub(super) fn at(&self, ordinal: u32) -> &(SeriesId, TagSet) {
        &self.series[self.places[ordinal as usize] as usize]
    }

    /// The series of `ordinals`, sorted by tags.
    pub(super) fn sorted(&self, ordinals: &RoaringBitmap) -> Vec<(SeriesId, TagSet)> {
        if ordinals.len() == self.series.len() as u64 {
            return self.series.to_vec();
        }
        let place = |ordinal| self.places[ordinal as usize];
        let mut places: Vec<u32> = ordinals.iter().map(place).collect();
        places.sort_unstable();
        let series = places.into_iter().map(|place| &self.series[place as usize]);
        series.cloned().collect()
    }
}

impl Snapshot {
    /// The series of `block` by name, if they are kept, or if so many of them are asked for that all of
    /// them are worth it.
    ///
    /// # Errors
    /// As [`Snapshot::series`].
    pub(super) fn named(
        &self,
        block: &Measurement<'_>,
        ordinals: &RoaringBitmap,
    ) -> Result<Option<Arc<Named>>> {
        let count = block.series_count();
        let Some(SeriesNames(kept)) = self.names.as_deref().filter(|_| count <= SERIES_MAX) else {
            return Ok(None);
        };
        let place = (block.block().meta().file_id, block.id());
        let known = kept.get(place);
        if let Some(named) = known.filter(|own| own.catalog.as_ptr() == Arc::as_ptr(&self.catalog))
        {
            return Ok(Some(named));
        }
        if ordinals.len() * WHOLE_PART < count as u64 {
            return Ok(None);
        }
        let mut all = RoaringBitmap::new();
        all.extend((0..).take(count));
        let mut series = Vec::with_capacity(count);
        let mut namer = Namer::new(self, block.id());
        let mut seen = RoaringTreemap::new();
        add_series((block.index(), &all), (&mut seen, &mut namer), &mut series)?;
        // What is kept outlives the reader who would have noticed.
        block.block().check_intact()?;
        if series.len() < count {
            // Some came after the catalogue.
            return Ok(None);
        }
        let named = Arc::new(Named::new(&self.catalog, series));
        kept.put(place, Arc::clone(&named), named.size_bytes());
        Ok(Some(named))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::block::tests::block_of_keys;
    use crate::env::SimEnv;
    use crate::format::definitions::Names;
    use crate::model::{CanonicalKey, DatabaseId, PolicyId, Sequence, SeriesEntry, TagKeyId};
    use crate::model::{TagPredicate, TimeRange};
    use crate::snapshot::PolicyStores;

    #[test]
    fn a_series_without_a_name_is_passed_over_and_nothing_is_kept() {
        const CPU: MeasurementId = MeasurementId(1);
        let mut catalog = DatabaseCatalog::new(DatabaseId(1), "db");
        catalog
            .define(&Names {
                measurements: vec![(CPU, b"cpu"[..].into())],
                tag_keys: vec![(TagKeyId(1), b"host"[..].into())],
                fields: Vec::new(),
                pairs: vec![(CPU, TagKeyId(1))],
            })
            .unwrap();
        let entry = |id, tags: &mut [(TagKeyId, &[u8])]| SeriesEntry {
            id: SeriesId(id),
            key: CanonicalKey::encode(CPU, tags),
        };
        // The catalogue knows no tag 2.
        let entries = [
            entry(1, &mut [(TagKeyId(1), b"a")]),
            entry(2, &mut [(TagKeyId(1), b"b"), (TagKeyId(2), b"x")]),
            entry(3, &mut [(TagKeyId(1), b"c")]),
        ];
        let env: Arc<dyn crate::env::Env> = Arc::new(SimEnv::new(1));
        env.create_dir(Path::new("blocks")).unwrap();
        let stores = PolicyStores {
            blocks: vec![block_of_keys(&env, CPU, &entries)],
            ..PolicyStores::default()
        };
        let names = Arc::new(SeriesNames::new(1 << 20, &Budget::new(1 << 30)));
        let policies = [(PolicyId(1), stores)].into();
        let snapshot = Snapshot::new(Sequence(1), Arc::new(catalog), policies, Vec::new());
        let snapshot = snapshot.with_names(&names);
        for _ in 0..2 {
            let series = snapshot.series(CPU, &TagPredicate::All, None, TimeRange::ALL);
            let ids: Vec<u64> = series.unwrap().iter().map(|(id, _)| id.0).collect();
            assert_eq!(ids, [1, 3]);
        }
        assert!(names.0.get((1, CPU)).is_none());
    }
}
