//! What a query language compiles to: which series and fields to read, how to group and window
//! them, what to compute and how to show it. `InfluxQL` makes plans today, `PromQL` later.
//!
//! A plan is plain data, resolved against one state of the catalogue: names have become ids and
//! types. It knows no syntax and no error texts of a language.
//!
//! How a query goes: `influxql::select` compiles a `SELECT` into a [`Plan`] tree, one per
//! subquery; `exec` lists the series of each input once and sorts them by group, then runs group
//! after group, so that memory follows one group and not the answer. Per group: windows come from
//! the store's statistics where a [`Call`] allows it, else rows are read; results are filled,
//! transformed, joined by time, put through the column expressions and cut by limit and offset.

pub mod expr;
pub mod window;

use std::sync::Arc;

use jiff::tz::TimeZone;
use silverback_storage::model::{
    FieldId, FieldType, MeasurementInfo, PolicyId, TagPredicate, TimeRange,
};

use crate::functions::aggregate::Aggregate;
use crate::functions::forecast::HoltWinters;
use crate::functions::transform::Transform;
use crate::plan::expr::Expr;
use crate::plan::window::Windows;
use crate::source::Source;

/// One `SELECT`.
#[derive(Debug)]
pub struct Plan {
    /// What it reads.
    pub inputs: Vec<Input>,
    /// What it reads of them. An expression's slot `i` is variable `i`, and slot
    /// `variables.len() + j` is call `j`.
    pub variables: Vec<Variable>,
    /// How many of the variables, from the first, are shown; the others only stand in conditions.
    pub shown: usize,
    /// What it computes; empty: rows are shown as they are.
    pub calls: Vec<Call>,
    /// What it shows, besides the time.
    pub columns: Vec<Column>,
    /// What the column of times is called.
    pub time_column: Box<[u8]>,
    /// The tags that make groups, sorted. Those that an outer query groups by are among them.
    pub group_by: Vec<Box<[u8]>>,
    /// The windows of time, if there are any.
    pub windows: Option<Windows>,
    /// The span of time its condition allows; an outer query may narrow it.
    pub range: TimeRange,
    /// What stands where nothing is.
    pub fill: Fill,
    /// Newest first.
    pub descending: bool,
    /// Which rows and groups are shown.
    pub cut: Cut,
    /// In which zone times are written.
    pub zone: Option<TimeZone>,
}

/// Which rows of a group and which groups are shown; 0 as a limit is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cut {
    /// Rows of a group at most.
    pub limit: u64,
    /// Rows of a group passed over.
    pub offset: u64,
    /// Groups at most.
    pub group_limit: u64,
    /// Groups passed over.
    pub group_offset: u64,
}

/// Where a plan reads.
#[derive(Debug)]
pub enum Input {
    /// One measurement in one policy.
    Measurement(MeasurementInput),
    /// Another plan's rows.
    Subquery(Box<SubqueryInput>),
}

/// One measurement in one policy.
pub struct MeasurementInput {
    /// Its database.
    pub source: Arc<dyn Source>,
    /// The policy.
    pub policy: PolicyId,
    /// The measurement.
    pub info: Arc<MeasurementInfo>,
    /// What each of the plan's variables is here.
    pub bindings: Vec<Binding>,
    /// Which series, as far as an index can tell.
    pub predicate: TagPredicate,
    /// Which rows, over the variables; what `predicate` says need not be said again.
    pub filter: Option<Expr>,
}

impl std::fmt::Debug for MeasurementInput {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("MeasurementInput")
            .field("policy", &self.policy)
            .field("measurement", &self.info.name)
            .field("bindings", &self.bindings)
            .field("predicate", &self.predicate)
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}

/// A plan inside another.
#[derive(Debug)]
pub struct SubqueryInput {
    /// The inner plan.
    pub plan: Plan,
    /// What each of the outer plan's variables is here.
    pub bindings: Vec<Binding>,
    /// Which rows, over the outer plan's variables.
    pub filter: Option<Expr>,
}

