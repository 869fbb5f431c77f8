//! Rows into columns: one group per measurement, its fields predicted from the line before.

use hashbrown::HashMap;
use silverback_storage::model::{
    Column, FieldColumn, FieldType, KeyRef, MeasurementRows, Presence, Values,
};

use super::key::unescape;
use super::number::Scalar;

type FastMap<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

/// How much of a body is read: what is to come is guessed by it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Bytes of the body.
    pub(super) text: usize,
    /// Bytes before what is being read.
    pub(super) read: usize,
}

impl Room {
    /// How many entries a list will have that has `len` by now, if the rest of the body is like what
    /// is read: a sixteenth more, at least half as many again.
    fn expected(self, len: usize) -> usize {
        let all = len.saturating_mul(self.text) / self.read.max(1);
        (all + all / 16 + 1).max(len + len / 2)
    }
}

/// Entries that a list begins with, before anything can be guessed.
const FIRST_ENTRIES: usize = 4;

/// Appends to `list`, which grows to what it will hold: to double it again and again would write it
/// twice.
#[inline]
fn push_into<T>(list: &mut Vec<T>, value: T, room: Room) {
    if list.len() == list.capacity() {
        grow(list, room);
    }
    list.push(value);
}

#[cold]
fn grow<T>(list: &mut Vec<T>, room: Room) {
    let len = list.len();
    let expected = if len < FIRST_ENTRIES {
        FIRST_ENTRIES
    } else {
        room.expected(len)
    };
    list.reserve_exact(expected - len);
}

/// All groups of a body.
#[derive(Debug, Default)]
pub(super) struct Groups {
    list: Vec<Group>,
    /// Group of each measurement text, for bodies that mix many.
    by_text: FastMap<Box<[u8]>, usize>,
    last: usize,
}

/// The rows of one measurement.
#[derive(Debug)]
pub(super) struct Group {
    /// The measurement as the body writes it.
    text: Box<[u8]>,
    rows: MeasurementRows,
    /// The names of `rows.fields` as the body writes them, with the equals sign behind.
    names: Vec<Box<[u8]>>,
    /// The columns the present line has filled, to take it back if it turns out bad.
    filled: Vec<usize>,
    /// Where the next field of a line is looked for first.
    predicted: usize,
}

impl Groups {
    /// The group of the measurement that `key` begins with.
    pub(super) fn of(&mut self, key: &[u8]) -> &mut Group {
        let same = self.list.get(self.last).is_some_and(|group| group.has(key));
        if !same {
            self.last = self.find(key);
        }
        &mut self.list[self.last]
    }

    fn find(&mut self, key: &[u8]) -> usize {
        let end = super::key::find_unescaped(key, 0, b',').unwrap_or(key.len());
        let text = &key[..end];
        if let Some(index) = self.by_text.get(text) {
            return *index;
        }
        let measurement = unescape(text, b", ").into();
        // Two spellings of one name share a group: its rows stay together.
        let known = self
            .list
            .iter()
            .position(|group| group.rows.measurement == measurement);
        let index = known.unwrap_or_else(|| {
            self.list.push(Group::new(text, measurement));
            self.list.len() - 1
        });
        self.by_text.insert(text.into(), index);
        index
    }

    /// The finished rows, without groups that got none.
    pub(super) fn into_rows(self) -> Vec<MeasurementRows> {
        self.list.into_iter().filter_map(Group::finish).collect()
    }
}

impl Group {
    fn new(text: &[u8], measurement: Box<[u8]>) -> Group {
        let rows = MeasurementRows {
            measurement,
            keys: Vec::new(),
            timestamps: Vec::new(),
            lines: Vec::new(),
            fields: Vec::new(),
        };
        Group {
            text: text.into(),
            rows,
            names: Vec::new(),
            filled: Vec::new(),
            predicted: 0,
        }
    }

    /// Whether `key` begins with this group's measurement text.
    fn has(&self, key: &[u8]) -> bool {
        key.strip_prefix(&*self.text)
            .is_some_and(|rest| matches!(rest.first(), None | Some(b',')))
    }

