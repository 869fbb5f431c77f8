//! The directory of one measurement in a block: its series, its groups of rows, and where each
//! field's pages lie. Entries are read where they lie; opening one costs per field, not per series.
//!
//! Layout, numbers as varints unless said otherwise:
//!
//! 1. series, rows, groups, fields, chunks with statistics: how many there are of each
//! 2. 1 byte: 1 where series ids ascend with the keys, else 0
//! 3. key runs, term runs, postings: offset and length of each; then how many terms there are
//! 4. arrays: start of each key run, start of each term run, posting of each term
//! 5. arrays: series id by ordinal; first row by ordinal; ordinals by id (only where 2. is 0)
//! 6. arrays by group: first row, earliest time (biased), latest time (biased)
//! 7. the time pages: arrays by group of offset and length; the number of their shared sets, arrays of
//!    their offset and length
//! 8. arrays by chunk: first row, rows, first time (biased), last time (biased)
//! 9. for each field, ascending by id: id, type (1 byte), arrays by group of offset and length of its
//!    pages (0 = no row has a value); the number of its shared sets, arrays of their offset and length;
//!    the same of its pages of statistics
//!
//! An ordinal is a series' place in the order of canonical keys. A posting is `ordinal << 1 | 1`
//! where one series has the term, else `offset << 1` into the postings, where a length (varint) and
//! a roaring bitmap of ordinals stand. A term is a tag key id (4 bytes, big endian) and a value; the
//! empty value stands for every series that has the key.

use crate::format::block::array::{self, Array, PAGE_ENTRIES};
use crate::format::block::bytes::{Damage, Taker};
use crate::format::block::keys::run_count;
use crate::format::block::{GROUP_ROWS_MAX, Span};
use crate::model::{FieldId, FieldType, push_varint};

/// Where pages lie: arrays of offset and length.
#[derive(Clone, Copy, Debug)]
pub struct Pages {
    offsets: Array,
    lengths: Array,
}

/// What is to be written of a series' keys and terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexParts {
    /// Runs of canonical keys without the measurement, by ordinal.
    pub keys: Span,
    /// Runs of terms.
    pub terms: Span,
    /// Roaring bitmaps.
    pub postings: Span,
    /// How many terms there are.
    pub term_count: usize,
    /// Arrays: start of each key run, start of each term run, posting of each term.
    pub arrays: Vec<u8>,
}

/// Pages as they are gathered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PagesParts {
    /// Offset of each page in the file.
    pub offsets: Vec<u64>,
    /// Length of each page, bytes.
    pub lengths: Vec<u64>,
}

/// What is to be written of a chunk that has statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkEntry {
    /// Its first row in the measurement.
    pub row: u64,
    /// How many rows it has.
    pub rows: u64,
    /// Time of its first row.
    pub time_first: i64,
    /// Time of its last row.
    pub time_last: i64,
}

/// What is to be written of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupEntry {
    /// Its first row in the measurement.
    pub row: u64,
    /// Its earliest time.
    pub time_first: i64,
    /// Its latest time.
    pub time_last: i64,
}

/// What is to be written of a field.
#[derive(Clone, Debug)]
pub struct FieldParts {
    /// The field.
    pub id: FieldId,
    /// The type of its values.
    pub field_type: FieldType,
    /// Its pages by group.
    pub pages: PagesParts,
    /// What its pages share.
    pub sets: PagesParts,
    /// Its pages of statistics, each of 1,024 chunks; none where it has no statistics.
    pub stats: PagesParts,
}

/// What a directory is written from.
#[derive(Clone, Debug, Default)]
pub struct DirectoryParts {
    /// How many rows there are.
    pub row_count: u64,
    /// Series ids by ordinal.
    pub series: Vec<u64>,
    /// First row by ordinal.
    pub series_rows: Vec<u64>,
    /// Keys and terms.
    pub index: IndexParts,
    /// The groups.
    pub groups: Vec<GroupEntry>,
    /// The time pages.
    pub times: PagesParts,
    /// What the time pages share.
    pub time_sets: PagesParts,
    /// The chunks with statistics.
    pub chunks: Vec<ChunkEntry>,
    /// The fields, ascending by id.
    pub fields: Vec<FieldParts>,
}

