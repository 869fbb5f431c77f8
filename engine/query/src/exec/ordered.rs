//! Rows of many series in order of time.
//!
//! Few series: one open scan each, merged by a heap, so that a limit stops the reading. Many: slices
//! of time that hold a bounded number of rows each, read series by series and sorted. Equal times
//! come in the order of the series, which is that of their tags.

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;

use silverback_storage::model::{FieldValue, SeriesRows, TimeRange};

use crate::exec::groups::{Part, Prepared, PreparedInput, PreparedMeasurement};
use crate::exec::pieces::{Walk, put_tags, request};
use crate::exec::stats::extent;
use crate::exec::{Context, Flow, Visit};
use crate::result::QueryError;
use crate::source::RowScan;

/// Scans open at a time: each holds a piece of rows.
const OPEN_SCANS_MAX: usize = 64;

/// Rows of the first slice: enough for a limit, little where none is reached.
pub(super) const FIRST_SLICE_ROWS: u64 = 16 * 1024;

/// Rows of the first slice where a filter leaves some of them: enough to tell how many, which is how long
/// the next ones may be.
pub(super) const FILTERED_SLICE_ROWS: u64 = 128 * 1024;

/// Rows of a slice at most, as far as rows are spread evenly.
pub(super) const SLICE_ROWS_MAX: u64 = 1024 * 1024;

/// How the rows are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) range: TimeRange,
    pub(super) descending: bool,
}

impl Order {
    /// Cuts the first `width` nanoseconds, in the order of the rows, off `rest`.
    fn front(self, rest: &mut TimeRange, width: i64) -> TimeRange {
        if self.descending {
            let start = rest.end.saturating_sub(width).max(rest.start);
            let end = std::mem::replace(&mut rest.end, start);
            TimeRange { start, end }
        } else {
            let end = rest.start.saturating_add(width).min(rest.end);
            let start = std::mem::replace(&mut rest.start, end);
            TimeRange { start, end }
        }
    }

    /// `timestamp` such that earlier in the order is smaller.
    pub(super) fn rank(self, timestamp: i64) -> i64 {
        if self.descending {
            !timestamp
        } else {
            timestamp
        }
    }
}

/// Visits the rows of the series in `parts`, all of measurements, in order of time.
pub(super) fn visit_ordered(
    context: &Context<'_>,
    prepared: &Prepared<'_>,
    parts: &[Part],
    order: Order,
    visit: &mut Visit<'_>,
) -> Result<(), QueryError> {
    let own = inputs_of(prepared, parts);
    let series: usize = own.iter().map(|(_, members)| members.len()).sum();
    let slots = vec![None; prepared.plan.variables.len()];
    let mut merge = Merge {
        context,
        order,
        limited: prepared.plan.cut.limit > 0,
        slots,
    };
    if series <= OPEN_SCANS_MAX {
        merge.by_heap(&own, visit)
    } else {
        merge.by_slices(&own, visit)
    }
}

/// The series of `parts`, as far as these are of measurements.
pub(super) fn inputs_of<'p>(
    prepared: &'p Prepared<'p>,
    parts: &[Part],
) -> Vec<(&'p PreparedMeasurement<'p>, Range<usize>)> {
    let of = |part: &Part| match &prepared.inputs[part.input] {
        PreparedInput::Measurement(own) => Some((own, part.members.clone())),
        PreparedInput::Subquery(_) => None,
    };
    parts.iter().filter_map(of).collect()
}

struct Merge<'m> {
    context: &'m Context<'m>,
    order: Order,
    /// Whether the rows may end before the range does.
    limited: bool,
    slots: Vec<Option<FieldValue>>,
}

/// One open scan of one series.
struct Cursor<'c> {
    own: &'c PreparedMeasurement<'c>,
    member: usize,
    scan: Box<dyn RowScan + 'c>,
    walk: Option<Walk>,
}

