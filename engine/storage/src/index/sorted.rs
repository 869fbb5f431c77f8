//! Numbers sorted by the strings they stand for: mostly a sort of integers.

use std::cmp::Ordering;

/// Bytes of a string that are compared as part of an integer.
pub(super) const PREFIX_BYTES: usize = 12;

/// The numbers below `count` in the order of their strings: `prefix` is a string's first bytes,
/// those that all share left out, zeros behind its end; `compare` decides where those are equal.
/// Memory: 20 bytes a number.
#[expect(
    clippy::big_endian_bytes,
    reason = "integers are compared in place of the bytes that they are made of"
)]
pub(super) fn sorted_by_text(
    count: u32,
    prefix: impl Fn(u32) -> [u8; PREFIX_BYTES],
    compare: impl Fn(u32, u32) -> Ordering,
) -> Vec<u32> {
    let packed = (0..count).map(|number| {
        let mut bytes = [0; 16];
        bytes[..PREFIX_BYTES].copy_from_slice(&prefix(number));
        bytes[PREFIX_BYTES..].copy_from_slice(&number.to_be_bytes());
        u128::from_be_bytes(bytes)
    });
    sorted_packed(packed.collect(), |tied| {
        tied.sort_unstable_by(|one, other| compare(*one, *other));
    })
}

/// The low 32 bits of each word, in the order of the 96 bits above them; `settle` sorts each stretch where
/// those are equal.
pub(crate) fn sorted_packed(mut packed: Vec<u128>, mut settle: impl FnMut(&mut [u32])) -> Vec<u32> {
    packed.sort_unstable();
    let low = |word: &u128| u32::try_from(word & u128::from(u32::MAX)).expect("they are 32 bits");
    let mut numbers: Vec<u32> = packed.iter().map(low).collect();
    let mut start = 0;
    for equal in packed.chunk_by(|one, other| one >> 32 == other >> 32) {
        let end = start + equal.len();
        if equal.len() > 1 {
            settle(&mut numbers[start..end]);
        }
        start = end;
    }
    numbers
}

/// How many bytes all of `strings` open with alike.
pub(super) fn shared_len<'text>(mut strings: impl Iterator<Item = &'text [u8]>) -> usize {
    let Some(first) = strings.next() else {
        return 0;
    };
    let mut shared = first.len();
    for string in strings {
        let alike = first[..shared].iter().zip(string);
        shared = alike.take_while(|(one, other)| one == other).count();
    }
    shared
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_stand_in_the_order_of_their_strings(
            strings in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(0_u8..3, 0..5),
                    prop::collection::vec(0_u8..2, 10..16),
                ],
                0..60,
            ),
            shared in prop::collection::vec(any::<u8>(), 0..4),
        ) {
            let strings: Vec<Vec<u8>> =
                strings.into_iter().map(|string| [&shared[..], &string].concat()).collect();
            let text = |number: u32| &strings[number as usize][..];
            let common = shared_len(strings.iter().map(Vec::as_slice));
            prop_assert!(strings.is_empty() || common >= shared.len());
            let prefix = |number| {
                let mut prefix = [0; PREFIX_BYTES];
                for (byte, own) in prefix.iter_mut().zip(&text(number)[common..]) {
                    *byte = *own;
                }
                prefix
            };
            let count = u32::try_from(strings.len()).unwrap();
            let sorted =
                sorted_by_text(count, prefix, |one, other| text(one).cmp(text(other)));
            let mut numbers = sorted.clone();
            numbers.sort_unstable();
            prop_assert!(numbers.into_iter().eq(0..count));
            prop_assert!(sorted.windows(2).all(|pair| text(pair[0]) <= text(pair[1])));
        }
    }
}