impl PagesParts {
    fn encode(&self, out: &mut Vec<u8>) {
        array::encode(&self.offsets, out);
        array::encode(&self.lengths, out);
    }

    /// With their number in front.
    fn encode_counted(&self, out: &mut Vec<u8>) {
        push_varint(out, self.offsets.len() as u64);
        self.encode(out);
    }
}

impl DirectoryParts {
    /// Appends the directory's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        push_varint(out, self.series.len() as u64);
        push_varint(out, self.row_count);
        push_varint(out, self.groups.len() as u64);
        push_varint(out, self.fields.len() as u64);
        push_varint(out, self.chunks.len() as u64);
        let ascending = self.series.is_sorted_by(|a, b| a < b);
        out.push(u8::from(ascending));
        for span in [self.index.keys, self.index.terms, self.index.postings] {
            push_varint(out, span.offset);
            push_varint(out, span.len);
        }
        push_varint(out, self.index.term_count as u64);
        out.extend_from_slice(&self.index.arrays);
        array::encode(&self.series, out);
        array::encode(&self.series_rows, out);
        if !ascending {
            let mut order: Vec<(u64, u64)> = self.series.iter().copied().zip(0..).collect();
            order.sort_unstable();
            let order: Vec<u64> = order.into_iter().map(|(_, ordinal)| ordinal).collect();
            array::encode(&order, out);
        }
        let numbers = |out: &mut Vec<u8>, numbers: Vec<u64>| array::encode(&numbers, out);
        let groups = || self.groups.iter();
        numbers(out, groups().map(|group| group.row).collect());
        let biased = array::biased;
        numbers(
            out,
            groups().map(|group| biased(group.time_first)).collect(),
        );
        numbers(out, groups().map(|group| biased(group.time_last)).collect());
        self.times.encode(out);
        self.time_sets.encode_counted(out);
        let chunks = || self.chunks.iter();
        numbers(out, chunks().map(|chunk| chunk.row).collect());
        numbers(out, chunks().map(|chunk| chunk.rows).collect());
        numbers(
            out,
            chunks().map(|chunk| biased(chunk.time_first)).collect(),
        );
        numbers(out, chunks().map(|chunk| biased(chunk.time_last)).collect());
        for field in &self.fields {
            push_varint(out, u64::from(field.id.0));
            out.push(field.field_type.code());
            field.pages.encode(out);
            field.sets.encode_counted(out);
            field.stats.encode_counted(out);
        }
    }
}

/// A field of the measurement.
#[derive(Clone, Copy, Debug)]
pub struct FieldEntry {
    /// The field.
    pub id: FieldId,
    /// The type of its values.
    pub field_type: FieldType,
    /// Its pages, by group.
    pub pages: Pages,
    /// What its pages share.
    pub sets: Pages,
    /// Its pages of statistics, none where it has no statistics.
    pub stats: Pages,
}

/// Where everything of a measurement lies. Reading an entry takes the directory's bytes again.
#[derive(Clone, Debug)]
pub struct Directory {
    /// How many rows there are.
    pub row_count: u64,
    /// Runs of keys.
    pub keys: Span,
    /// Runs of terms.
    pub terms: Span,
    /// Roaring bitmaps.
    pub postings: Span,
    /// How many terms there are.
    pub term_count: usize,
    /// Start of each key run.
    pub key_starts: Array,
    /// Start of each term run.
    pub term_starts: Array,
    /// Posting of each term.
    pub term_postings: Array,
    /// Series id by ordinal.
    pub series: Array,
    /// First row by ordinal.
    pub series_rows: Array,
    /// Ordinals by series id, where ids do not ascend with the keys.
    pub by_id: Option<Array>,
    /// First row by group.
    pub group_rows: Array,
    /// Earliest time by group, biased.
    pub group_firsts: Array,
    /// Latest time by group, biased.
    pub group_lasts: Array,
    /// The time pages, by group.
    pub times: Pages,
    /// What the time pages share.
    pub time_sets: Pages,
    /// First row by chunk with statistics.
    pub chunk_rows: Array,
    /// Rows by chunk.
    pub chunk_counts: Array,
    /// First time by chunk, biased.
    pub chunk_firsts: Array,
    /// Last time by chunk, biased.
    pub chunk_lasts: Array,
    /// The fields, ascending by id.
    pub fields: Vec<FieldEntry>,
}

