//! The inverted index of one measurement in a block: from tags to ordinals, from ordinals to keys and
//! ids and back. An ordinal is a series' place in the order of canonical keys.
//!
//! It must never know rows or values. Terms lie in a sorted, front-coded list in place of an
//! automaton, so that bytes that lie end in an error and never in a panic; the layout is told in
//! [`crate::format::block::directory`].

use std::ops::Range;

use roaring::RoaringBitmap;

use crate::error::{Error, Result};
use crate::format::block::bytes::{Damage, Taker};
use crate::format::block::directory::{Directory, IndexParts};
use crate::format::block::keys::{KeyList, KeyListBuilder, KeyWalk};
use crate::format::block::{Span, array};
use crate::format::sealed::{SealedReader, SealedWriter};
use crate::index::numbered::{Numbered, hash};
use crate::index::sorted::{PREFIX_BYTES, shared_len, sorted_by_text};
use crate::index::table::Table;
use crate::model::{
    CanonicalKey, MeasurementId, SeriesEntry, SeriesId, TagKeyId, TagPredicate, ValueMatcher,
    push_varint,
};

/// Length of a varint at most, bytes.
const VARINT_BYTES_MAX: u64 = 10;

/// Gathers the keys of a measurement's series and the terms in them. Memory: some 23 bytes a term
/// and its text, besides the keys; as much again while it finishes.
#[derive(Debug)]
pub struct IndexBuilder {
    compress: bool,
    keys: KeyListBuilder,
    /// Terms end to end.
    text: Vec<u8>,
    /// Where each term ends in `text`.
    ends: Vec<usize>,
    /// Who has each: an ordinal, or [`MANY`] and a place in `many`.
    postings: Vec<u32>,
    many: Vec<Ordinals>,
    by_text: Table<Numbered>,
    /// The terms of the last series, which the next one mostly shares.
    last: Vec<u32>,
}

/// Of a posting that is gathered: several series have the term.
const MANY: u32 = 1 << 31;

/// Ordinals that come in order: most tags have long runs of them, or are had by all.
#[derive(Debug)]
struct Ordinals {
    /// All but the last run.
    before: RoaringBitmap,
    /// The last run.
    start: u32,
    end: u32,
}

impl Ordinals {
    fn new(only: u32) -> Ordinals {
        Ordinals {
            before: RoaringBitmap::new(),
            start: only,
            end: only + 1,
        }
    }

    /// Puts in an ordinal that is the last or comes behind it.
    fn push(&mut self, ordinal: u32) {
        if ordinal >= self.end {
            if ordinal > self.end {
                self.settle();
                self.start = ordinal;
            }
            self.end = ordinal + 1;
        }
    }

    fn settle(&mut self) {
        if self.end - self.start == 1 {
            self.before.insert(self.start);
        } else {
            self.before.insert_range(self.start..self.end);
        }
    }
}

/// The series that have a term.
#[derive(Debug)]
enum Posting {
    One(u32),
    Many(RoaringBitmap),
}

impl IndexBuilder {
    /// An index without series. Compressed, it takes less space and more time.
    pub fn new(compress: bool) -> IndexBuilder {
        IndexBuilder {
            compress,
            keys: KeyListBuilder::new(compress),
            text: Vec::new(),
            ends: Vec::new(),
            postings: Vec::new(),
            many: Vec::new(),
            by_text: Table::default(),
            last: Vec::new(),
        }
    }

    /// What it takes in memory, about, bytes: twice that while it finishes.
    pub fn size_bytes(&self) -> usize {
        self.keys.size_bytes()
            + self.text.capacity()
            + self.ends.capacity() * size_of::<usize>()
            + self.postings.capacity() * size_of::<u32>()
            + self.many.capacity() * size_of::<Ordinals>()
            + self.by_text.size_bytes()
    }

    /// Appends the series of canonical key `key`.
    ///
    /// # Errors
    /// `Limit` where the key is too long to be kept.
    ///
    /// # Panics
    /// If the key is none, or does not come behind the last in order; at 2^31 series.
    pub fn push(&mut self, key: &[u8]) -> Result<()> {
        let ordinal = u32::try_from(self.keys.len()).ok();
        let ordinal = ordinal.filter(|ordinal| *ordinal < MANY);
        let ordinal = ordinal.expect("a block holds fewer than 2^31 series");
        self.keys.push(&key[4..])?;
        let mut place = 0;
        let tags = CanonicalKey(key).each_tag(|tag, value| {
            self.add(place, term_prefix(tag), b"", ordinal);
            self.add(place + 1, term_prefix(tag), value, ordinal);
            place += 2;
        });
        tags.expect("keys are canonical");
        Ok(())
    }

