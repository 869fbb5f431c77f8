//! Aggregates by windows of time: what an aggregation asks for, and its answer as columns, so that
//! only what was asked for is worked out, kept and merged.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use crate::model::{
    FieldType, FieldValue, FieldValueRef, FloatSum, ScanRequest, Sum, WindowPartial,
};

/// Which aggregates of a field are wanted. How many values there are is always told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AggregateSet(u8);

impl AggregateSet {
    /// Counts alone.
    pub const COUNT: AggregateSet = AggregateSet(0);
    /// The sum; booleans and strings have none.
    pub const SUM: AggregateSet = AggregateSet(1 << 4);
    /// Everything.
    pub const ALL: AggregateSet = AggregateSet((1 << 5) - 1);

    /// The set with one value of each window.
    pub const fn of(selected: Selected) -> AggregateSet {
        AggregateSet(1 << selected as u8)
    }

    /// What is in either.
    #[must_use]
    pub const fn with(self, other: AggregateSet) -> AggregateSet {
        AggregateSet(self.0 | other.0)
    }

    /// Whether all of `other` is in the set.
    pub const fn has(self, other: AggregateSet) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Which value of a window stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selected {
    /// The smallest, the earliest of equal ones; strings have none. A NaN is never one unless all
    /// values are NaN; false is below true.
    Min,
    /// The largest, the earliest of equal ones; as `Min`.
    Max,
    /// The earliest; the largest of those at one time, where series are merged.
    First,
    /// The latest; as `First`.
    Last,
}

impl Selected {
    /// All of them.
    pub const ALL: [Selected; 4] = [
        Selected::Min,
        Selected::Max,
        Selected::First,
        Selected::Last,
    ];
}

/// Aggregates wanted per series and window of time.
#[derive(Clone, Debug)]
pub struct AggregateRequest {
    /// What is read; `descending` has no effect.
    pub scan: ScanRequest,
    /// What of each field of `scan` is wanted.
    pub wanted: Vec<AggregateSet>,
    /// Window edges, ascending, ns UTC: window `i` is `edges[i]..edges[i+1]`. Times outside
    /// `scan.range` do not count even where a window has them.
    pub edges: Arc<[i64]>,
}

/// Windows of some series, one series behind another, those that hold at least one row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WindowBatch {
    /// For each series that has any its number in [`ScanRequest::series`], ascending, and its first
    /// entry.
    pub series: Vec<(usize, usize)>,
    /// For each entry the number of its window; those of a series ascend.
    pub windows: Vec<u32>,
    /// One column per requested field, over the entries.
    pub columns: Vec<FieldWindows>,
}

impl WindowBatch {
    /// The entries of the series that stands at `place` of [`WindowBatch::series`].
    pub fn entries(&self, place: usize) -> Range<usize> {
        let (_, start) = self.series[place];
        let next = self.series.get(place + 1);
        start..next.map_or(self.windows.len(), |(_, start)| *start)
    }
}

/// The aggregates of one field, an entry for each of some windows. An entry whose count is 0 has no
/// value of the field: the rest of it means nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldWindows {
    field_type: FieldType,
    counts: Vec<u64>,
    sums: Sums,
    /// By [`Selected`], those that were asked for.
    points: [Option<Points>; 4],
}

#[derive(Clone, Debug, PartialEq)]
enum Sums {
    None,
    Float(Vec<FloatSum>),
    Integer(Vec<i128>),
}

/// Values, and when they were.
#[derive(Clone, Debug, Default, PartialEq)]
struct Points {
    timestamps: Vec<i64>,
    /// Of all types but strings, by their bits.
    words: Vec<u64>,
    strings: Vec<Box<[u8]>>,
}

/// One value, as [`Points`] keeps it.
#[derive(Clone, Copy, Debug)]
enum PointValue<'v> {
    Word(u64),
    String(&'v [u8]),
}

impl FieldWindows {
    /// No entries, of a field of `field_type` of which `wanted` is asked for.
    pub fn new(field_type: FieldType, wanted: AggregateSet) -> FieldWindows {
        let summed = wanted.has(AggregateSet::SUM);
        let sums = match field_type {
            FieldType::Float if summed => Sums::Float(Vec::new()),
            FieldType::Integer | FieldType::Unsigned if summed => Sums::Integer(Vec::new()),
            FieldType::Float
            | FieldType::Integer
            | FieldType::Unsigned
            | FieldType::Boolean
            | FieldType::String => Sums::None,
        };
        let ordered = field_type != FieldType::String;
        let points = Selected::ALL.map(|selected| {
            let exists = ordered || matches!(selected, Selected::First | Selected::Last);
            (exists && wanted.has(AggregateSet::of(selected))).then(Points::default)
        });
        FieldWindows {
            field_type,
            counts: Vec::new(),
            sums,
            points,
        }
    }