impl Cursor<'_> {
    /// The time of the next row, reading on where the piece has ended.
    fn peek(&mut self, context: &Context<'_>) -> Result<Option<i64>, QueryError> {
        loop {
            if let Some(timestamp) = self.walk.as_ref().and_then(Walk::timestamp) {
                return Ok(Some(timestamp));
            }
            match self.scan.next_rows()? {
                Some(piece) => {
                    context.piece(piece.timestamps.len())?;
                    self.walk = Some(Walk::new(self.own, self.member, piece));
                }
                None => return Ok(None),
            }
        }
    }
}

/// A row of a slice: its place, and where its fields' values start in [`Slice::values`].
#[derive(Clone, Copy, Debug)]
struct Row {
    timestamp: i64,
    /// Place of the input, number of the series.
    place: usize,
    member: usize,
    start: usize,
}

/// The rows of a slice of time that count, in order. Tags are not kept: rows of a series share them.
#[derive(Debug, Default)]
struct Slice {
    rows: Vec<Row>,
    values: Vec<Option<FieldValue>>,
}

/// The series of a group, by input.
pub(super) type Inputs<'i> = [(&'i PreparedMeasurement<'i>, Range<usize>)];

/// Cuts the span of the rows of `own` into slices that hold a bounded number of them, as far as they are
/// spread evenly: some `first` ones in the first slice. Calls `read` with one after another, until that
/// has enough; it says how many rows it found.
pub(super) fn each_slice(
    context: &Context<'_>,
    (own, order): (&Inputs<'_>, Order),
    first: u64,
    read: &mut dyn FnMut(TimeRange) -> Result<(u64, Flow), QueryError>,
) -> Result<(), QueryError> {
    let Some((mut rest, count)) = extent_of(context, own, order.range)? else {
        return Ok(());
    };
    let span = u64::try_from(i128::from(rest.end) - i128::from(rest.start)).unwrap_or(u64::MAX);
    // Rows per nanosecond, the other way round: how long it takes for a row to come.
    let mut ns_per_row = (span / count.max(1)).max(1);
    // Pages are decoded from their start: fewer slices are less work.
    let mut wanted = first;
    while !rest.is_empty() {
        let width = i64::try_from(ns_per_row.saturating_mul(wanted)).unwrap_or(i64::MAX);
        let slice = order.front(&mut rest, width.max(1));
        let held = context.held();
        let (found, flow) = read(slice)?;
        if flow == Flow::Enough {
            return Ok(());
        }
        context.release_to(held);
        ns_per_row = match width.cast_unsigned().checked_div(found) {
            Some(ns_per_row) => ns_per_row.max(1),
            None => ns_per_row.saturating_mul(4),
        };
        wanted = wanted.saturating_mul(4).min(SLICE_ROWS_MAX);
    }
    Ok(())
}

/// The span of the rows of `own` in `range`, and how many there are.
fn extent_of(
    context: &Context<'_>,
    own: &Inputs<'_>,
    range: TimeRange,
) -> Result<Option<(TimeRange, u64)>, QueryError> {
    let mut all: Option<(TimeRange, u64)> = None;
    for (own, members) in own {
        let found = extent(context, own, members.clone(), range)?;
        all = match (all, found) {
            (Some((a, m)), Some((b, n))) => {
                let range = TimeRange {
                    start: a.start.min(b.start),
                    end: a.end.max(b.end),
                };
                Some((range, m.saturating_add(n)))
            }
            (all, found) => all.or(found),
        };
    }
    Ok(all)
}

impl Merge<'_> {
    fn by_heap(&mut self, own: &Inputs<'_>, visit: &mut Visit<'_>) -> Result<(), QueryError> {
        let Order { range, descending } = self.order;
        let mut cursors = Vec::new();
        for (own, members) in own {
            for member in members.clone() {
                let request = request(own, member..member + 1, range, descending);
                cursors.push(Cursor {
                    own,
                    member,
                    scan: own.input.source.scan(request)?,
                    walk: None,
                });
            }
        }
        let mut heap = BinaryHeap::with_capacity(cursors.len());
        for (index, cursor) in cursors.iter_mut().enumerate() {
            if let Some(timestamp) = cursor.peek(self.context)? {
                heap.push(Reverse((self.order.rank(timestamp), index)));
            }
        }
        let mut tagged = None;
        while let Some(Reverse((_, index))) = heap.pop() {
            let next = heap.peek().map(|Reverse(next)| *next);
            let cursor = &mut cursors[index];
            if tagged != Some(index) {
                self.slots.fill(None);
                put_tags(cursor.own, cursor.member, &mut self.slots);
                tagged = Some(index);
            }
            // A series goes on as long as it stands first: no turn of the heap for each row.
            while let Some(timestamp) = cursor.peek(self.context)? {
                let rank = (self.order.rank(timestamp), index);
                if next.is_some_and(|next| next < rank) {
                    heap.push(Reverse(rank));
                    break;
                }
                let Some(walk) = &mut cursor.walk else {
                    break;
                };
                walk.take(cursor.own, &mut self.slots);
                if visit(timestamp, &self.slots)? == Flow::Enough {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn by_slices(&mut self, own: &Inputs<'_>, visit: &mut Visit<'_>) -> Result<(), QueryError> {
        let (context, order) = (self.context, self.order);
        let first = if self.limited {
            FIRST_SLICE_ROWS
        } else {
            SLICE_ROWS_MAX
        };
        each_slice(context, (own, order), first, &mut |range| {
            let slice = self.read(own, range)?;
            let found = slice.rows.len() as u64;
            Ok((found, self.give(own, slice, visit)?))
        })
    }

    /// The rows of a slice that count, in order.
    fn read(&mut self, own: &Inputs<'_>, range: TimeRange) -> Result<Slice, QueryError> {
        let mut slice = Slice::default();
        for (place, (own, members)) in own.iter().enumerate() {
            let request = request(own, members.clone(), range, self.order.descending);
            let mut scan = own.input.source.scan(request)?;
            let mut last = None;
            while let Some(piece) = scan.next_rows()? {
                self.context.piece(piece.timestamps.len())?;
                let member = members.start + piece.index;
                if last != Some(member) {
                    self.slots.fill(None);
                    put_tags(own, member, &mut self.slots);
                    last = Some(member);
                }
                self.collect(own, (place, member), piece, &mut slice)?;
            }
        }
        let order = self.order;
        (slice.rows).sort_by_key(|row| (order.rank(row.timestamp), row.place));
        Ok(slice)
    }

    fn collect(
        &mut self,
        own: &PreparedMeasurement<'_>,
        (place, member): (usize, usize),
        piece: SeriesRows,
        slice: &mut Slice,
    ) -> Result<(), QueryError> {
        let row_bytes = size_of::<Row>() + own.columns.len() * size_of::<Option<FieldValue>>();
        let before = slice.rows.len();
        let mut walk = Walk::new(own, member, piece);
        while let Some(timestamp) = walk.timestamp() {
            walk.take(own, &mut self.slots);
            let start = slice.values.len();
            let variables = own.columns.iter().map(|(variable, ..)| *variable);
            (slice.values).extend(variables.map(|variable| self.slots[variable].take()));
            slice.rows.push(Row {
                timestamp,
                place,
                member,
                start,
            });
        }
        self.context.charge((slice.rows.len() - before) * row_bytes)
    }

    /// Visits the rows of a slice.
    fn give(
        &mut self,
        own: &Inputs<'_>,
        mut slice: Slice,
        visit: &mut Visit<'_>,
    ) -> Result<Flow, QueryError> {
        // The tags of each series stand ready: rows of many series take turns.
        let mut ready: BTreeMap<(usize, usize), Vec<Option<FieldValue>>> = BTreeMap::new();
        let slots_bytes = self.slots.len() * size_of::<Option<FieldValue>>();
        for row in slice.rows {
            let (own, _) = &own[row.place];
            let slots = match ready.entry((row.place, row.member)) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    self.context.charge(slots_bytes)?;
                    let slots = new.insert(vec![None; self.slots.len()]);
                    put_tags(own, row.member, slots);
                    slots
                }
            };
            let values = slice.values[row.start..].iter_mut();
            for ((variable, ..), value) in own.columns.iter().zip(values) {
                slots[*variable] = value.take();
            }
            if visit(row.timestamp, slots)? == Flow::Enough {
                return Ok(Flow::Enough);
            }
        }
        Ok(Flow::More)
    }
}
