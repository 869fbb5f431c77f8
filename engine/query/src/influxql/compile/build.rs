//! Variables, calls and column expressions of a plan, with their types.

use silverback_storage::model::{FieldType, FieldValue};

use crate::functions::aggregate::Aggregate;
use crate::functions::arithmetic::Arithmetic;
use crate::functions::forecast::{self, HoltWinters};
use crate::functions::integral;
use crate::functions::math::MathFunction;
use crate::functions::technical::{Indicator, Technical, Warmup};
use crate::functions::transform::Transform;
use crate::influxql::ast::{BinaryOp, Cast, Expr, ExprKind, Field, Name};
use crate::influxql::compile::columns::{Wanted, field_name, unique_names};
use crate::influxql::compile::filter::condition_variables;
use crate::influxql::compile::scope::{Origin, Scope};
use crate::plan::expr::Expr as PlanExpr;
use crate::plan::{Base, Binding, Call, Column, Stage, Variable, VariableKind};
use crate::result::QueryError;

/// A plan's variables, calls and columns in the making.
pub(super) struct Builder<'s> {
    pub(super) scope: &'s Scope,
    every_ns: Option<i64>,
    pub(super) variables: Vec<Variable>,
    casts: Vec<Option<Cast>>,
    pub(super) shown: usize,
    /// From this variable on each belongs to the condition only.
    conditional: usize,
    pub(super) calls: Vec<Call>,
}

