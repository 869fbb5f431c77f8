//! Scans and aggregates against a map from time to the newest value of each field.

mod blocks;
mod filter;
mod runs;
mod shared;

use std::collections::BTreeMap;
use std::ops::Range;

use proptest::prelude::*;

use super::*;
use crate::memtable::{Run, Slice};
use crate::model::{
    AggregateSet, Bitmap, Column, Extreme, FieldId, FieldValue, FieldWindows, FloatSum, Hides,
    MeasurementId, PolicyId, Presence, Rows, Selected, Sequence, SeriesId, SeriesRows, Sum,
    TimeRange, VECTOR_ROWS_MAX, Values, WindowBatch, WindowPartial,
};
use crate::scan::partial::partial;
use crate::scan::piece::{Decoded, Piece, Pieces};
use crate::scan::run::RunStore;

const TYPES: [FieldType; 5] = [
    FieldType::Float,
    FieldType::Integer,
    FieldType::Unsigned,
    FieldType::Boolean,
    FieldType::String,
];

/// Of each field a value or none.
type Fields = [Option<FieldValue>; 5];
/// Series, time and fields of a row.
type Row = (u64, i64, Fields);
/// Rows, and how many make a chunk where they are those of a block.
type Write = (Vec<Row>, Option<usize>);
type Model = BTreeMap<(u64, i64), Fields>;

/// Rows of all types, in any order; field `i + 1` is of `TYPES[i]`.
fn rows_of(rows: &[Row]) -> Rows {
    let columns = (1..).zip(TYPES).enumerate().map(|(at, (id, field_type))| {
        let mut values = Values::new(field_type);
        let mut bits = Bitmap::default();
        for (_, _, fields) in rows {
            bits.push(fields[at].is_some());
            fields[at].iter().for_each(|value| values.push(value));
        }
        let presence = if values.len() == rows.len() {
            Presence::All
        } else {
            Presence::Some(bits)
        };
        (FieldId(id), Column { values, presence })
    });
    Rows {
        measurement: MeasurementId(1),
        series: rows
            .iter()
            .map(|(series, _, _)| SeriesId(*series))
            .collect(),
        timestamps: rows.iter().map(|(_, time, _)| *time).collect(),
        columns: columns
            .filter(|(_, column)| !column.values.is_empty())
            .collect(),
    }
}

/// A sorted run in pieces of a few rows that know their aggregates, as a block has them.
#[derive(Debug)]
struct Chunked {
    run: Arc<Run>,
    fields: Vec<FieldId>,
    rows_max: usize,
}

#[derive(Debug)]
struct ChunkedPieces {
    /// In the order of the scan; each with all its rows, whatever the range is.
    chunks: Vec<Decoded>,
    range: TimeRange,
}

impl Store<'static> for Chunked {
    fn open(
        &self,
        (_, series): (usize, SeriesId),
        range: TimeRange,
        descending: bool,
        into: &mut dyn FnMut(Box<dyn Pieces>),
    ) -> Result<()> {
        let rows = self.run.rows_of(series);
        let own = self.run.rows();
        let mut chunks: Vec<Decoded> = Vec::new();
        for start in rows.clone().step_by(self.rows_max) {
            let part = start..rows.end.min(start + self.rows_max);
            let times = own.timestamps[part.clone()].to_vec();
            if !range.overlaps(times[0], times[times.len() - 1]) {
                continue;
            }
            let column = |id: &FieldId| {
                let (_, column) = own.columns.iter().find(|(own, _)| own == id)?;
                Slice::of(Some(column), part.clone()).to_column()
            };
            chunks.push(Decoded {
                timestamps: times,
                columns: self.fields.iter().map(column).collect(),
            });
        }
        if !descending {
            chunks.reverse();
        }
        if !chunks.is_empty() {
            into(Box::new(ChunkedPieces { chunks, range }));
        }
        Ok(())
    }

    fn values(&self, _: &[SeriesId], _: &dyn Fn(TimeRange) -> bool) -> u64 {
        0
    }
}

