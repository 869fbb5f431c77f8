//! Rows in a new order, duplicates folded: columns are put end to end and picked from one at a
//! time, so that what is read at random stays in a core's cache. Copies bits, never reads a value.

use std::borrow::Cow;

use crate::memtable::order::order;
use crate::model::{Bitmap, Column, FieldId, Presence, Rows, Strings, Values};

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
    let plan = Plan::new(order(&series, &timestamps), |one, other| {
        series[one as usize] == series[other as usize]
            && timestamps[one as usize] == timestamps[other as usize]
    });
    let mut fields: Vec<FieldId> = parts
        .iter()
        .flat_map(|rows| rows.columns.iter().map(|(field, _)| *field))
        .collect();
    fields.sort_unstable();
    fields.dedup();
    Rows {
        measurement: first.measurement,
        series: plan
            .newest()
            .iter()
            .map(|row| series[*row as usize])
            .collect(),
        timestamps: plan
            .newest()
            .iter()
            .map(|row| timestamps[*row as usize])
            .collect(),
        columns: fields
            .into_iter()
            .map(|field| (field, plan.column(&stack(parts, field))))
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

/// Which rows make up each row of the result.
struct Plan {
    /// Rows by (series, time), older before newer.
    order: Vec<u32>,
    /// Where duplicates occur: for each row of the result, its newest row and where its rows end in
    /// `order`.
    folded: Option<(Vec<u32>, Vec<u32>)>,
}

impl Plan {
    fn new(order: Vec<u32>, same: impl Fn(u32, u32) -> bool) -> Plan {
        if !order.windows(2).any(|pair| same(pair[0], pair[1])) {
            return Plan {
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
        Plan {
            order,
            folded: Some((newest, ends)),
        }
    }

    /// For each row of the result, the newest row it is made of.
    fn newest(&self) -> &[u32] {
        match &self.folded {
            None => &self.order,
            Some((newest, _)) => newest,
        }
    }

    fn column(&self, column: &Column) -> Column {
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

/// The column of `field` over all rows of `parts`.
fn stack<'rows>(parts: &[&'rows Rows], field: FieldId) -> Cow<'rows, Column> {
    let find = |rows: &'rows Rows| {
        let at = rows
            .columns
            .binary_search_by_key(&field, |(id, _)| *id)
            .ok()?;
        Some(&rows.columns[at].1)
    };
    if let [only] = parts {
        return Cow::Borrowed(find(only).expect("the field was found in this part"));
    }
    let columns: Vec<(usize, Option<&Column>)> =
        parts.iter().map(|rows| (rows.len(), find(rows))).collect();
    let (values, rows) = columns
        .iter()
        .fold((0, 0), |(values, rows), (len, column)| {
            (
                values + column.map_or(0, |column| column.values.len()),
                rows + len,
            )
        });
    let mut stacked: Option<Values> = None;
    let mut present = Bits::with_capacity(if values == rows { 0 } else { rows });
    for (len, column) in columns {
        if let Some(column) = column {
            let all = stacked.get_or_insert_with(|| empty(&column.values, values));
            append(all, &column.values);
        }
        if values < rows {
            match column.map(|column| &column.presence) {
                None => (0..len).for_each(|_| present.push(false)),
                Some(Presence::All) => (0..len).for_each(|_| present.push(true)),
                Some(Presence::Some(bits)) => {
                    (0..len).for_each(|row| present.push(bits.get(row)));
                }
            }
        }
    }
    Cow::Owned(Column {
        values: stacked.expect("the field was found in one of the parts"),
        presence: if values == rows {
            Presence::All
        } else {
            present.finish(values)
        },
    })
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

fn append(all: &mut Values, more: &Values) {
    match (all, more) {
        (Values::Float(all), Values::Float(more)) => all.extend_from_slice(more),
        (Values::Integer(all), Values::Integer(more)) => all.extend_from_slice(more),
        (Values::Unsigned(all), Values::Unsigned(more)) => all.extend_from_slice(more),
        (Values::Boolean(all), Values::Boolean(more)) => all.extend_from_slice(more),
        (Values::String(all), Values::String(more)) => {
            (0..more.len()).for_each(|index| all.push(more.get(index)));
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