    /// Makes room for `entries` more.
    pub fn reserve(&mut self, entries: usize) {
        self.counts.reserve(entries);
        match &mut self.sums {
            Sums::None => {}
            Sums::Float(sums) => sums.reserve(entries),
            Sums::Integer(sums) => sums.reserve(entries),
        }
        for points in self.points.iter_mut().flatten() {
            points.timestamps.reserve(entries);
            if self.field_type == FieldType::String {
                points.strings.reserve(entries);
            } else {
                points.words.reserve(entries);
            }
        }
    }

    /// No entries, of the same field, of which the same is asked for.
    #[must_use]
    pub fn alike(&self) -> FieldWindows {
        FieldWindows {
            field_type: self.field_type,
            counts: Vec::new(),
            sums: match &self.sums {
                Sums::None => Sums::None,
                Sums::Float(_) => Sums::Float(Vec::new()),
                Sums::Integer(_) => Sums::Integer(Vec::new()),
            },
            points: self
                .points
                .each_ref()
                .map(|own| own.as_ref().map(|_| Points::default())),
        }
    }

    /// What is asked for.
    pub fn wanted(&self) -> AggregateSet {
        let mut wanted = match &self.sums {
            Sums::None => AggregateSet::COUNT,
            Sums::Float(_) | Sums::Integer(_) => AggregateSet::SUM,
        };
        for selected in Selected::ALL {
            if self.keeps(selected) {
                wanted = wanted.with(AggregateSet::of(selected));
            }
        }
        wanted
    }