impl Pieces for ChunkedPieces {
    fn span(&self) -> Option<(i64, i64)> {
        let times = &self.chunks.last()?.timestamps;
        Some((*times.first()?, *times.last()?))
    }

    fn next_piece(&mut self, _: bool) -> Result<Piece> {
        let whole = self.chunks.pop().unwrap();
        let inside = |time: &&i64| self.range.contains(**time);
        let before = whole
            .timestamps
            .partition_point(|time| *time < self.range.start);
        let count = whole.timestamps.iter().filter(inside).count();
        let cut = |column: &Option<Column>| {
            Slice::of(column.as_ref(), before..before + count).to_column()
        };
        Ok(Piece::Decoded(Decoded {
            timestamps: whole.timestamps[before..before + count].to_vec(),
            columns: whole.columns.iter().map(cut).collect(),
        }))
    }

    fn summary(&mut self, into: &mut [FieldWindows]) -> Result<bool> {
        let whole = self.chunks.last().unwrap();
        let rows = 0..whole.timestamps.len();
        for (own, column) in into.iter_mut().zip(&whole.columns) {
            match partial(&whole.timestamps, &Slice::of(column.as_ref(), rows.clone())) {
                Some(partial) => own.push(&partial),
                None => own.push_absent(),
            }
        }
        Ok(true)
    }

    fn skip_piece(&mut self) {
        self.chunks.pop();
    }
}

/// What is asked, and of what.
#[derive(Clone, Debug)]
struct Case {
    /// Oldest first, each with the rows of a chunk where it is a block.
    writes: Vec<Write>,
    /// Series not ascending, and one that nobody wrote.
    request: ScanRequest,
    edges: Vec<i64>,
    /// Whether runs that follow one another are read as one.
    together: bool,
}

impl Case {
    fn model(&self) -> Model {
        let mut model = Model::new();
        for (series, time, fields) in self.writes.iter().flat_map(|(rows, _)| rows) {
            let own = model.entry((*series, *time)).or_default();
            for (own, new) in own.iter_mut().zip(fields) {
                if new.is_some() {
                    own.clone_from(new);
                }
            }
        }
        model
    }

    fn stores(&self) -> Vec<Box<dyn Store<'static>>> {
        let mut stores: Vec<Box<dyn Store<'static>>> = Vec::new();
        let mut runs = Vec::new();
        for ((rows, chunk), sequence) in self.writes.iter().zip(1..) {
            let run = Arc::new(Run::new(rows_of(rows), Sequence(sequence))).sorted();
            if let Some(rows_max) = chunk {
                stores.extend(together(std::mem::take(&mut runs), &self.request));
                stores.push(Box::new(Chunked {
                    run,
                    fields: self.request.fields.clone(),
                    rows_max: *rows_max,
                }));
            } else if let Some(store) = RunStore::new(&run, &self.request) {
                if self.together {
                    runs.push(store);
                } else {
                    stores.push(Box::new(store));
                }
            }
        }
        stores.extend(together(runs, &self.request));
        stores
    }

    fn types(&self) -> Arc<[FieldType]> {
        let fields = self.request.fields.iter();
        fields.map(|field| TYPES[field.0 as usize - 1]).collect()
    }

    /// The rows of series number `index` that a scan must give, ascending.
    fn expected(&self, index: usize, range: TimeRange) -> Vec<(i64, Vec<Option<FieldValue>>)> {
        let series = self.request.series[index].0;
        let of_series = self
            .model()
            .into_iter()
            .filter(|((own, time), _)| *own == series && range.contains(*time));
        of_series
            .map(|((_, time), fields)| {
                let wanted = self.request.fields.iter();
                (
                    time,
                    wanted.map(|id| fields[id.0 as usize - 1].clone()).collect(),
                )
            })
            .filter(|(_, fields): &(_, Vec<Option<FieldValue>>)| fields.iter().any(Option::is_some))
            .collect()
    }
}

