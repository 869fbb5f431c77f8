//! Statistics of chunks: for one field, up to 1,024 chunks to a page, decoded together.
//!
//! Layout: presence of the chunks (1 = the field has a value in it); then, over the chunks that have
//! one, counts, first values, last values, least values, greatest values, times of those four
//! (first and least from the chunk's first time, last and greatest from its last, counted
//! backwards), sums. Each stream is prefixed with its length (varint). Sums of floats are two streams (high,
//! low), of integers two (low and high half), of booleans none. Strings have no statistics.

use crate::codec::{self, DecodeError, Effort};
use crate::format::block::bytes::{Damage, Taker};
use crate::model::{
    AggregateSet, Bitmap, Extreme, FieldType, FieldWindows, FloatSum, Presence, Selected, Sum,
    Values, WindowPartial, push_varint,
};

/// Times of a chunk's first and last row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkTimes {
    /// Of its first row.
    pub first: i64,
    /// Of its last row.
    pub last: i64,
}

/// Whether chunks of fields of `field_type` have statistics.
pub fn has_stats(field_type: FieldType) -> bool {
    match field_type {
        FieldType::Float | FieldType::Integer | FieldType::Unsigned | FieldType::Boolean => true,
        FieldType::String => false,
    }
}

/// Appends the page of `chunks`, of a field of `field_type` that [`has_stats`].
///
/// # Panics
/// If a partial is of another type or lacks its extremes.
pub fn encode(
    chunks: &[(ChunkTimes, Option<WindowPartial>)],
    field_type: FieldType,
    effort: Effort,
    out: &mut Vec<u8>,
) {
    let mut present = Bitmap::default();
    let mut columns = Columns::new(field_type);
    for (times, partial) in chunks {
        present.push(partial.is_some());
        if let Some(partial) = partial {
            columns.push(*times, partial);
        }
    }
    let mut stream = Vec::new();
    let mut close = |stream: &mut Vec<u8>| {
        push_varint(out, stream.len() as u64);
        out.append(stream);
    };
    codec::encode_presence(&Presence::Some(present), chunks.len(), &mut stream);
    close(&mut stream);
    codec::encode_values(&Values::Unsigned(columns.counts), effort, &mut stream);
    close(&mut stream);
    for values in &columns.values {
        codec::encode_values(values, effort, &mut stream);
        close(&mut stream);
    }
    for times in &columns.times {
        codec::encode_timestamps(times, effort, &mut stream);
        close(&mut stream);
    }
    for values in &columns.sums {
        codec::encode_values(values, effort, &mut stream);
        close(&mut stream);
    }
}

/// The values of a chunk that are stored, in their order.
const STORED: [Selected; 4] = [
    Selected::First,
    Selected::Last,
    Selected::Min,
    Selected::Max,
];

/// The statistics of one field in up to 1,024 chunks.
#[derive(Clone, Debug)]
pub struct StatsPage {
    holds: AggregateSet,
    presence: Presence,
    chunk_count: usize,
    columns: Columns,
}

#[derive(Clone, Debug)]
struct Columns {
    counts: Vec<u64>,
    /// First, last, least, greatest.
    values: [Values; 4],
    /// Of the same, as distances from the chunk's ends.
    times: [Vec<i64>; 4],
    sums: Vec<Values>,
}

impl Columns {
    fn new(field_type: FieldType) -> Columns {
        let sums = match field_type {
            FieldType::Float => vec![Values::new(FieldType::Float); 2],
            FieldType::Integer | FieldType::Unsigned => vec![
                Values::new(FieldType::Unsigned),
                Values::new(FieldType::Integer),
            ],
            FieldType::Boolean | FieldType::String => Vec::new(),
        };
        Columns {
            counts: Vec::new(),
            values: std::array::from_fn(|_| Values::new(field_type)),
            times: Default::default(),
            sums,
        }
    }

