//! What a point holds follows from its seed, its writer and its number alone, so that a found point
//! proves where it comes from.

use std::fmt::Write as _;

/// The measurement.
pub(crate) const MEASUREMENT: &str = "k";
/// Series of a writer.
pub(crate) const SERIES: u64 = 17;

/// A small generator of repeatable numbers (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not zero.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }
}

/// The values of a point: an integer of any bits, a float of full precision, a text, a small number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Values {
    pub(crate) integer: i64,
    pub(crate) float_bits: u64,
    pub(crate) text: String,
    pub(crate) small: i64,
}

/// What point `number` of `writer` holds.
pub(crate) fn values(seed: u64, writer: u64, number: u64) -> Values {
    let bits = Random(seed ^ writer << 40 ^ number).bits();
    Values {
        integer: bits.cast_signed(),
        float_bits: bits & !(0x7ff << 52) | 1023 << 52,
        text: format!("{bits:x}"),
        small: (bits % 1000).cast_signed(),
    }
}

/// Points in line protocol.
pub(crate) fn lines(seed: u64, writer: u64, numbers: std::ops::Range<u64>) -> String {
    let mut body = String::new();
    for number in numbers {
        let Values {
            integer,
            float_bits,
            text,
            small,
        } = values(seed, writer, number);
        let float = f64::from_bits(float_bits);
        let series = number % SERIES;
        // Writing to a string does not fail.
        writeln!(
            body,
            "{MEASUREMENT},w=w{writer},s=s{series} i={integer}i,f={float:e},t=\"{text}\",n={small}i {number}"
        )
        .ok();
    }
    body
}
