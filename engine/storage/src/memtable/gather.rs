//! Rows in a new order, those of one series and time folded into one: each column's values are
//! written to their places one part after another, oldest first, so that the newest stays, and
//! nothing is copied twice. Copies bits, never reads a value.

use std::borrow::Cow;

use crate::memtable::order::{Places, ascends};
use crate::memtable::slice::{Slice, compact, presence_of};
use crate::model::{Column, FieldId, MeasurementId, Presence, Rows, SeriesId, Strings, Values};

/// Rows of one measurement, however their columns are held.
pub(super) trait RowSource {
    fn measurement(&self) -> MeasurementId;
    /// Each row's series.
    fn series(&self) -> &[SeriesId];
    /// Each row's time.
    fn timestamps(&self) -> &[i64];
    /// The fields, ascending.
    fn fields(&self) -> Vec<FieldId>;
    /// The column of a field in full width.
    fn column(&self, field: FieldId) -> Option<Cow<'_, Column>>;
}

impl RowSource for Rows {
    fn measurement(&self) -> MeasurementId {
        self.measurement
    }

    fn series(&self) -> &[SeriesId] {
        &self.series
    }

    fn timestamps(&self) -> &[i64] {
        &self.timestamps
    }

    fn fields(&self) -> Vec<FieldId> {
        self.columns.iter().map(|(field, _)| *field).collect()
    }

    fn column(&self, field: FieldId) -> Option<Cow<'_, Column>> {
        let at = self.columns.binary_search_by_key(&field, |(id, _)| *id);
        Some(Cow::Borrowed(&self.columns[at.ok()?].1))
    }
}

/// All rows of `parts`, oldest part first and all of one measurement, sorted by (series, time).
/// Rows of one series and time become one; of each field the newest value is kept.
///
/// # Panics
/// If there are no parts, or 2^32 rows or more.
pub(super) fn arrange<P: RowSource>(parts: &[&P]) -> Rows {
    let first = parts.first().expect("there is something to arrange");
    let series = end_to_end(parts, |part| part.series());
    let timestamps = end_to_end(parts, |part| part.timestamps());
    let fold = Fold::new(&series, &timestamps);
    let mut fields: Vec<FieldId> = parts.iter().flat_map(|part| part.fields()).collect();
    fields.sort_unstable();
    fields.dedup();
    let column = |field: FieldId| {
        let columns: Vec<Option<Cow<'_, Column>>> =
            parts.iter().map(|part| part.column(field)).collect();
        let slices: Vec<Slice<'_>> = (parts.iter().zip(&columns))
            .map(|(part, column)| Slice::of(column.as_deref(), 0..part.timestamps().len()))
            .collect();
        Some((field, fold.column(&slices)?))
    };
    Rows {
        measurement: first.measurement(),
        series: fold.all(&series),
        timestamps: fold.all(&timestamps),
        columns: fields.into_iter().filter_map(column).collect(),
    }
}

/// The same of rows that are nobody else's: they stay as they are where they are sorted.
///
/// # Panics
/// As [`arrange`].
pub(crate) fn arrange_owned(rows: Rows) -> Rows {
    if ascends(&rows.series, &rows.timestamps) {
        return rows;
    }
    arrange(&[&rows])
}

fn end_to_end<'rows, P: RowSource, T: Copy>(
    parts: &[&'rows P],
    column: impl Fn(&'rows P) -> &'rows [T],
) -> Cow<'rows, [T]> {
    if let [only] = parts {
        return Cow::Borrowed(column(only));
    }
    let mut all = Vec::with_capacity(parts.iter().map(|part| column(part).len()).sum());
    for part in parts {
        all.extend_from_slice(column(part));
    }
    Cow::Owned(all)
}

/// Where each row goes in a result that is sorted and has each series and time once.
#[derive(Debug)]
pub(crate) struct Fold(Places);