    /// The type of the field.
    pub fn field_type(&self) -> FieldType {
        self.field_type
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// How many values entry `at` has.
    pub fn count(&self, at: usize) -> u64 {
        self.counts[at]
    }

    /// The sum of entry `at`; `None` where it has no value, where sums were not asked for, or where
    /// values of the type have none.
    pub fn sum(&self, at: usize) -> Option<Sum> {
        if self.counts[at] == 0 {
            return None;
        }
        match &self.sums {
            Sums::None => None,
            Sums::Float(sums) => Some(Sum::Float(sums[at])),
            Sums::Integer(sums) => Some(Sum::Integer(sums[at])),
        }
    }

    /// A value of entry `at` and its time, ns UTC; `None` where it has no value, where that was not
    /// asked for, or for an extreme of strings.
    pub fn point(&self, selected: Selected, at: usize) -> Option<(i64, FieldValue)> {
        let (timestamp, value) = self.point_ref(selected, at)?;
        Some((timestamp, value.into()))
    }

    /// The same, its string where it lies.
    #[inline]
    pub fn point_ref(&self, selected: Selected, at: usize) -> Option<(i64, FieldValueRef<'_>)> {
        let points = self.points[selected as usize].as_ref()?;
        if self.counts[at] == 0 {
            return None;
        }
        let value = match (self.field_type, points.value(at)) {
            (FieldType::Float, PointValue::Word(word)) => {
                FieldValueRef::Float(f64::from_bits(word))
            }
            (FieldType::Integer, PointValue::Word(word)) => {
                FieldValueRef::Integer(word.cast_signed())
            }
            (FieldType::Boolean, PointValue::Word(word)) => FieldValueRef::Boolean(word != 0),
            (_, PointValue::Word(word)) => FieldValueRef::Unsigned(word),
            (_, PointValue::String(string)) => FieldValueRef::String(string),
        };
        Some((points.timestamps[at], value))
    }

    /// Memory that an entry takes, bytes, its strings not counted.
    pub fn entry_bytes(&self) -> usize {
        let sum = match &self.sums {
            Sums::None => 0,
            Sums::Float(_) | Sums::Integer(_) => size_of::<i128>(),
        };
        let points = self.points.iter().flatten().count();
        size_of::<u64>() + sum + points * 2 * size_of::<u64>()
    }

    /// Memory that the strings of some entries take, bytes.
    pub fn string_bytes(&self, entries: Range<usize>) -> usize {
        let points = self.points.iter().flatten();
        let strings = points.filter_map(|points| points.strings.get(entries.clone()));
        let strings = strings.flatten();
        strings
            .map(|string| size_of_val(string) + string.len())
            .sum()
    }

    /// Appends an entry without a value.
    pub fn push_absent(&mut self) {
        self.counts.push(0);
        match &mut self.sums {
            Sums::None => {}
            Sums::Float(sums) => sums.push(FloatSum::default()),
            Sums::Integer(sums) => sums.push(0),
        }
        for points in self.points.iter_mut().flatten() {
            if self.field_type == FieldType::String {
                points.push(0, PointValue::String(&[]));
            } else {
                points.push(0, PointValue::Word(0));
            }
        }
    }

    /// Appends an entry: what was asked for of it.
    ///
    /// # Panics
    /// If the partial is of another type.
    pub fn push(&mut self, partial: &WindowPartial) {
        let two = [partial.min.as_ref(), partial.max.as_ref()];
        let four = [two[0], two[1], Some(&partial.first), Some(&partial.last)];
        self.counts.push(partial.count);
        match (&mut self.sums, partial.sum) {
            (Sums::Float(sums), Sum::Float(sum)) => sums.push(sum),
            (Sums::Integer(sums), Sum::Integer(sum)) => sums.push(sum),
            (Sums::None, _) => {}
            (_, sum) => unreachable!("a field has one type: {sum:?}"),
        }
        for (points, extreme) in self.points.iter_mut().zip(four) {
            if let (Some(points), Some(extreme)) = (points, extreme) {
                points.push(extreme.timestamp, PointValue::of(&extreme.value));
            }
        }
    }

    /// Appends an entry of `count` values, at least one. Its sum and its values, those of them that
    /// were asked for, are to be appended too.
    pub(crate) fn push_count(&mut self, count: u64) {
        self.counts.push(count);
    }

    /// Where sums of floats go.
    pub(crate) fn float_sums(&mut self) -> Option<&mut Vec<FloatSum>> {
        match &mut self.sums {
            Sums::Float(sums) => Some(sums),
            Sums::None | Sums::Integer(_) => None,
        }
    }

    /// Where sums of integers go.
    pub(crate) fn integer_sums(&mut self) -> Option<&mut Vec<i128>> {
        match &mut self.sums {
            Sums::Integer(sums) => Some(sums),
            Sums::None | Sums::Float(_) => None,
        }
    }

    /// Whether `selected` was asked for.
    pub(crate) fn keeps(&self, selected: Selected) -> bool {
        self.points[selected as usize].is_some()
    }

    /// Appends the bits of a value that is no string, if it was asked for.
    pub(crate) fn push_word(&mut self, selected: Selected, timestamp: i64, word: u64) {
        if let Some(points) = &mut self.points[selected as usize] {
            points.push(timestamp, PointValue::Word(word));
        }
    }

    /// Appends a string, if it was asked for.
    pub(crate) fn push_string(&mut self, selected: Selected, timestamp: i64, string: &[u8]) {
        if let Some(points) = &mut self.points[selected as usize] {
            points.push(timestamp, PointValue::String(string));
        }
    }

    /// Takes the last entry away.
    pub(crate) fn pop(&mut self) {
        self.counts.pop();
        match &mut self.sums {
            Sums::None => {}
            Sums::Float(sums) => drop(sums.pop()),
            Sums::Integer(sums) => drop(sums.pop()),
        }
        for points in self.points.iter_mut().flatten() {
            points.timestamps.pop();
            points.words.pop();
            points.strings.pop();
        }
    }

    /// Makes one of the last two entries: they are of one window.
    pub(crate) fn fold_last(&mut self) {
        let Some(last) = self.counts.len().checked_sub(1) else {
            return;
        };
        // The entry is cut off first, so that its own column is what it is taken from.
        let mut cut = FieldWindows {
            field_type: self.field_type,
            counts: self.counts.split_off(last),
            sums: Sums::None,
            points: [const { None }; 4],
        };
        cut.sums = match &mut self.sums {
            Sums::None => Sums::None,
            Sums::Float(sums) => Sums::Float(sums.split_off(last)),
            Sums::Integer(sums) => Sums::Integer(sums.split_off(last)),
        };
        for (own, cut) in self.points.iter_mut().zip(&mut cut.points) {
            *cut = own.as_mut().map(|own| own.split_off(last));
        }
        self.merge((&cut, 0..1), &[last - 1]);
    }

    /// Adds `entries` of another series or of a later span, one after another: to the entry that
    /// `places` says, or as a new one where that is how many there are.
    ///
    /// # Panics
    /// If `other` is of another field, or a place lies behind the end.
    pub fn merge(&mut self, (other, entries): (&FieldWindows, Range<usize>), places: &[usize]) {
        let counts = &self.counts;
        for (selected, (own, other_points)) in
            (Selected::ALL.iter()).zip(self.points.iter_mut().zip(&other.points))
        {
            let (Some(own), Some(points)) = (own, other_points) else {
                continue;
            };
            for (at, place) in entries.clone().zip(places) {
                let (timestamp, value) = (points.timestamps[at], points.value(at));
                if *place == own.timestamps.len() {
                    own.push(timestamp, value);
                } else if other.counts[at] > 0
                    && (counts.get(*place).is_none_or(|count| *count == 0)
                        || own.yields(*place, (timestamp, value), (*selected, self.field_type)))
                {
                    own.set(*place, timestamp, value);
                }
            }
        }
        match (&mut self.sums, &other.sums) {
            (Sums::Float(own), Sums::Float(sums)) => {
                add(own, &sums[entries.clone()], places, FloatSum::merge);
            }
            (Sums::Integer(own), Sums::Integer(sums)) => {
                add(own, &sums[entries.clone()], places, i128::wrapping_add);
            }
            _ => {}
        }
        let counts = &other.counts[entries];
        add(&mut self.counts, counts, places, u64::saturating_add);
    }
}

fn add<T: Copy>(own: &mut Vec<T>, other: &[T], places: &[usize], sum: impl Fn(T, T) -> T) {
    for (other, place) in other.iter().zip(places) {
        if *place == own.len() {
            own.push(*other);
        } else {
            own[*place] = sum(own[*place], *other);
        }
    }
}

impl Points {
    fn value(&self, at: usize) -> PointValue<'_> {
        match self.words.get(at) {
            Some(word) => PointValue::Word(*word),
            None => PointValue::String(&self.strings[at]),
        }
    }

