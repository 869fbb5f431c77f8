//! The shape of a `SELECT`: which functions there are, what arguments they take, and what may
//! stand beside what. Looks at no names but those of functions.
//!
//! # Source
//! The checks and their words are those of `InfluxDB` 1.x; clients show them.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "few kinds of expression mean something here; every other is treated alike"
)]

use silverback_storage::model::FieldValue;

use crate::functions::math::MathFunction;
use crate::functions::technical::Indicator;
use crate::influxql::ast::{Expr, ExprKind, Field, Fill, Select};
use crate::influxql::compile::is_literal;
use crate::influxql::duration::duration_text;
use crate::influxql::fold::go_type;
use crate::result::QueryError;

type Checked = Result<(), QueryError>;

fn refuse<T>(text: impl Into<String>) -> Result<T, QueryError> {
    Err(QueryError::statement(text))
}

/// What has been seen of a statement's fields.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one thing that was or was not seen"
)]
struct Checker<'s> {
    select: &'s Select,
    windows: bool,
    /// The windows are those of a query around this one.
    inherits: bool,
    calls: usize,
    selectors_only: bool,
    bare: bool,
    distinct: bool,
    top: Option<Box<str>>,
    /// Inside a binary expression no wildcard may stand.
    wildcards: bool,
}

/// Checks the fields of `select`, which `fields` are with constants folded.
///
/// # Errors
/// `Statement` for the first thing that makes no sense.
pub(super) fn check_fields(
    select: &Select,
    fields: &[Field],
    windows: bool,
    inherits: bool,
) -> Checked {
    if fields.is_empty() {
        return refuse("at least 1 non-time field must be queried");
    }
    let mut checker = Checker {
        select,
        windows,
        inherits,
        calls: 0,
        selectors_only: true,
        bare: false,
        distinct: false,
        top: None,
        wildcards: true,
    };
    for field in fields {
        checker.wildcards = true;
        checker.expr(&field.expr)?;
    }
    checker.together()
}

/// `expr` with mathematics on constants worked out.
pub(super) fn fold_math(expr: &Expr) -> Expr {
    let kind = match &expr.kind {
        ExprKind::Call { name, args } => {
            let args: Vec<Expr> = args.iter().map(fold_math).collect();
            match constant(name, &args) {
                Some(value) => ExprKind::Number(value),
                None => ExprKind::Call {
                    name: name.clone(),
                    args,
                },
            }
        }
        ExprKind::Binary { op, left, right } => ExprKind::Binary {
            op: *op,
            left: Box::new(fold_math(left)),
            right: Box::new(fold_math(right)),
        },
        ExprKind::Paren(inner) => ExprKind::Paren(Box::new(fold_math(inner))),
        _ => return expr.clone(),
    };
    Expr {
        kind,
        span: expr.span,
    }
}

fn constant(name: &str, args: &[Expr]) -> Option<f64> {
    let function = MathFunction::named(name)?;
    if args.len() != function.argument_count() {
        return None;
    }
    let mut values = Vec::with_capacity(args.len());
    for arg in args {
        values.push(match arg.kind {
            ExprKind::Number(value) => FieldValue::Float(value),
            ExprKind::Integer(value) => FieldValue::Integer(value),
            ExprKind::Unsigned(value) => FieldValue::Unsigned(value),
            _ => return None,
        });
    }
    crate::functions::as_float(&function.apply(&values)?)
}

