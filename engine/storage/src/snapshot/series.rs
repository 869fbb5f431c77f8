//! Which series there are, how many, and which values their tags have.

mod any;
mod grouped;

use std::cmp::Reverse;

use roaring::{RoaringBitmap, RoaringTreemap};

use crate::block::Measurement;
use crate::error::{Error, ErrorKind, Result};
use crate::index::{InvertedIndex, LiveIndex, LiveSelection};
use crate::model::{
    CanonicalKey, MeasurementId, MeasurementInfo, PolicyId, SeriesId, SeriesRequest, Strings,
    TagKeyId, TagPredicate, TagSet, TimeRange, Wanted,
};
use crate::snapshot::Snapshot;
use crate::snapshot::order::sort_by_tags;
use crate::snapshot::shown::{ShownChunks, ShownRuns};

/// Finding one key by its place costs about as much as walking this many.
const KEYS_PER_JUMP: usize = 100;

/// The values of a tag in one answer at most, bytes, each counted once and those of the block at
/// hand twice: an answer is built in memory.
pub const TAG_VALUES_BYTES_MAX: usize = 1 << 30;

impl Snapshot {
    /// The series of `measurement` whose tags satisfy `predicate`, sorted by tags: all that have a
    /// point in `policy` (any where `None`) and `range`, and maybe some that have none there.
    /// One of which deletes hide every point is not among them. Memory: one piece for the tags of
    /// each.
    ///
    /// # Errors
    /// `Corrupt` or `Io` where a block or its index cannot be read.
    pub fn series(
        &self,
        measurement: MeasurementId,
        predicate: &TagPredicate,
        policy: Option<PolicyId>,
        range: TimeRange,
    ) -> Result<Vec<(SeriesId, TagSet)>> {
        let found = self.find(SeriesRequest {
            measurement,
            predicate,
            policy,
            range,
        })?;
        self.with_all_tags(measurement, found)
    }

    /// The series that were found, sorted by tags.
    fn with_all_tags(
        &self,
        measurement: MeasurementId,
        found: Found<'_>,
    ) -> Result<Vec<(SeriesId, TagSet)>> {
        if let ([], [(block, ordinals)]) = (&found.live[..], &found.blocks[..])
            && let Some(named) = self.named(block, ordinals)?
        {
            found.check_intact()?;
            return Ok(named.sorted(ordinals));
        }
        let mut seen = RoaringTreemap::new();
        let mut series: Vec<(SeriesId, TagSet)> = Vec::new();
        let mut namer = Namer::new(self, measurement);
        for (index, selection) in &found.live {
            index.keys(selection, &mut |id, key| {
                if seen.insert(id.0) {
                    series.extend(namer.tags(key).map(|tags| (id, tags)));
                }
            });
        }
        for (block, ordinals) in &found.blocks {
            if let Some(named) = self.named(block, ordinals)? {
                let own = ordinals.iter().map(|ordinal| named.at(ordinal));
                series.extend(own.filter(|(id, _)| seen.insert(id.0)).cloned());
                continue;
            }
            add_series(
                (block.index(), ordinals),
                (&mut seen, &mut namer),
                &mut series,
            )?;
        }
        found.check_intact()?;
        drop(found);
        Ok(sort_by_tags(series))
    }

    /// How many series [`Snapshot::series`] gives. Cost: no key is read but of series that wait for their
    /// index; where several blocks have them, a look at each id.
    ///
    /// # Errors
    /// As [`Snapshot::series`].
    pub fn series_count(&self, request: SeriesRequest<'_>) -> Result<u64> {
        let found = self.find(request)?;
        match (&found.live[..], &found.blocks[..]) {
            ([], []) => return Ok(0),
            ([(_, selection)], []) => return Ok(selection.len()),
            ([], [(_, ordinals)]) => return Ok(ordinals.len()),
            _ => {}
        }
        found.distinct_ids(&mut |_| ())
    }

    /// The ids of the series that [`Snapshot::series`] gives, each once, in an order that is good to read them
    /// in. Cost: no key is read but of series that wait for their index.
    ///
    /// # Errors
    /// As [`Snapshot::series`].
    pub fn series_ids(&self, request: SeriesRequest<'_>) -> Result<Vec<SeriesId>> {
        let found = self.find(request)?;
        let mut ids = Vec::new();
        match (&found.live[..], &found.blocks[..]) {
            ([], []) => {}
            ([(index, selection)], []) => index.ids(selection, &mut |id| ids.push(id)),
            ([], [(block, ordinals)]) => {
                let index = block.index();
                for ordinal in ordinals {
                    ids.push(index.series_id(ordinal as usize)?);
                }
                found.check_intact()?;
            }
            _ => {
                found.distinct_ids(&mut |id| ids.push(id))?;
            }
        }
        Ok(ids)
    }

