//! Integers that wait for a flush, in one, two or four bytes each instead of eight: what each lies above the
//! lowest of its column. Nobody reads them in place but the flush; whoever else wants them gets a copy in full width.
//!
//! Invariant: every value comes back bit by bit.

use crate::codec::Word;
use crate::model::{Column, FieldType, Presence, Values};

/// A column of whole numbers in few bytes.
#[derive(Debug)]
pub(crate) struct NarrowColumn {
    pub(crate) values: Narrow,
    pub(crate) presence: Presence,
    is_signed: bool,
}

/// Whole numbers as words of 64 bits, each as far above the lowest as the entry says.
#[derive(Debug)]
pub(crate) struct Narrow {
    least: u64,
    above: Above,
}

#[derive(Debug)]
enum Above {
    One(Vec<u8>),
    Two(Vec<u16>),
    Four(Vec<u32>),
}

impl NarrowColumn {
    /// `column` in fewer bytes; itself where it holds no whole numbers, or they lie too far apart. Cost: two looks
    /// at each value.
    pub(super) fn of(column: Column) -> Result<NarrowColumn, Column> {
        let (values, is_signed) = match &column.values {
            Values::Integer(values) => (Narrow::of(values), true),
            Values::Unsigned(values) => (Narrow::of(values), false),
            Values::Float(_) | Values::Boolean(_) | Values::String(_) => return Err(column),
        };
        let Some(values) = values else {
            return Err(column);
        };
        Ok(NarrowColumn {
            values,
            presence: column.presence,
            is_signed,
        })
    }

    /// The column in full width.
    pub(super) fn widened(&self) -> Column {
        let values = if self.is_signed {
            Values::Integer(self.values.widened())
        } else {
            Values::Unsigned(self.values.widened())
        };
        Column {
            values,
            presence: self.presence.clone(),
        }
    }

    pub(crate) fn field_type(&self) -> FieldType {
        if self.is_signed {
            FieldType::Integer
        } else {
            FieldType::Unsigned
        }
    }

    /// Anonymous memory of the values, bytes.
    pub(super) fn size_bytes(&self) -> usize {
        match &self.values.above {
            Above::One(above) => above.len(),
            Above::Two(above) => 2 * above.len(),
            Above::Four(above) => 4 * above.len(),
        }
    }
}

impl Narrow {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the span of all of them has been measured"
    )]
    fn of<T: Word + Ord>(values: &[T]) -> Option<Narrow> {
        let first = *values.first()?;
        let (low, high) = values.iter().fold((first, first), |(low, high), value| {
            (low.min(*value), high.max(*value))
        });
        let least = low.to_word();
        let above = |value: &T| value.to_word().wrapping_sub(least);
        let span = above(&high);
        let values = values.iter().map(above);
        let above = if u8::try_from(span).is_ok() {
            Above::One(values.map(|above| above as u8).collect())
        } else if u16::try_from(span).is_ok() {
            Above::Two(values.map(|above| above as u16).collect())
        } else if u32::try_from(span).is_ok() {
            Above::Four(values.map(|above| above as u32).collect())
        } else {
            return None;
        };
        Some(Narrow { least, above })
    }

    fn widened<T: Word>(&self) -> Vec<T> {
        let wide = |above: u64| T::from_word(self.least.wrapping_add(above));
        match &self.above {
            Above::One(above) => above.iter().map(|above| wide((*above).into())).collect(),
            Above::Two(above) => above.iter().map(|above| wide((*above).into())).collect(),
            Above::Four(above) => above.iter().map(|above| wide((*above).into())).collect(),
        }
    }

    /// Value number `at`.
    ///
    /// # Panics
    /// If there are not that many.
    #[inline]
    pub(crate) fn get<T: Word>(&self, at: usize) -> T {
        let above = match &self.above {
            Above::One(above) => u64::from(above[at]),
            Above::Two(above) => u64::from(above[at]),
            Above::Four(above) => u64::from(above[at]),
        };
        T::from_word(self.least.wrapping_add(above))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(values: Values, bytes_each: Option<usize>) -> Result<(), TestCaseError> {
        let column = Column {
            values,
            presence: Presence::All,
        };
        let len = column.values.len();
        match NarrowColumn::of(column.clone()) {
            Err(same) => {
                prop_assert_eq!(same, column);
                prop_assert_eq!(bytes_each, None);
            }
            Ok(narrow) => {
                prop_assert_eq!(narrow.widened(), column.clone());
                prop_assert_eq!(narrow.field_type(), column.values.field_type());
                prop_assert_eq!(Some(narrow.size_bytes()), bytes_each.map(|each| each * len));
                for at in 0..len {
                    match &column.values {
                        Values::Integer(all) => {
                            prop_assert_eq!(narrow.values.get::<i64>(at), all[at]);
                        }
                        Values::Unsigned(all) => {
                            prop_assert_eq!(narrow.values.get::<u64>(at), all[at]);
                        }
                        Values::Float(_) | Values::Boolean(_) | Values::String(_) => {
                            prop_assert!(false, "only whole numbers become narrow");
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn bytes_each(span: u64) -> Option<usize> {
        match span {
            0..=0xff => Some(1),
            0x100..=0xffff => Some(2),
            0x1_0000..=0xffff_ffff => Some(4),
            0x1_0000_0000..=u64::MAX => None,
        }
    }

    proptest! {
        #[test]
        fn whole_numbers_come_back_whatever_they_span(
            least in any::<i64>(),
            bits in 0_u32..64,
            steps in prop::collection::vec(any::<u64>(), 1..50),
        ) {
            let mask = u64::MAX >> bits;
            let signed: Vec<i64> = steps.iter().map(|step| least.saturating_add_unsigned(step & mask)).collect();
            let span = signed.iter().max().unwrap().abs_diff(*signed.iter().min().unwrap());
            check(Values::Integer(signed), bytes_each(span))?;
            let least = least.cast_unsigned();
            let unsigned: Vec<u64> = steps.iter().map(|step| least.saturating_add(step & mask)).collect();
            let span = unsigned.iter().max().unwrap() - unsigned.iter().min().unwrap();
            check(Values::Unsigned(unsigned), bytes_each(span))?;
        }
    }

    #[test]
    fn ends_of_the_types_and_widths_and_what_is_no_number() {
        for span in [
            0,
            0xff,
            0x100,
            0xffff,
            0x1_0000,
            0xffff_ffff,
            0x1_0000_0000,
            u64::MAX,
        ] {
            let high = i64::MIN.saturating_add_unsigned(span);
            check(Values::Integer(vec![high, i64::MIN]), bytes_each(span)).unwrap();
            check(
                Values::Unsigned(vec![u64::MAX - span, u64::MAX]),
                bytes_each(span),
            )
            .unwrap();
        }
        check(Values::Float(vec![1.0, 2.0]), None).unwrap();
        check(Values::Boolean(vec![true]), None).unwrap();
        check(Values::Integer(Vec::new()), None).unwrap();
    }
}