fn value(field_type: FieldType) -> BoxedStrategy<FieldValue> {
    match field_type {
        FieldType::Float => prop::sample::select(vec![
            0.0,
            -0.0,
            1.5,
            -2.25,
            1e9,
            f64::NAN,
            f64::from_bits(0xfff8_0000_dead_beef),
            f64::INFINITY,
        ])
        .prop_map(FieldValue::Float)
        .boxed(),
        FieldType::Integer => prop_oneof![-2_i64..3, Just(i64::MAX), Just(i64::MIN)]
            .prop_map(FieldValue::Integer)
            .boxed(),
        FieldType::Unsigned => prop_oneof![0_u64..3, Just(u64::MAX)]
            .prop_map(FieldValue::Unsigned)
            .boxed(),
        FieldType::Boolean => any::<bool>().prop_map(FieldValue::Boolean).boxed(),
        FieldType::String => prop::sample::select(vec!["", "a", "longer"])
            .prop_map(|text| FieldValue::String(text.as_bytes().into()))
            .boxed(),
    }
}

fn write(present: f64, times: i64) -> impl Strategy<Value = Vec<Row>> {
    let fields = TYPES.map(|field_type| prop::option::weighted(present, value(field_type)));
    // Half of the writes lie within a short span, so that sources follow one another too.
    let start = prop_oneof![Just(0), 0..times];
    let row = (1_u64..3, 0..times, fields);
    (start, prop::collection::vec(row, 1..120)).prop_map(move |(start, rows)| {
        let move_by = |(series, time, fields): (u64, i64, Fields)| {
            let time = if start > 0 { start + time / 8 } else { time };
            (series, time, fields)
        };
        rows.into_iter().map(move_by).collect()
    })
}

fn case() -> impl Strategy<Value = Case> {
    let shape = (
        prop::sample::select(vec![0.1, 0.6, 0.9999]),
        prop::sample::select(vec![30_i64, 400]),
    );
    shape.prop_flat_map(|(present, times)| {
        let chunk = prop::option::of(1_usize..40);
        let writes = prop::collection::vec((write(present, times), chunk), 1..6);
        let fields = prop::sample::subsequence((1..=5).map(FieldId).collect::<Vec<_>>(), 1..=5);
        let range = prop_oneof![Just((0, 2 * times)), (0..times, 0..2 * times)];
        let width = prop::sample::select(vec![1_i64, 7, 50, 1000]);
        let ways = (any::<bool>(), any::<bool>());
        (writes, fields.prop_shuffle(), range, ways, width).prop_map(
            move |(writes, fields, (start, end), (descending, together), width)| Case {
                together,
                writes,
                request: ScanRequest {
                    policy: PolicyId(1),
                    measurement: MeasurementId(1),
                    series: [2, 9, 1].map(SeriesId).into(),
                    fields,
                    range: TimeRange { start, end },
                    descending,
                    filter: None,
                },
                edges: (0..=(2 * times + width) / width)
                    .map(|at| at * width - 3)
                    .collect(),
            },
        )
    })
}

fn no_check() -> Check {
    Arc::new(|| Ok(()))
}

fn scan(case: &Case) -> Vec<SeriesRows> {
    let mut cursor = RowCursor::new(
        case.request.clone(),
        case.types(),
        case.stores(),
        no_check(),
    );
    std::iter::from_fn(|| cursor.next_rows().unwrap()).collect()
}

