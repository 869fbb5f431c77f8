//! Floats that are short decimals, as integers over a power of ten: what people and meters report.
//!
//! A value is stored so only if dividing the integer gives its bits back; all others are exceptions
//! by position. Dividing, not multiplying by a rounded inverse, finds every decimal of up to 15
//! digits with one exponent, because a quotient of two exact floats is rounded correctly.
//!
//! # Source
//! The idea of ALP (Afroozeh, Kuffo, Boncz: SIGMOD 2024), with a division in place of its second
//! exponent.

use crate::codec::bytes::{Cursor, Word, push_len};
use crate::codec::integers::{self, Tries};
use crate::codec::{Context, DecodeError, Effort, Repeats, Span, id};

/// Powers of ten that are exact as floats and that short decimals need.
const POWERS: [f64; 16] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];
/// 1.5 times 2^52: what is added to it is rounded to a whole number that stands in the low bits.
const MAGIC: f64 = 6_755_399_441_055_744.0;
/// Whole numbers below this magnitude pass through [`MAGIC`] unchanged.
const WHOLE_BITS: u32 = 51;
const CHUNK: usize = 1024;

#[inline]
fn to_whole(value: f64, power: f64) -> u64 {
    (value * power + MAGIC)
        .to_bits()
        .wrapping_sub(MAGIC.to_bits())
}

#[inline]
fn from_whole<const DIVIDE: bool>(whole: u64, power: f64) -> f64 {
    let float = f64::from_bits(whole.wrapping_add(MAGIC.to_bits())) - MAGIC;
    if DIVIDE { float / power } else { float }
}

/// Zero if `whole` gives `value` back bit by bit, whatever else is not zero.
#[inline]
fn difference<const DIVIDE: bool>(value: f64, whole: u64, power: f64) -> u64 {
    let outside = whole.wrapping_add(1 << WHOLE_BITS) >> (WHOLE_BITS + 1);
    outside | (from_whole::<DIVIDE>(whole, power).to_bits() ^ value.to_bits())
}

/// Appends `values` as decimals, or nothing and says false where too many are none.
pub(super) fn encode(values: &[f64], effort: Effort, tries: Tries<'_>, out: &mut Vec<u8>) -> bool {
    let Some((exponent, exceptions, wholes)) = wholes(values, effort) else {
        return false;
    };
    out.push(id::DECIMAL);
    out.push(exponent);
    push_len(out, exceptions.len());
    if !exceptions.is_empty() {
        let places: Vec<u64> = exceptions.iter().map(|index| *index as u64).collect();
        integers::encode(&places, effort, Tries::INNER, out);
        let odd: Vec<f64> = exceptions.iter().map(|index| values[*index]).collect();
        integers::encode(&odd, effort, Tries::VALUES, out);
    }
    integers::encode(&wholes, effort, tries, out);
    true
}

/// The exponent, where the exceptions stand, and the integers; none where too many are none.
pub(super) fn wholes(values: &[f64], effort: Effort) -> Option<(u8, Vec<usize>, Vec<u64>)> {
    let (sampled, exceptions_max) = match effort {
        Effort::Hot => (8, values.len() / 16),
        Effort::Warm | Effort::Cold => (32, values.len() / 6),
    };
    let exponent = exponent_of(values, sampled)?;
    let power = POWERS[usize::from(exponent)];
    let mut exceptions = Vec::new();
    let wholes = if exponent == 0 {
        convert::<false>(values, power, exceptions_max, &mut exceptions)
    } else {
        convert::<true>(values, power, exceptions_max, &mut exceptions)
    };
    Some((exponent, exceptions, wholes?))
}

/// The smallest exponent that most of a sample needs; none where fewer than half are decimals.
fn exponent_of(values: &[f64], sampled: usize) -> Option<u8> {
    let step = values.len().div_ceil(sampled).max(1);
    let count = values.len().div_ceil(step);
    let mut best = (0, None);
    for (exponent, power) in (0..).zip(POWERS) {
        let exact = values
            .iter()
            .step_by(step)
            .filter(|value| difference::<true>(**value, to_whole(**value, power), power) == 0)
            .count();
        if exact > best.0 {
            best = (exact, Some(exponent));
        }
        if exact == count {
            break;
        }
    }
    best.1.filter(|_| best.0 * 2 > count)
}

