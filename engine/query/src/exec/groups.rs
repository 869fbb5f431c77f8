//! Which series and which inner groups make which group, settled once before anything is read.

use std::cmp::{Ordering, Reverse};
use std::ops::Range;
use std::sync::Arc;

use silverback_storage::model::{
    FieldId, FieldType, FieldValue, SeriesRequest, TagSet, TagValue, TimeRange,
};

use crate::exec::Context;
use crate::plan::expr::Expr;
use crate::plan::{Binding, Input, MeasurementInput, Plan, SubqueryInput};
use crate::result::QueryError;
use crate::source::SeriesInfo;

/// A plan with its groups. Groups stand in the order of the answer; the series of each input, and
/// the groups of each inner plan, stand in the order in which the groups ask for them.
#[derive(Debug)]
pub(super) struct Prepared<'p> {
    pub(super) plan: &'p Plan,
    pub(super) inputs: Vec<PreparedInput<'p>>,
    pub(super) groups: Vec<Group>,
}

/// What shares a measurement name and the values of the grouping tags.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: Arc<[u8]>,
    /// One value per tag of the plan's `group_by`.
    pub(super) tags: Vec<TagValue>,
    pub(super) parts: Vec<Part>,
}

/// What one input gives to a group: some of its series, or some groups of the inner plan.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) input: usize,
    pub(super) members: Range<usize>,
}

#[derive(Debug)]
pub(super) enum PreparedInput<'p> {
    Measurement(PreparedMeasurement<'p>),
    Subquery(PreparedSubquery<'p>),
}

#[derive(Debug)]
pub(super) struct PreparedSubquery<'p> {
    pub(super) input: &'p SubqueryInput,
    pub(super) inner: Box<Prepared<'p>>,
}

/// A measurement's series and what is read of them.
pub(super) struct PreparedMeasurement<'p> {
    pub(super) input: &'p MeasurementInput,
    pub(super) series: Vec<SeriesInfo>,
    /// Each field once.
    pub(super) fields: Vec<FieldId>,
    /// For each variable that is a field: variable, place in `fields`, the type as it is read.
    pub(super) columns: Vec<(usize, usize, FieldType)>,
    /// For each variable that is a tag: variable and key, sorted by key.
    pub(super) tags: Vec<(usize, &'p [u8])>,
    /// Which rows count, per series; empty: all do.
    filters: Vec<Option<Arc<Expr>>>,
}

impl std::fmt::Debug for PreparedMeasurement<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("PreparedMeasurement")
            .field("input", &self.input)
            .field("series", &self.series.len())
            .finish_non_exhaustive()
    }
}

/// Which tags of its series a plan has to know.
#[derive(Clone, Copy, Debug)]
enum TagsRead<'k> {
    All,
    Of(&'k [Box<[u8]>]),
    None,
}

/// What an outer plan says of the order of groups.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Leading<'k> {
    /// The tags that it sorts by.
    pub(super) keys: &'k [Box<[u8]>],
    /// By how many of them the outermost plan goes backwards where newest rows come first.
    pub(super) reversed: Option<usize>,
}

/// A member on its way into a group.
struct Entry {
    name: Arc<[u8]>,
    /// The first bytes of the first value, in its order: most entries differ in them.
    lead: [u8; 8],
    /// Values in the order that groups are sorted by.
    key: Vec<TagValue>,
    input: usize,
    members: Range<usize>,
}

/// The first eight bytes of the first of `key`, so that of two keys the one with the smaller lead is the
/// smaller one.
fn lead(key: &[TagValue]) -> [u8; 8] {
    let mut bytes = [0; 8];
    let first = key.first().map_or(&[][..], |value| value);
    for (own, byte) in bytes.iter_mut().zip(first) {
        *own = *byte;
    }
    bytes
}