impl Checker<'_> {
    fn expr(&mut self, expr: &Expr) -> Checked {
        match &expr.kind {
            ExprKind::Variable { .. } => {
                self.bare = true;
                Ok(())
            }
            ExprKind::Wildcard(_) => {
                self.bare = true;
                if !self.wildcards {
                    return refuse("unable to use wildcard in a binary expression");
                }
                Ok(())
            }
            ExprKind::Regex(_) => {
                self.bare = true;
                if !self.wildcards {
                    return refuse("unable to use regex in a binary expression");
                }
                Ok(())
            }
            ExprKind::Call { name, args } => self.call(name, args),
            ExprKind::Distinct(_) => {
                self.calls += 1;
                self.distinct = true;
                self.selectors_only = false;
                Ok(())
            }
            ExprKind::Binary { left, right, .. } => {
                self.wildcards = false;
                match (is_literal(left), is_literal(right)) {
                    (true, true) => refuse("cannot perform a binary expression on two literals"),
                    (true, false) => self.expr(right),
                    (false, true) => self.expr(left),
                    (false, false) => {
                        self.expr(left)?;
                        self.expr(right)
                    }
                }
            }
            ExprKind::Paren(inner) => self.expr(inner),
            ExprKind::Number(_)
            | ExprKind::Integer(_)
            | ExprKind::Unsigned(_)
            | ExprKind::String(_)
            | ExprKind::Boolean(_)
            | ExprKind::Duration(_)
            | ExprKind::Time(_)
            | ExprKind::List(_) => refuse("field must contain at least one variable"),
        }
    }

    fn call(&mut self, name: &str, args: &[Expr]) -> Checked {
        if let Some(function) = MathFunction::named(name) {
            return self.math(name, function, args);
        }
        self.calls += 1;
        match name {
            "max" | "min" | "first" | "last" => self.plain(name, args),
            "count" | "sum" | "mean" | "median" | "mode" | "stddev" | "spread" => {
                self.selectors_only = false;
                self.plain(name, args)
            }
            "percentile" => self.percentile(args),
            "sample" => self.sample(args),
            "distinct" => self.distinct(args, false),
            "top" | "bottom" => self.top(name, args),
            "derivative" | "non_negative_derivative" | "elapsed" => {
                self.derivative(name, args)?;
                self.input(name, &args[0])
            }
            "difference" | "non_negative_difference" | "cumulative_sum" => {
                count_is(name, args, 1)?;
                self.selectors_only = false;
                self.input(name, &args[0])
            }
            "moving_average" => {
                moving(name, args)?;
                self.selectors_only = false;
                self.input(name, &args[0])
            }
            "integral" => {
                integral(args)?;
                self.selectors_only = false;
                self.symbol(name, &args[0])
            }
            "holt_winters" | "holt_winters_with_fit" => self.forecast(name, args),
            _ => match Indicator::named(name) {
                Some(indicator) => {
                    technical(name, indicator, args)?;
                    self.selectors_only = false;
                    self.input(name, &args[0])
                }
                None => refuse(format!("undefined function {name}()")),
            },
        }
    }

    fn math(&mut self, name: &str, function: MathFunction, args: &[Expr]) -> Checked {
        count_is(name, args, function.argument_count())?;
        for arg in args {
            if !is_literal(arg) {
                self.expr(arg)?;
            }
        }
        Ok(())
    }

    /// A function of one field.
    fn plain(&mut self, name: &str, args: &[Expr]) -> Checked {
        count_is(name, args, 1)?;
        if name == "count" {
            match &args[0].kind {
                ExprKind::Call { name, args } if &**name == "distinct" => {
                    return self.distinct(args, true);
                }
                ExprKind::Distinct(_) => return Ok(()),
                _ => {}
            }
        }
        self.symbol(name, &args[0])
    }

    /// A field, or what stands for fields.
    fn symbol(&mut self, name: &str, arg: &Expr) -> Checked {
        match &arg.kind {
            ExprKind::Variable { .. } => Ok(()),
            ExprKind::Wildcard(_) => {
                self.selectors_only = false;
                if !self.wildcards {
                    return refuse(format!("unsupported expression with wildcard: {name}()"));
                }
                Ok(())
            }
            ExprKind::Regex(_) => {
                self.selectors_only = false;
                if !self.wildcards {
                    return refuse(format!("unsupported expression with regex field: {name}()"));
                }
                Ok(())
            }
            _ => refuse(format!("expected field argument in {name}()")),
        }
    }

    /// What a transformation works on: an aggregate with windows, else a field.
    fn input(&mut self, name: &str, arg: &Expr) -> Checked {
        if let ExprKind::Call { name: inner, args } = &arg.kind
            && MathFunction::named(inner).is_none()
        {
            if !self.windows {
                return refuse(format!("{name} aggregate requires a GROUP BY interval"));
            }
            return self.nested(inner, args);
        }
        if self.windows && !self.inherits {
            return refuse(format!(
                "aggregate function required inside the call to {name}"
            ));
        }
        self.symbol(name, arg)
    }

    fn nested(&mut self, name: &str, args: &[Expr]) -> Checked {
        if name == "distinct" {
            self.distinct(args, true)
        } else {
            self.call(name, args)
        }
    }

    fn percentile(&mut self, args: &[Expr]) -> Checked {
        count_is("percentile", args, 2)?;
        if !matches!(args[1].kind, ExprKind::Integer(_) | ExprKind::Number(_)) {
            return refuse("expected float argument in percentile()");
        }
        self.symbol("percentile", &args[0])
    }

    fn sample(&mut self, args: &[Expr]) -> Checked {
        count_is("sample", args, 2)?;
        match args[1].kind {
            ExprKind::Integer(count) if count <= 0 => {
                refuse(format!("sample window must be greater than 1, got {count}"))
            }
            ExprKind::Integer(_) => self.symbol("sample", &args[0]),
            _ => refuse("expected integer argument in sample()"),
        }
    }

    fn distinct(&mut self, args: &[Expr], nested: bool) -> Checked {
        match args {
            [] => return refuse("distinct function requires at least one argument"),
            [one] if matches!(one.kind, ExprKind::Variable { .. }) => {}
            [_] => return refuse("expected field argument in distinct()"),
            _ => return refuse("distinct function can only have one argument"),
        }
        if !nested {
            self.distinct = true;
        }
        self.selectors_only = false;
        Ok(())
    }

    fn top(&mut self, name: &str, args: &[Expr]) -> Checked {
        if let Some(other) = &self.top {
            return refuse(format!(
                "selector function {other}() cannot be combined with other functions"
            ));
        }
        let [first, middle @ .., last] = args else {
            return refuse(format!(
                "invalid number of arguments for {name}, expected at least 2, got {}",
                args.len()
            ));
        };
        let ExprKind::Integer(limit) = last.kind else {
            return refuse(format!(
                "expected integer as last argument in {name}(), found {last}"
            ));
        };
        if limit <= 0 {
            return refuse(format!(
                "limit ({limit}) in {name} function must be at least 1"
            ));
        }
        if self.select.limit > 0 && limit.unsigned_abs() > self.select.limit {
            return refuse(format!(
                "limit ({limit}) in {name} function can not be larger than the LIMIT ({}) in the \
                 select statement",
                self.select.limit
            ));
        }
        if !matches!(first.kind, ExprKind::Variable { .. }) {
            return refuse(format!(
                "expected first argument to be a field in {name}(), found {first}"
            ));
        }
        for one in middle {
            if !matches!(one.kind, ExprKind::Variable { .. }) {
                return refuse(format!(
                    "only fields or tags are allowed in {name}(), found {one}"
                ));
            }
        }
        self.top = Some(name.into());
        Ok(())
    }

    /// `derivative`, `elapsed`: a field and maybe a unit.
    fn derivative(&mut self, name: &str, args: &[Expr]) -> Checked {
        if args.is_empty() || args.len() > 2 {
            return refuse(format!(
                "invalid number of arguments for {name}, expected at least 1 but no more than 2, \
                 got {}",
                args.len()
            ));
        }
        if let Some(unit) = args.get(1) {
            match unit.kind {
                ExprKind::Duration(unit_ns) => positive(unit_ns)?,
                ref other => {
                    let other = go_type(other);
                    return refuse(format!(
                        "second argument to {name} must be a duration, got *influxql.{other}"
                    ));
                }
            }
        }
        self.selectors_only = false;
        Ok(())
    }

    fn forecast(&mut self, name: &str, args: &[Expr]) -> Checked {
        count_is(name, args, 3)?;
        match args[1].kind {
            ExprKind::Integer(count) if count <= 0 => {
                return refuse(format!(
                    "second arg to {name} must be greater than 0, got {count}"
                ));
            }
            ExprKind::Integer(_) => {}
            _ => return refuse(format!("expected integer argument as second arg in {name}")),
        }
        match args[2].kind {
            ExprKind::Integer(season) if season < 0 => {
                return refuse(format!(
                    "third arg to {name} cannot be negative, got {season}"
                ));
            }
            ExprKind::Integer(_) => {}
            _ => return refuse(format!("expected integer argument as third arg in {name}")),
        }
        self.selectors_only = false;
        let ExprKind::Call { name: inner, args } = &args[0].kind else {
            return refuse(format!("must use aggregate function with {name}"));
        };
        if !self.windows {
            return refuse(format!("{name} aggregate requires a GROUP BY interval"));
        }
        self.nested(inner, args)
    }

    /// What may stand beside what.
    fn together(&self) -> Checked {
        if let Some(top) = &self.top
            && self.calls > 1
        {
            return refuse(format!(
                "selector function {top}() cannot be combined with other functions"
            ));
        }
        if self.calls == 0 {
            match self.select.fill {
                Fill::None => return refuse("fill(none) must be used with a function"),
                Fill::Linear => return refuse("fill(linear) must be used with a function"),
                Fill::Null | Fill::Number(_) | Fill::Integer(_) | Fill::Previous => {}
            }
            if self.windows && !self.inherits {
                return refuse("GROUP BY requires at least one aggregate function");
            }
        }
        if self.distinct && (self.calls != 1 || self.bare) {
            return refuse(
                "aggregate function distinct() cannot be combined with other functions or fields",
            );
        }
        if self.bare && self.calls > 0 {
            if !self.selectors_only {
                return refuse("mixing aggregate and non-aggregate queries is not supported");
            }
            if self.calls > 1 {
                return refuse(
                    "mixing multiple selector functions with tags or fields is not supported",
                );
            }
        }
        Ok(())
    }
}

