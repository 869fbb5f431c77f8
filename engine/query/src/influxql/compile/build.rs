//! Variables, calls and column expressions of a plan, with their types.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "few kinds of expression mean something here; every other is treated alike"
)]

use silverback_storage::model::FieldValue;

use crate::functions::aggregate::Aggregate;
use crate::functions::arithmetic::Arithmetic;
use crate::functions::math::MathFunction;
use crate::influxql::ast::{BinaryOp, Cast, Expr, ExprKind, Field, Name};
use crate::influxql::compile::columns::{Wanted, field_name, unique_names};
use crate::influxql::compile::filter::condition_variables;
use crate::influxql::compile::scope::{Origin, Scope};
use crate::plan::expr::Expr as PlanExpr;
use crate::plan::{Binding, Call, Column, Variable, VariableKind};
use crate::result::QueryError;

/// A plan's variables, calls and columns in the making.
pub(super) struct Builder<'s> {
    pub(super) scope: &'s Scope,
    pub(super) every_ns: Option<i64>,
    pub(super) variables: Vec<Variable>,
    casts: Vec<Option<Cast>>,
    pub(super) shown: usize,
    /// From this variable on each belongs to the condition only.
    conditional: usize,
    pub(super) calls: Vec<Call>,
}

impl<'s> Builder<'s> {
    pub(super) fn new(scope: &'s Scope, every_ns: Option<i64>) -> Builder<'s> {
        Builder {
            scope,
            every_ns,
            variables: Vec::new(),
            casts: Vec::new(),
            shown: 0,
            conditional: 0,
            calls: Vec::new(),
        }
    }

    /// Takes in all names that are read: shown ones first, then those inside calls, then those of
    /// the condition.
    pub(super) fn read(
        &mut self,
        fields: &[Field],
        condition: Option<&Expr>,
    ) -> Result<(), QueryError> {
        for field in fields {
            self.read_shown(&field.expr);
        }
        self.shown = self.variables.len();
        for field in fields {
            self.read_called(&field.expr, false);
        }
        self.conditional = self.variables.len();
        for (name, cast) in condition_variables(condition)? {
            if self.find(&name, cast, self.conditional..).is_none() {
                let kind = self.scope.kind(&name, cast);
                self.push(&name, kind, cast);
            }
        }
        Ok(())
    }

    fn push(&mut self, name: &Name, kind: VariableKind, cast: Option<Cast>) {
        self.variables.push(Variable {
            name: name.0.clone(),
            kind,
        });
        self.casts.push(cast);
    }

    fn find(
        &self,
        name: &Name,
        cast: Option<Cast>,
        places: impl std::ops::RangeBounds<usize>,
    ) -> Option<usize> {
        (0..self.variables.len())
            .filter(|place| places.contains(place))
            .find(|place| {
                *self.variables[*place].name == **name && same_cast(self.casts[*place], cast)
            })
    }

    /// The slot of a name in conditions.
    pub(super) fn condition_slot(&self, name: &Name, cast: Option<Cast>) -> Option<usize> {
        self.find(name, cast, self.conditional..)
    }

    fn register(&mut self, name: &Name, cast: Option<Cast>) {
        if self.find(name, cast, ..).is_none() {
            let kind = self.scope.kind(name, cast);
            self.push(name, kind, cast);
        }
    }

    /// Takes in what stands outside of calls, and the tags of `top` and `bottom`.
    fn read_shown(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Variable { name, cast } => self.register(name, *cast),
            ExprKind::Paren(inner) => self.read_shown(inner),
            ExprKind::Binary { left, right, .. } => {
                self.read_shown(left);
                self.read_shown(right);
            }
            ExprKind::Call { name, args } if MathFunction::named(name).is_some() => {
                for arg in args {
                    self.read_shown(arg);
                }
            }
            ExprKind::Call { name, args } if matches!(&**name, "top" | "bottom") => {
                let tags = args.get(1..).unwrap_or_default();
                for arg in tags {
                    self.read_shown(arg);
                }
            }
            _ => {}
        }
    }

    /// Takes in what stands inside of calls.
    fn read_called(&mut self, expr: &Expr, inside: bool) {
        match &expr.kind {
            ExprKind::Variable { name, cast } if inside => self.register(name, *cast),
            ExprKind::Distinct(name) => self.register(name, None),
            ExprKind::Paren(inner) => self.read_called(inner, inside),
            ExprKind::Binary { left, right, .. } => {
                self.read_called(left, inside);
                self.read_called(right, inside);
            }
            ExprKind::Call { name, args } => {
                let inside = inside || MathFunction::named(name).is_none();
                for arg in args {
                    self.read_called(arg, inside);
                }
            }
            _ => {}
        }
    }

    /// The slot of a name that has been read.
    pub(super) fn slot(&self, name: &Name, cast: Option<Cast>) -> usize {
        self.find(name, cast, ..)
            .expect("all names have been read before")
    }

    /// The columns of the answer.
    pub(super) fn columns(&mut self, fields: &[Field]) -> Result<Vec<Column>, QueryError> {
        let mut columns: Vec<Column> = Vec::new();
        let mut wanted = Vec::new();
        for field in fields {
            let kind = self.kind(&field.expr)?;
            let expr = self.expr(&field.expr)?;
            let mut add = |name: Box<[u8]>, is_alias, expr, kind| {
                wanted.push(Wanted {
                    name: name.clone(),
                    is_alias,
                });
                columns.push(Column {
                    name: Box::default(),
                    plain_name: name,
                    expr,
                    kind,
                });
            };
            add(field_name(field), field.alias.is_some(), expr, kind);
            if let ExprKind::Call { name, args } = &field.expr.kind
                && matches!(&**name, "top" | "bottom")
            {
                for arg in args.get(1..).unwrap_or_default() {
                    if let ExprKind::Variable { name, cast } = &arg.kind {
                        let slot = self.slot(name, *cast);
                        let kind = self.variables[slot].kind;
                        add(name.0.clone(), false, PlanExpr::Slot(slot), kind);
                    }
                }
            }
        }
        for (column, name) in columns.iter_mut().zip(unique_names(&wanted)) {
            column.name = name;
        }
        Ok(columns)
    }

