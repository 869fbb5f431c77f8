//! Numbers and the other values, text to bits.

/// A value of a field, strings still escaped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar<'text> {
    Float(f64),
    Integer(i64),
    Unsigned(u64),
    Boolean(bool),
    /// What stands between the quotes.
    String(&'text [u8]),
}

/// Powers of ten that a double holds exactly.
const TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Digits whose number a `u64` surely holds.
pub(super) const DIGITS_SURE: usize = 19;

/// The number at the start of `text` and the length of its text.
///
/// # Errors
/// InfluxDB's words for what is wrong.
#[inline]
pub(super) fn number(text: &[u8]) -> Result<(Scalar<'static>, usize), String> {
    let negative = text.first() == Some(&b'-');
    let start = usize::from(negative);
    let (mantissa, at) = digits(text, start, 0);
    let whole = at - start;
    match text.get(at) {
        Some(b'i') if whole > 0 => integer(text, at, negative, mantissa),
        Some(b'u') if whole > 0 && !negative => unsigned(text, at, mantissa),
        _ => float(text, start, at, mantissa),
    }
}

/// The float at the start of `text`, of whose digits from `start` on those before `at` are read.
fn float(
    text: &[u8],
    start: usize,
    mut at: usize,
    mut mantissa: u64,
) -> Result<(Scalar<'static>, usize), String> {
    let (negative, whole) = (start > 0, at - start);
    let mut fraction = 0;
    if text.get(at) == Some(&b'.') {
        let behind = at + 1;
        (mantissa, at) = digits(text, behind, mantissa);
        fraction = at - behind;
    }
    if whole + fraction == 0 {
        return Err("invalid number".into());
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        return scientific(text, at);
    }
    if !ends_value(text, at) {
        return Err("invalid number".into());
    }
    let value = if whole + fraction <= DIGITS_SURE && mantissa < 1 << 53 && fraction < TENS.len() {
        // Both are exact, so one division rounds once: the nearest double.
        #[expect(clippy::cast_precision_loss, reason = "the mantissa is below 2^53")]
        let value = mantissa as f64 / TENS[fraction];
        if negative { -value } else { value }
    } else {
        fast_float2::parse(&text[..at]).map_err(|_| "invalid float".to_owned())?
    };
    Ok((Scalar::Float(value), at))
}

/// Reads digits from `at` on behind `value`; wraps where there are more than [`DIGITS_SURE`]. Eight
/// at a time: how many digits a number has is chance, and a branch on chance costs more than to
/// look at all eight.
#[inline]
pub(super) fn digits(text: &[u8], mut at: usize, mut value: u64) -> (u64, usize) {
    while let Some(eight) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        // A digit becomes its value, any other byte something above 9.
        let bytes = u64::from_le_bytes(*eight) ^ 0x3030_3030_3030_3030;
        // A carry out of a byte above 9 reaches only those behind it, which do not count any more.
        let above = bytes.wrapping_add(0x7676_7676_7676_7676) | bytes;
        let count = (above & 0x8080_8080_8080_8080).trailing_zeros() / 8;
        let Some(aligned) = bytes.checked_shl(64 - 8 * count) else {
            return (value, at);
        };
        let count = count as usize;
        value = value
            .wrapping_mul(WHOLE_TENS[count])
            .wrapping_add(of_eight(aligned));
        at += count;
        if count < 8 {
            return (value, at);
        }
    }
    while let Some(digit) = text
        .get(at)
        .map(|byte| byte.wrapping_sub(b'0'))
        .filter(|d| *d < 10)
    {
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    (value, at)
}

/// Powers of ten up to eight digits.
const WHOLE_TENS: [u64; 9] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
];

/// The number of eight digits, one to a byte, the highest in the lowest byte: pairs, then fours, then
/// all eight are put together.
#[inline]
fn of_eight(digits: u64) -> u64 {
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let low = (pairs & 0x0000_00FF_0000_00FF).wrapping_mul(100 + (1_000_000 << 32));
    let high = (pairs >> 16 & 0x0000_00FF_0000_00FF).wrapping_mul(1 + (10_000 << 32));
    low.wrapping_add(high) >> 32
}