    /// The measurement's name.
    pub(super) fn measurement(&self) -> &[u8] {
        &self.rows.measurement
    }

    /// How many fields the present line has.
    pub(super) fn filled(&self) -> usize {
        self.filled.len()
    }

    /// Begins a line.
    pub(super) fn begin(&mut self) {
        self.filled.clear();
        self.predicted = 0;
    }

    /// The length of the field name that is expected next, where `text` begins with it and an equals
    /// sign.
    #[inline]
    pub(super) fn expected(&self, text: &[u8]) -> Option<usize> {
        let name = self.names.get(self.predicted)?;
        begins_with(text, name).then(|| name.len() - 1)
    }

    /// Puts `value` into the field that was expected, written `name`.
    #[inline]
    pub(super) fn put_expected(&mut self, name: &[u8], value: Scalar<'_>, room: Room) {
        let (row, at) = (self.rows.timestamps.len(), self.predicted);
        if append(&mut self.rows.fields[at].column, row, value, room) {
            self.predicted = at + 1;
            self.filled.push(at);
        } else {
            self.put(name, value, room);
        }
    }

    /// Puts `value` into the field written `name` of the present line; of two the later stays.
    pub(super) fn put(&mut self, name: &[u8], value: Scalar<'_>, room: Room) {
        let row = self.rows.timestamps.len();
        let column = self.column(name, value.field_type(), row);
        self.predicted = column + 1;
        let field = &mut self.rows.fields[column];
        if has_row(field, row) {
            take_back(field, row);
            self.filled.retain(|filled| *filled != column);
        }
        push(field, row, value, room);
        self.filled.push(column);
    }

    /// The column of field `name` with this type.
    fn column(&mut self, name: &[u8], field_type: FieldType, row: usize) -> usize {
        let fits = |index: usize| {
            self.names[index][..].strip_suffix(b"=") == Some(name)
                && self.rows.fields[index].column.values.field_type() == field_type
        };
        if let Some(index) = (0..self.names.len()).find(|index| fits(*index)) {
            return index;
        }
        self.names.push([name, b"="].concat().into_boxed_slice());
        self.rows.fields.push(FieldColumn::absent(
            &unescape(name, b",= "),
            field_type,
            row,
        ));
        self.names.len() - 1
    }

    /// Ends a good line.
    #[inline]
    pub(super) fn commit(&mut self, key: KeyRef, timestamp: i64, line: u32, room: Room) {
        push_into(&mut self.rows.keys, key, room);
        push_into(&mut self.rows.timestamps, timestamp, room);
        push_into(&mut self.rows.lines, line, room);
    }

    /// Takes back what the present line has put.
    pub(super) fn abandon(&mut self) {
        let row = self.rows.timestamps.len();
        for column in self.filled.drain(..) {
            take_back(&mut self.rows.fields[column], row);
        }
    }

    fn finish(mut self) -> Option<MeasurementRows> {
        let rows = self.rows.timestamps.len();
        if rows == 0 {
            return None;
        }
        self.rows
            .fields
            .retain(|field| !field.column.values.is_empty());
        for field in &mut self.rows.fields {
            field.pad(rows);
            match &mut field.column.values {
                Values::Float(values) => give_back(values),
                Values::Integer(values) => give_back(values),
                Values::Unsigned(values) => give_back(values),
                Values::Boolean(values) => give_back(values),
                Values::String(_) => {}
            }
        }
        give_back(&mut self.rows.keys);
        give_back(&mut self.rows.timestamps);
        give_back(&mut self.rows.lines);
        Some(self.rows)
    }
}

/// Gives back what was guessed far too high.
fn give_back<T>(list: &mut Vec<T>) {
    if list.len() < list.capacity() / 2 {
        list.shrink_to_fit();
    }
}

/// How many rows `field` spans.
#[inline]
fn spanned(field: &FieldColumn) -> usize {
    match &field.column.presence {
        Presence::All => field.column.values.len(),
        Presence::Some(bits) => bits.len(),
    }
}

#[inline]
fn has_row(field: &FieldColumn, row: usize) -> bool {
    spanned(field) > row
}