fn count_is(name: &str, args: &[Expr], expected: usize) -> Checked {
    if args.len() == expected {
        return Ok(());
    }
    refuse(format!(
        "invalid number of arguments for {name}, expected {expected}, got {}",
        args.len()
    ))
}

fn positive(unit_ns: i64) -> Checked {
    if unit_ns > 0 {
        return Ok(());
    }
    refuse(format!(
        "duration argument must be positive, got {}",
        duration_text(unit_ns)
    ))
}

fn moving(name: &str, args: &[Expr]) -> Checked {
    count_is(name, args, 2)?;
    match args[1].kind {
        ExprKind::Integer(count) if count <= 1 => {
            refuse(format!("{name} window must be greater than 1, got {count}"))
        }
        ExprKind::Integer(_) => Ok(()),
        ref other => refuse(format!(
            "second argument for {name} must be an integer, got *influxql.{}",
            go_type(other)
        )),
    }
}

fn integral(args: &[Expr]) -> Checked {
    if args.is_empty() || args.len() > 2 {
        return refuse(format!(
            "invalid number of arguments for integral, expected at least 1 but no more than 2, got {}",
            args.len()
        ));
    }
    match args.get(1).map(|unit| &unit.kind) {
        None => Ok(()),
        Some(ExprKind::Duration(unit_ns)) => positive(*unit_ns),
        Some(_) => refuse("second argument must be a duration"),
    }
}