const SECOND_NS: i64 = 1_000_000_000;

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
                args.iter().for_each(|arg| self.read_shown(arg));
            }
            ExprKind::Call { name, args } if matches!(&**name, "top" | "bottom") => {
                let tags = args.get(1..).unwrap_or_default();
                tags.iter().for_each(|arg| self.read_shown(arg));
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
                args.iter().for_each(|arg| self.read_called(arg, inside));
            }
            _ => {}
        }
    }

    fn slot(&self, name: &Name, cast: Option<Cast>) -> usize {
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

    fn input_type(&self, variable: usize) -> FieldType {
        match self.variables[variable].kind {
            VariableKind::Field(field_type) => field_type,
            VariableKind::Tag | VariableKind::Unknown => FieldType::Float,
        }
    }

    fn aggregate(&self, variable: usize, function: Aggregate) -> Call {
        let output = function.output_type(self.input_type(variable));
        Call {
            variable,
            base: Base::Aggregate(function),
            stages: Vec::new(),
            between: output,
            output,
        }
    }

    fn variable(&self, arg: &Expr) -> Result<usize, QueryError> {
        match &arg.kind {
            ExprKind::Variable { name, cast } => Ok(self.slot(name, *cast)),
            _ => Err(QueryError::statement(format!(
                "expected field argument, found {arg}"
            ))),
        }
    }

    /// A call of a function that is no scalar mathematics.
    fn call(&self, name: &str, args: &[Expr]) -> Result<Call, QueryError> {
        let Some(first) = args.first() else {
            return Err(QueryError::statement(format!(
                "undefined function {name}()"
            )));
        };
        if let Some(stage) = self.stage(name, args) {
            let mut call = match &first.kind {
                ExprKind::Call { name, args } => self.call(name, args)?,
                _ => {
                    let variable = self.variable(first)?;
                    let output = self.input_type(variable);
                    Call {
                        variable,
                        base: Base::Raw,
                        stages: Vec::new(),
                        between: output,
                        output,
                    }
                }
            };
            let (takes, output) = match &stage {
                Stage::Transform(transform) => (
                    transform.takes(call.output),
                    transform.output_type(call.output),
                ),
                Stage::HoltWinters(_) => (forecast::takes(call.output), FieldType::Float),
            };
            self.typed(takes, name, (call.variable, call.output))?;
            call.output = output;
            call.stages.push(stage);
            return Ok(call);
        }
        if name == "integral" {
            let variable = self.variable(first)?;
            let input = self.input_type(variable);
            self.typed(integral::takes(input), name, (variable, input))?;
            return Ok(Call {
                variable,
                base: Base::Integral(duration(args.get(1)).unwrap_or(SECOND_NS)),
                stages: Vec::new(),
                between: FieldType::Float,
                output: FieldType::Float,
            });
        }
        let (variable, function) = self.function(name, args)?;
        let input = self.input_type(variable);
        self.typed(function.takes(input), name, (variable, input))?;
        Ok(self.aggregate(variable, function))
    }

    fn typed(
        &self,
        takes: bool,
        name: &str,
        (variable, input): (usize, FieldType),
    ) -> Result<(), QueryError> {
        if takes || !matches!(self.variables[variable].kind, VariableKind::Field(_)) {
            return Ok(());
        }
        Err(QueryError::statement(format!(
            "unsupported {name} iterator type: *query.{input}InterruptIterator"
        )))
    }

    fn function(&self, name: &str, args: &[Expr]) -> Result<(usize, Aggregate), QueryError> {
        let first = &args[0];
        if name == "count" {
            let inner = match &first.kind {
                ExprKind::Call { args, .. } => args.first().map(|arg| self.variable(arg)),
                ExprKind::Distinct(name) => Some(Ok(self.slot(name, None))),
                _ => None,
            };
            if let Some(variable) = inner {
                return Ok((variable?, Aggregate::CountDistinct));
            }
        }
        let variable = self.variable(first)?;
        let last = args.last();
        let function = match name {
            "count" => Aggregate::Count,
            "sum" => Aggregate::Sum,
            "mean" => Aggregate::Mean,
            "min" => Aggregate::Min,
            "max" => Aggregate::Max,
            "first" => Aggregate::First,
            "last" => Aggregate::Last,
            "spread" => Aggregate::Spread,
            "stddev" => Aggregate::Stddev,
            "median" => Aggregate::Median,
            "mode" => Aggregate::Mode,
            "distinct" => Aggregate::Distinct,
            "percentile" => Aggregate::Percentile(number(last)),
            "sample" => Aggregate::Sample(count(last)),
            "top" | "bottom" => {
                let tags = args.get(1..args.len() - 1).unwrap_or_default();
                let mut by = Vec::with_capacity(tags.len());
                for tag in tags {
                    by.push(self.variable(tag)?);
                }
                let count = count(last);
                if name == "top" {
                    Aggregate::Top { count, by }
                } else {
                    Aggregate::Bottom { count, by }
                }
            }
            _ => {
                return Err(QueryError::statement(format!(
                    "undefined function {name}()"
                )));
            }
        };
        Ok((variable, function))
    }

    /// The transformation or forecast that `name` is, if it is one.
    fn stage(&self, name: &str, args: &[Expr]) -> Option<Stage> {
        let unit = |otherwise: i64| duration(args.get(1)).unwrap_or(otherwise);
        let per_window = self.every_ns.unwrap_or(SECOND_NS);
        let transform = match name {
            "derivative" | "non_negative_derivative" => Transform::Derivative {
                unit_ns: unit(per_window),
                non_negative: name != "derivative",
            },
            "difference" | "non_negative_difference" => Transform::Difference {
                non_negative: name != "difference",
            },
            "elapsed" => Transform::Elapsed { unit_ns: unit(1) },
            "moving_average" => Transform::MovingAverage(count(args.get(1))),
            "cumulative_sum" => Transform::CumulativeSum,
            "holt_winters" | "holt_winters_with_fit" => {
                return Some(Stage::HoltWinters(HoltWinters {
                    count: count(args.get(1)),
                    season: count(args.get(2)),
                    with_fit: name != "holt_winters",
                    interval_ns: per_window,
                }));
            }
            _ => Transform::Technical(technical(Indicator::named(name)?, args)),
        };
        Some(Stage::Transform(transform))
    }

    /// The type of a selected expression.
    fn kind(&self, expr: &Expr) -> Result<VariableKind, QueryError> {
        Ok(match &expr.kind {
            ExprKind::Variable { name, cast } => self.variables[self.slot(name, *cast)].kind,
            ExprKind::Number(_) => VariableKind::Field(FieldType::Float),
            ExprKind::Integer(_) | ExprKind::Duration(_) | ExprKind::Time(_) => {
                VariableKind::Field(FieldType::Integer)
            }
            ExprKind::Unsigned(_) => VariableKind::Field(FieldType::Unsigned),
            ExprKind::String(_) => VariableKind::Field(FieldType::String),
            ExprKind::Boolean(_) => VariableKind::Field(FieldType::Boolean),
            ExprKind::Paren(inner) => self.kind(inner)?,
            ExprKind::Binary { op, left, right } => {
                let (a, b) = (self.kind(left)?, self.kind(right)?);
                let Some(kind) = combined(*op, a, b) else {
                    return Err(QueryError::statement(format!(
                        "type error: {}: incompatible types: {} and {}",
                        self.annotated(expr),
                        kind_name(a),
                        kind_name(b)
                    )));
                };
                kind
            }
            ExprKind::Call { name, args } => match MathFunction::named(name) {
                Some(function) => {
                    let mut kind = VariableKind::Unknown;
                    for arg in args.iter().rev() {
                        kind = self.kind(arg)?;
                    }
                    if function.keeps_type() || kind == VariableKind::Unknown {
                        kind
                    } else {
                        VariableKind::Field(FieldType::Float)
                    }
                }
                None => {
                    let call = self.call(name, args)?;
                    match self.variables[call.variable].kind {
                        VariableKind::Field(_) => VariableKind::Field(call.output),
                        VariableKind::Tag | VariableKind::Unknown => VariableKind::Unknown,
                    }
                }
            },
            ExprKind::Distinct(name) => self.variables[self.slot(name, None)].kind,
            ExprKind::Wildcard(_) | ExprKind::Regex(_) | ExprKind::List(_) => VariableKind::Unknown,
        })
    }

    /// `expr` with the types of its names written behind them.
    fn annotated(&self, expr: &Expr) -> Expr {
        let kind = match &expr.kind {
            ExprKind::Variable { name, cast } => ExprKind::Variable {
                name: name.clone(),
                cast: match self.variables[self.slot(name, *cast)].kind {
                    VariableKind::Field(FieldType::Float) => Some(Cast::Float),
                    VariableKind::Field(FieldType::Integer) => Some(Cast::Integer),
                    VariableKind::Field(FieldType::Unsigned) => Some(Cast::Unsigned),
                    VariableKind::Field(FieldType::String) => Some(Cast::String),
                    VariableKind::Field(FieldType::Boolean) => Some(Cast::Boolean),
                    VariableKind::Tag => Some(Cast::Tag),
                    VariableKind::Unknown => *cast,
                },
            },
            ExprKind::Binary { op, left, right } => ExprKind::Binary {
                op: *op,
                left: Box::new(self.annotated(left)),
                right: Box::new(self.annotated(right)),
            },
            ExprKind::Paren(inner) => ExprKind::Paren(Box::new(self.annotated(inner))),
            ExprKind::Call { name, args } => ExprKind::Call {
                name: name.clone(),
                args: args.iter().map(|arg| self.annotated(arg)).collect(),
            },
            other => other.clone(),
        };
        Expr {
            kind,
            span: expr.span,
        }
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

/// The type of `a op b`; `None` where there is no such operation.
fn combined(op: BinaryOp, a: VariableKind, b: VariableKind) -> Option<VariableKind> {
    use FieldType::{Boolean, Float, Integer, Unsigned};
    let (VariableKind::Field(x), VariableKind::Field(y)) = (a, b) else {
        let tag = a == VariableKind::Tag || b == VariableKind::Tag;
        let unknown = a == VariableKind::Unknown || b == VariableKind::Unknown;
        return (unknown || !tag).then_some(VariableKind::Unknown);
    };
    let number = |kind| matches!(kind, Float | Integer | Unsigned);
    let bits = matches!(op, BinaryOp::BitAnd | BinaryOp::BitOr | BinaryOp::BitXor);
    let kind = match (x, y) {
        (Boolean, Boolean) if bits => Boolean,
        (Float, _) | (_, Float) if bits => return None,
        _ if !number(x) || !number(y) => return None,
        _ if op == BinaryOp::Divide => Float,
        (Float, _) | (_, Float) => Float,
        (Unsigned, Unsigned) => Unsigned,
        _ => Integer,
    };
    Some(VariableKind::Field(kind))
}

fn kind_name(kind: VariableKind) -> &'static str {
    match kind {
        VariableKind::Field(field_type) => field_type.name(),
        VariableKind::Tag => "tag",
        VariableKind::Unknown => "unknown",
    }
}

fn duration(arg: Option<&Expr>) -> Option<i64> {
    match arg?.kind {
        ExprKind::Duration(ns) => Some(ns),
        _ => None,
    }
}

fn count(arg: Option<&Expr>) -> usize {
    match arg.map(|arg| &arg.kind) {
        Some(ExprKind::Integer(count)) => usize::try_from(*count).unwrap_or(0),
        _ => 0,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a percentage is a float")]
fn number(arg: Option<&Expr>) -> f64 {
    match arg.map(|arg| &arg.kind) {
        Some(ExprKind::Integer(number)) => *number as f64,
        Some(ExprKind::Number(number)) => *number,
        _ => f64::NAN,
    }
}

fn technical(indicator: Indicator, args: &[Expr]) -> Technical {
    Technical {
        indicator,
        period: count(args.get(1)),
        hold: match args.get(2).map(|arg| &arg.kind) {
            Some(ExprKind::Integer(hold)) => usize::try_from(*hold).ok(),
            _ => None,
        },
        warmup: match args.get(3).map(|arg| &arg.kind) {
            Some(ExprKind::String(text)) if &**text == "simple" => Some(Warmup::Simple),
            Some(ExprKind::String(text)) if &**text == "exponential" => Some(Warmup::Exponential),
            _ => None,
        },
    }
}