/// As the contract says, in the plainest way.
fn naive(values: &[(i64, FieldValue)]) -> Option<WindowPartial> {
    let extreme = |(timestamp, value): &(i64, FieldValue)| Extreme {
        value: value.clone(),
        timestamp: *timestamp,
    };
    let first = values.first()?;
    let is_nan = |value: &FieldValue| matches!(value, FieldValue::Float(value) if value.is_nan());
    let best = |better: fn(std::cmp::Ordering) -> bool| {
        let mut best = first;
        for one in values {
            let order = match (&one.1, &best.1) {
                (FieldValue::Float(a), FieldValue::Float(b)) => a.partial_cmp(b),
                (FieldValue::Integer(a), FieldValue::Integer(b)) => a.partial_cmp(b),
                (FieldValue::Unsigned(a), FieldValue::Unsigned(b)) => a.partial_cmp(b),
                (FieldValue::Boolean(a), FieldValue::Boolean(b)) => a.partial_cmp(b),
                _ => return None,
            };
            let replaces = order.is_some_and(better) || is_nan(&best.1) && !is_nan(&one.1);
            best = if replaces { one } else { best };
        }
        Some(extreme(best))
    };
    let sum = values
        .iter()
        .fold(Sum::None, |sum, (_, value)| match (sum, value) {
            (Sum::None, FieldValue::Float(value)) => Sum::Float(FloatSum::default().plus(*value)),
            (Sum::Float(sum), FieldValue::Float(value)) => Sum::Float(sum.plus(*value)),
            (Sum::None, FieldValue::Integer(value)) => Sum::Integer(i128::from(*value)),
            (Sum::None, FieldValue::Unsigned(value)) => Sum::Integer(i128::from(*value)),
            (Sum::Integer(sum), FieldValue::Integer(value)) => {
                Sum::Integer(sum + i128::from(*value))
            }
            (Sum::Integer(sum), FieldValue::Unsigned(value)) => {
                Sum::Integer(sum + i128::from(*value))
            }
            (sum, _) => sum,
        });
    Some(WindowPartial {
        count: values.len() as u64,
        sum,
        min: best(std::cmp::Ordering::is_lt),
        max: best(std::cmp::Ordering::is_gt),
        first: extreme(first),
        last: extreme(values.last()?),
    })
}

/// Equal but for the last bits of a float sum.
fn alike(one: Option<&WindowPartial>, other: Option<&WindowPartial>) -> bool {
    let (Some(one), Some(other)) = (one, other) else {
        return one.is_none() && other.is_none();
    };
    let sums = match (one.sum, other.sum) {
        (Sum::Float(one), Sum::Float(other)) => {
            let (one, other) = (one.value(), other.value());
            one.to_bits() == other.to_bits()
                || one.is_nan() && other.is_nan()
                || (one - other).abs() <= 1e-12 * one.abs()
        }
        (one, other) => one == other,
    };
    let bare = |partial: &WindowPartial| WindowPartial {
        sum: Sum::None,
        ..partial.clone()
    };
    sums && bare(one) == bare(other)
}

/// The aggregates of some rows, per requested field; `None` where a field has no value in them.
type Partials = Vec<Option<WindowPartial>>;

/// The windows of one series: number of the series, and for each window its number and a partial a
/// field.
type Expected = (usize, Vec<(u32, Partials)>);

fn expected_windows(case: &Case) -> Vec<Expected> {
    let range = window::within(case.request.range, &case.edges);
    let series = 0..case.request.series.len();
    let windows = series.map(|index| {
        let rows = case.expected(index, range);
        let mut windows: Vec<(u32, Partials)> = Vec::new();
        for (at, edge) in case.edges.windows(2).enumerate() {
            let inside = rows
                .iter()
                .filter(|(time, _)| edge[0] <= *time && *time < edge[1]);
            let partials: Partials = (0..case.request.fields.len())
                .map(|field| {
                    let value = |(time, fields): &(i64, Vec<Option<FieldValue>>)| {
                        Some((*time, fields[field].clone()?))
                    };
                    naive(&inside.clone().filter_map(value).collect::<Vec<_>>())
                })
                .collect();
            if partials.iter().any(Option::is_some) {
                windows.push((u32::try_from(at).unwrap(), partials));
            }
        }
        (index, windows)
    });
    windows.filter(|(_, windows)| !windows.is_empty()).collect()
}

