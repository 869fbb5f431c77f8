//! What names mean in a statement: its sources, their fields and tags; and what wildcards stand for.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "few kinds of expression mean something here; every other is treated alike"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use silverback_storage::model::{FieldType, MeasurementInfo, PolicyId, TagPredicate};

use crate::influxql::ast::{
    self, Cast, Expr, ExprKind, Field, Name, Regex, Selector, WildcardKind,
};
use crate::influxql::compile::columns::field_name;
use crate::influxql::compile::dimensions::Dimensions;
use crate::influxql::compile::{Compiled, Compiler};
use crate::plan::expr::Expr as PlanExpr;
use crate::plan::{Binding, Column, Input, MeasurementInput, SubqueryInput, VariableKind};
use crate::result::QueryError;
use crate::source::Source;

/// The sources of a statement, in their order.
#[derive(Default)]
pub(super) struct Scope {
    sources: Vec<Option<Origin>>,
}

/// One source, looked up.
pub(super) enum Origin {
    Measurement {
        source: Arc<dyn Source>,
        policy: PolicyId,
        info: Arc<MeasurementInfo>,
    },
    Subquery(Box<Compiled>),
}

/// Which rows of a source count.
pub(super) struct Filter {
    pub(super) predicate: TagPredicate,
    pub(super) rest: Option<PlanExpr>,
}

/// A name that wildcards may stand for.
struct Candidate {
    name: Box<[u8]>,
    kind: VariableKind,
}

impl Scope {
    /// The sources that were found.
    pub(super) fn origins(&self) -> impl Iterator<Item = &Origin> {
        self.sources.iter().flatten()
    }

    /// A place for a subquery that is compiled later.
    pub(super) fn reserve(&mut self) -> usize {
        self.sources.push(None);
        self.sources.len() - 1
    }

    pub(super) fn subquery(&mut self, place: usize, compiled: Compiled) {
        self.sources[place] = Some(Origin::Subquery(Box::new(compiled)));
    }

    /// Looks a measurement up, or all that match; none of the name is fine.
    pub(super) fn measurement(
        &mut self,
        compiler: Compiler<'_>,
        measurement: &ast::Measurement,
    ) -> Result<(), QueryError> {
        let own = compiler
            .options
            .database
            .as_deref()
            .filter(|name| !name.is_empty());
        let named = measurement.database.as_ref().map(Name::to_text);
        let Some(database) = named.as_deref().or(own) else {
            return Err(QueryError::statement("database name required"));
        };
        let Some(source) = compiler.catalog.source(database) else {
            return Err(QueryError::statement(format!(
                "database not found: {database}"
            )));
        };
        let default = compiler
            .options
            .policy
            .as_deref()
            .filter(|name| !name.is_empty());
        let named = measurement.policy.as_ref().map(Name::to_text);
        let wanted = match (&named, &measurement.database) {
            (Some(name), _) => Some(&**name),
            (None, None) => default,
            (None, Some(_)) => None,
        };
        let policies = source.policies();
        let policy = policies.iter().find(|policy| match wanted {
            Some(name) => *policy.name == *name,
            None => policy.is_default,
        });
        let Some(policy) = policy.map(|policy| policy.id) else {
            let name = wanted.map_or_else(|| source.default_policy(), Box::from);
            return Err(QueryError::statement(format!(
                "retention policy not found: {name}"
            )));
        };
        let found = match &measurement.selector {
            Selector::Name(name) => source.measurement(name).into_iter().collect(),
            Selector::Regex(regex) => {
                let mut all = source.measurements();
                all.retain(|info| regex.is_match(&info.name));
                all
            }
            Selector::SameName => Vec::new(),
        };
        for info in found {
            self.sources.push(Some(Origin::Measurement {
                source: Arc::clone(&source),
                policy,
                info,
            }));
        }
        Ok(())
    }

