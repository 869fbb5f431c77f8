//! What a call gives for one group: values in the order of the output; and how calls' values meet
//! in rows.

use silverback_storage::model::FieldValue;

use crate::exec::{Context, Flow, Visit};
use crate::functions::arithmetic::cast;
use crate::functions::{Companions, Point};
use crate::plan::expr::Slots;
use crate::plan::{Column, Fill, Plan, Stage, VariableKind};
use crate::result::QueryError;

/// One value of a call; null where a window has none and is shown.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) timestamp: i64,
    pub(super) value: Option<FieldValue>,
    pub(super) beside: Companions,
}

impl From<Point> for Entry {
    fn from(point: Point) -> Self {
        Entry {
            timestamp: point.timestamp,
            value: Some(point.value),
            beside: point.beside,
        }
    }
}

/// A call's values in the order of the output, made as they are asked for.
pub(super) type Entries<'e> = Box<dyn Iterator<Item = Entry> + 'e>;

/// Puts a sequence through the stages of its call. Nulls are passed over.
pub(super) fn transform<'e>(
    mut entries: Entries<'e>,
    stages: &[Stage],
    descending: bool,
) -> Entries<'e> {
    for stage in stages {
        let points = entries.filter_map(|entry| {
            let Entry {
                timestamp,
                value,
                beside,
            } = entry;
            value.map(|value| Point {
                timestamp,
                value,
                beside,
            })
        });
        entries = match stage {
            Stage::Transform(transform) => {
                let mut state = transform.start(descending);
                Box::new(
                    points
                        .filter_map(move |point| state.push(point))
                        .map(Entry::from),
                )
            }
            Stage::HoltWinters(forecast) => {
                let mut points: Vec<Point> = points.collect();
                points.sort_by_key(|point| point.timestamp);
                let mut points = forecast.forecast(&points);
                if descending {
                    points.reverse();
                }
                Box::new(points.into_iter().map(Entry::from))
            }
        };
    }
    entries
}

/// Turns values of variables and calls into rows of columns, and cuts them by limit and offset.
pub(super) struct Output<'p, 'v> {
    plan: &'p Plan,
    context: &'v Context<'v>,
    skip: u64,
    left: Option<u64>,
    last: Vec<Option<FieldValue>>,
    row: Vec<Option<FieldValue>>,
    rows: u32,
}

impl<'p, 'v> Output<'p, 'v> {
    pub(super) fn new(context: &'v Context<'v>, plan: &'p Plan) -> Output<'p, 'v> {
        Output {
            plan,
            context,
            skip: plan.cut.offset,
            left: (plan.cut.limit > 0).then_some(plan.cut.limit),
            last: Vec::new(),
            row: Vec::with_capacity(plan.columns.len()),
            rows: 0,
        }
    }

    /// Gives one row on, unless the cut passes over it.
    pub(super) fn give(
        &mut self,
        timestamp: i64,
        slots: &Slots<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<Flow, QueryError> {
        if self.is_full() {
            return Ok(Flow::Enough);
        }
        if self.skip > 0 {
            self.skip -= 1;
            return Ok(Flow::More);
        }
        self.rows = self.rows.wrapping_add(1);
        if self.rows.is_multiple_of(4096) {
            self.context.piece(0)?;
        }
        self.row.resize(self.plan.columns.len(), None);
        for (column, own) in self.plan.columns.iter().zip(&mut self.row) {
            let value = column.expr.eval(slots);
            match (value.as_deref(), own) {
                // The string of the row before is written over where it is as long.
                (Some(FieldValue::String(value)), Some(FieldValue::String(own))) => {
                    own.clone_from(value);
                }
                (_, own) => *own = value.map(std::borrow::Cow::into_owned),
            }
        }
        let flow = visit(timestamp, &self.row)?;
        if let Some(left) = &mut self.left {
            *left -= 1;
            if *left == 0 {
                return Ok(Flow::Enough);
            }
        }
        Ok(flow)
    }

    /// Whether the limit has been reached.
    pub(super) fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    /// Puts what the fill says into the places of `values` that are null, and remembers the row.
    pub(super) fn fill(&mut self, values: &mut [Option<FieldValue>], first: usize) {
        match self.plan.fill {
            Fill::Number(number) => self.fill_with(values, first, &FieldValue::Float(number)),
            Fill::Integer(number) => self.fill_with(values, first, &FieldValue::Integer(number)),
            Fill::Previous => {
                for (index, value) in values.iter_mut().enumerate() {
                    if value.is_none() {
                        *value = self.last.get(index).cloned().flatten();
                    }
                }
                self.last = values.to_vec();
            }
            Fill::Null | Fill::None | Fill::Linear => {}
        }
    }

    fn fill_with(&self, values: &mut [Option<FieldValue>], first: usize, number: &FieldValue) {
        for (index, value) in values.iter_mut().enumerate() {
            if value.is_none() {
                // What cannot become the type of its column is shown as the number it is.
                *value = match self.kind(first + index) {
                    VariableKind::Field(wanted) => cast(number, wanted),
                    VariableKind::Tag | VariableKind::Unknown => None,
                }
                .or_else(|| Some(number.clone()));
            }
        }
    }

    fn kind(&self, slot: usize) -> VariableKind {
        let variables = &self.plan.variables;
        match slot.checked_sub(variables.len()) {
            None => variables[slot].kind,
            Some(call) => VariableKind::Field(self.plan.calls[call].output),
        }
    }
}

/// A filling number as a value of the type that it stands among: among strings it is empty, among
/// booleans false.
pub(super) fn fill_value(number: &FieldValue, kind: VariableKind) -> Option<FieldValue> {
    use silverback_storage::model::FieldType;
    match kind {
        VariableKind::Field(FieldType::String) | VariableKind::Tag => {
            Some(FieldValue::String(Box::default()))
        }
        VariableKind::Field(FieldType::Boolean) => Some(FieldValue::Boolean(false)),
        VariableKind::Field(wanted) => cast(number, wanted),
        VariableKind::Unknown => Some(number.clone()),
    }
}

/// Joins the sequences of a group's calls by time: values of one time share a row.
pub(super) fn join(
    plan: &Plan,
    sequences: Vec<Entries<'_>>,
    output: &mut Output<'_, '_>,
    visit: &mut Visit<'_>,
) -> Result<(), QueryError> {
    let rank = |timestamp: i64| {
        if plan.descending {
            !timestamp
        } else {
            timestamp
        }
    };
    let count = plan.variables.len();
    let uses = |column: &Column| column.expr.any_slot(&|slot| slot < count);
    // What stands beside a selected point is filled as the point is.
    let first = if plan.columns.iter().any(uses) {
        0
    } else {
        count
    };
    let mut heads: Vec<_> = sequences.into_iter().map(Iterator::peekable).collect();
    let mut values = vec![None; count + heads.len()];
    loop {
        let next = heads
            .iter_mut()
            .filter_map(|head| head.peek().map(|entry| entry.timestamp));
        let Some(timestamp) = next.min_by_key(|timestamp| rank(*timestamp)) else {
            return Ok(());
        };
        values[first..].fill(None);
        for (index, head) in heads.iter_mut().enumerate() {
            let Some(entry) = head.next_if(|entry| entry.timestamp == timestamp) else {
                continue;
            };
            values[count + index] = entry.value;
            if let Some(beside) = entry.beside.filter(|_| first == 0) {
                values[..count].clone_from_slice(&beside);
            }
        }
        output.fill(&mut values[first..], first);
        if output.give(timestamp, &[&values, &[]], visit)? == Flow::Enough {
            return Ok(());
        }
    }
}
