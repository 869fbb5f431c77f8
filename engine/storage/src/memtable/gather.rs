//! Rows in a new order, duplicates folded: columns are put end to end and picked from one at a
//! time, so that what is read at random stays in a core's cache. Copies bits, never reads a value.

use std::borrow::Cow;
use std::ops::Range;

use crate::memtable::order::order;
use crate::model::{Bitmap, Column, FieldId, Presence, Rows, SeriesId, Strings, Values};

/// Marks a row that has no value.
const ABSENT: u32 = u32::MAX;

/// All rows of `parts`, oldest part first and all of one measurement, sorted by (series, time).
/// Rows of one series and time become one; of each field the newest value is kept.
///
/// # Panics
/// If there are no parts, or 2^32 rows or more.
pub(super) fn arrange(parts: &[&Rows]) -> Rows {
    let first = parts.first().expect("there is something to arrange");
    let series = end_to_end(parts, |rows| &rows.series);
    let timestamps = end_to_end(parts, |rows| &rows.timestamps);
    let fold = Fold::new(&series, &timestamps);
    let mut fields: Vec<FieldId> = parts
        .iter()
        .flat_map(|rows| rows.columns.iter().map(|(field, _)| *field))
        .collect();
    fields.sort_unstable();
    fields.dedup();
    let column = |field: FieldId| match parts {
        [only] => fold.column(column_of(only, field).expect("the field is in this part")),
        parts => {
            let slices: Vec<Slice<'_>> = parts
                .iter()
                .map(|rows| Slice::of(column_of(rows, field), 0..rows.len()))
                .collect();
            fold.column(&stack(&slices).expect("the field is in one of the parts"))
        }
    };
    Rows {
        measurement: first.measurement,
        series: fold.rows().map(|row| series[row]).collect(),
        timestamps: fold.rows().map(|row| timestamps[row]).collect(),
        columns: fields
            .iter()
            .map(|field| (*field, column(*field)))
            .collect(),
    }
}

fn end_to_end<'rows, T: Copy>(
    parts: &[&'rows Rows],
    column: impl Fn(&'rows Rows) -> &'rows Vec<T>,
) -> Cow<'rows, [T]> {
    if let [only] = parts {
        return Cow::Borrowed(column(only));
    }
    let mut all = Vec::with_capacity(parts.iter().map(|rows| rows.len()).sum());
    for rows in parts {
        all.extend_from_slice(column(rows));
    }
    Cow::Owned(all)
}

fn column_of(rows: &Rows, field: FieldId) -> Option<&Column> {
    let at = rows
        .columns
        .binary_search_by_key(&field, |(id, _)| *id)
        .ok()?;
    Some(&rows.columns[at].1)
}

/// Which rows make up each row of a result that has each series and time once.
pub(crate) struct Fold {
    /// Rows by (series, time), older before newer.
    order: Vec<u32>,
    /// Where duplicates occur: for each row of the result, its newest row and where its rows end in
    /// `order`.
    folded: Option<(Vec<u32>, Vec<u32>)>,
}

impl Fold {
    /// The fold of these rows, older before newer where series and time are one.
    pub(crate) fn new(series: &[SeriesId], timestamps: &[i64]) -> Fold {
        let order = order(series, timestamps);
        let same = |one: u32, other: u32| {
            let (one, other) = (one as usize, other as usize);
            timestamps[one] == timestamps[other] && series[one] == series[other]
        };
        if !order.windows(2).any(|pair| same(pair[0], pair[1])) {
            return Fold {
                order,
                folded: None,
            };
        }
        let mut newest: Vec<u32> = Vec::with_capacity(order.len());
        let mut ends: Vec<u32> = Vec::with_capacity(order.len());
        for (row, end) in order.iter().zip(1..) {
            if newest.last().is_some_and(|last| same(*last, *row)) {
                newest.pop();
                ends.pop();
            }
            newest.push(*row);
            ends.push(end);
        }
        Fold {
            order,
            folded: Some((newest, ends)),
        }
    }

    /// For each row of the result, the newest row it is made of.
    pub(crate) fn rows(&self) -> impl ExactSizeIterator<Item = usize> {
        self.newest().iter().map(|row| *row as usize)
    }

    fn newest(&self) -> &[u32] {
        match &self.folded {
            None => &self.order,
            Some((newest, _)) => newest,
        }
    }