    fn expr(&mut self, expr: &Expr) -> Result<PlanExpr, QueryError> {
        Ok(match &expr.kind {
            ExprKind::Variable { name, cast } => PlanExpr::Slot(self.slot(name, *cast)),
            ExprKind::Number(value) => constant(FieldValue::Float(*value)),
            ExprKind::Integer(value) | ExprKind::Duration(value) | ExprKind::Time(value) => {
                constant(FieldValue::Integer(*value))
            }
            ExprKind::Unsigned(value) => constant(FieldValue::Unsigned(*value)),
            ExprKind::String(value) => constant(FieldValue::String(value.as_bytes().into())),
            ExprKind::Boolean(value) => constant(FieldValue::Boolean(*value)),
            ExprKind::Paren(inner) => self.expr(inner)?,
            ExprKind::Binary { op, left, right } => {
                let Some(operator) = arithmetic(*op) else {
                    return Err(QueryError::statement(format!(
                        "invalid operator {} in SELECT clause",
                        op.text()
                    )));
                };
                let (left, right) = (self.expr(left)?, self.expr(right)?);
                PlanExpr::Arithmetic(operator, Box::new(left), Box::new(right))
            }
            ExprKind::Call { name, args } => match MathFunction::named(name) {
                Some(function) => {
                    let mut values = Vec::with_capacity(args.len());
                    for arg in args {
                        values.push(self.expr(arg)?);
                    }
                    PlanExpr::Math(function, values)
                }
                None => self.call_slot(name, args)?,
            },
            ExprKind::Distinct(name) => self.distinct_slot(name),
            ExprKind::Wildcard(_) | ExprKind::Regex(_) | ExprKind::List(_) => {
                constant(FieldValue::String(Box::default()))
            }
        })
    }

    fn call_slot(&mut self, name: &str, args: &[Expr]) -> Result<PlanExpr, QueryError> {
        let call = self.call(name, args)?;
        Ok(self.slot_of(call))
    }

    fn distinct_slot(&mut self, name: &Name) -> PlanExpr {
        let variable = self.slot(name, None);
        let call = self.aggregate(variable, Aggregate::Distinct);
        self.slot_of(call)
    }

    /// The slot of a call; equal calls share one.
    fn slot_of(&mut self, call: Call) -> PlanExpr {
        let known = self.calls.iter().position(|other| *other == call);
        let index = known.unwrap_or_else(|| {
            self.calls.push(call);
            self.calls.len() - 1
        });
        PlanExpr::Slot(self.variables.len() + index)
    }

    /// What each variable is in each source.
    pub(super) fn bindings(&self) -> Vec<Vec<Binding>> {
        self.scope
            .origins()
            .map(|origin| self.bindings_of(origin))
            .collect()
    }

    fn bindings_of(&self, origin: &Origin) -> Vec<Binding> {
        let called: Vec<usize> = self.calls.iter().map(|call| call.variable).collect();
        let binding = |(place, variable): (usize, &Variable)| {
            let cast = self.casts[place];
            let mut kind = variable.kind;
            if place >= self.conditional && matches!(cast, None | Some(Cast::Field)) {
                // Each source's rows are judged by what the name is there.
                kind = match origin.kind(&variable.name) {
                    VariableKind::Unknown if cast.is_none() => VariableKind::Tag,
                    own => own,
                };
            }
            if kind == VariableKind::Tag && place < self.conditional {
                // Functions take no tags.
                let only_called = place >= self.shown && called.contains(&place);
                if only_called && matches!(origin, Origin::Measurement { .. }) {
                    return Binding::Absent;
                }
            }
            let typed = !matches!(cast, None | Some(Cast::Field | Cast::Tag));
            origin.binding(&variable.name, kind, typed)
        };
        self.variables.iter().enumerate().map(binding).collect()
    }
}

/// Whether two casts read the same of a name: `*` writes `::field` where a name alone means it.
fn same_cast(a: Option<Cast>, b: Option<Cast>) -> bool {
    let plain = |cast| matches!(cast, None | Some(Cast::Field));
    a == b || plain(a) && plain(b)
}

fn constant(value: FieldValue) -> PlanExpr {
    PlanExpr::Constant(Some(value))
}

/// The operator in a selected expression, if it may stand there.
fn arithmetic(op: BinaryOp) -> Option<Arithmetic> {
    Some(match op {
        BinaryOp::Add => Arithmetic::Add,
        BinaryOp::Subtract => Arithmetic::Subtract,
        BinaryOp::Multiply => Arithmetic::Multiply,
        BinaryOp::Divide => Arithmetic::Divide,
        BinaryOp::Modulo => Arithmetic::Modulo,
        BinaryOp::BitAnd => Arithmetic::BitAnd,
        BinaryOp::BitOr => Arithmetic::BitOr,
        BinaryOp::BitXor => Arithmetic::BitXor,
        BinaryOp::Or
        | BinaryOp::And
        | BinaryOp::Equal
        | BinaryOp::NotEqual
        | BinaryOp::Matches
        | BinaryOp::NotMatches
        | BinaryOp::Less
        | BinaryOp::LessEqual
        | BinaryOp::Greater
        | BinaryOp::GreaterEqual => return None,
    })
}
