//! Some rows of a column, in place, and what is made of them.

use std::ops::Range;

use crate::model::{Bitmap, Column, Presence, Strings, Values};

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
                let ones = words_of(bits, rows.clone()).map(u64::count_ones);
                start..start + ones.sum::<u32>() as usize
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

    /// A copy of the slice; `None` where it has no value.
    pub(crate) fn to_column(&self) -> Option<Column> {
        if self.dense.is_empty() {
            return None;
        }
        let column = self.column?;
        let values = match &column.values {
            Values::Float(_) => Values::Float(self.floats().to_vec()),
            Values::Integer(_) => Values::Integer(self.integers().to_vec()),
            Values::Unsigned(_) => Values::Unsigned(self.unsigned().to_vec()),
            Values::Boolean(_) => Values::Boolean(self.booleans().to_vec()),
            Values::String(strings) => {
                let mut copy = Strings::default();
                for index in self.dense.clone() {
                    copy.push(strings.get(index));
                }
                Values::String(copy)
            }
        };
        let presence = match &column.presence {
            Presence::Some(bits) if !self.is_full() => {
                presence_of(words_of(bits, self.rows.clone()).collect(), self.rows.len())
            }
            Presence::All | Presence::Some(_) => Presence::All,
        };
        Some(Column { values, presence })
    }

    /// Calls `visit` with each row that has a value, counted from the first of the slice.
    pub(crate) fn each_present(&self, mut visit: impl FnMut(usize)) {
        match self.column.map(|column| &column.presence) {
            None => {}
            Some(Presence::All) => (0..self.rows.len()).for_each(visit),
            Some(Presence::Some(bits)) => {
                let rows = (0..).step_by(64);
                for (row, mut word) in rows.zip(words_of(bits, self.rows.clone())) {
                    while word != 0 {
                        visit(row + word.trailing_zeros() as usize);
                        word &= word - 1;
                    }
                }
            }
        }
    }

    /// The values of a slice of floats; of a slice without values, none. So the others.
    ///
    /// # Panics
    /// If the values are of another type.
    pub(crate) fn floats(&self) -> &'rows [f64] {
        match self.values() {
            None => &[],
            Some(Values::Float(values)) => &values[self.dense.clone()],
            Some(other) => mixed(other),
        }
    }

    pub(crate) fn integers(&self) -> &'rows [i64] {
        match self.values() {
            None => &[],
            Some(Values::Integer(values)) => &values[self.dense.clone()],
            Some(other) => mixed(other),
        }
    }

    pub(crate) fn unsigned(&self) -> &'rows [u64] {
        match self.values() {
            None => &[],
            Some(Values::Unsigned(values)) => &values[self.dense.clone()],
            Some(other) => mixed(other),
        }
    }

    pub(crate) fn booleans(&self) -> &'rows [bool] {
        match self.values() {
            None => &[],
            Some(Values::Boolean(values)) => &values[self.dense.clone()],
            Some(other) => mixed(other),
        }
    }

    /// All strings of the column, those of the slice among them.
    pub(crate) fn strings(&self) -> Option<&'rows Strings> {
        match self.values()? {
            Values::String(values) => Some(values),
            other @ (Values::Float(_)
            | Values::Integer(_)
            | Values::Unsigned(_)
            | Values::Boolean(_)) => mixed(other),
        }
    }

    fn values(&self) -> Option<&'rows Values> {
        self.column.map(|column| &column.values)
    }

    /// The row, counted from the first of the slice, that value `index` of the slice belongs to.
    pub(crate) fn row_of(&self, index: usize) -> usize {
        match self.column.map(|column| &column.presence) {
            Some(Presence::Some(bits)) if !self.is_full() => {
                let mut left = index;
                let rows = (0..).step_by(64);
                for (row, mut word) in rows.zip(words_of(bits, self.rows.clone())) {
                    let ones = word.count_ones() as usize;
                    if left < ones {
                        (0..left).for_each(|_| word &= word - 1);
                        return row + word.trailing_zeros() as usize;
                    }
                    left -= ones;
                }
                unreachable!("value {index} of a slice lies within it")
            }
            None | Some(Presence::All | Presence::Some(_)) => index,
        }
    }
}

/// Types are claimed before a row is written: another one here is our own mistake.
fn mixed(values: &Values) -> ! {
    unreachable!("a field has one type, and {} too", values.field_type())
}

/// Leaves of `values`, one per row, those of rows that have one.
pub(super) fn compact<T: Copy>(values: &mut Vec<T>, presence: &Presence) {
    let Presence::Some(bits) = presence else {
        return;
    };
    let mut count = 0;
    for row in 0..bits.len() {
        // Every value is moved and then perhaps written over: a branch on chance costs more.
        values[count] = values[row];
        count += usize::from(bits.get(row));
    }
    values.truncate(count);
    values.shrink_to_fit();
}

/// The presence of `len` rows whose bits stand in `words`.
pub(super) fn presence_of(words: Vec<u64>, len: usize) -> Presence {
    let bits = Bitmap::from_words(words, len).expect("the words hold just these bits");
    if bits.count_ones() == len {
        Presence::All
    } else {
        Presence::Some(bits)
    }
}

/// Those of a column's rows whose numbers stand in `rows`, in that order.
pub(crate) fn pick_rows(column: &Column, rows: &[u32]) -> Column {
    let Presence::Some(bits) = &column.presence else {
        return Column {
            values: pick(&column.values, rows),
            presence: Presence::All,
        };
    };
    let places = bits.places();
    let mut picks: Vec<u32> = Vec::with_capacity(rows.len());
    let mut words: Vec<u64> = vec![0; rows.len().div_ceil(64)];
    for (at, row) in rows.iter().enumerate() {
        let place = places[*row as usize];
        if place != Bitmap::ABSENT {
            picks.push(place);
            words[at / 64] |= 1 << (at % 64);
        }
    }
    Column {
        values: pick(&column.values, &picks),
        presence: presence_of(words, rows.len()),
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
            let mut picked = Strings::default();
            for at in picks {
                picked.push(values.get(*at as usize));
            }
            Values::String(picked)
        }
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

/// `rows` of `bits`, 64 to a word.
fn words_of(bits: &Bitmap, rows: Range<usize>) -> impl Iterator<Item = u64> {
    let starts = rows.clone().step_by(64);
    starts.map(move |row| word_at(bits, row, (rows.end - row).min(64)))
}