    fn add(&mut self, place: usize, prefix: [u8; 4], value: &[u8], ordinal: u32) {
        let is = |text: &[u8]| {
            text.len() == 4 + value.len() && text[..4] == prefix && text[4..] == *value
        };
        let last = self.last.get(place).copied();
        let id = match last.filter(|id| is(self.text_of(*id))) {
            Some(id) => id,
            None => self.id_of((prefix, value), ordinal),
        };
        if place < self.last.len() {
            self.last[place] = id;
        } else {
            self.last.push(id);
        }
        let posting = &mut self.postings[id as usize];
        if *posting & MANY != 0 {
            self.many[(*posting & !MANY) as usize].push(ordinal);
        } else if *posting != ordinal {
            let mut both = Ordinals::new(*posting);
            both.push(ordinal);
            *posting = u32::try_from(self.many.len()).expect("no more than terms") | MANY;
            self.many.push(both);
        }
    }

    /// The term's number, a new one where it has none: then the series of `ordinal` has it.
    fn id_of(&mut self, (prefix, value): ([u8; 4], &[u8]), ordinal: u32) -> u32 {
        let start = self.text.len();
        self.text.extend_from_slice(&prefix);
        self.text.extend_from_slice(value);
        let (known, new) = self.text.split_at(start);
        let (hash, ends) = (hash(new), &self.ends);
        let is = |entry: &Numbered| text_of(known, ends, entry.number()) == new;
        if let Some(found) = self.by_text.find(Numbered::place_of(hash), is) {
            let id = found.number();
            self.text.truncate(start);
            return id;
        }
        let id = u32::try_from(ends.len()).ok().filter(|id| *id < MANY);
        let id = id.expect("a block holds fewer than 2^31 terms");
        self.ends.push(self.text.len());
        self.postings.push(ordinal);
        self.by_text.insert(Numbered::new(hash, id));
        id
    }

    fn text_of(&self, id: u32) -> &[u8] {
        text_of(&self.text, &self.ends, id)
    }

    /// The numbers of the terms in the order of their text.
    fn sorted(&self) -> Vec<u32> {
        let count = u32::try_from(self.ends.len()).expect("terms are counted in 32 bits");
        let shared = shared_len((0..count).map(|id| self.text_of(id)));
        let prefix = |id: u32| {
            let mut prefix = [0; PREFIX_BYTES];
            for (byte, own) in prefix.iter_mut().zip(&self.text_of(id)[shared..]) {
                *byte = *own;
            }
            prefix
        };
        sorted_by_text(count, prefix, |one, other| {
            self.text_of(one).cmp(self.text_of(other))
        })
    }

    /// Writes keys, terms and postings to `file`, where it stands.
    ///
    /// # Errors
    /// `Io` or `NoSpace`; `Limit` where a term is too long to be kept.
    ///
    /// # Panics
    /// Never: bitmaps in memory are always written.
    pub fn finish(mut self, file: &mut SealedWriter) -> Result<IndexParts> {
        let mut parts = IndexParts {
            term_count: self.ends.len(),
            ..IndexParts::default()
        };
        // Each piece of memory goes before the next is made.
        self.by_text = Table::default();
        let keys = std::mem::take(&mut self.keys).finish(&mut parts.arrays);
        parts.keys = append(file, &keys)?;
        drop(keys);
        let sorted = self.sorted();
        let mut terms = KeyListBuilder::new(self.compress);
        for id in &sorted {
            terms.push(self.text_of(*id))?;
        }
        (self.text, self.ends) = (Vec::new(), Vec::new());
        let terms = terms.finish(&mut parts.arrays);
        parts.terms = append(file, &terms)?;
        drop(terms);
        let (mut postings, mut bitmaps) = (Vec::with_capacity(sorted.len()), Vec::new());
        for id in sorted {
            let posting = self.postings[id as usize];
            if posting & MANY == 0 {
                postings.push(u64::from(posting) << 1 | 1);
                continue;
            }
            postings.push((bitmaps.len() as u64) << 1);
            let many = &mut self.many[(posting & !MANY) as usize];
            many.settle();
            let mut ordinals = std::mem::take(&mut many.before);
            ordinals.optimize();
            push_varint(&mut bitmaps, ordinals.serialized_size() as u64);
            ordinals
                .serialize_into(&mut bitmaps)
                .expect("writing to memory does not fail");
        }
        parts.postings = append(file, &bitmaps)?;
        array::encode(&postings, &mut parts.arrays);
        Ok(parts)
    }
}