impl Pages {
    fn take(taker: &mut Taker<'_>, count: usize) -> Result<Pages, Damage> {
        let offsets = Array::take(taker, count)?;
        let lengths = Array::take(taker, count)?;
        Ok(Pages { offsets, lengths })
    }

    /// How many pages there are.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Where page `index` lies.
    ///
    /// # Errors
    /// If there are not that many, or `bytes` lie.
    pub fn get(&self, bytes: &[u8], index: usize) -> Result<Span, Damage> {
        Ok(Span {
            offset: self.offsets.get(bytes, index)?,
            len: self.lengths.get(bytes, index)?,
        })
    }
}

impl Directory {
    /// Finds everything in a directory's bytes.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Directory, Damage> {
        let mut taker = Taker::new(bytes);
        let series_count = taker.count(usize::MAX)?;
        let row_count = taker.varint()?;
        let group_count = taker.count(usize::MAX)?;
        let field_count = taker.count(bytes.len())?;
        let chunk_count = taker.count(usize::MAX)?;
        let rows_max = (group_count as u64).saturating_mul(GROUP_ROWS_MAX as u64);
        if row_count > rows_max || series_count as u64 > row_count || row_count == 0 {
            return Err(Damage("the counts of a directory contradict one another"));
        }
        if u32::try_from(series_count).is_err() {
            return Err(Damage("a directory has more series than ordinals"));
        }
        let ascending = match taker.byte()? {
            0 => false,
            1 => true,
            _ => return Err(Damage("a directory's order of series is unknown")),
        };
        let mut spans = [Span::default(); 3];
        for span in &mut spans {
            let (offset, len) = (taker.varint()?, taker.varint()?);
            *span = Span { offset, len };
        }
        let [keys, terms, postings] = spans;
        let term_count = taker.count(usize::MAX)?;
        let mut next = |count: usize| Array::take(&mut taker, count);
        let key_starts = next(run_count(series_count))?;
        let term_starts = next(run_count(term_count))?;
        let term_postings = next(term_count)?;
        let series = next(series_count)?;
        let series_rows = next(series_count)?;
        let by_id = if ascending {
            None
        } else {
            Some(next(series_count)?)
        };
        let (group_rows, group_firsts) = (next(group_count)?, next(group_count)?);
        let group_lasts = next(group_count)?;
        let times = Pages::take(&mut taker, group_count)?;
        let time_sets = take_sets(&mut taker, group_count)?;
        let mut next = |count: usize| Array::take(&mut taker, count);
        let (chunk_rows, chunk_counts) = (next(chunk_count)?, next(chunk_count)?);
        let (chunk_firsts, chunk_lasts) = (next(chunk_count)?, next(chunk_count)?);
        let fields = take_fields(&mut taker, field_count, (group_count, chunk_count))?;
        if taker.remaining() != 0 {
            return Err(Damage("bytes follow a directory"));
        }
        Ok(Directory {
            row_count,
            keys,
            terms,
            postings,
            term_count,
            key_starts,
            term_starts,
            term_postings,
            series,
            series_rows,
            by_id,
            group_rows,
            group_firsts,
            group_lasts,
            times,
            time_sets,
            chunk_rows,
            chunk_counts,
            chunk_firsts,
            chunk_lasts,
            fields,
        })
    }

    /// The field `id`, if the measurement has values of it here.
    pub fn field(&self, id: FieldId) -> Option<usize> {
        self.fields.binary_search_by_key(&id, |field| field.id).ok()
    }
}

/// Their number, at most one for each group, and where they lie.
fn take_sets(taker: &mut Taker<'_>, group_count: usize) -> Result<Pages, Damage> {
    let count = taker.count(group_count)?;
    Pages::take(taker, count)
}

