//! Words to symbols: a word is the number of the bin it lies in and its offset from the bin's start.
//! Frequent words have bins of their own, rare neighbours share one. Which cuts take the fewest bits
//! in all is found by dynamic programming over a histogram.

use super::ans::{LOG_MAX, SYMBOLS_MAX};

/// A range of words, as signed numbers, that one symbol stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bin {
    /// The smallest.
    pub(super) low: u64,
    /// It holds two to this many.
    pub(super) bits: u8,
    /// How many states of two to [`Bins::log`] are its own.
    pub(super) weight: u16,
}

/// The bins of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bins {
    /// Ascending, as signed numbers; at last, perhaps, one that holds every word.
    pub(super) all: Vec<Bin>,
    /// The weights add up to two to this.
    pub(super) log: u32,
}

/// What a bin costs in a model, bits; and what fewer bins spare a decoder.
const BIN_BITS: f32 = 20.0;
/// What an offset costs beside its bits, each time: a reader takes twice as long for it, so that of equally
/// frequent neighbours each has a bin of its own.
const OFFSET_BITS: f32 = 1.0 / 32.0;
/// From how many pieces of a histogram bins are put together.
const PIECES_MAX: usize = 192;
/// Words within a span of so many are counted in place of sorted.
const COUNTED_MAX: u64 = 1 << 14;

/// Equal words, or neighbours.
#[derive(Clone, Copy, Debug)]
struct Piece {
    low: i64,
    high: i64,
    count: u32,
}

impl Bins {
    /// The bins that suit `words`, at least one. Where `open`, any other word has a bin too.
    pub(super) fn fit(words: &[u64], log: u32, open: bool) -> Bins {
        let pieces = pieces(words);
        let (mut all, mut counts) = (Vec::new(), Vec::new());
        for Piece { low, high, count } in merged(&pieces, words.len()) {
            let low = low.cast_unsigned();
            let bits = width(low, high.cast_unsigned());
            all.push(Bin {
                low,
                bits,
                weight: 0,
            });
            counts.push(count);
        }
        if open {
            all.push(Bin {
                low: i64::MIN.cast_unsigned(),
                bits: 64,
                weight: 0,
            });
            counts.push(0);
        }
        let log = log
            .max(all.len().next_power_of_two().ilog2() + 1)
            .min(LOG_MAX);
        for (bin, weight) in all.iter_mut().zip(weights(&counts, log)) {
            bin.weight = weight;
        }
        Bins { all, log }
    }

    /// The weights, in order.
    pub(super) fn weights(&self) -> Vec<u16> {
        self.all.iter().map(|bin| bin.weight).collect()
    }
}

/// How many bits tell the words from `low` to `high` apart.
fn width(low: u64, high: u64) -> u8 {
    u8::try_from(64 - high.wrapping_sub(low).leading_zeros()).expect("at most 64")
}

/// A histogram of at most about [`PIECES_MAX`] pieces; frequent words stand alone.
fn pieces(words: &[u64]) -> Vec<Piece> {
    let enough = u32::try_from(words.len() / (PIECES_MAX / 2)).expect("columns are short") + 1;
    let distinct = distinct(words);
    let few = distinct.len() <= PIECES_MAX;
    let mut pieces: Vec<Piece> = Vec::new();
    for (word, count) in distinct {
        match pieces.last_mut() {
            Some(last) if !few && last.count + count <= enough => {
                last.high = word;
                last.count += count;
            }
            _ => pieces.push(Piece {
                low: word,
                high: word,
                count,
            }),
        }
    }
    pieces
}

/// The distinct words, ascending, and how often each is there.
fn distinct(words: &[u64]) -> Vec<(i64, u32)> {
    let (low, high) = words
        .iter()
        .fold((i64::MAX, i64::MIN), |(low, high), word| {
            let word = word.cast_signed();
            (low.min(word), high.max(word))
        });
    let span = high.wrapping_sub(low).cast_unsigned();
    if span < COUNTED_MAX {
        let mut counts = vec![0_u32; usize::try_from(span).expect("a small span") + 1];
        for word in words {
            let at = word.wrapping_sub(low.cast_unsigned());
            counts[usize::try_from(at).expect("a small span")] += 1;
        }
        let all = (low..=high).zip(counts);
        return all.filter(|(_, count)| *count > 0).collect();
    }
    let mut sorted: Vec<i64> = words.iter().map(|word| word.cast_signed()).collect();
    sorted.sort_unstable();
    let runs = sorted.chunk_by(|a, b| a == b);
    runs.map(|run| (run[0], u32::try_from(run.len()).expect("columns are short")))
        .collect()
}