    /// The column of the result: of each row the newest value there is.
    pub(crate) fn column(&self, column: &Column) -> Column {
        let bits = match &column.presence {
            Presence::All => {
                return Column {
                    values: pick(&column.values, self.newest()),
                    presence: Presence::All,
                };
            }
            Presence::Some(bits) => bits,
        };
        let places = places(bits);
        let mut picks: Vec<u32> = Vec::with_capacity(column.values.len());
        let mut present = Bits::with_capacity(self.newest().len());
        let mut take = |place: u32| {
            if place != ABSENT {
                picks.push(place);
            }
            present.push(place != ABSENT);
        };
        match &self.folded {
            None => self
                .order
                .iter()
                .for_each(|row| take(places[*row as usize])),
            Some((_, ends)) => {
                let mut start = 0;
                for end in ends {
                    let rows = &self.order[start..*end as usize];
                    let newest = rows.iter().rev().map(|row| places[*row as usize]);
                    take(
                        newest
                            .into_iter()
                            .find(|place| *place != ABSENT)
                            .unwrap_or(ABSENT),
                    );
                    start = *end as usize;
                }
            }
        }
        let presence = present.finish(picks.len());
        Column {
            values: pick(&column.values, &picks),
            presence,
        }
    }
}

/// Some rows of a column, or that many rows without a value.
#[derive(Clone, Debug)]
pub(crate) struct Slice<'rows> {
    /// The column; `None` where the field has no value in these rows.
    pub(crate) column: Option<&'rows Column>,
    /// The rows.
    pub(crate) rows: Range<usize>,
    /// Their values among the dense ones.
    pub(crate) dense: Range<usize>,
}