    fn push(&mut self, timestamp: i64, value: PointValue<'_>) {
        self.timestamps.push(timestamp);
        match value {
            PointValue::Word(word) => self.words.push(word),
            PointValue::String(string) => self.strings.push(string.into()),
        }
    }

    fn set(&mut self, at: usize, timestamp: i64, value: PointValue<'_>) {
        self.timestamps[at] = timestamp;
        match value {
            PointValue::Word(word) => self.words[at] = word,
            PointValue::String(string) => self.strings[at] = string.into(),
        }
    }

    fn split_off(&mut self, at: usize) -> Points {
        Points {
            timestamps: self.timestamps.split_off(at),
            words: self.words.split_off(at.min(self.words.len())),
            strings: self.strings.split_off(at.min(self.strings.len())),
        }
    }

    /// Whether the value at `at` gives way to a new one.
    fn yields(
        &self,
        at: usize,
        (timestamp, value): (i64, PointValue<'_>),
        (selected, field_type): (Selected, FieldType),
    ) -> bool {
        let old = self.value(at);
        let by_time = timestamp.cmp(&self.timestamps[at]);
        let by_value = value.order(old, field_type);
        match selected {
            Selected::Min | Selected::Max if value.is_nan(field_type) || old.is_nan(field_type) => {
                old.is_nan(field_type) && !value.is_nan(field_type)
            }
            Selected::Min => by_value.then(by_time).is_lt(),
            Selected::Max => by_value.reverse().then(by_time).is_lt(),
            Selected::First => by_time.then(by_value.reverse()).is_lt(),
            Selected::Last => by_time.then(by_value).is_gt(),
        }
    }
}

impl<'v> PointValue<'v> {
    fn of(value: &'v FieldValue) -> PointValue<'v> {
        match value {
            FieldValue::Float(value) => PointValue::Word(value.to_bits()),
            FieldValue::Integer(value) => PointValue::Word(value.cast_unsigned()),
            FieldValue::Unsigned(value) => PointValue::Word(*value),
            FieldValue::Boolean(value) => PointValue::Word(u64::from(*value)),
            FieldValue::String(value) => PointValue::String(value),
        }
    }

    fn is_nan(self, field_type: FieldType) -> bool {
        match self {
            PointValue::Word(word) => {
                field_type == FieldType::Float && f64::from_bits(word).is_nan()
            }
            PointValue::String(_) => false,
        }
    }

    /// A total order of values of one type; a NaN stands above all numbers.
    fn order(self, other: PointValue<'_>, field_type: FieldType) -> Ordering {
        match (self, other) {
            (PointValue::Word(one), PointValue::Word(other)) => match field_type {
                FieldType::Float => {
                    let (one, other) = (f64::from_bits(one), f64::from_bits(other));
                    let nan = || one.is_nan().cmp(&other.is_nan());
                    one.partial_cmp(&other).unwrap_or_else(nan)
                }
                FieldType::Integer => one.cast_signed().cmp(&other.cast_signed()),
                FieldType::Unsigned | FieldType::Boolean | FieldType::String => one.cmp(&other),
            },
            (PointValue::String(one), PointValue::String(other)) => one.cmp(other),
            (PointValue::Word(_), PointValue::String(_)) => Ordering::Less,
            (PointValue::String(_), PointValue::Word(_)) => Ordering::Greater,
        }
    }
}