    fn push(&mut self, chunk: ChunkTimes, partial: &WindowPartial) {
        let extreme = |extreme: &Option<Extreme>| {
            let extreme = extreme.clone();
            extreme.expect("what has statistics has a least and a greatest value")
        };
        let four = [
            partial.first.clone(),
            partial.last.clone(),
            extreme(&partial.min),
            extreme(&partial.max),
        ];
        self.counts.push(partial.count);
        for (at, Extreme { value, timestamp }) in four.into_iter().enumerate() {
            self.values[at].push(&value);
            self.times[at].push(distance(chunk, at, timestamp));
        }
        match (partial.sum, &mut self.sums[..]) {
            (Sum::Float(sum), [Values::Float(high), Values::Float(low)]) => {
                high.push(sum.high);
                low.push(sum.low);
            }
            (Sum::Integer(sum), [Values::Unsigned(low), Values::Integer(high)]) => {
                let [low_half, high_half] = halves(sum);
                low.push(low_half);
                high.push(high_half.cast_signed());
            }
            (Sum::None, []) => {}
            (sum, _) => assert!(sum == Sum::None, "a sum is of its field's type: {sum:?}"),
        }
    }
}

/// How far `timestamp` lies from the end of the chunk that it is told from; its own inverse.
fn distance(chunk: ChunkTimes, at: usize, timestamp: i64) -> i64 {
    if at == 1 || at == 3 {
        chunk.last.wrapping_sub(timestamp)
    } else {
        timestamp.wrapping_sub(chunk.first)
    }
}

fn time(chunk: ChunkTimes, at: usize, distance: i64) -> i64 {
    if at == 1 || at == 3 {
        chunk.last.wrapping_sub(distance)
    } else {
        chunk.first.wrapping_add(distance)
    }
}

fn halves(sum: i128) -> [u64; 2] {
    let bytes = sum.to_le_bytes();
    let half = |at: usize| {
        u64::from_le_bytes(bytes[at..at + 8].try_into().expect("half of 16 bytes is 8"))
    };
    [half(0), half(8)]
}