fn assert_windows(found: &[WindowBatch], expected: &[Expected]) {
    let mut left = expected.iter();
    for batch in found {
        for (place, (found, _)) in batch.series.iter().enumerate() {
            let (index, expected) = left.next().expect("no more series than there are");
            let entries = batch.entries(place);
            let numbers: Vec<u32> = expected.iter().map(|(at, _)| *at).collect();
            assert_eq!(
                (found, &batch.windows[entries.clone()]),
                (index, &numbers[..])
            );
            for (place, (at, expected)) in entries.zip(expected) {
                for (found, expected) in batch.columns.iter().zip(expected) {
                    let found = partial_of(found, place);
                    let same = alike(found.as_ref(), expected.as_ref());
                    assert!(same, "window {at}: {found:?}, not {expected:?}");
                }
            }
        }
    }
    assert_eq!(left.next(), None, "all series are found");
}

/// Everything of entry `at`; `None` where it has no value.
fn partial_of(windows: &FieldWindows, at: usize) -> Option<WindowPartial> {
    let extreme = |selected| {
        let (timestamp, value) = windows.point(selected, at)?;
        Some(Extreme { value, timestamp })
    };
    Some(WindowPartial {
        count: windows.count(at),
        sum: windows.sum(at).unwrap_or(Sum::None),
        min: extreme(Selected::Min),
        max: extreme(Selected::Max),
        first: extreme(Selected::First)?,
        last: extreme(Selected::Last)?,
    })
}

/// What is `wanted` is told as it is where everything is, and nothing else.
fn assert_only(all: &FieldWindows, some: &FieldWindows, wanted: AggregateSet) {
    for at in 0..all.len() {
        assert_eq!(all.count(at), some.count(at));
        let sum = all.sum(at).filter(|_| wanted.has(AggregateSet::SUM));
        assert_eq!(format!("{sum:?}"), format!("{:?}", some.sum(at)));
        for selected in Selected::ALL {
            let point = all.point(selected, at);
            let point = point.filter(|_| wanted.has(AggregateSet::of(selected)));
            assert_eq!(
                format!("{point:?}"),
                format!("{:?}", some.point(selected, at))
            );
        }
    }
}

/// Each aggregate that is asked for alone is what it is among all.
fn assert_each_alone(
    mut request: AggregateRequest,
    windows: impl Fn(AggregateRequest) -> Vec<WindowBatch>,
) {
    let all = windows(request.clone());
    let points = Selected::ALL.map(AggregateSet::of);
    for wanted in points
        .into_iter()
        .chain([AggregateSet::COUNT, AggregateSet::SUM])
    {
        request.wanted.fill(wanted);
        let some = windows(request.clone());
        assert_eq!(all.len(), some.len());
        for (all, some) in all.iter().zip(&some) {
            assert_eq!((&all.series, &all.windows), (&some.series, &some.windows));
            for (all, some) in all.columns.iter().zip(&some.columns) {
                assert_only(all, some, wanted);
            }
        }
    }
}