impl<'p> Prepared<'p> {
    /// Lists the series of `plan` in `range` and groups them. `leading`: the tags that an outer
    /// plan groups by, in the order that it sorts by; this plan sorts by them first.
    pub(super) fn new(
        context: &Context<'_>,
        plan: &'p Plan,
        leading: Leading<'_>,
        range: TimeRange,
    ) -> Result<Prepared<'p>, QueryError> {
        let reversed = leading.reversed.unwrap_or(plan.group_by.len());
        let leading = leading.keys;
        let mut order = leading.to_vec();
        order.extend(
            plan.group_by
                .iter()
                .filter(|key| !leading.contains(key))
                .cloned(),
        );
        let range = reach(plan, plan.range.intersect(range));
        let mut inputs = Vec::with_capacity(plan.inputs.len());
        let mut entries = Vec::new();
        let tags = match (is_stated(plan), order.is_empty()) {
            (false, _) => TagsRead::All,
            (true, false) => TagsRead::Of(&order),
            (true, true) => TagsRead::None,
        };
        for (index, input) in plan.inputs.iter().enumerate() {
            let prepared = match input {
                Input::Measurement(input) => {
                    let prepared = PreparedMeasurement::new(context, (input, tags), range)?;
                    prepared.list(&order, index, &mut entries);
                    PreparedInput::Measurement(prepared)
                }
                Input::Subquery(input) => {
                    let leading = Leading {
                        keys: &order,
                        reversed: Some(reversed),
                    };
                    let inner = Prepared::new(context, &input.plan, leading, range)?;
                    inner.list(&order, index, &mut entries);
                    PreparedInput::Subquery(PreparedSubquery {
                        input,
                        inner: Box::new(inner),
                    })
                }
            };
            inputs.push(prepared);
        }
        let mut prepared = Prepared {
            plan,
            inputs,
            groups: Vec::new(),
        };
        prepared.group(&order, reversed, entries);
        Ok(prepared)
    }

    /// Takes the groups that the limits let through, counted per measurement in the order of
    /// [`counting_key`].
    fn cut(&self, order: &[Box<[u8]>], entries: &[Entry], groups: &mut Vec<Range<usize>>) {
        let cut = self.plan.cut;
        if cut.group_limit == 0 && cut.group_offset == 0 {
            return;
        }
        let behind = match cut.group_limit {
            0 => u64::MAX,
            limit => cut.group_offset.saturating_add(limit),
        };
        let mut counted: Vec<usize> = (0..groups.len()).collect();
        counted.sort_by_cached_key(|index| {
            let first = &entries[groups[*index].start];
            (Arc::clone(&first.name), counting_key(order, &first.key))
        });
        let mut through = vec![false; groups.len()];
        let name = |index: usize| &entries[groups[index].start].name;
        let same_name = |a: &usize, b: &usize| name(*a) == name(*b);
        for measurement in counted.chunk_by(same_name) {
            for (place, index) in (1_u64..).zip(measurement) {
                through[*index] = place > cut.group_offset && place <= behind;
            }
        }
        let mut through = through.into_iter();
        groups.retain(|_| through.next() == Some(true));
    }

    /// Makes groups of the entries. Where newest rows come first, groups come backwards by the
    /// first `reversed` values of their keys.
    fn group(&mut self, order: &[Box<[u8]>], reversed: usize, mut entries: Vec<Entry>) {
        let by_name = |a: &Entry, b: &Entry| {
            if Arc::ptr_eq(&a.name, &b.name) {
                Ordering::Equal
            } else {
                a.name.cmp(&b.name)
            }
        };
        let by_key = |a: &Entry, b: &Entry| {
            let by_lead = by_name(a, b).then(a.lead.cmp(&b.lead));
            by_lead.then_with(|| a.key.cmp(&b.key))
        };
        entries.sort_by(by_key);
        let mut end = 0;
        let alike = entries.chunk_by(|a, b| by_key(a, b) == Ordering::Equal);
        let mut groups: Vec<Range<usize>> = alike
            .map(|group| {
                end += group.len();
                end - group.len()..end
            })
            .collect();
        self.cut(order, &entries, &mut groups);
        if self.plan.descending && reversed >= order.len() {
            groups.reverse();
        } else if self.plan.descending {
            let backwards = |group: &Range<usize>| {
                let first = &entries[group.start];
                let key = first.key[..reversed.min(first.key.len())].to_vec();
                Reverse((Arc::clone(&first.name), key))
            };
            groups.sort_by_cached_key(backwards);
        }
        let places: Vec<usize> = self
            .plan
            .group_by
            .iter()
            .filter_map(|key| order.iter().position(|other| other == key))
            .collect();
        let as_they_stand = places.iter().copied().eq(0..order.len());
        let mut taken: Vec<Vec<usize>> = vec![Vec::new(); self.inputs.len()];
        self.groups.reserve_exact(groups.len());
        for group in groups {
            let members = &mut entries[group];
            let mut parts: Vec<Part> = Vec::with_capacity(1);
            for entry in &*members {
                let own = &mut taken[entry.input];
                let start = own.len();
                own.extend(entry.members.clone());
                match parts.last_mut() {
                    Some(part) if part.input == entry.input => part.members.end = own.len(),
                    _ => parts.push(Part {
                        input: entry.input,
                        members: start..own.len(),
                    }),
                }
            }
            let first = &mut members[0];
            let key = std::mem::take(&mut first.key);
            self.groups.push(Group {
                tags: if as_they_stand {
                    key
                } else {
                    places.iter().map(|place| key[*place].clone()).collect()
                },
                name: Arc::clone(&first.name),
                parts,
            });
        }
        for (input, taken) in self.inputs.iter_mut().zip(taken) {
            input.keep(&taken);
        }
    }

    /// Each of this plan's groups as a member of an outer plan's group.
    fn list(&self, order: &[Box<[u8]>], input: usize, entries: &mut Vec<Entry>) {
        let places: Vec<Option<usize>> = order
            .iter()
            .map(|key| self.plan.group_by.binary_search(key).ok())
            .collect();
        for (member, group) in self.groups.iter().enumerate() {
            let value = |place: &Option<usize>| {
                place
                    .map(|place| group.tags[place].clone())
                    .unwrap_or_default()
            };
            let key: Vec<TagValue> = places.iter().map(value).collect();
            entries.push(Entry {
                name: Arc::clone(&group.name),
                lead: lead(&key),
                key,
                input,
                members: member..member + 1,
            });
        }
    }
}