impl StatsPage {
    /// The page of `chunk_count` chunks, of a field of `field_type`: counts, and what is `wanted`. The
    /// rest is passed over.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(
        bytes: &[u8],
        (field_type, wanted): (FieldType, AggregateSet),
        chunk_count: usize,
    ) -> Result<StatsPage, Damage> {
        let mut taker = Taker::new(bytes);
        let presence = codec::decode_presence(taker.prefixed()?, chunk_count).map_err(damage)?;
        let count = match &presence {
            Presence::All => chunk_count,
            Presence::Some(bits) => bits.count_ones(),
        };
        let mut columns = Columns::new(field_type);
        let mut counts = Values::new(FieldType::Unsigned);
        codec::decode_values_into(taker.prefixed()?, count, &mut counts).map_err(damage)?;
        if let Values::Unsigned(counts) = counts {
            columns.counts = counts;
        }
        let is_wanted = STORED.map(|selected| wanted.has(AggregateSet::of(selected)));
        for (values, wanted) in columns.values.iter_mut().zip(is_wanted) {
            let stream = taker.prefixed()?;
            if wanted {
                codec::decode_values_into(stream, count, values).map_err(damage)?;
            }
        }
        for (times, wanted) in columns.times.iter_mut().zip(is_wanted) {
            let stream = taker.prefixed()?;
            if wanted {
                codec::decode_timestamps_into(stream, count, times).map_err(damage)?;
            }
        }
        for values in &mut columns.sums {
            let stream = taker.prefixed()?;
            if wanted.has(AggregateSet::SUM) {
                codec::decode_values_into(stream, count, values).map_err(damage)?;
            }
        }
        if taker.remaining() != 0 || columns.counts.contains(&0) {
            return Err(Damage("a page of statistics contradicts itself"));
        }
        Ok(StatsPage {
            presence,
            chunk_count,
            columns,
            holds: wanted,
        })
    }

    /// Memory that it takes, bytes.
    pub fn decoded_bytes(&self) -> usize {
        let columns = &self.columns;
        let values = columns.values.iter().chain(&columns.sums);
        let times = columns.times.iter().map(|times| size_of_val(&times[..]));
        size_of_val(&columns.counts[..])
            + values.map(Values::size_bytes).sum::<usize>()
            + times.sum::<usize>()
            + self.chunk_count / 8
            + size_of::<StatsPage>()
    }

    /// What was decoded.
    pub fn holds(&self) -> AggregateSet {
        self.holds
    }

    /// Appends what the field comes to in chunk `index` to `windows`, of what that asks for.
    ///
    /// # Panics
    /// If there are not that many chunks, or `windows` is of another type or asks for more than the
    /// page [`StatsPage::holds`].
    pub fn push_to(&self, (index, chunk): (usize, ChunkTimes), windows: &mut FieldWindows) {
        let Some(at) = self.place(index) else {
            windows.push_absent();
            return;
        };
        let columns = &self.columns;
        windows.push_count(columns.counts[at]);
        match &columns.sums[..] {
            [Values::Float(high), Values::Float(low)] => {
                if let Some(sums) = windows.float_sums() {
                    let (high, low) = (high[at], low[at]);
                    sums.push(FloatSum { high, low });
                }
            }
            [Values::Unsigned(low), Values::Integer(high)] => {
                if let Some(sums) = windows.integer_sums() {
                    sums.push(i128::from(high[at]) << 64 | i128::from(low[at]));
                }
            }
            _ => {}
        }
        for (which, selected) in STORED.into_iter().enumerate() {
            if !windows.keeps(selected) {
                continue;
            }
            let word = match &columns.values[which] {
                Values::Float(values) => values[at].to_bits(),
                Values::Integer(values) => values[at].cast_unsigned(),
                Values::Unsigned(values) => values[at],
                Values::Boolean(values) => u64::from(values[at]),
                Values::String(_) => unreachable!("strings have no statistics"),
            };
            let timestamp = time(chunk, which, columns.times[which][at]);
            windows.push_word(selected, timestamp, word);
        }
    }

    /// Where the values of chunk `index` stand; `None` where the field has none in it.
    fn place(&self, index: usize) -> Option<usize> {
        assert!(index < self.chunk_count, "chunk {index} is none");
        match &self.presence {
            Presence::All => Some(index),
            Presence::Some(bits) => bits.get(index).then(|| bits.rank(index)),
        }
    }

    /// What the field comes to in chunk `index`, or `None` where it has no value there.
    ///
    /// # Panics
    /// If there are not that many chunks, or the page does not hold everything.
    pub fn get(&self, index: usize, chunk: ChunkTimes) -> Option<WindowPartial> {
        let at = self.place(index)?;
        let extreme = |which: usize| Extreme {
            value: self.columns.values[which].get(at),
            timestamp: time(chunk, which, self.columns.times[which][at]),
        };
        let sum = match &self.columns.sums[..] {
            [Values::Float(high), Values::Float(low)] => Sum::Float(FloatSum {
                high: high[at],
                low: low[at],
            }),
            [Values::Unsigned(low), Values::Integer(high)] => {
                Sum::Integer(i128::from(high[at]) << 64 | i128::from(low[at]))
            }
            _ => Sum::None,
        };
        Some(WindowPartial {
            count: self.columns.counts[at],
            sum,
            min: Some(extreme(2)),
            max: Some(extreme(3)),
            first: extreme(0),
            last: extreme(1),
        })
    }
}

/// What a codec says, as damage.
pub fn damage(error: DecodeError) -> Damage {
    match error {
        DecodeError::Truncated => Damage("encoded bytes end too early"),
        DecodeError::UnknownCodec(_) => Damage("the codec of a page is not known"),
        DecodeError::Invalid(what) => Damage(what),
    }
}

/// What `values[dense]` come to, whose times are `timestamps`, ascending; `None` where there are
/// none. The definition of every stored statistic. Cost: 1-3 ns a value.
///
/// # Panics
/// If there are not as many times as values.
pub fn partial_of(
    values: &Values,
    dense: std::ops::Range<usize>,
    timestamps: &[i64],
) -> Option<WindowPartial> {
    assert_eq!(dense.len(), timestamps.len(), "each value has its time");
    if dense.is_empty() {
        return None;
    }
    let extreme = |at: usize| Extreme {
        value: values.get(dense.start + at),
        timestamp: timestamps[at],
    };
    let (sum, extremes) = match values {
        Values::Float(values) => {
            let values = &values[dense.clone()];
            let sum = values
                .iter()
                .fold(FloatSum::default(), |sum, value| sum.plus(*value));
            (Sum::Float(sum), Some(float_extremes(values)))
        }
        Values::Integer(values) => {
            let values = &values[dense.clone()];
            let sum = values.iter().map(|value| i128::from(*value)).sum();
            (Sum::Integer(sum), Some(extremes(values)))
        }
        Values::Unsigned(values) => {
            let values = &values[dense.clone()];
            let sum = values.iter().map(|value| i128::from(*value)).sum();
            (Sum::Integer(sum), Some(extremes(values)))
        }
        Values::Boolean(values) => (Sum::None, Some(extremes(&values[dense.clone()]))),
        Values::String(_) => (Sum::None, None),
    };
    Some(WindowPartial {
        count: dense.len() as u64,
        sum,
        min: extremes.map(|(least, _)| extreme(least)),
        max: extremes.map(|(_, greatest)| extreme(greatest)),
        first: extreme(0),
        last: extreme(dense.len() - 1),
    })
}