/// A request for all aggregates of each field.
fn aggregates_of(scan: &ScanRequest, edges: &[i64]) -> AggregateRequest {
    AggregateRequest {
        scan: scan.clone(),
        wanted: vec![AggregateSet::ALL; scan.fields.len()],
        edges: edges.into(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_scan_gives_the_newest_value_of_each_field(case in case()) {
        let mut found: Vec<Vec<_>> = vec![Vec::new(); case.request.series.len()];
        let mut last = 0;
        for piece in scan(&case) {
            prop_assert!(piece.index >= last, "series come in the order of the request");
            prop_assert!(!piece.timestamps.is_empty() && piece.timestamps.len() <= VECTOR_ROWS_MAX);
            last = piece.index;
            for (column, field_type) in piece.columns.iter().zip(&*case.types()) {
                prop_assert_eq!(column.values.field_type(), *field_type);
            }
            for (row, time) in piece.timestamps.iter().enumerate() {
                let fields: Vec<_> = piece.columns.iter().map(|column| column.get(row)).collect();
                found[piece.index].push((*time, fields));
            }
        }
        for (index, found) in found.into_iter().enumerate() {
            let mut expected = case.expected(index, case.request.range);
            if case.request.descending {
                expected.reverse();
            }
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn windows_are_those_of_the_rows_whether_or_not_chunks_are_decoded(case in case()) {
        let mut request = aggregates_of(&case.request, &case.edges);
        request.scan.range = window::within(request.scan.range, &request.edges);
        let windows = |request| {
            let mut cursor = WindowCursor::new(request, case.types(), case.stores(), no_check());
            std::iter::from_fn(|| cursor.next_windows().unwrap()).collect::<Vec<_>>()
        };
        assert_windows(&windows(request.clone()), &expected_windows(&case));
        assert_each_alone(request, windows);
    }
}

/// Integer rows of one series: time and value.
fn integers(rows: impl Iterator<Item = (i64, i64)>) -> Vec<Row> {
    rows.map(|(time, value)| {
        let fields = [None, Some(FieldValue::Integer(value)), None, None, None];
        (1, time, fields)
    })
    .collect()
}

fn integer_case(writes: Vec<Write>) -> Case {
    Case {
        writes,
        request: ScanRequest {
            policy: PolicyId(1),
            measurement: MeasurementId(1),
            series: [SeriesId(1)].into(),
            fields: vec![FieldId(2)],
            range: TimeRange::ALL,
            descending: false,
            filter: None,
        },
        edges: vec![0, 1 << 40],
        together: false,
    }
}

#[test]
fn a_long_series_comes_in_full_vectors_whichever_way() {
    let even = integers((0..30_000).map(|at| (2 * at, at)));
    let odd = integers((0..30_000).map(|at| (2 * at + 1, -at)));
    for descending in [false, true] {
        let mut case = integer_case(vec![(even.clone(), None), (odd.clone(), Some(1000))]);
        case.request.descending = descending;
        let pieces = scan(&case);
        let rows: usize = pieces.iter().map(|piece| piece.timestamps.len()).sum();
        assert_eq!(rows, 60_000);
        assert!(
            pieces
                .iter()
                .all(|piece| piece.timestamps.len() <= VECTOR_ROWS_MAX)
        );
        let mut times: Vec<i64> = pieces
            .iter()
            .flat_map(|piece| piece.timestamps.clone())
            .collect();
        if descending {
            times.reverse();
        }
        assert_eq!(times, (0..60_000).collect::<Vec<_>>());
    }
    let case = integer_case(vec![(even, None)]);
    let sizes: Vec<_> = scan(&case)
        .iter()
        .map(|piece| piece.timestamps.len())
        .collect();
    assert_eq!(sizes, [8192, 8192, 8192, 5424]);
}

/// Fails when a piece is decoded.
#[derive(Debug)]
struct Undecodable(Chunked);

#[derive(Debug)]
struct UndecodablePieces(Box<dyn Pieces>);

impl Store<'static> for Undecodable {
    fn open(
        &self,
        series: (usize, SeriesId),
        range: TimeRange,
        descending: bool,
        into: &mut dyn FnMut(Box<dyn Pieces>),
    ) -> Result<()> {
        self.0.open(series, range, descending, &mut |pieces| {
            into(Box::new(UndecodablePieces(pieces)));
        })
    }

    fn values(&self, series: &[SeriesId], in_one_window: &dyn Fn(TimeRange) -> bool) -> u64 {
        self.0.values(series, in_one_window)
    }
}

impl Pieces for UndecodablePieces {
    fn span(&self) -> Option<(i64, i64)> {
        self.0.span()
    }

    fn next_piece(&mut self, _: bool) -> Result<Piece> {
        Err(Error::corrupt("blocks/1.blk", 1, "decoded"))
    }

    fn summary(&mut self, into: &mut [FieldWindows]) -> Result<bool> {
        self.0.summary(into)
    }

    fn skip_piece(&mut self) {
        self.0.skip_piece();
    }
}

fn undecodable(rows: &[Row]) -> Box<dyn Store<'static>> {
    Box::new(Undecodable(Chunked {
        run: Arc::new(Run::new(rows_of(rows), Sequence(1))).sorted(),
        fields: vec![FieldId(2)],
        rows_max: 10,
    }))
}

fn windows_of(stores: Vec<Box<dyn Store<'static>>>, edges: &[i64]) -> Result<Option<WindowBatch>> {
    let case = integer_case(Vec::new());
    let mut request = aggregates_of(&case.request, edges);
    request.scan.range = window::within(request.scan.range, &request.edges);
    WindowCursor::new(request, case.types(), stores, no_check()).next_windows()
}

#[test]
fn chunks_that_lie_alone_in_a_window_are_not_decoded() {
    let first = integers((0..20).map(|at| (at, at)));
    let second = integers((20..40).map(|at| (at, at)));
    let stores = || vec![undecodable(&second), undecodable(&first)];
    let found = windows_of(stores(), &[0, 20, 40]).unwrap().unwrap();
    let counts: Vec<u64> = (0..2).map(|at| found.columns[0].count(at)).collect();
    assert_eq!(counts, [20, 20]);
    let cut_by_an_edge = windows_of(stores(), &[0, 15, 40]);
    assert_eq!(cut_by_an_edge.unwrap_err().message(), "decoded");
    let cut_by_the_range = windows_of(stores(), &[0, 35]);
    assert_eq!(cut_by_the_range.unwrap_err().message(), "decoded");
    let newer = integers([(12, 7)].into_iter());
    let overlapped = windows_of(vec![undecodable(&first), undecodable(&newer)], &[0, 40]);
    assert_eq!(overlapped.unwrap_err().message(), "decoded");
}

#[test]
fn a_scan_ends_when_the_check_says_so() {
    let case = integer_case(vec![(integers((0..20_000).map(|at| (at, at))), None)]);
    let left = std::sync::atomic::AtomicI32::new(2);
    let check: Check = Arc::new(move || {
        if left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) > 0 {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Limit, "the query has ended"))
    });
    let mut cursor = RowCursor::new(case.request.clone(), case.types(), case.stores(), check);
    assert!(cursor.next_rows().unwrap().is_some());
    assert!(cursor.next_rows().unwrap().is_some());
    assert_eq!(cursor.next_rows().unwrap_err().kind(), ErrorKind::Limit);
}

