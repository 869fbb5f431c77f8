//! Calls: from a function and its arguments to what is read, aggregated and transformed.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "few kinds of expression mean something here; every other is treated alike"
)]

use silverback_storage::model::FieldType;

use crate::functions::aggregate::Aggregate;
use crate::functions::forecast::{self, HoltWinters};
use crate::functions::integral;
use crate::functions::technical::{Indicator, Technical, Warmup};
use crate::functions::transform::Transform;
use crate::influxql::ast::{Expr, ExprKind};
use crate::influxql::compile::build::Builder;
use crate::plan::{Base, Call, Stage, VariableKind};
use crate::result::QueryError;

/// The unit of rates where nothing says another.
const SECOND_NS: i64 = 1_000_000_000;

impl Builder<'_> {
    fn input_type(&self, variable: usize) -> FieldType {
        match self.variables[variable].kind {
            VariableKind::Field(field_type) => field_type,
            VariableKind::Tag | VariableKind::Unknown => FieldType::Float,
        }
    }

    pub(super) fn aggregate(&self, variable: usize, function: Aggregate) -> Call {
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
    pub(super) fn call(&self, name: &str, args: &[Expr]) -> Result<Call, QueryError> {
        let Some(first) = args.first() else {
            return Err(QueryError::statement(format!(
                "undefined function {name}()"
            )));
        };
        if let Some(stage) = self.stage(name, args) {
            let mut call = if let ExprKind::Call { name, args } = &first.kind {
                self.call(name, args)?
            } else {
                let variable = self.variable(first)?;
                let output = self.input_type(variable);
                Call {
                    variable,
                    base: Base::Raw,
                    stages: Vec::new(),
                    between: output,
                    output,
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
        let name = name.trim_start_matches("non_negative_").replace('_', " ");
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