fn text_of<'text>(text: &'text [u8], ends: &[usize], id: u32) -> &'text [u8] {
    let id = id as usize;
    let start = if id == 0 { 0 } else { ends[id - 1] };
    &text[start..ends[id]]
}

fn append(file: &mut SealedWriter, bytes: &[u8]) -> Result<Span> {
    let offset = file.position();
    file.write(bytes)?;
    Ok(Span {
        offset,
        len: bytes.len() as u64,
    })
}

/// What every term of a tag key opens with.
#[expect(
    clippy::big_endian_bytes,
    reason = "terms are sorted as bytes: those of one tag key stand together in the order of ids"
)]
fn term_prefix(key: TagKeyId) -> [u8; 4] {
    key.0.to_be_bytes()
}

/// Tag key ids by name, as the catalogue of the database has them.
pub type TagKeyNames<'names> = &'names dyn Fn(&[u8]) -> Option<TagKeyId>;

/// The index of one measurement, read where it lies.
#[derive(Clone, Copy, Debug)]
pub struct InvertedIndex<'block> {
    file: &'block SealedReader,
    measurement: MeasurementId,
    directory: &'block Directory,
    /// What `directory` was found in.
    bytes: &'block [u8],
}

impl<'block> InvertedIndex<'block> {
    /// The index of `measurement`, whose directory has been found in `bytes` of `file`.
    pub fn new(
        file: &'block SealedReader,
        measurement: MeasurementId,
        (directory, bytes): (&'block Directory, &'block [u8]),
    ) -> InvertedIndex<'block> {
        InvertedIndex {
            file,
            measurement,
            directory,
            bytes,
        }
    }

    /// How many series there are.
    pub fn series_count(&self) -> usize {
        self.directory.series.len()
    }

    /// Where keys, terms and postings lie in the file.
    pub fn spans(&self) -> [Range<u64>; 3] {
        let Directory {
            keys,
            terms,
            postings,
            ..
        } = self.directory;
        [keys, terms, postings].map(|span| span.offset..span.end())
    }

    /// The bytes that the directory was found in.
    pub fn directory_bytes(&self) -> &'block [u8] {
        self.bytes
    }

    /// The series at `ordinal`.
    ///
    /// # Errors
    /// `Corrupt` where the block's bytes are damaged, or there are not that many; `Io`.
    pub fn series_id(&self, ordinal: usize) -> Result<SeriesId> {
        let id = self.directory.series.get(self.bytes, ordinal);
        id.map(SeriesId).map_err(|damage| self.corrupt(damage))
    }

    /// Where `series` stands, if it has rows here. Cost: a binary search.
    ///
    /// # Errors
    /// As [`InvertedIndex::series_id`].
    pub fn ordinal(&self, series: SeriesId) -> Result<Option<usize>> {
        self.search_id(series)
            .map_err(|damage| self.corrupt(damage))
    }

    fn search_id(&self, series: SeriesId) -> std::result::Result<Option<usize>, Damage> {
        let ids = &self.directory.series;
        let ordinal = |place: usize| match &self.directory.by_id {
            None => Ok(place),
            Some(by_id) => {
                let ordinal = by_id.get(self.bytes, place)?;
                usize::try_from(ordinal).map_err(|_| Damage("an ordinal is too large"))
            }
        };
        let Some(last) = ids.len().checked_sub(1) else {
            return Ok(None);
        };
        let id = |place: usize| ids.get(self.bytes, ordinal(place)?);
        // Ids are given one after another: most blocks have them without gaps.
        let guess = ordinal(array::between((id(0)?, id(last)?), (series.0, last)))?;
        if ids.get(self.bytes, guess)? == series.0 {
            return Ok(Some(guess));
        }
        let (mut low, mut high) = (0, ids.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if id(middle)? < series.0 {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if low == ids.len() {
            return Ok(None);
        }
        let found = ordinal(low)?;
        Ok((ids.get(self.bytes, found)? == series.0).then_some(found))
    }

    /// Walks the canonical keys, by ordinal, from `from` on.
    pub fn keys(&self, from: usize) -> SeriesWalk<'block> {
        let starts = (self.directory.key_starts, self.bytes);
        let list = KeyList::new(self.file, self.directory.keys, self.series_count(), starts);
        SeriesWalk {
            index: *self,
            keys: KeyWalk::new(list, from),
        }
    }

    /// The ordinals of the series whose tags satisfy `predicate`: exactly those for which
    /// [`TagPredicate::holds`]. Cost: reads the terms that the predicate names; a matcher that does
    /// not know its values is asked for each value of its key with its prefix; comparing two tags reads all keys.
    ///
    /// # Errors
    /// As [`InvertedIndex::series_id`].
    pub fn select(
        &self,
        predicate: &TagPredicate,
        names: TagKeyNames<'_>,
    ) -> Result<RoaringBitmap> {
        Ok(match predicate {
            TagPredicate::All => self.all(),
            TagPredicate::None => RoaringBitmap::new(),
            TagPredicate::Equal { key, value } => match names(key) {
                None if value.is_empty() => self.all(),
                None => RoaringBitmap::new(),
                Some(key) => self.with_value(key, value)?,
            },
            TagPredicate::Matches { key, matcher } => match (names(key), matcher.values()) {
                (None, _) if matcher.matches(b"") => self.all(),
                (None, _) => RoaringBitmap::new(),
                (Some(key), Some(values)) => {
                    let mut found = RoaringBitmap::new();
                    for value in values {
                        found |= self.with_value(key, value)?;
                    }
                    found
                }
                (Some(key), None) => {
                    let mut found = self.matching(key, &**matcher)?;
                    if matcher.matches(b"") {
                        found |= self.with_value(key, b"")?;
                    }
                    found
                }
            },
            TagPredicate::SameValue(one, other) => {
                self.with_same_value(names(one), names(other))?
            }
            TagPredicate::Not(inner) => self.all() - self.select(inner, names)?,
            TagPredicate::And(parts) => {
                let mut found = self.all();
                for part in parts {
                    if found.is_empty() {
                        break;
                    }
                    found &= self.select(part, names)?;
                }
                found
            }
            TagPredicate::Or(parts) => {
                let mut found = RoaringBitmap::new();
                for part in parts {
                    found |= self.select(part, names)?;
                }
                found
            }
        })
    }

    fn all(&self) -> RoaringBitmap {
        let count = u32::try_from(self.series_count()).expect("a directory is refused otherwise");
        let mut all = RoaringBitmap::new();
        all.insert_range(0..count);
        all
    }

    fn terms(&self) -> KeyList<'block> {
        let starts = (self.directory.term_starts, self.bytes);
        let count = self.directory.term_count;
        KeyList::new(self.file, self.directory.terms, count, starts)
    }

    /// The series whose tag `key` has `value`; none: that lack the tag.
    fn with_value(&self, key: TagKeyId, value: &[u8]) -> Result<RoaringBitmap> {
        let mut term = term_prefix(key).to_vec();
        term.extend_from_slice(value);
        let mut found = RoaringBitmap::new();
        if let (at, true) = self.terms().search(&term)? {
            match self.posting(at)? {
                Posting::One(ordinal) => {
                    found.insert(ordinal);
                }
                Posting::Many(ordinals) => found = ordinals,
            }
        }
        Ok(if value.is_empty() {
            self.all() - found
        } else {
            found
        })
    }

    /// The series that have tag `key` with a value that passes. Reads the values with the matcher's
    /// prefix only.
    fn matching(&self, key: TagKeyId, matcher: &dyn ValueMatcher) -> Result<RoaringBitmap> {
        let mut found = RoaringBitmap::new();
        self.walk_values(key, matcher.prefix(), &mut |term, value| {
            if matcher.matches(value) {
                match self.posting(term)? {
                    Posting::One(ordinal) => {
                        found.insert(ordinal);
                    }
                    Posting::Many(ordinals) => found |= ordinals,
                }
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Calls `found` with each value that tag `key` has among the series of `within`, ascending.
    ///
    /// # Errors
    /// As [`InvertedIndex::series_id`].
    pub fn values(
        &self,
        key: TagKeyId,
        within: &RoaringBitmap,
        found: &mut dyn FnMut(&[u8]),
    ) -> Result<()> {
        let is_whole = within.len() == self.series_count() as u64;
        self.walk_values(key, b"", &mut |term, value| {
            let is_in = is_whole
                || match self.posting(term)? {
                    Posting::One(ordinal) => within.contains(ordinal),
                    Posting::Many(ordinals) => !ordinals.is_disjoint(within),
                };
            if is_in {
                found(value);
            }
            Ok(())
        })
    }

    /// Visits the terms of a tag key whose values begin with `prefix` and are not empty.
    fn walk_values(
        &self,
        key: TagKeyId,
        prefix: &[u8],
        visit: &mut dyn FnMut(usize, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let start = [&term_prefix(key)[..], prefix].concat();
        let terms = self.terms();
        let (from, _) = terms.search(&start)?;
        let mut walk = KeyWalk::new(terms, from);
        while let Some((at, term)) = walk.advance()? {
            if !term.starts_with(&start) {
                break;
            }
            match term.get(size_of::<TagKeyId>()..) {
                Some(value) if !value.is_empty() => visit(at, value)?,
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    /// The series whose two tags have one value, or neither of them. A key nobody has is empty.
    fn with_same_value(
        &self,
        one: Option<TagKeyId>,
        other: Option<TagKeyId>,
    ) -> Result<RoaringBitmap> {
        if one == other {
            return Ok(self.all());
        }
        let mut found = RoaringBitmap::new();
        let mut walk = self.keys(0);
        while let Some((ordinal, entry)) = walk.advance()? {
            let tags = CanonicalKey(&entry.key).tags();
            let tags = tags.ok_or_else(|| self.corrupt(Damage("a series key is none")))?;
            let value = |key: Option<TagKeyId>| {
                let found = tags.iter().find(|(own, _)| Some(*own) == key);
                found.map_or(&b""[..], |(_, value)| value)
            };
            if value(one) == value(other) {
                found.insert(u32::try_from(ordinal).expect("a directory is refused otherwise"));
            }
        }
        Ok(found)
    }

    /// Who has term `term`.
    fn posting(&self, term: usize) -> Result<Posting> {
        const OUTSIDE: Damage = Damage("a posting names a series that is none");
        let count = self.series_count() as u64;
        let posting = self.directory.term_postings.get(self.bytes, term);
        let posting = posting.map_err(|damage| self.corrupt(damage))?;
        if posting & 1 == 1 {
            let ordinal = posting >> 1;
            if ordinal >= count {
                return Err(self.corrupt(OUTSIDE));
            }
            let ordinal = u32::try_from(ordinal).expect("a directory is refused otherwise");
            return Ok(Posting::One(ordinal));
        }
        let span = self.directory.postings;
        let start = span.offset.saturating_add(posting >> 1);
        let head_end = start.saturating_add(VARINT_BYTES_MAX).min(span.end());
        let head = self.file.read(start..head_end.max(start))?;
        let mut taker = Taker::new(&head);
        let len = taker.varint().map_err(|damage| self.corrupt(damage))?;
        let start = start + taker.position() as u64;
        let end = start.saturating_add(len);
        if end > span.end() {
            return Err(self.corrupt(Damage("a posting ends behind the postings")));
        }
        let bytes = self.file.read(start..end)?;
        let ordinals = RoaringBitmap::deserialize_from(&bytes[..])
            .map_err(|_| self.corrupt(Damage("a posting is no bitmap")))?;
        if ordinals.max().is_some_and(|last| u64::from(last) >= count) {
            return Err(self.corrupt(OUTSIDE));
        }
        Ok(Posting::Many(ordinals))
    }

    fn corrupt(&self, damage: Damage) -> Error {
        let offset = self.directory.postings.offset;
        self.file.corrupt(offset, damage.0)
    }
}

/// Walks the series of an index in the order of canonical keys.
#[derive(Debug)]
pub struct SeriesWalk<'block> {
    index: InvertedIndex<'block>,
    keys: KeyWalk<'block>,
}

impl SeriesWalk<'_> {
    /// The next series and its ordinal, or `None` behind the last.
    ///
    /// # Errors
    /// As [`InvertedIndex::series_id`].
    pub fn advance(&mut self) -> Result<Option<(usize, SeriesEntry)>> {
        let Some((ordinal, rest)) = self.keys.advance()? else {
            return Ok(None);
        };
        let mut key = Vec::with_capacity(4 + rest.len());
        key.extend_from_slice(&self.index.measurement.0.to_le_bytes());
        key.extend_from_slice(rest);
        let id = self.index.series_id(ordinal)?;
        let key = key.into_boxed_slice();
        Ok(Some((ordinal, SeriesEntry { id, key })))
    }
}