impl<'rows> Slice<'rows> {
    /// The `rows` of `column`. Costs a rank over the presence bits before them.
    pub(crate) fn of(column: Option<&'rows Column>, rows: Range<usize>) -> Slice<'rows> {
        let dense = match column.map(|column| &column.presence) {
            None => 0..0,
            Some(Presence::All) => rows.clone(),
            Some(Presence::Some(bits)) => {
                let start = bits.rank(rows.start);
                start..start + count_ones(bits, rows.clone())
            }
        };
        Slice {
            column,
            rows,
            dense,
        }
    }

    /// Whether each row has a value.
    pub(crate) fn is_full(&self) -> bool {
        self.rows.len() == self.dense.len()
    }

    /// The row, counted from the first of the slice, that value `index` of the slice belongs to.
    pub(crate) fn row_of(&self, index: usize) -> usize {
        match self.column.map(|column| &column.presence) {
            Some(Presence::Some(bits)) if !self.is_full() => {
                let mut left = index;
                let mut row = self.rows.start;
                while row < self.rows.end {
                    let count = (self.rows.end - row).min(64);
                    let mut word = word_at(bits, row, count);
                    let ones = word.count_ones() as usize;
                    if left < ones {
                        (0..left).for_each(|_| word &= word - 1);
                        return row - self.rows.start + word.trailing_zeros() as usize;
                    }
                    left -= ones;
                    row += count;
                }
                unreachable!("value {index} of a slice lies within it")
            }
            None | Some(Presence::All | Presence::Some(_)) => index,
        }
    }
}

/// The slices end to end; `None` where none of them has a value.
pub(crate) fn stack(slices: &[Slice<'_>]) -> Option<Column> {
    let rows: usize = slices.iter().map(|slice| slice.rows.len()).sum();
    let count: usize = slices.iter().map(|slice| slice.dense.len()).sum();
    let mut with_values = slices.iter().filter(|slice| !slice.dense.is_empty());
    let like = with_values.next().and_then(|slice| slice.column)?;
    let mut values = empty(&like.values, count);
    for slice in slices.iter().filter(|slice| !slice.dense.is_empty()) {
        let column = slice.column.expect("what has values has a column");
        append(&mut values, &column.values, slice.dense.clone());
    }
    if count == rows {
        return Some(Column {
            values,
            presence: Presence::All,
        });
    }
    let mut present = Bits::with_capacity(rows);
    for slice in slices {
        match slice.column.map(|column| &column.presence) {
            None => present.extend_with(slice.rows.len(), |_| 0),
            Some(Presence::All) => present.extend_with(slice.rows.len(), |_| u64::MAX),
            Some(Presence::Some(bits)) => {
                let start = slice.rows.start;
                let end = slice.rows.end;
                present.extend_with(slice.rows.len(), |row| {
                    word_at(bits, start + row, (end - start - row).min(64))
                });
            }
        }
    }
    Some(Column {
        values,
        presence: present.finish(count),
    })
}

/// Those of a column's rows whose numbers stand in `rows`, in that order.
pub(crate) fn pick_rows(column: &Column, rows: &[u32]) -> Column {
    let Presence::Some(bits) = &column.presence else {
        return Column {
            values: pick(&column.values, rows),
            presence: Presence::All,
        };
    };
    let places = places(bits);
    let mut picks: Vec<u32> = Vec::with_capacity(rows.len());
    let mut present = Bits::with_capacity(rows.len());
    for row in rows {
        let place = places[*row as usize];
        present.push(place != ABSENT);
        if place != ABSENT {
            picks.push(place);
        }
    }
    Column {
        values: pick(&column.values, &picks),
        presence: present.finish(picks.len()),
    }
}

/// `count` bits from bit `start` on, 64 at most, the others zero.
fn word_at(bits: &Bitmap, start: usize, count: usize) -> u64 {
    let words = bits.words();
    let (at, shift) = (start / 64, start % 64);
    let low = words[at] >> shift;
    let high = if shift + count > 64 {
        words[at + 1] << (64 - shift)
    } else {
        0
    };
    let all = low | high;
    if count == 64 {
        all
    } else {
        all & ((1 << count) - 1)
    }
}

fn count_ones(bits: &Bitmap, rows: Range<usize>) -> usize {
    rows.clone()
        .step_by(64)
        .map(|row| word_at(bits, row, (rows.end - row).min(64)).count_ones() as usize)
        .sum()
}

fn empty(like: &Values, capacity: usize) -> Values {
    match like {
        Values::Float(_) => Values::Float(Vec::with_capacity(capacity)),
        Values::Integer(_) => Values::Integer(Vec::with_capacity(capacity)),
        Values::Unsigned(_) => Values::Unsigned(Vec::with_capacity(capacity)),
        Values::Boolean(_) => Values::Boolean(Vec::with_capacity(capacity)),
        Values::String(_) => Values::String(Strings {
            ends: Vec::with_capacity(capacity),
            bytes: Vec::new(),
        }),
    }
}

fn append(all: &mut Values, more: &Values, dense: Range<usize>) {
    match (all, more) {
        (Values::Float(all), Values::Float(more)) => all.extend_from_slice(&more[dense]),
        (Values::Integer(all), Values::Integer(more)) => all.extend_from_slice(&more[dense]),
        (Values::Unsigned(all), Values::Unsigned(more)) => all.extend_from_slice(&more[dense]),
        (Values::Boolean(all), Values::Boolean(more)) => all.extend_from_slice(&more[dense]),
        (Values::String(all), Values::String(more)) => {
            for index in dense {
                all.push(more.get(index));
            }
        }
        (all, more) => assert_eq!(all.field_type(), more.field_type(), "a field has one type"),
    }
}

/// The values at `picks`, in that order.
fn pick(values: &Values, picks: &[u32]) -> Values {
    fn from<T: Copy>(values: &[T], picks: &[u32]) -> Vec<T> {
        picks.iter().map(|at| values[*at as usize]).collect()
    }
    match values {
        Values::Float(values) => Values::Float(from(values, picks)),
        Values::Integer(values) => Values::Integer(from(values, picks)),
        Values::Unsigned(values) => Values::Unsigned(from(values, picks)),
        Values::Boolean(values) => Values::Boolean(from(values, picks)),
        Values::String(values) => {
            let mut picked = Strings {
                ends: Vec::with_capacity(picks.len()),
                bytes: Vec::with_capacity(values.bytes.len()),
            };
            for at in picks {
                picked.push(values.get(*at as usize));
            }
            Values::String(picked)
        }
    }
}

/// For each row, where its value stands among the dense ones.
fn places(bits: &Bitmap) -> Vec<u32> {
    let mut next = 0;
    (0..bits.len())
        .map(|row| {
            if bits.get(row) {
                next += 1;
                next - 1
            } else {
                ABSENT
            }
        })
        .collect()
}

/// A presence being made, a word at a time.
#[derive(Default)]
struct Bits {
    words: Vec<u64>,
    word: u64,
    len: usize,
}

impl Bits {
    fn with_capacity(rows: usize) -> Bits {
        Bits {
            words: Vec::with_capacity(rows.div_ceil(64)),
            ..Bits::default()
        }
    }

    #[inline]
    fn push(&mut self, bit: bool) {
        self.word |= u64::from(bit) << (self.len % 64);
        self.len += 1;
        if self.len.is_multiple_of(64) {
            self.words.push(self.word);
            self.word = 0;
        }
    }

    /// Appends `count` bits, 64 at a time; `word` gives those from a row on, with nothing that
    /// matters behind the last.
    fn extend_with(&mut self, count: usize, word: impl Fn(usize) -> u64) {
        for row in (0..count).step_by(64) {
            let taken = (count - row).min(64);
            let all = word(row);
            let bits = if taken == 64 {
                all
            } else {
                all & ((1 << taken) - 1)
            };
            let used = self.len % 64;
            self.word |= bits << used;
            if used + taken >= 64 {
                self.words.push(self.word);
                self.word = if used == 0 { 0 } else { bits >> (64 - used) };
            }
            self.len += taken;
        }
    }

    /// The presence of these rows, of which `values` have one.
    fn finish(mut self, values: usize) -> Presence {
        if values == self.len {
            return Presence::All;
        }
        if !self.len.is_multiple_of(64) {
            self.words.push(self.word);
        }
        let bits = Bitmap::from_words(self.words, self.len);
        Presence::Some(bits.expect("the words hold just these bits"))
    }
}
