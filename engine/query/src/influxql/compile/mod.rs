//! `SELECT` to a plan: names are looked up, wildcards expanded, types settled, and what makes no
//! sense is refused in `InfluxDB`'s words. Reads the catalogue only, never points.
//!
//! Order matters, since it decides which of several errors is told: a statement's own shape first
//! ([`check`]), then its sources and what is wrong inside subqueries, then names and types.

mod build;
mod calls;
mod check;
mod columns;
mod dimensions;
mod filter;
mod scope;
mod types;

use silverback_storage::model::TimeRange;

use crate::influxql::ast::{self, Expr, ExprKind, Field};
use crate::influxql::condition::{Condition, split_condition};
use crate::influxql::fold::fold;
use crate::plan::window::Windows;
use crate::plan::{Cut, Fill, Plan};
use crate::result::{QueryError, QueryOptions};
use crate::source::Catalog;

use build::Builder;
use check::check_fields;
use dimensions::{Dimensions, read_dimensions};
use scope::Scope;

/// What compiling a `SELECT` needs besides its tree.
#[derive(Clone, Copy)]
pub(super) struct Compiler<'c> {
    pub(super) catalog: &'c dyn Catalog,
    pub(super) options: &'c QueryOptions,
}

/// What a subquery takes over from the query around it.
#[derive(Clone, Debug)]
struct Outer {
    group_by: Vec<Box<[u8]>>,
    windows: Option<Windows>,
    descending: bool,
}

/// A compiled `SELECT`, and what a query around it may know of it.
struct Compiled {
    plan: Plan,
    /// The tags that its own `GROUP BY` names.
    own_group_by: Vec<Box<[u8]>>,
}

/// The plan of `select`.
///
/// # Errors
/// `Statement`, in `InfluxDB`'s words, for what makes no sense; `Storage` where the catalogue
/// cannot be read.
pub(super) fn compile(compiler: Compiler<'_>, select: &ast::Select) -> Result<Plan, QueryError> {
    compiler.select(select, None).map(|compiled| compiled.plan)
}