/// The span that a plan's calls read when its rows are to lie in `range`.
fn reach(plan: &Plan, range: TimeRange) -> TimeRange {
    let Some(windows) = &plan.windows else {
        return range;
    };
    let before = plan
        .calls
        .iter()
        .map(super::super::plan::Call::windows_before)
        .max();
    let reach = windows
        .every_ns
        .saturating_mul(i64::from(before.unwrap_or(0)));
    extend(range, reach, plan.descending)
}

/// `range` with `reach` more before its start, or behind its end where time runs backwards. An
/// end of time stays.
pub(super) fn extend(range: TimeRange, reach: i64, descending: bool) -> TimeRange {
    if descending {
        TimeRange {
            end: range.end.saturating_add(reach),
            ..range
        }
    } else {
        TimeRange {
            start: range.start.saturating_sub(reach).max(TimeRange::ALL.start),
            ..range
        }
    }
}

impl PreparedInput<'_> {
    /// Keeps the members in `taken`, in that order.
    fn keep(&mut self, taken: &[usize]) {
        match self {
            PreparedInput::Measurement(own) if taken.iter().copied().eq(0..own.series.len()) => {}
            PreparedInput::Measurement(own) => {
                let mut series: Vec<Option<SeriesInfo>> = std::mem::take(&mut own.series)
                    .into_iter()
                    .map(Some)
                    .collect();
                own.series = taken
                    .iter()
                    .filter_map(|place| series[*place].take())
                    .collect();
                if !own.filters.is_empty() {
                    own.filters = taken
                        .iter()
                        .map(|place| own.filters[*place].clone())
                        .collect();
                }
            }
            PreparedInput::Subquery(own) => {
                let mut groups: Vec<Option<Group>> = std::mem::take(&mut own.inner.groups)
                    .into_iter()
                    .map(Some)
                    .collect();
                own.inner.groups = taken
                    .iter()
                    .filter_map(|place| groups[*place].take())
                    .collect();
            }
        }
    }
}