    /// The values that tag `key` has among the series that [`Snapshot::series`] gives, ascending,
    /// each once. Cost: a look at each value of the tag; no key is read but of series that wait for their index.
    ///
    /// # Errors
    /// `Limit` beyond [`TAG_VALUES_BYTES_MAX`]; else as [`Snapshot::series`].
    pub fn tag_values(&self, request: SeriesRequest<'_>, key: &[u8]) -> Result<Strings> {
        let info = self.info(request.measurement);
        let Some(key_id) = self.catalog.tag_key_in(info, key) else {
            return Ok(Strings::default());
        };
        let found = self.find(request)?;
        let mut distinct = Distinct::default();
        for (index, selection) in &found.live {
            let measurement = request.measurement;
            let mut add = |value: &[u8]| distinct.add(value);
            index.values((measurement, key_id), selection, &mut add);
            distinct.settle(key)?;
        }
        for (block, ordinals) in &found.blocks {
            let mut add = |value: &[u8]| distinct.add(value);
            block.index().values(key_id, ordinals, &mut add)?;
            distinct.settle(key)?;
        }
        found.check_intact()?;
        Ok(distinct.strings)
    }

    /// Where the series that are wanted are known, each perhaps in several places.
    fn find(&self, request: SeriesRequest<'_>) -> Result<Found<'_>> {
        let SeriesRequest {
            measurement,
            predicate,
            policy,
            range,
        } = request;
        self.check_blocks(policy, range)?;
        let info = self.info(measurement);
        let names = |name: &[u8]| self.catalog.tag_key_in(info, name);
        let mut found = Found::default();
        if self.is_live(measurement, policy, range) {
            let wanted = Wanted {
                measurement,
                predicate,
                names: &names,
                is_known: &|key| self.catalog.tag_key_name(key).is_some(),
            };
            let shown = self.shown_runs(measurement, policy);
            for index in &self.indexes {
                let mut selection = index.select(&wanted);
                if shown.is_touched() {
                    selection = index.filter(&selection, &mut |id| shown.shows(id));
                }
                if !selection.is_empty() {
                    found.live.push((index, selection));
                }
            }
        }
        let policies = self.policies.keys();
        for own in policies.filter(|own| policy.is_none_or(|wanted| wanted == **own)) {
            for block in self.blocks(*own) {
                if block.meta().range.intersect(range).is_empty() {
                    continue;
                }
                let Some(own) = block.measurement(measurement)? else {
                    continue;
                };
                let mut ordinals = own.index().select(predicate, &names)?;
                let shown = ShownChunks::new(block, measurement, &self.tombstones)?;
                if shown.is_touched() {
                    ordinals = showing(own.index(), &ordinals, shown)?;
                }
                block.check_intact()?;
                if !ordinals.is_empty() {
                    found.blocks.push((own, ordinals));
                }
            }
        }
        Ok(found)
    }

    fn shown_runs(&self, measurement: MeasurementId, policy: Option<PolicyId>) -> ShownRuns {
        let policies = self.policies.keys().copied();
        let own = policies.filter(|own| policy.is_none_or(|wanted| wanted == *own));
        let runs = own.map(|policy| (policy, self.unread_runs(policy, measurement)));
        ShownRuns::new(runs, measurement, &self.tombstones)
    }
}

/// Adds those series of a block that are not in `seen`.
pub(super) fn add_series(
    block: (InvertedIndex<'_>, &RoaringBitmap),
    (seen, namer): (&mut RoaringTreemap, &mut Namer<'_>),
    series: &mut Vec<(SeriesId, TagSet)>,
) -> Result<()> {
    each_new(block, seen, &mut |id, key| {
        series.extend(namer.tags(key).map(|tags| (id, tags)));
    })
}

/// Calls `new` with the id and the canonical key of each series of a block that is not in `seen`.
fn each_new(
    (index, ordinals): (InvertedIndex<'_>, &RoaringBitmap),
    seen: &mut RoaringTreemap,
    new: &mut dyn FnMut(SeriesId, &[u8]),
) -> Result<()> {
    // A jump costs as much as a walk over some hundred keys.
    let is_sparse = ordinals.len() < (index.series_count() / KEYS_PER_JUMP) as u64;
    let mut walk = index.keys(0);
    for ordinal in ordinals {
        let ordinal = ordinal as usize;
        let id = index.series_id(ordinal)?;
        if !seen.insert(id.0) {
            continue;
        }
        if is_sparse {
            walk = index.keys(ordinal);
        }
        while let Some((at, entry)) = walk.advance()? {
            if at == ordinal {
                new(id, &entry.key);
                break;
            }
        }
    }
    Ok(())
}

/// Names the tags of keys of one measurement. Series that follow one another mostly have the same tags:
/// what these are called, and in which order they stand, is looked up once.
pub(super) struct Namer<'snapshot> {
    snapshot: &'snapshot Snapshot,
    info: Option<&'snapshot MeasurementInfo>,
    /// The ids of the last key's tags.
    ids: Vec<TagKeyId>,
    /// For each of them its name and its place in a key, sorted by name; `None` where one has no name.
    names: Option<Vec<(&'snapshot [u8], usize)>>,
}

impl<'snapshot> Namer<'snapshot> {
    pub(super) fn new(
        snapshot: &'snapshot Snapshot,
        measurement: MeasurementId,
    ) -> Namer<'snapshot> {
        Namer {
            snapshot,
            info: snapshot.info(measurement),
            ids: Vec::new(),
            names: Some(Vec::new()),
        }
    }

    /// The tags of a canonical key by name, or `None` where a name is not in the catalogue: the
    /// series came after this snapshot.
    fn tags(&mut self, key: &[u8]) -> Option<TagSet> {
        let tags = CanonicalKey(key).tags()?;
        if !tags.iter().map(|(id, _)| id).eq(&self.ids) {
            self.ids = tags.iter().map(|(id, _)| *id).collect();
            self.names = self.names();
        }
        let names = self.names.as_ref()?.iter();
        Some(TagSet::from_sorted(
            names.map(|(name, place)| (*name, tags[*place].1)),
        ))
    }

    fn names(&self) -> Option<Vec<(&'snapshot [u8], usize)>> {
        let catalog = self.snapshot.catalog();
        let name = |(place, id): (usize, &TagKeyId)| {
            Some((catalog.tag_key_name_in(self.info, *id)?, place))
        };
        let names = self.ids.iter().enumerate().map(name);
        let mut names: Vec<(&[u8], usize)> = names.collect::<Option<_>>()?;
        names.sort_unstable();
        let once = names.windows(2).all(|pair| pair[0].0 != pair[1].0);
        once.then_some(names)
    }
}

/// Those of `ordinals` that deletes leave a row.
fn showing(
    index: InvertedIndex<'_>,
    ordinals: &RoaringBitmap,
    mut shown: ShownChunks<'_>,
) -> Result<RoaringBitmap> {
    let mut left = RoaringBitmap::new();
    for ordinal in ordinals {
        if shown.shows(index.series_id(ordinal as usize)?)? {
            left.insert(ordinal);
        }
    }
    Ok(left)
}

/// Indexes that know series that are wanted.
#[derive(Default)]
struct Found<'snapshot> {
    live: Vec<(&'snapshot LiveIndex, LiveSelection)>,
    blocks: Vec<(Measurement<'snapshot>, RoaringBitmap)>,
}

impl Found<'_> {
    /// Calls `new` with the id of each series once; how many there are. Those of a block come in its order,
    /// and those of the block that knows most come first: a scan that goes along decodes each of its pages once.
    fn distinct_ids(&self, new: &mut dyn FnMut(SeriesId)) -> Result<u64> {
        let mut seen = RoaringTreemap::new();
        let mut note = |id: SeriesId| {
            if seen.insert(id.0) {
                new(id);
            }
        };
        for (block, ordinals) in self.by_size() {
            let index = block.index();
            for ordinal in ordinals {
                note(index.series_id(ordinal as usize)?);
            }
        }
        for (index, selection) in &self.live {
            index.ids(selection, &mut note);
        }
        self.check_intact()?;
        Ok(seen.len())
    }

    /// The blocks, the one that knows most first.
    fn by_size(&self) -> Vec<&(Measurement<'_>, RoaringBitmap)> {
        let mut blocks: Vec<_> = self.blocks.iter().collect();
        blocks.sort_by_key(|(_, ordinals)| Reverse(ordinals.len()));
        blocks
    }

    /// Whether the blocks were what they are while they were read.
    fn check_intact(&self) -> Result<()> {
        let mut blocks = self.blocks.iter();
        blocks.try_for_each(|(measurement, _)| measurement.block().check_intact())
    }
}

/// Strings of which each is to be kept once.
#[derive(Debug, Default)]
struct Distinct {
    strings: Strings,
    passes_limit: bool,
}

impl Distinct {
    fn add(&mut self, string: &[u8]) {
        if self.strings.bytes.len() + string.len() > TAG_VALUES_BYTES_MAX {
            self.passes_limit = true;
        } else {
            self.strings.push(string);
        }
    }

    /// Sorts what was added and keeps each string once. What is sorted in pieces costs little.
    fn settle(&mut self, key: &[u8]) -> Result<()> {
        if self.passes_limit {
            let key = String::from_utf8_lossy(key);
            let message = format!(
                "the values of tag {key:?} take more than {TAG_VALUES_BYTES_MAX} bytes: ask for \
                 fewer with a condition"
            );
            return Err(Error::new(ErrorKind::Limit, message));
        }
        let strings = &self.strings;
        let mut order: Vec<usize> = (0..strings.len()).collect();
        if order.is_sorted_by(|one, other| strings.get(*one) < strings.get(*other)) {
            return Ok(());
        }
        order.sort_by(|one, other| strings.get(*one).cmp(strings.get(*other)));
        order.dedup_by(|one, other| strings.get(*one) == strings.get(*other));
        let mut sorted = Strings::default();
        for index in order {
            sorted.push(strings.get(index));
        }
        self.strings = sorted;
        Ok(())
    }
}