/// Where the least and the greatest stand, the earliest of equal ones.
fn extremes<T: Copy + PartialOrd>(values: &[T]) -> (usize, usize) {
    let (mut least, mut greatest) = (0, 0);
    for (at, value) in values.iter().enumerate() {
        if *value < values[least] {
            least = at;
        }
        if *value > values[greatest] {
            greatest = at;
        }
    }
    (least, greatest)
}

/// As [`extremes`]; a NaN only where there is nothing else.
fn float_extremes(values: &[f64]) -> (usize, usize) {
    let start = values.iter().position(|value| !value.is_nan());
    let Some(start) = start else {
        return (0, 0);
    };
    // A comparison with NaN is false, so those behind the start never win.
    let (least, greatest) = extremes(&values[start..]);
    (start + least, start + greatest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FieldValue;

    fn chunk(values: &Values, times: &[i64]) -> (ChunkTimes, Option<WindowPartial>) {
        let ends = ChunkTimes {
            first: times[0],
            last: times[times.len() - 1],
        };
        (ends, partial_of(values, 0..values.len(), times))
    }

    #[test]
    fn statistics_read_back_for_every_type() {
        let times = [-5, 10, 11, i64::MAX - 1];
        let columns = [
            Values::Float(vec![1.5, -0.0, 0.0, f64::INFINITY]),
            Values::Integer(vec![i64::MIN, i64::MIN, 0, 5]),
            Values::Unsigned(vec![u64::MAX, u64::MAX, u64::MAX, 1]),
            Values::Boolean(vec![true, false, true, false]),
        ];
        for values in columns {
            let ends = ChunkTimes { first: 0, last: 0 };
            let chunks = [chunk(&values, &times), (ends, None), chunk(&values, &times)];
            for effort in [Effort::Hot, Effort::Warm, Effort::Cold] {
                let mut bytes = Vec::new();
                encode(&chunks, values.field_type(), effort, &mut bytes);
                let page =
                    StatsPage::decode(&bytes, (values.field_type(), AggregateSet::ALL), 3).unwrap();
                for (index, (ends, partial)) in chunks.iter().enumerate() {
                    assert_eq!(&page.get(index, *ends), partial);
                }
                for len in 0..bytes.len() {
                    let cut = StatsPage::decode(
                        &bytes[..len],
                        (values.field_type(), AggregateSet::ALL),
                        3,
                    );
                    assert!(cut.is_err(), "cut at {len}");
                }
            }
        }
    }

    #[test]
    fn extremes_are_the_earliest_and_never_a_nan_beside_numbers() {
        let values = Values::Float(vec![f64::NAN, 2.0, -1.0, 2.0, -1.0, f64::NAN]);
        let partial = partial_of(&values, 0..6, &[1, 2, 3, 4, 5, 6]).unwrap();
        let (min, max) = (partial.min.unwrap(), partial.max.unwrap());
        assert_eq!((min.timestamp, max.timestamp), (3, 2));
        assert_eq!(min.value, FieldValue::Float(-1.0));
        assert_eq!((partial.first.timestamp, partial.last.timestamp), (1, 6));
        let partial = partial_of(&values, 5..6, &[6]).unwrap();
        assert_eq!(partial.min.unwrap().timestamp, 6, "nothing but NaN");
        assert_eq!(partial_of(&values, 3..3, &[]), None);
    }

    #[test]
    fn sums_of_integers_are_exact_beyond_64_bits() {
        let values = Values::Unsigned(vec![u64::MAX; 3]);
        let partial = partial_of(&values, 0..3, &[1, 2, 3]).unwrap();
        assert_eq!(partial.sum, Sum::Integer(3 * i128::from(u64::MAX)));
    }
}