#[test]
fn rows_that_a_scan_does_not_reach_are_not_sorted_for_it() {
    let mut case = integer_case(Vec::new());
    let mut rows = rows_of(&integers((0..20).map(|at| (at, at))));
    rows.timestamps.reverse();
    let run = Arc::new(Run::new(rows, Sequence(1)));
    for (range, reached) in [((20, 30), false), ((-5, 0), false), ((19, 30), true)] {
        case.request.range = TimeRange {
            start: range.0,
            end: range.1,
        };
        assert_eq!(RunStore::new(&run, &case.request).is_some(), reached);
        assert_eq!(run.has_sorted_copy(), reached, "{range:?}");
    }
}

/// A store that finds at its end that its file was cut under its reader.
#[derive(Debug)]
struct Cut;

impl Store<'static> for Cut {
    fn open(
        &self,
        _: (usize, SeriesId),
        _: TimeRange,
        _: bool,
        _: &mut dyn FnMut(Box<dyn Pieces>),
    ) -> Result<()> {
        Ok(())
    }

    fn values(&self, _: &[SeriesId], _: &dyn Fn(TimeRange) -> bool) -> u64 {
        7
    }

    fn check_intact(&self) -> Result<()> {
        Err(Error::corrupt("blocks/1.blk", 1, "cut"))
    }
}

#[test]
fn deletes_do_not_hide_that_a_block_is_damaged() {
    let case = integer_case(Vec::new());
    let hidden = HiddenStore {
        inner: Box::new(Cut),
        hides: Hides::default(),
        field_count: 1,
    };
    assert_eq!(hidden.values(&[], &|_| false), 7);
    let stores: Vec<Box<dyn Store<'static>>> = vec![Box::new(hidden)];
    let mut rows = RowCursor::new(case.request.clone(), case.types(), stores, no_check());
    assert_eq!(rows.next_rows().unwrap_err().message(), "cut");
}