/// The integers, exceptions standing as their neighbour does so that they widen nothing; none where
/// exceptions are more than `exceptions_max`.
fn convert<const DIVIDE: bool>(
    values: &[f64],
    power: f64,
    exceptions_max: usize,
    exceptions: &mut Vec<usize>,
) -> Option<Vec<u64>> {
    let mut wholes = vec![0; values.len()];
    let chunks = values.chunks(CHUNK).zip(wholes.chunks_mut(CHUNK));
    for (index, (values, wholes)) in chunks.enumerate() {
        let mut differences = 0;
        for (value, whole) in values.iter().zip(&mut *wholes) {
            *whole = to_whole(*value, power);
            differences |= difference::<DIVIDE>(*value, *whole, power);
        }
        if differences != 0 {
            let places = set_apart::<DIVIDE>(values, wholes, power);
            exceptions.extend(places.into_iter().map(|at| index * CHUNK + at));
            if exceptions.len() > exceptions_max {
                return None;
            }
        }
    }
    Some(wholes)
}

/// Where `values` are no decimals; their `wholes` become what stood before them.
fn set_apart<const DIVIDE: bool>(values: &[f64], wholes: &mut [u64], power: f64) -> Vec<usize> {
    let is_exact = |(value, whole): (&f64, &u64)| difference::<DIVIDE>(*value, *whole, power) == 0;
    let first_exact = values.iter().zip(&*wholes).find(|pair| is_exact(*pair));
    let mut fill = first_exact.map_or(0, |(_, whole)| *whole);
    let mut places = Vec::new();
    for (at, (value, whole)) in values.iter().zip(wholes).enumerate() {
        if is_exact((value, &*whole)) {
            fill = *whole;
        } else {
            places.push(at);
            *whole = fill;
        }
    }
    places
}

/// The exponent, and ten to it.
fn take_power(cursor: &mut Cursor<'_>) -> Result<(usize, f64), DecodeError> {
    let exponent = usize::from(cursor.byte()?);
    let power = POWERS.get(exponent);
    let power = power.ok_or(DecodeError::Invalid("a decimal exponent passes its bound"))?;
    Ok((exponent, *power))
}

/// Appends the runs that `repeats` wants; false where there are none, or exceptions among them.
pub(super) fn take_repeats(
    cursor: &mut Cursor<'_>,
    context: Context<'_>,
    repeats: Repeats<'_>,
) -> Result<bool, DecodeError> {
    let (exponent, power) = take_power(cursor)?;
    if cursor.len(repeats.count)? > 0 {
        return Ok(false);
    }
    let Repeats { count, range, out } = repeats;
    let start = out.len();
    let wholes = Repeats {
        count,
        range,
        out: &mut *out,
    };
    let found = integers::take_repeats(cursor, context.deeper()?, wholes)?;
    for repeat in &mut out[start..] {
        let value = if exponent == 0 {
            from_whole::<false>(repeat.word, power)
        } else {
            from_whole::<true>(repeat.word, power)
        };
        repeat.word = value.to_word();
    }
    Ok(found)
}

/// Fills `out` with decimals.
pub(super) fn take(
    cursor: &mut Cursor<'_>,
    context: Context<'_>,
    span: Span,
    out: &mut [f64],
) -> Result<(), DecodeError> {
    let (exponent, power) = take_power(cursor)?;
    let count = cursor.len(span.count)?;
    let mut places: Vec<u64> = vec![0; count];
    integers::take(cursor, context.deeper()?, &mut places)?;
    let mut odd: Vec<f64> = vec![0.0; count];
    integers::take(cursor, context.deeper()?, &mut odd)?;
    integers::take_span(cursor, context.deeper()?, span, out)?;
    if exponent == 0 {
        restore::<false>(out, power);
    } else {
        restore::<true>(out, power);
    }
    for (place, value) in places.into_iter().zip(odd) {
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        if place >= span.count {
            return Err(DecodeError::Invalid(
                "an exception stands outside its column",
            ));
        }
        let wanted = place.checked_sub(span.start);
        if let Some(slot) = wanted.and_then(|place| out.get_mut(place)) {
            *slot = value;
        }
    }
    Ok(())
}

/// The floats of the integers that stand in `values` as bits.
fn restore<const DIVIDE: bool>(values: &mut [f64], power: f64) {
    for value in values {
        *value = from_whole::<DIVIDE>(value.to_word(), power);
    }
}