/// `pieces` put together so that all bits of all `total` words are fewest.
fn merged(pieces: &[Piece], total: usize) -> Vec<Piece> {
    let log_total = log2(u32::try_from(total).expect("columns are short"));
    // The least cost of the first so many pieces, and where the last bin of them starts.
    let mut least = vec![(0.0_f32, 0_usize)];
    for (end, last) in pieces.iter().enumerate() {
        let (mut best, mut count) = ((f32::INFINITY, end), 0);
        for (start, first) in pieces[..=end].iter().enumerate().rev() {
            count += first.count;
            let bits = width(first.low.cast_unsigned(), last.high.cast_unsigned());
            let offset = if bits > 0 { OFFSET_BITS } else { 0.0 };
            let each = log_total - log2(count) + f32::from(bits) + offset;
            let cost = least[start].0 + float(count) * each + BIN_BITS;
            if cost < best.0 {
                best = (cost, start);
            }
        }
        least.push(best);
    }
    let mut bins = Vec::new();
    let mut end = pieces.len();
    while end > 0 {
        let start = least[end].1;
        bins.push(Piece {
            low: pieces[start].low,
            high: pieces[end - 1].high,
            count: pieces[start..end].iter().map(|piece| piece.count).sum(),
        });
        end = start;
    }
    bins.reverse();
    bins
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn float(count: u32) -> f32 {
    count as f32
}

/// The logarithm, off by 0.01 at most: it only weighs one cut against another.
fn log2(count: u32) -> f32 {
    let bits = float(count).to_bits();
    let exponent = float(bits >> 23) - 127.0;
    let rest = f32::from_bits(bits & 0x007f_ffff | 0x3f80_0000) - 1.0;
    exponent + rest * (1.346_5 - 0.346_5 * rest)
}

/// Weights for `counts` that add up to two to `log`, none of them 0.
fn weights(counts: &[u32], log: u32) -> Vec<u16> {
    let total: u64 = counts.iter().map(|count| u64::from(*count)).sum();
    let states = 1_u64 << log;
    let mut weights: Vec<u64> = counts
        .iter()
        .map(|count| ((u64::from(*count) * states + total / 2) / total.max(1)).max(1))
        .collect();
    // Rounding gave some too many or too few: the largest notice it least.
    let mut given: u64 = weights.iter().sum();
    while given != states {
        let largest = weights.iter_mut().max().expect("there is a bin");
        if given < states {
            *largest += states - given;
        } else {
            *largest -= (given - states).min((*largest / 2).max(1));
        }
        given = weights.iter().sum();
    }
    let narrow = |weight| u16::try_from(weight).expect("a weight is at most 4096");
    weights.into_iter().map(narrow).collect()
}

/// Finds the bin of a word.
pub(super) struct Finder<'bins> {
    bins: &'bins [Bin],
    /// The bin for each word from `low` on, where they lie close together.
    table: Vec<u8>,
    low: u64,
    /// The bin that holds every word.
    open: Option<u8>,
    /// Where a bin starts.
    lows: Vec<i64>,
}

impl<'bins> Finder<'bins> {
    pub(super) fn new(bins: &'bins Bins) -> Finder<'bins> {
        let all = &bins.all[..];
        let (closed, open) = match all.split_last() {
            Some((last, rest)) if last.bits == 64 => (rest, Some(symbol(rest.len()))),
            _ => (all, None),
        };
        let lows: Vec<i64> = closed.iter().map(|bin| bin.low.cast_signed()).collect();
        let mut finder = Finder {
            bins: all,
            table: Vec::new(),
            low: closed.first().map_or(0, |bin| bin.low),
            open,
            lows,
        };
        if let (Some(first), Some(last)) = (closed.first(), closed.last()) {
            let span = last
                .low
                .wrapping_sub(first.low)
                .saturating_add(1 << last.bits.min(63));
            if span <= COUNTED_MAX {
                let words = (0..span).map(|at| first.low.wrapping_add(at));
                finder.table = words
                    .map(|word| finder.search(word).unwrap_or(u8::MAX))
                    .collect();
            }
        }
        finder
    }

    /// The bin of `word`, or `None` where it has none.
    #[inline]
    pub(super) fn find(&self, word: u64) -> Option<u8> {
        let at = usize::try_from(word.wrapping_sub(self.low)).unwrap_or(usize::MAX);
        match self.table.get(at) {
            Some(symbol) if *symbol != u8::MAX => Some(*symbol),
            _ => self.search(word),
        }
    }

    fn search(&self, word: u64) -> Option<u8> {
        let after = self.lows.partition_point(|low| *low <= word.cast_signed());
        let inside = after.checked_sub(1).filter(|at| {
            let Bin { low, bits, .. } = self.bins[*at];
            bits == 64 || word.wrapping_sub(low) >> bits == 0
        });
        inside.map(symbol).or(self.open)
    }
}

fn symbol(at: usize) -> u8 {
    u8::try_from(at).expect("there are at most 256 bins")
}

// Grouping may leave one piece more, and one bin may be open.
const _: () = assert!(PIECES_MAX + 2 < SYMBOLS_MAX);