/// What a variable is in one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Nothing.
    Absent,
    /// A field.
    Field {
        /// Which.
        field: FieldId,
        /// As it is stored.
        stored: FieldType,
        /// As it is read; a value that cannot become this is absent.
        wanted: FieldType,
    },
    /// A tag; absent where a series lacks it.
    Tag(Box<[u8]>),
    /// A column of the inner plan.
    Column {
        /// Its number, the time not counted.
        index: usize,
        /// As it is read, where the outer query says.
        wanted: Option<FieldType>,
    },
}

/// A name that a query reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// As written.
    pub name: Box<[u8]>,
    /// What it is over all inputs.
    pub kind: VariableKind,
}

/// What a variable is over all inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VariableKind {
    /// A field of this type, the widest that any input has.
    Field(FieldType),
    /// A tag.
    Tag,
    /// Nothing that there is.
    Unknown,
}

/// A function over the points of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The variable whose values it takes.
    pub variable: usize,
    /// What is made of a window's points.
    pub base: Base,
    /// What is made of the results, in this order.
    pub stages: Vec<Stage>,
    /// The type of what the base gives.
    pub between: FieldType,
    /// The type of the result.
    pub output: FieldType,
}

/// What is made of points first.
#[derive(Clone, Debug, PartialEq)]
pub enum Base {
    /// Nothing: each goes on.
    Raw,
    /// Few of each window.
    Aggregate(Aggregate),
    /// The area under them, per unit of so many ns.
    Integral(i64),
}

/// What is made of a sequence of results.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// Point by point.
    Transform(Transform),
    /// From all at once.
    HoltWinters(HoltWinters),
}

impl Plan {
    /// Whether it shows variables beside a selected point, or selects by them.
    pub fn needs_neighbours(&self) -> bool {
        let count = self.variables.len();
        let by = |call: &Call| match &call.base {
            Base::Aggregate(Aggregate::Top { by, .. } | Aggregate::Bottom { by, .. }) => {
                !by.is_empty()
            }
            Base::Aggregate(_) | Base::Raw | Base::Integral(_) => false,
        };
        let shows_one = |column: &Column| column.expr.any_slot(&|slot| slot < count);
        !self.calls.is_empty() && (self.columns.iter().any(shows_one) || self.calls.iter().any(by))
    }
}

impl Call {
    /// How many windows before the first it must see, so that the first has a result.
    pub fn windows_before(&self) -> u32 {
        if self.base == Base::Raw {
            return 0;
        }
        let reaching = |stage: &&Stage| matches!(stage, Stage::Transform(transform) if *transform != Transform::CumulativeSum);
        let count = self.stages.iter().filter(reaching).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Whether statistics of a window hold all that it needs of `input`, whose values are read as they are stored.
    pub fn is_stated(&self, input: &MeasurementInput) -> bool {
        let is_kept = match input.bindings.get(self.variable) {
            Some(Binding::Field { stored, wanted, .. }) => stored == wanted,
            Some(Binding::Absent) => true,
            Some(Binding::Tag(_) | Binding::Column { .. }) | None => false,
        };
        let is_partial = matches!(&self.base, Base::Aggregate(function) if function.is_partial());
        is_kept && is_partial
    }

    /// Whether windows without points are filled: not where a result keeps its own time.
    pub fn is_filled(&self) -> bool {
        match &self.base {
            Base::Aggregate(Aggregate::Distinct) | Base::Raw | Base::Integral(_) => false,
            Base::Aggregate(function) => !function.keeps_times(),
        }
    }
}

/// A column of the answer.
#[derive(Clone, Debug)]
pub struct Column {
    /// As it is shown.
    pub name: Box<[u8]>,
    /// As an outer query knows it: without the number that tells equal names apart.
    pub plain_name: Box<[u8]>,
    /// What it shows.
    pub expr: Expr,
    /// The type of its values, where known.
    pub kind: VariableKind,
}

/// What stands where a window has no points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// Null, and 0 for a count.
    Null,
    /// No row.
    None,
    /// This number.
    Number(f64),
    /// This integer.
    Integer(i64),
    /// The value before it in the output.
    Previous,
    /// On the line between its neighbours.
    Linear,
}