/// `name(field, period[, hold[, warmup]])`
fn technical(name: &str, indicator: Indicator, args: &[Expr]) -> Checked {
    let most = match indicator {
        Indicator::EfficiencyRatio | Indicator::AdaptiveAverage => 3,
        Indicator::Exponential
        | Indicator::Double
        | Indicator::Triple
        | Indicator::TripleDerivative
        | Indicator::RelativeStrength
        | Indicator::Momentum => 4,
    };
    if args.len() < 2 || args.len() > most {
        return refuse(format!(
            "invalid number of arguments for {name}, expected at least 2 but no more than {most}, \
             got {}",
            args.len()
        ));
    }
    match args[1].kind {
        ExprKind::Integer(period) if period < 1 => {
            return refuse(format!("{name} period must be greater than or equal to 1"));
        }
        ExprKind::Integer(period) if period > PERIOD_MAX => {
            return refuse(format!("{name} period must be at most {PERIOD_MAX}"));
        }
        ExprKind::Integer(_) => {}
        _ => return refuse(format!("{name} period must be an integer")),
    }
    let hold_min = i64::from(indicator == Indicator::TripleDerivative);
    match args.get(2).map(|hold| &hold.kind) {
        None | Some(ExprKind::Integer(-1)) => {}
        Some(ExprKind::Integer(hold)) if *hold >= hold_min => {}
        Some(ExprKind::Integer(_)) => {
            return refuse(format!(
                "{name} hold period must be greater than or equal to {hold_min}"
            ));
        }
        Some(_) => return refuse(format!("{name} hold period must be an integer")),
    }
    let plain = indicator == Indicator::Momentum;
    match args.get(3).map(|warmup| &warmup.kind) {
        None => Ok(()),
        Some(ExprKind::String(warmup)) if matches!(&**warmup, "exponential" | "simple") => Ok(()),
        Some(ExprKind::String(warmup)) if plain && &**warmup == "none" => Ok(()),
        Some(ExprKind::String(_)) => refuse(format!(
            "{name} warmup type must be one of: {}'exponential' 'simple'",
            if plain { "'none' " } else { "" }
        )),
        Some(_) => refuse(format!("{name} warmup type must be a string")),
    }
}

/// The longest period of an indicator: it keeps so many values.
const PERIOD_MAX: i64 = 1 << 20;