/// Whether a value ends at `at`.
fn ends_value(text: &[u8], at: usize) -> bool {
    matches!(text.get(at), None | Some(b',' | b' ' | b'\n'))
}

/// The float whose exponent sign stands at `at`.
fn scientific(text: &[u8], at: usize) -> Result<(Scalar<'static>, usize), String> {
    let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
    let (_, end) = digits(text, at + 1 + sign, 0);
    if !ends_value(text, end) {
        return Err("invalid number".into());
    }
    if end == at + 1 + sign {
        return Err("invalid float".into());
    }
    let value: f64 = fast_float2::parse(&text[..end]).map_err(|_| "invalid float".to_owned())?;
    if value.is_finite() {
        Ok((Scalar::Float(value), end))
    } else {
        Err("invalid float".into())
    }
}

/// The integer whose suffix stands at `at`.
#[inline]
fn integer(
    text: &[u8],
    at: usize,
    negative: bool,
    mantissa: u64,
) -> Result<(Scalar<'static>, usize), String> {
    if !ends_value(text, at + 1) {
        return Err("invalid number".into());
    }
    if at < DIGITS_SURE {
        // Below 10^18: both signs fit.
        let value = i64::try_from(mantissa).expect("eighteen digits fit");
        return Ok((
            Scalar::Integer(if negative { -value } else { value }),
            at + 1,
        ));
    }
    let digits = String::from_utf8_lossy(&text[..at]);
    let value = digits.parse().map_err(|_| {
        format!(
            "unable to parse integer {digits}: strconv.ParseInt: parsing \"{digits}\": value out of range"
        )
    })?;
    Ok((Scalar::Integer(value), at + 1))
}

/// The unsigned integer whose suffix stands at `at`.
fn unsigned(text: &[u8], at: usize, mantissa: u64) -> Result<(Scalar<'static>, usize), String> {
    if !ends_value(text, at + 1) {
        return Err("invalid number".into());
    }
    if at <= DIGITS_SURE {
        return Ok((Scalar::Unsigned(mantissa), at + 1));
    }
    let digits = String::from_utf8_lossy(&text[..at]);
    let value = digits.parse().map_err(|_| {
        format!(
            "unable to parse unsigned {digits}: strconv.ParseUint: parsing \"{digits}\": value out of range"
        )
    })?;
    Ok((Scalar::Unsigned(value), at + 1))
}

/// The boolean at the start of `text` and the length of its text.
///
/// # Errors
/// InfluxDB's words for what is wrong.
pub(super) fn boolean(text: &[u8]) -> Result<(Scalar<'static>, usize), String> {
    let end = text
        .iter()
        .position(|b| matches!(b, b',' | b' ' | b'\n'))
        .unwrap_or(text.len());
    let value = match &text[..end] {
        b"t" | b"T" | b"true" | b"True" | b"TRUE" => true,
        b"f" | b"F" | b"false" | b"False" | b"FALSE" => false,
        _ => return Err("invalid boolean".into()),
    };
    Ok((Scalar::Boolean(value), end))
}

/// The string whose opening quote is the first byte of `text`, and the length of its text with
/// both quotes.
///
/// # Errors
/// InfluxDB's words for what is wrong.
pub(super) fn string(text: &[u8]) -> Result<(Scalar<'_>, usize), String> {
    let mut at = 1;
    loop {
        let Some(found) = memchr::memchr2(b'"', b'\\', &text[at..]) else {
            return Err("unbalanced quotes".into());
        };
        at += found;
        if text[at] == b'"' {
            break;
        }
        if at + 1 >= text.len() {
            return Err("unbalanced quotes".into());
        }
        at += 2;
        if at > text.len() {
            return Err("unbalanced quotes".into());
        }
    }
    if !ends_value(text, at + 1) {
        return Err("invalid field format".into());
    }
    Ok((Scalar::String(&text[1..at]), at + 1))
}