fn take_fields(
    taker: &mut Taker<'_>,
    field_count: usize,
    (group_count, chunk_count): (usize, usize),
) -> Result<Vec<FieldEntry>, Damage> {
    let mut fields: Vec<FieldEntry> = Vec::new();
    for _ in 0..field_count {
        let id = u32::try_from(taker.varint()?).map_err(|_| Damage("a field id is too large"))?;
        let id = FieldId(id);
        if fields.last().is_some_and(|last| last.id >= id) {
            return Err(Damage("the fields of a directory are not sorted"));
        }
        let field_type = FieldType::from_code(taker.byte()?);
        let field_type = field_type.ok_or(Damage("a field has an unknown type"))?;
        let pages = Pages::take(taker, group_count)?;
        let sets = take_sets(taker, group_count)?;
        let stats_count = taker.count(usize::MAX)?;
        if stats_count != 0 && stats_count != chunk_count.div_ceil(PAGE_ENTRIES) {
            return Err(Damage("a field has statistics of other chunks"));
        }
        let stats = Pages::take(taker, stats_count)?;
        fields.push(FieldEntry {
            id,
            field_type,
            pages,
            sets,
            stats,
        });
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> DirectoryParts {
        let pages = |count: u64| PagesParts {
            offsets: (0..count).map(|at| 64 + at * 100).collect(),
            lengths: vec![100; usize::try_from(count).unwrap()],
        };
        let mut arrays = Vec::new();
        array::encode(&[0], &mut arrays);
        array::encode(&[0], &mut arrays);
        array::encode(&[3, 5], &mut arrays);
        DirectoryParts {
            row_count: 9000,
            series: vec![30, 10, 20],
            series_rows: vec![0, 10, 8500],
            index: IndexParts {
                term_count: 2,
                arrays,
                ..IndexParts::default()
            },
            groups: [(0, -50, 1000), (8192, 5, 9)]
                .map(|(row, time_first, time_last)| GroupEntry {
                    row,
                    time_first,
                    time_last,
                })
                .to_vec(),
            times: pages(2),
            time_sets: pages(0),
            chunks: vec![ChunkEntry {
                row: 10,
                rows: 8182,
                time_first: -50,
                time_last: 1000,
            }],
            fields: vec![FieldParts {
                id: FieldId(4),
                field_type: FieldType::Float,
                pages: pages(2),
                sets: pages(1),
                stats: pages(1),
            }],
        }
    }

    #[test]
    fn a_directory_reads_back() {
        let mut bytes = Vec::new();
        parts().encode(&mut bytes);
        let directory = Directory::decode(&bytes).unwrap();
        assert_eq!(directory.row_count, 9000);
        let series: Vec<u64> = (0..3)
            .map(|at| directory.series.get(&bytes, at).unwrap())
            .collect();
        assert_eq!(series, [30, 10, 20]);
        let by_id = directory.by_id.unwrap();
        let order: Vec<u64> = (0..3).map(|at| by_id.get(&bytes, at).unwrap()).collect();
        assert_eq!(order, [1, 2, 0]);
        let first = directory.group_firsts.get(&bytes, 0).unwrap();
        assert_eq!(array::unbiased(first), -50);
        let field = directory.field(FieldId(4)).unwrap();
        assert_eq!(directory.field(FieldId(5)), None);
        let page = directory.fields[field].pages.get(&bytes, 1).unwrap();
        let expected = Span {
            offset: 164,
            len: 100,
        };
        assert_eq!(page, expected);
    }

    #[test]
    fn every_cut_of_a_directory_is_an_error_and_no_change_a_panic() {
        let mut bytes = Vec::new();
        parts().encode(&mut bytes);
        for len in 0..bytes.len() {
            assert!(Directory::decode(&bytes[..len]).is_err(), "cut at {len}");
        }
        for at in 0..bytes.len() {
            for change in [1, 0x80, 0xff] {
                bytes[at] ^= change;
                if let Ok(directory) = Directory::decode(&bytes) {
                    assert!(directory.row_count > 0);
                }
                bytes[at] ^= change;
            }
        }
    }
}
