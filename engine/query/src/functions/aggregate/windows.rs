//! Functions of windows whose values are known by their aggregates only.

use silverback_storage::model::{AggregateSet, FieldValue, FieldWindows, Selected};

use crate::functions::aggregate::{Aggregate, difference, mean_value, sum_value};

impl Aggregate {
    /// What must be known of a window; `None` where only its values will do.
    pub fn wanted(&self) -> Option<AggregateSet> {
        Some(match self {
            Aggregate::Count => AggregateSet::COUNT,
            Aggregate::Sum | Aggregate::Mean => AggregateSet::SUM,
            Aggregate::Min => AggregateSet::of(Selected::Min),
            Aggregate::Max => AggregateSet::of(Selected::Max),
            Aggregate::First => AggregateSet::of(Selected::First),
            Aggregate::Last => AggregateSet::of(Selected::Last),
            Aggregate::Spread => {
                AggregateSet::of(Selected::Min).with(AggregateSet::of(Selected::Max))
            }
            Aggregate::Stddev
            | Aggregate::Median
            | Aggregate::Mode
            | Aggregate::Percentile(_)
            | Aggregate::Distinct
            | Aggregate::CountDistinct
            | Aggregate::Top { .. }
            | Aggregate::Bottom { .. }
            | Aggregate::Sample(_) => return None,
        })
    }

    /// The function of entry `at` of `windows`, and the time of the point where it selects one;
    /// `None` where the entry has no value or what is [`Aggregate::wanted`] is not known.
    pub fn of_windows(
        &self,
        windows: &FieldWindows,
        at: usize,
    ) -> Option<(Option<i64>, FieldValue)> {
        let selected = |selected| {
            let (timestamp, value) = windows.point(selected, at)?;
            Some((Some(timestamp), value))
        };
        let value = match self {
            Aggregate::Min => return selected(Selected::Min),
            Aggregate::Max => return selected(Selected::Max),
            Aggregate::First => return selected(Selected::First),
            Aggregate::Last => return selected(Selected::Last),
            Aggregate::Count if windows.count(at) == 0 => return None,
            Aggregate::Count => {
                let count = i64::try_from(windows.count(at)).unwrap_or(i64::MAX);
                FieldValue::Integer(count)
            }
            Aggregate::Sum => sum_value(windows.sum(at)?, windows.field_type())?,
            Aggregate::Mean => mean_value(windows.sum(at)?, windows.count(at))?,
            Aggregate::Spread => {
                let (_, least) = windows.point(Selected::Min, at)?;
                let (_, largest) = windows.point(Selected::Max, at)?;
                difference(&largest, &least)?
            }
            Aggregate::Stddev
            | Aggregate::Median
            | Aggregate::Mode
            | Aggregate::Percentile(_)
            | Aggregate::Distinct
            | Aggregate::CountDistinct
            | Aggregate::Top { .. }
            | Aggregate::Bottom { .. }
            | Aggregate::Sample(_) => return None,
        };
        Some((None, value))
    }
}
