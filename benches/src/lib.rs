//! Data of known shape, from a seed, for the benches and the side-by-side runs.

pub mod data;

pub use data::devops::{CPU_FIELDS, Devops};

/// A small generator of numbers that is the same everywhere (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound
    }

    /// A number in 0..1 of 52 bits, all as likely.
    pub fn unit(&mut self) -> f64 {
        f64::from_bits(0x3ff0_0000_0000_0000 | self.bits() >> 12) - 1.0
    }

    /// A number of mean 0 and deviation 1, normal (sum of twelve).
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    /// One of `choices`.
    ///
    /// # Panics
    /// Where there is none.
    pub fn choose<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        let index = self.below(choices.len() as u64);
        choices[usize::try_from(index).expect("below a length")]
    }
}

/// The time of a data set's first line, ns UTC: 2024-01-01.
pub const START_NS: i64 = 1_704_067_200_000_000_000;
/// Time between two lines of a host, ns.
pub const STEP_NS: i64 = 10_000_000_000;