impl<'p> PreparedMeasurement<'p> {
    fn new(
        context: &Context<'_>,
        (input, tags): (&'p MeasurementInput, TagsRead<'_>),
        range: TimeRange,
    ) -> Result<PreparedMeasurement<'p>, QueryError> {
        let mut own = PreparedMeasurement {
            input,
            series: Vec::new(),
            fields: Vec::new(),
            columns: Vec::new(),
            tags: Vec::new(),
            filters: Vec::new(),
        };
        for (variable, binding) in input.bindings.iter().enumerate() {
            match binding {
                Binding::Field { field, wanted, .. } => {
                    let known = own.fields.iter().position(|other| other == field);
                    let place = known.unwrap_or_else(|| {
                        own.fields.push(*field);
                        own.fields.len() - 1
                    });
                    own.columns.push((variable, place, *wanted));
                }
                Binding::Tag(key) => own.tags.push((variable, key)),
                Binding::Absent | Binding::Column { .. } => {}
            }
        }
        own.tags.sort_by_key(|(_, key)| *key);
        if own.fields.is_empty() || range.is_empty() {
            return Ok(own);
        }
        let request = SeriesRequest {
            measurement: input.info.id,
            predicate: &input.predicate,
            policy: Some(input.policy),
            range,
        };
        own.list_series(request, tags)?;
        context.series(own.series.len())?;
        context.charge(own.series.len() * size_of::<SeriesInfo>())?;
        Ok(own)
    }

    fn list_series(
        &mut self,
        request: SeriesRequest<'_>,
        tags: TagsRead<'_>,
    ) -> Result<(), QueryError> {
        let source = &self.input.source;
        match tags {
            TagsRead::All => {
                let series = source.series(request)?;
                self.filter(series);
            }
            TagsRead::Of(keys) => self.series = source.series_by(request, keys)?,
            TagsRead::None => {
                let ids = source.series_ids(request)?.into_iter();
                let tags = TagSet::default();
                let unnamed = ids.map(|id| SeriesInfo {
                    id,
                    tags: tags.clone(),
                });
                self.series = unnamed.collect();
            }
        }
        Ok(())
    }

    /// Takes the series whose tags do not already fail the filter, with what is left of it.
    fn filter(&mut self, series: Vec<SeriesInfo>) {
        let Some(filter) = &self.input.filter else {
            self.series = series;
            return;
        };
        let bindings = &self.input.bindings;
        let is_field = |slot: usize| matches!(bindings.get(slot), Some(Binding::Field { .. }));
        if !filter.any_slot(&|slot| !is_field(slot)) {
            self.filters = vec![Some(Arc::new(filter.clone())); series.len()];
            self.series = series;
            return;
        }
        for one in series {
            let known = |slot: usize| match bindings.get(slot) {
                Some(Binding::Field { .. }) => None,
                Some(Binding::Tag(key)) => Some(Some(tag_text(&one.tags, key))),
                _ => Some(None),
            };
            let own = filter.specialise(&known);
            match own.truth() {
                Some(false) => continue,
                Some(true) => self.filters.push(None),
                None => self.filters.push(Some(Arc::new(own))),
            }
            self.series.push(one);
        }
        if self.filters.iter().all(Option::is_none) {
            self.filters.clear();
        }
    }

    /// What decides whether a row of series `index` counts; `None`: each does.
    pub(super) fn filter_of(&self, index: usize) -> Option<&Expr> {
        self.filters.get(index)?.as_deref()
    }

    /// Which rows count of the series numbered `members`; empty: all.
    pub(super) fn filters_of(&self, members: Range<usize>) -> &[Option<Arc<Expr>>] {
        self.filters.get(members).unwrap_or_default()
    }

    /// Whether rows are filtered by their values.
    pub(super) fn is_filtered(&self) -> bool {
        !self.filters.is_empty()
    }

    fn list(&self, order: &[Box<[u8]>], input: usize, entries: &mut Vec<Entry>) {
        let name: Arc<[u8]> = (*self.input.info.name).into();
        if order.is_empty() && !self.series.is_empty() {
            let key = Vec::new();
            let (lead, members) = (lead(&key), 0..self.series.len());
            entries.push(Entry {
                name,
                lead,
                key,
                input,
                members,
            });
            return;
        }
        for (member, series) in self.series.iter().enumerate() {
            // Where few tags were read, many have the same ones.
            let before = member.checked_sub(1).and_then(|one| self.series.get(one));
            if before.is_some_and(|before| before.tags == series.tags)
                && let Some(entry) = entries.last_mut()
            {
                entry.members.end = member + 1;
                continue;
            }
            let key: Vec<TagValue> = order.iter().map(|key| series.tags.value(key)).collect();
            entries.push(Entry {
                name: Arc::clone(&name),
                lead: lead(&key),
                key,
                input,
                members: member..member + 1,
            });
        }
    }
}