impl Fold {
    /// The fold of these rows, older before newer where series and time are one.
    pub(crate) fn new(series: &[SeriesId], timestamps: &[i64]) -> Fold {
        Fold(Places::of(series, timestamps))
    }

    /// What every row has one of, in the order of the result.
    pub(crate) fn all<T: Copy>(&self, values: &[T]) -> Vec<T> {
        let Some(any) = values.first() else {
            return Vec::new();
        };
        let mut all = vec![*any; self.0.count];
        for (place, value) in self.0.of_rows.iter().zip(values) {
            all[*place as usize] = *value;
        }
        all
    }

    /// The column of the result, out of the `slices` that the rows came in: of each row the newest
    /// value there is; `None` where there is none at all.
    pub(crate) fn column(&self, slices: &[Slice<'_>]) -> Option<Column> {
        let mut with_values = slices.iter().filter(|slice| !slice.dense.is_empty());
        let like = with_values.next().and_then(|slice| slice.column)?;
        Some(match &like.values {
            Values::Float(_) => self.copied(slices, Slice::floats, Values::Float),
            Values::Integer(_) => self.copied(slices, Slice::integers, Values::Integer),
            Values::Unsigned(_) => self.copied(slices, Slice::unsigned, Values::Unsigned),
            Values::Boolean(_) => self.copied(slices, Slice::booleans, Values::Boolean),
            Values::String(_) => self.strings(slices),
        })
    }

    fn copied<'rows, T: Copy + Default + 'rows>(
        &self,
        slices: &'rows [Slice<'rows>],
        read: impl Fn(&Slice<'rows>) -> &'rows [T],
        wrap: impl Fn(Vec<T>) -> Values,
    ) -> Column {
        let (values, presence) = self.scatter(slices, |_, slice| read(slice).iter().copied());
        Column {
            values: wrap(values),
            presence,
        }
    }

    fn strings(&self, slices: &[Slice<'_>]) -> Column {
        let place =
            |at: usize, slice: &Slice<'_>| slice.dense.clone().map(move |value| (at, value));
        let (places, presence) = self.scatter(slices, place);
        let all: Vec<Option<&Strings>> = slices.iter().map(Slice::strings).collect();
        let get = |(at, value): &(usize, usize)| all[*at].map_or(&[][..], |all| all.get(*value));
        let mut strings = Strings {
            ends: Vec::with_capacity(places.len()),
            bytes: Vec::with_capacity(places.iter().map(|place| get(place).len()).sum()),
        };
        for place in &places {
            strings.push(get(place));
        }
        Column {
            values: Values::String(strings),
            presence,
        }
    }

    /// The values that `items` gives of each slice, in their places, dense.
    fn scatter<'rows, T: Copy + Default, I: Iterator<Item = T>>(
        &self,
        slices: &'rows [Slice<'rows>],
        items: impl Fn(usize, &'rows Slice<'rows>) -> I,
    ) -> (Vec<T>, Presence) {
        let mut values = vec![T::default(); self.0.count];
        let mut places = &self.0.of_rows[..];
        if slices.iter().all(Slice::is_full) {
            for (at, slice) in slices.iter().enumerate() {
                let (own, rest) = places.split_at(slice.rows.len());
                for (place, value) in own.iter().zip(items(at, slice)) {
                    values[*place as usize] = value;
                }
                places = rest;
            }
            return (values, Presence::All);
        }
        let mut words: Vec<u64> = vec![0; self.0.count.div_ceil(64)];
        for (at, slice) in slices.iter().enumerate() {
            let (own, rest) = places.split_at(slice.rows.len());
            let mut items = items(at, slice);
            slice.each_present(|row| {
                if let Some(value) = items.next() {
                    let place = own[row] as usize;
                    values[place] = value;
                    words[place / 64] |= 1 << (place % 64);
                }
            });
            places = rest;
        }
        let presence = presence_of(words, self.0.count);
        compact(&mut values, &presence);
        (values, presence)
    }
}
