//! What many columns of one field share: models of entropy coding and a dictionary of floats. Made
//! from the columns before they are encoded, kept apart from them, needed to decode them.

use std::sync::OnceLock;

use super::bytes::Cursor;
use super::floats::{self, Slots};
use super::integers::{
    self,
    entropy::{self, Model},
};
use super::{Context, DecodeError, Effort, Span, push_len, whole};
use crate::model::Values;

/// The most models of one set: which one a column takes is found by trying them.
const MODELS_MAX: usize = 16;
/// The most floats of one set; half a megabyte in memory.
pub(super) const FLOATS_MAX: usize = 1 << 16;

/// What the columns of one field may refer to.
#[derive(Debug)]
pub struct Shared {
    pub(super) models: Vec<Model>,
    /// Distinct by bits, ascending.
    pub(super) floats: Vec<f64>,
    /// Where each float stands; made when first asked for.
    slots: OnceLock<Slots>,
}

pub(super) static NONE: Shared = Shared::new(Vec::new(), Vec::new());

impl PartialEq for Shared {
    fn eq(&self, other: &Shared) -> bool {
        let bits = |shared: &Shared| -> Vec<u64> {
            shared.floats.iter().map(|float| float.to_bits()).collect()
        };
        self.models == other.models && bits(self) == bits(other)
    }
}

impl Shared {
    const fn new(models: Vec<Model>, floats: Vec<f64>) -> Shared {
        Shared {
            models,
            floats,
            slots: OnceLock::new(),
        }
    }

    /// Nothing: for columns that stand alone.
    pub fn none() -> &'static Shared {
        &NONE
    }

    /// What makes `columns`, of one type, small when they are encoded with [`Effort::Cold`]. Cost:
    /// some 30 ns a value.
    ///
    /// # Panics
    /// If they are of different types.
    pub fn of_values(columns: &[&Values]) -> Shared {
        let mut shared = Shared::new(Vec::new(), Vec::new());
        match columns.first() {
            Some(Values::Float(_)) => {
                let columns = all(columns, |column| {
                    if let Values::Float(values) = column {
                        Some(&values[..])
                    } else {
                        None
                    }
                });
                let (form, dictionary) = floats::shared_form(&columns);
                shared = Shared::new(entropy::train(&form), dictionary);
            }
            Some(Values::Integer(_)) => {
                shared.models = entropy::train(&all(columns, |column| {
                    if let Values::Integer(values) = column {
                        Some(&values[..])
                    } else {
                        None
                    }
                }));
            }
            Some(Values::Unsigned(_)) => {
                shared.models = entropy::train(&all(columns, |column| {
                    if let Values::Unsigned(values) = column {
                        Some(&values[..])
                    } else {
                        None
                    }
                }));
            }
            Some(Values::Boolean(_) | Values::String(_)) | None => {}
        }
        shared
    }

    /// As [`Shared::of_values`], for columns of times.
    pub fn of_timestamps(columns: &[&[i64]]) -> Shared {
        let forms = columns.iter().map(|times| integers::times_form(times));
        Shared::new(entropy::train(&forms.collect::<Vec<_>>()), Vec::new())
    }

    /// Whether there is nothing to refer to.
    pub fn is_empty(&self) -> bool {
        self.models.is_empty() && self.floats.is_empty()
    }

    /// Memory that it takes once all of it has been used for decoding, bytes.
    pub fn decoded_bytes(&self) -> usize {
        let models = self.models.iter().map(Model::decoded_bytes);
        models.sum::<usize>() + self.floats.len() * size_of::<f64>()
    }

    /// Appends the set's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        push_len(out, self.models.len());
        self.models.iter().for_each(|model| model.write(out));
        push_len(out, self.floats.len());
        floats::encode_alone(&self.floats, Effort::Cold, out);
    }

    /// The set that `bytes` are.
    ///
    /// # Errors
    /// If they are none.
    pub fn decode(bytes: &[u8]) -> Result<Shared, DecodeError> {
        whole(bytes, |cursor| {
            let count = cursor.len(MODELS_MAX)?;
            let models = (0..count).map(|_| Model::take(cursor));
            let models = models.collect::<Result<_, _>>()?;
            let count = cursor.len(FLOATS_MAX)?;
            let mut dictionary = vec![0.0; count];
            floats::take(cursor, Context::TOP, Span::whole(count), &mut dictionary)?;
            Ok(Shared::new(models, dictionary))
        })
    }

    pub(super) fn slots(&self) -> &Slots {
        self.slots.get_or_init(|| Slots::of(&self.floats))
    }

    pub(super) fn model(&self, cursor: &mut Cursor<'_>) -> Result<&Model, DecodeError> {
        const MISSING: DecodeError =
            DecodeError::Invalid("a column refers to a model that is none");
        let number = usize::try_from(cursor.varint()?).map_err(|_| MISSING)?;
        self.models.get(number).ok_or(MISSING)
    }
}

/// What `values_of` finds in each of `columns`.
fn all<'own, T>(
    columns: &[&'own Values],
    values_of: impl Fn(&'own Values) -> Option<&'own [T]>,
) -> Vec<&'own [T]> {
    let all = columns.iter().map(|column| values_of(column));
    all.map(|values| values.expect("the columns of a field are of one type"))
        .collect()
}