/// Whether all that `plan` makes comes from statistics, of which it does not matter whose they are: but for those that
/// it groups by, tags need not be read, as the index has answered what a condition says of them. In
/// which order they come does not matter either, but for the last bit of a sum of floats, and for one that passes
/// what a float holds on the way.
fn is_stated(plan: &Plan) -> bool {
    let is_stated = |input: &Input| match input {
        Input::Measurement(input) => {
            input.filter.is_none() && plan.calls.iter().all(|call| call.is_stated(input))
        }
        Input::Subquery(_) => false,
    };
    !plan.calls.is_empty() && !plan.needs_neighbours() && plan.inputs.iter().all(is_stated)
}

/// A tag as conditions see it: what a series lacks is empty.
fn tag_text(tags: &TagSet, key: &[u8]) -> FieldValue {
    FieldValue::String(tags.get(key).unwrap_or_default().into())
}

/// What groups are counted by: the keys that a group has, sorted, then their values. A group that
/// lacks a tag so stands behind those that have it, though it is shown before them.
///
/// # Source
/// `InfluxDB` 1.x, observed: `SLIMIT` takes other series than the first ones shown.
fn counting_key(order: &[Box<[u8]>], values: &[TagValue]) -> Vec<u8> {
    let mut present: Vec<(&[u8], &[u8])> = (order.iter().zip(values))
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| (&**key, &**value))
        .collect();
    present.sort_unstable();
    let keys = present.iter().map(|(key, _)| *key);
    let parts: Vec<&[u8]> = keys
        .chain(present.iter().map(|(_, value)| *value))
        .collect();
    parts.join(&b'|')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(values: &[Vec<u8>]) -> Vec<TagValue> {
        let value = |value: &Vec<u8>| {
            let mut pairs = [(&b"k"[..], &value[..])];
            let set = TagSet::from_pairs(&mut pairs).expect("one key stands there once");
            set.value(b"k")
        };
        values.iter().map(value).collect()
    }

    proptest! {
        #[test]
        fn leads_come_in_the_order_of_keys(
            a in prop::collection::vec(prop::collection::vec(0..3_u8, 0..10), 0..3),
            b in prop::collection::vec(prop::collection::vec(0..3_u8, 0..10), 0..3),
        ) {
            let (a, b) = (key(&a), key(&b));
            prop_assert_eq!(lead(&a).cmp(&lead(&b)).then_with(|| a.cmp(&b)), a.cmp(&b));
        }
    }
}
