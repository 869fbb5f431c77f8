//! Conditions on tags, as a query states them.

use std::fmt;
use std::sync::Arc;

use crate::model::{MeasurementId, TagKeyId, TagSet};

/// A test of a tag value, such as a compiled regular expression.
pub trait ValueMatcher: fmt::Debug + Send + Sync {
    /// Whether `value` passes. A missing tag is asked as the empty value.
    fn matches(&self, value: &[u8]) -> bool;

    /// All values that pass, sorted, where the matcher knows them; `None` where it must be asked.
    fn values(&self) -> Option<&[Box<[u8]>]> {
        None
    }

    /// What every value that passes begins with, the empty value aside; empty where that is not
    /// known.
    fn prefix(&self) -> &[u8] {
        b""
    }
}

/// Which series of a measurement are wanted, and how the names of tag keys are understood.
pub struct Wanted<'a> {
    /// Their measurement.
    pub measurement: MeasurementId,
    /// What holds of them.
    pub predicate: &'a TagPredicate,
    /// The id of a tag key, if there is one of the name.
    pub names: &'a dyn Fn(&[u8]) -> Option<TagKeyId>,
    /// Whether a tag key has a name: a series with one that has none came later than the names.
    pub is_known: &'a dyn Fn(TagKeyId) -> bool,
}

impl fmt::Debug for Wanted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (measurement, predicate) = (self.measurement, self.predicate);
        write!(out, "Wanted {{ {measurement:?}, {predicate:?} }}")
    }
}

/// A condition on the tags of a series. A tag that a series lacks has the empty value.
#[derive(Clone, Debug)]
pub enum TagPredicate {
    /// Every series.
    All,
    /// No series.
    None,
    /// The tag `key` has exactly this value; empty: the series lacks it.
    Equal {
        /// Tag key.
        key: Box<[u8]>,
        /// Tag value.
        value: Box<[u8]>,
    },
    /// The value of tag `key` passes the matcher.
    Matches {
        /// Tag key.
        key: Box<[u8]>,
        /// The test.
        matcher: Arc<dyn ValueMatcher>,
    },
    /// Both keys have equal values.
    SameValue(Box<[u8]>, Box<[u8]>),
    /// The condition does not hold.
    Not(Box<TagPredicate>),
    /// All hold.
    And(Vec<TagPredicate>),
    /// At least one holds.
    Or(Vec<TagPredicate>),
}

impl TagPredicate {
    /// Whether a series with these tags passes. The definition that every index must agree with.
    pub fn holds(&self, tags: &TagSet) -> bool {
        self.holds_of(&|key| tags.get(key).unwrap_or_default())
    }

    /// Whether a series passes that has this value at a tag key.
    pub fn holds_of<'value>(&self, value: &impl Fn(&[u8]) -> &'value [u8]) -> bool {
        match self {
            TagPredicate::All => true,
            TagPredicate::None => false,
            TagPredicate::Equal { key, value: wanted } => value(key) == &**wanted,
            TagPredicate::Matches { key, matcher } => matcher.matches(value(key)),
            TagPredicate::SameValue(a, b) => value(a) == value(b),
            TagPredicate::Not(inner) => !inner.holds_of(value),
            TagPredicate::And(all) => all.iter().all(|one| one.holds_of(value)),
            TagPredicate::Or(any) => any.iter().any(|one| one.holds_of(value)),
        }
    }
}