impl Compiler<'_> {
    fn select(self, select: &ast::Select, outer: Option<&Outer>) -> Result<Compiled, QueryError> {
        if select.target.is_some() {
            return Err(QueryError::statement("SELECT INTO is not supported yet"));
        }
        let now = self.options.now_ns;
        let zone = select.zone.as_ref().map(|zone| zone.zone.clone());
        let condition = split_condition(select.condition.as_ref(), now, zone.as_ref())?;
        let dimensions = read_dimensions(select, now)?;
        let (fields, time_name) = self.fields(select);
        let inherited = outer.and_then(|outer| outer.windows.clone());
        let windows = match (dimensions.every_ns, inherited) {
            (0, inherited) => inherited,
            (every_ns, _) => Some(Windows {
                every_ns,
                offset_ns: dimensions.offset_ns,
                zone: zone.clone(),
            }),
        };
        let inherits = dimensions.every_ns == 0 && windows.is_some();
        check_fields(select, &fields, windows.is_some(), inherits)?;
        if outer.is_some_and(|outer| select.descending && !outer.descending) {
            return Err(QueryError::statement(
                "subqueries must be ordered in the same direction as the query itself",
            ));
        }
        let descending = outer.map_or(select.descending, |outer| outer.descending);
        let scope = self.scope(select, outer, (&dimensions, &windows, descending))?;
        let own_group_by = scope.expand_dimensions(&dimensions);
        let fields = scope.expand_fields(&fields, &dimensions, &own_group_by)?;
        let mut group_by = own_group_by.clone();
        group_by.extend(
            outer
                .iter()
                .flat_map(|outer| outer.group_by.iter().cloned()),
        );
        group_by.sort_unstable();
        group_by.dedup();
        let every_ns = windows.as_ref().map(|windows| windows.every_ns);
        let mut builder = Builder::new(&scope, every_ns);
        builder.read(&fields, condition.rest.as_ref())?;
        let columns = builder.columns(&fields)?;
        let filters = builder.filters(condition.rest.as_ref())?;
        let bindings = builder.bindings();
        let Builder {
            variables,
            shown,
            calls,
            ..
        } = builder;
        let inputs = scope.inputs(bindings, filters);
        let plan = Plan {
            inputs,
            variables,
            shown,
            fill: fill(select.fill, outer.is_some() && !calls.is_empty()),
            calls,
            columns,
            time_column: time_name.unwrap_or_else(|| b"time"[..].into()),
            group_by,
            range: range(&condition, windows.is_some(), now),
            windows,
            descending,
            cut: Cut {
                limit: select.limit,
                offset: select.offset,
                group_limit: select.slimit,
                group_offset: select.soffset,
            },
            zone,
        };
        Ok(Compiled { plan, own_group_by })
    }

    /// The selected expressions with constants folded, without `time`, which is always selected;
    /// and the name it is given.
    fn fields(self, select: &ast::Select) -> (Vec<Field>, Option<Box<[u8]>>) {
        let mut time_name = None;
        let mut fields = Vec::with_capacity(select.fields.len());
        for field in &select.fields {
            if let ExprKind::Variable { name, cast: None } = &field.expr.kind
                && name.is_time()
            {
                time_name = field
                    .alias
                    .as_ref()
                    .map(|alias| alias.0.clone())
                    .or(time_name);
                continue;
            }
            fields.push(Field {
                expr: check::fold_math(&fold(&field.expr, self.options.now_ns)),
                alias: field.alias.clone(),
            });
        }
        (fields, time_name)
    }

    fn scope(
        self,
        select: &ast::Select,
        outer: Option<&Outer>,
        (dimensions, windows, descending): (&Dimensions, &Option<Windows>, bool),
    ) -> Result<Scope, QueryError> {
        let mut scope = Scope::default();
        let mut inner = Vec::new();
        for source in &select.sources {
            match source {
                ast::Source::Measurement(measurement) => scope.measurement(self, measurement)?,
                ast::Source::Subquery(subquery) => inner.push((scope.reserve(), subquery)),
            }
        }
        // Tags by wildcard can only be known once the inner query is; those by name are passed in.
        let mut group_by = dimensions.named();
        group_by.extend(
            outer
                .iter()
                .flat_map(|outer| outer.group_by.iter().cloned()),
        );
        if dimensions.has_patterns() {
            for (_, subquery) in &inner {
                let own = read_dimensions(subquery, self.options.now_ns)?;
                group_by.extend(
                    own.named()
                        .into_iter()
                        .filter(|key| dimensions.matches(key)),
                );
            }
        }
        let around = Outer {
            group_by,
            windows: windows.clone(),
            descending,
        };
        for (place, subquery) in inner {
            let compiled = self.select(subquery, Some(&around))?;
            scope.subquery(place, compiled);
        }
        Ok(scope)
    }
}

fn fill(fill: ast::Fill, inside: bool) -> Fill {
    match fill {
        // What an inner query has not is nothing to the outer one.
        ast::Fill::Null if inside => Fill::None,
        ast::Fill::Null => Fill::Null,
        ast::Fill::None => Fill::None,
        ast::Fill::Number(number) => Fill::Number(number),
        ast::Fill::Integer(number) => Fill::Integer(number),
        ast::Fill::Previous => Fill::Previous,
        ast::Fill::Linear => Fill::Linear,
    }
}

/// The span of a statement: windows without an upper bound end now.
fn range(condition: &Condition, windows: bool, now_ns: i64) -> TimeRange {
    let mut range = condition.range;
    if windows && !condition.has_end {
        range.end = now_ns.saturating_add(1).max(range.start);
    }
    range
}

/// Whether an expression is a constant.
fn is_literal(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Number(_)
        | ExprKind::Integer(_)
        | ExprKind::Unsigned(_)
        | ExprKind::String(_)
        | ExprKind::Boolean(_)
        | ExprKind::Duration(_)
        | ExprKind::Time(_)
        | ExprKind::List(_) => true,
        ExprKind::Binary { .. }
        | ExprKind::Call { .. }
        | ExprKind::Variable { .. }
        | ExprKind::Regex(_)
        | ExprKind::Wildcard(_)
        | ExprKind::Distinct(_)
        | ExprKind::Paren(_) => false,
    }
}