/// Appends the value of `row` to a column that has one in each row before it, and none in this; gives
/// whether it is such a column, and of this type.
#[inline]
fn append(column: &mut Column, row: usize, value: Scalar<'_>, room: Room) -> bool {
    fn next<T>(values: &mut Vec<T>, row: usize, value: T, room: Room) -> bool {
        let is_next = values.len() == row;
        if is_next {
            push_into(values, value, room);
        }
        is_next
    }
    if !matches!(column.presence, Presence::All) {
        return false;
    }
    match (&mut column.values, value) {
        (Values::Float(values), Scalar::Float(value)) => next(values, row, value, room),
        (Values::Integer(values), Scalar::Integer(value)) => next(values, row, value, room),
        (Values::Unsigned(values), Scalar::Unsigned(value)) => next(values, row, value, room),
        (Values::Boolean(values), Scalar::Boolean(value)) => next(values, row, value, room),
        _ => false,
    }
}

fn push(field: &mut FieldColumn, row: usize, value: Scalar<'_>, room: Room) {
    if spanned(field) < row {
        field.pad(row);
    }
    if let Presence::Some(bits) = &mut field.column.presence {
        bits.push(true);
    }
    match (&mut field.column.values, value) {
        (Values::Float(values), Scalar::Float(value)) => push_into(values, value, room),
        (Values::Integer(values), Scalar::Integer(value)) => push_into(values, value, room),
        (Values::Unsigned(values), Scalar::Unsigned(value)) => push_into(values, value, room),
        (Values::Boolean(values), Scalar::Boolean(value)) => push_into(values, value, room),
        (Values::String(values), Scalar::String(value)) => {
            if memchr::memchr(b'\\', value).is_none() {
                values.push(value);
            } else {
                values.push(&unescape_string(value));
            }
        }
        (values, value) => {
            assert_eq!(
                values.field_type(),
                value.field_type(),
                "columns are found by type"
            );
        }
    }
}

/// A string value without its escapes: `\"` and `\\`, others stay two characters.
fn unescape_string(text: &[u8]) -> Box<[u8]> {
    let mut plain = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        if text[at] == b'\\' && matches!(text.get(at + 1), Some(b'"' | b'\\')) {
            at += 1;
        }
        plain.push(text[at]);
        at += 1;
    }
    plain.into_boxed_slice()
}

/// Removes the value of `row`, the last one pushed.
fn take_back(field: &mut FieldColumn, row: usize) {
    match &mut field.column.values {
        Values::Float(values) => drop(values.pop()),
        Values::Integer(values) => drop(values.pop()),
        Values::Unsigned(values) => drop(values.pop()),
        Values::Boolean(values) => drop(values.pop()),
        Values::String(values) => {
            values.ends.pop();
            values
                .bytes
                .truncate(values.ends.last().map_or(0, |end| *end as usize));
        }
    }
    if let Presence::Some(bits) = &mut field.column.presence {
        bits.truncate(row);
    }
}

impl Scalar<'_> {
    fn field_type(&self) -> FieldType {
        match self {
            Scalar::Float(_) => FieldType::Float,
            Scalar::Integer(_) => FieldType::Integer,
            Scalar::Unsigned(_) => FieldType::Unsigned,
            Scalar::Boolean(_) => FieldType::Boolean,
            Scalar::String(_) => FieldType::String,
        }
    }
}

/// Whether `text` begins with `name`. Names are short: a few words are compared in place, the last of
/// them once more with what stands before it.
#[inline]
fn begins_with(text: &[u8], name: &[u8]) -> bool {
    let len = name.len();
    if text.len() < len {
        return false;
    }
    let (Some(first), Some(last)) = (name.first_chunk::<8>(), name.last_chunk::<8>()) else {
        return text[..len] == *name;
    };
    let word = |at: usize| text[at..].first_chunk::<8>();
    if word(0) != Some(first) || word(len - 8) != Some(last) {
        return false;
    }
    len <= 16 || text[8..len - 8] == name[8..len - 8]
}