    /// What `name` is over all sources.
    pub(super) fn kind(&self, name: &[u8], cast: Option<Cast>) -> VariableKind {
        match cast {
            Some(Cast::Tag) => return VariableKind::Tag,
            Some(Cast::Float) => return VariableKind::Field(FieldType::Float),
            Some(Cast::Integer) => return VariableKind::Field(FieldType::Integer),
            Some(Cast::Unsigned) => return VariableKind::Field(FieldType::Unsigned),
            Some(Cast::String) => return VariableKind::Field(FieldType::String),
            Some(Cast::Boolean) => return VariableKind::Field(FieldType::Boolean),
            Some(Cast::Field) | None => {}
        }
        let mut kind = VariableKind::Unknown;
        for origin in self.origins() {
            let own = origin.kind(name);
            if cast.is_some() && own == VariableKind::Tag {
                continue;
            }
            kind = wider(kind, own);
        }
        kind
    }

    /// The tags that a `GROUP BY` stands for, sorted.
    pub(super) fn expand_dimensions(&self, dimensions: &Dimensions) -> Vec<Box<[u8]>> {
        let mut keys = dimensions.named();
        if dimensions.has_patterns() {
            for origin in self.origins() {
                keys.extend(origin.tags().filter(|key| dimensions.matches(key)).cloned());
            }
        }
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// `fields` with wildcards replaced by the names they stand for.
    pub(super) fn expand_fields(
        &self,
        fields: &[Field],
        dimensions: &Dimensions,
        group_by: &[Box<[u8]>],
    ) -> Result<Vec<Field>, QueryError> {
        let candidates = self.candidates(dimensions, group_by);
        let mut expanded = Vec::with_capacity(fields.len());
        for field in fields {
            match &field.expr.kind {
                ExprKind::Wildcard(which) => {
                    let wanted = |one: &&Candidate| match which {
                        None => true,
                        Some(WildcardKind::Field) => one.kind != VariableKind::Tag,
                        Some(WildcardKind::Tag) => one.kind == VariableKind::Tag,
                    };
                    expanded.extend(candidates.iter().filter(wanted).map(Candidate::field));
                }
                ExprKind::Regex(regex) => {
                    let wanted = |one: &&Candidate| regex.is_match(&one.name);
                    expanded.extend(candidates.iter().filter(wanted).map(Candidate::field));
                }
                ExprKind::Call { name, args } => match innermost(name, args) {
                    Some((function, which)) => {
                        expand_call(field, (function, &which), &candidates, &mut expanded)?;
                    }
                    None => expanded.push(field.clone()),
                },
                _ => expanded.push(field.clone()),
            }
        }
        Ok(expanded)
    }

    /// All fields, and the tags that are not grouped by, sorted by name, fields first.
    fn candidates(&self, dimensions: &Dimensions, group_by: &[Box<[u8]>]) -> Vec<Candidate> {
        let mut fields: BTreeMap<Box<[u8]>, VariableKind> = BTreeMap::new();
        let mut tags = Vec::new();
        for origin in self.origins() {
            for (name, kind) in origin.fields() {
                let known = fields.entry(name.into()).or_insert(VariableKind::Unknown);
                *known = wider(*known, kind);
            }
            if !dimensions.has_patterns() {
                tags.extend(origin.tags().filter(|key| !group_by.contains(key)).cloned());
            }
        }
        if fields.is_empty() {
            return Vec::new();
        }
        tags.sort_unstable();
        tags.dedup();
        let fields = fields
            .into_iter()
            .filter(|(_, kind)| *kind != VariableKind::Unknown);
        let mut all: Vec<Candidate> = fields
            .map(|(name, kind)| Candidate { name, kind })
            .collect();
        all.extend(tags.into_iter().map(|name| Candidate {
            name,
            kind: VariableKind::Tag,
        }));
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The plan's inputs: each source with its bindings and its filter.
    pub(super) fn inputs(self, bindings: Vec<Vec<Binding>>, filters: Vec<Filter>) -> Vec<Input> {
        let sources = self.sources.into_iter().flatten();
        let input = |((origin, bindings), filter): ((Origin, Vec<Binding>), Filter)| match origin {
            Origin::Measurement {
                source,
                policy,
                info,
            } => Input::Measurement(MeasurementInput {
                source,
                policy,
                info,
                bindings,
                predicate: filter.predicate,
                filter: filter.rest,
            }),
            Origin::Subquery(compiled) => Input::Subquery(Box::new(SubqueryInput {
                plan: compiled.plan,
                bindings,
                filter: filter.rest,
            })),
        };
        sources.zip(bindings).zip(filters).map(input).collect()
    }
}

impl Origin {
    /// What `name` is here.
    pub(super) fn kind(&self, name: &[u8]) -> VariableKind {
        match self {
            Origin::Measurement { info, .. } => match info.field(name) {
                Some(field) => VariableKind::Field(field.field_type),
                None if info.tag_keys.iter().any(|key| **key == *name) => VariableKind::Tag,
                None => VariableKind::Unknown,
            },
            Origin::Subquery(compiled) => match compiled.column(name) {
                Some((_, column)) if column.kind != VariableKind::Unknown => column.kind,
                _ if compiled.own_group_by.iter().any(|key| **key == *name) => VariableKind::Tag,
                _ => VariableKind::Unknown,
            },
        }
    }

    /// What a variable of that name and kind reads here. `cast`: the query says the type.
    pub(super) fn binding(&self, name: &[u8], kind: VariableKind, cast: bool) -> Binding {
        match self {
            Origin::Measurement { info, .. } => match kind {
                VariableKind::Unknown => Binding::Absent,
                VariableKind::Tag => Binding::Tag(name.into()),
                VariableKind::Field(wanted) => match info.field(name) {
                    Some(field) if readable(field.field_type, wanted) => Binding::Field {
                        field: field.id,
                        stored: field.field_type,
                        wanted,
                    },
                    _ => Binding::Absent,
                },
            },
            Origin::Subquery(compiled) => {
                if let Some((index, column)) = compiled.column(name) {
                    let wanted = match kind {
                        VariableKind::Field(wanted)
                            if cast || is_number(column.kind) && column.kind != kind =>
                        {
                            Some(wanted)
                        }
                        _ => None,
                    };
                    return Binding::Column { index, wanted };
                }
                if compiled.own_group_by.iter().any(|key| **key == *name) {
                    return Binding::Tag(name.into());
                }
                Binding::Absent
            }
        }
    }

    fn tags(&self) -> impl Iterator<Item = &Box<[u8]>> {
        match self {
            Origin::Measurement { info, .. } => info.tag_keys.iter(),
            Origin::Subquery(compiled) => compiled.own_group_by.iter(),
        }
    }

    fn fields(&self) -> Vec<(&[u8], VariableKind)> {
        match self {
            Origin::Measurement { info, .. } => {
                let kind = |field_type| VariableKind::Field(field_type);
                info.fields
                    .iter()
                    .map(|field| (&*field.name, kind(field.field_type)))
                    .collect()
            }
            Origin::Subquery(compiled) => {
                let columns = compiled.plan.columns.iter();
                columns
                    .map(|column| (&*column.plain_name, column.kind))
                    .collect()
            }
        }
    }
}

impl Compiled {
    /// The first column called `name`.
    fn column(&self, name: &[u8]) -> Option<(usize, &Column)> {
        self.plan
            .columns
            .iter()
            .enumerate()
            .find(|(_, column)| *column.plain_name == *name)
    }
}

impl Candidate {
    fn expr(&self) -> Expr {
        let cast = match self.kind {
            VariableKind::Tag => Some(Cast::Tag),
            VariableKind::Field(_) => Some(Cast::Field),
            VariableKind::Unknown => None,
        };
        Expr {
            kind: ExprKind::Variable {
                name: Name(self.name.clone()),
                cast,
            },
            span: ast::Span::default(),
        }
    }

    fn field(&self) -> Field {
        Field {
            expr: self.expr(),
            alias: None,
        }
    }
}

/// What a call's wildcard says.
enum Which {
    Wildcard(Option<WildcardKind>),
    Regex(Regex),
}

/// The innermost call and its wildcard, if there is one.
fn innermost<'e>(name: &'e str, args: &'e [Expr]) -> Option<(&'e str, Which)> {
    match &args.first()?.kind {
        ExprKind::Call { name, args } => innermost(name, args),
        ExprKind::Wildcard(which) => Some((name, Which::Wildcard(*which))),
        ExprKind::Regex(regex) => Some((name, Which::Regex(regex.clone()))),
        _ => None,
    }
}

fn expand_call(
    field: &Field,
    (function, which): (&str, &Which),
    candidates: &[Candidate],
    expanded: &mut Vec<Field>,
) -> Result<(), QueryError> {
    if matches!(which, Which::Wildcard(Some(WildcardKind::Tag))) {
        return Err(QueryError::statement(format!(
            "unable to use tag wildcard in {function}()"
        )));
    }
    for candidate in candidates {
        let VariableKind::Field(field_type) = candidate.kind else {
            continue;
        };
        let matches = match which {
            Which::Wildcard(_) => true,
            Which::Regex(regex) => regex.is_match(&candidate.name),
        };
        if !matches || !expands(function, field_type) {
            continue;
        }
        let name = [&*field_name(field), b"_", &*candidate.name].concat();
        expanded.push(Field {
            expr: replaced(&field.expr, candidate),
            alias: Some(Name(name.into())),
        });
    }
    Ok(())
}

/// Whether a wildcard in `function` stands for fields of this type.
fn expands(function: &str, field_type: FieldType) -> bool {
    match field_type {
        FieldType::Float | FieldType::Integer => true,
        FieldType::Unsigned => !function.starts_with("holt_winters"),
        FieldType::Boolean => matches!(
            function,
            "count" | "first" | "last" | "distinct" | "elapsed" | "mode" | "sample" | "min" | "max"
        ),
        FieldType::String => matches!(
            function,
            "count" | "first" | "last" | "distinct" | "elapsed" | "mode" | "sample"
        ),
    }
}

/// `expr`, whose innermost first argument is a wildcard, with a name in its place.
fn replaced(expr: &Expr, candidate: &Candidate) -> Expr {
    let ExprKind::Call { name, args } = &expr.kind else {
        return candidate.expr();
    };
    let mut args = args.clone();
    if let Some(first) = args.first_mut() {
        *first = replaced(first, candidate);
    }
    Expr {
        kind: ExprKind::Call {
            name: name.clone(),
            args,
        },
        span: expr.span,
    }
}

fn is_number(kind: VariableKind) -> bool {
    matches!(
        kind,
        VariableKind::Field(FieldType::Float | FieldType::Integer | FieldType::Unsigned)
    )
}

/// Whether a value stored as one type can be read as the other.
fn readable(stored: FieldType, wanted: FieldType) -> bool {
    let number = |field_type| is_number(VariableKind::Field(field_type));
    stored == wanted || number(stored) && number(wanted)
}

/// The one of two kinds that the other gives way to.
fn wider(a: VariableKind, b: VariableKind) -> VariableKind {
    let rank = |kind: VariableKind| match kind {
        VariableKind::Field(FieldType::Float) => 0,
        VariableKind::Field(FieldType::Integer) => 1,
        VariableKind::Field(FieldType::Unsigned) => 2,
        VariableKind::Field(FieldType::String) => 3,
        VariableKind::Field(FieldType::Boolean) => 4,
        VariableKind::Tag => 5,
        VariableKind::Unknown => 6,
    };
    if rank(b) < rank(a) { b } else { a }
}
