//! What a `SHOW` speaks of: its database, its measurements, and its `WHERE`.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "few kinds of expression are conditions; every other is an error or lets all through"
)]

use std::sync::Arc;

use silverback_storage::model::{
    MeasurementInfo, PolicyId, SeriesRequest, Strings, TIMESTAMP_MAX, TIMESTAMP_MIN, TagPredicate,
    TimeRange,
};

use crate::influxql::ast::{BinaryOp, Expr, ExprKind, Measurement, Name, Selector, Show};
use crate::influxql::{Condition, split_condition, tag_predicate};
use crate::result::{QueryError, QueryOptions};
use crate::source::{Catalog, SeriesInfo, Source};

/// A `SHOW` and what it is run with.
pub(super) struct Scope<'a> {
    pub(super) catalog: &'a dyn Catalog,
    pub(super) show: &'a Show,
    pub(super) options: &'a QueryOptions,
}

/// A measurement that a `SHOW` speaks of.
pub(super) struct Target {
    pub(super) source: Arc<dyn Source>,
    pub(super) info: Arc<MeasurementInfo>,
    policy: Option<PolicyId>,
    /// Its database, where one is written, and its policy: the same name in the same place is
    /// the same measurement.
    place: (Option<Name>, Option<PolicyId>),
}

/// A `WHERE` of a `SHOW`: tags and time.
pub(super) struct Filter {
    condition: Condition,
}

impl Scope<'_> {
    /// The name of the database.
    ///
    /// # Errors
    /// If none is named.
    pub(super) fn database_name(&self) -> Result<String, QueryError> {
        let written = self.show.database.as_ref();
        let written = written.map(|name| name.to_text().into_owned());
        let default = || self.options.database.as_ref().map(ToString::to_string);
        let name = written.or_else(default).filter(|name| !name.is_empty());
        name.ok_or_else(|| QueryError::statement("database name required"))
    }

    /// The database.
    ///
    /// # Errors
    /// If none is named or there is none of the name.
    pub(super) fn database(&self) -> Result<Arc<dyn Source>, QueryError> {
        self.source(&self.database_name()?)
    }

    fn source(&self, name: &str) -> Result<Arc<dyn Source>, QueryError> {
        self.catalog
            .source(name)
            .ok_or_else(|| QueryError::statement(format!("database not found: {name}")))
    }

    /// The measurements of `FROM`, all of the database where there is no `FROM`; sorted by name.
    ///
    /// # Errors
    /// If a database or a policy is not there. A measurement that is not there is left out.
    pub(super) fn targets(&self) -> Result<Vec<Target>, QueryError> {
        if self.show.sources.is_empty() {
            let source = self.database()?;
            let all = source.measurements().into_iter();
            return Ok(all
                .map(|info| Target {
                    source: Arc::clone(&source),
                    info,
                    policy: None,
                    place: (None, None),
                })
                .collect());
        }
        let mut targets = Vec::new();
        for measurement in &self.show.sources {
            self.add_targets(measurement, &mut targets)?;
        }
        targets.sort_by(|a, b| a.info.name.cmp(&b.info.name));
        targets.dedup_by(|a, b| a.info.name == b.info.name && a.place == b.place);
        Ok(targets)
    }

    fn add_targets(
        &self,
        measurement: &Measurement,
        targets: &mut Vec<Target>,
    ) -> Result<(), QueryError> {
        let source = match &measurement.database {
            Some(name) => self.source(&name.to_text())?,
            None => self.database()?,
        };
        let policy = match &measurement.policy {
            Some(name) => Some(policy_id(&*source, name)?),
            None => None,
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
        targets.extend(found.into_iter().map(|info| Target {
            source: Arc::clone(&source),
            info,
            policy,
            place: (measurement.database.clone(), policy),
        }));
        Ok(())
    }

    /// The `WHERE`.
    ///
    /// # Errors
    /// If a time in it makes no sense.
    pub(super) fn filter(&self) -> Result<Filter, QueryError> {
        let condition = self.show.condition.as_ref();
        let condition = split_condition(condition, self.options.now_ns, None)?;
        Ok(Filter { condition })
    }
}

fn policy_id(source: &dyn Source, name: &Name) -> Result<PolicyId, QueryError> {
    let policies = source.policies();
    let found = policies
        .iter()
        .find(|policy| policy.name.as_bytes() == &**name);
    found
        .map(|policy| policy.id)
        .ok_or_else(|| QueryError::statement(format!("retention policy not found: {name}")))
}

impl Filter {
    /// Whether it lets everything through.
    pub(super) fn is_empty(&self) -> bool {
        self.condition.rest.is_none() && !self.has_time()
    }

    /// Whether it speaks of time.
    pub(super) fn has_time(&self) -> bool {
        self.condition.has_start || self.condition.has_end
    }

    /// What is left of it without time.
    pub(super) fn rest(&self) -> Option<&Expr> {
        self.condition.rest.as_ref()
    }

    /// Whether the condition can be asked of `target` at all.
    ///
    /// # Errors
    /// If it compares what tags are not compared with.
    pub(super) fn check(&self, target: &Target) -> Result<(), QueryError> {
        if let Some(rest) = self.rest() {
            series_predicate(rest, &target.info)?;
        }
        Ok(())
    }

    /// The series of `target` that pass, sorted by tags. Times are as exact as the store's
    /// partitions and blocks.
    ///
    /// # Errors
    /// If the condition compares what tags are not compared with; what the store says.
    pub(super) fn series(&self, target: &Target) -> Result<Vec<SeriesInfo>, QueryError> {
        let predicate = self.predicate(target)?;
        let request = self.request(target, &predicate);
        Ok(target.source.series(request)?)
    }

    /// How many series [`Filter::series`] gives.
    ///
    /// # Errors
    /// As [`Filter::series`].
    pub(super) fn count(&self, target: &Target) -> Result<u64, QueryError> {
        let predicate = self.predicate(target)?;
        let request = self.request(target, &predicate);
        Ok(target.source.series_count(request)?)
    }

    /// The values that tag `key` has among them, sorted.
    ///
    /// # Errors
    /// As [`Filter::series`].
    pub(super) fn values(&self, target: &Target, key: &[u8]) -> Result<Strings, QueryError> {
        let predicate = self.predicate(target)?;
        let request = self.request(target, &predicate);
        Ok(target.source.tag_values(request, key)?)
    }

    /// Whether any of them has tag `key`.
    ///
    /// # Errors
    /// As [`Filter::series`].
    pub(super) fn any_has(&self, target: &Target, key: &[u8]) -> Result<bool, QueryError> {
        let predicate = TagPredicate::And(vec![self.predicate(target)?, has_tag(key)]);
        let request = self.request(target, &predicate);
        Ok(target.source.has_series(request)?)
    }

    fn predicate(&self, target: &Target) -> Result<TagPredicate, QueryError> {
        match self.rest() {
            Some(rest) => series_predicate(rest, &target.info),
            None => Ok(TagPredicate::All),
        }
    }

    fn request<'a>(&self, target: &Target, predicate: &'a TagPredicate) -> SeriesRequest<'a> {
        let range = if self.has_time() {
            self.condition.range
        } else {
            TimeRange {
                start: TIMESTAMP_MIN,
                end: TIMESTAMP_MAX + 1,
            }
        };
        SeriesRequest {
            measurement: target.info.id,
            predicate,
            policy: target.policy,
            range,
        }
    }
}

/// A series has tag `key`.
fn has_tag(key: &[u8]) -> TagPredicate {
    TagPredicate::Not(Box::new(TagPredicate::Equal {
        key: key.into(),
        value: Box::default(),
    }))
}

/// The condition of a `SHOW` on the series of a measurement. What speaks of a field lets every
/// series through, as `InfluxDB` has it.
fn series_predicate(expr: &Expr, info: &MeasurementInfo) -> Result<TagPredicate, QueryError> {
    match &expr.kind {
        ExprKind::Paren(inner) => series_predicate(inner, info),
        ExprKind::Binary { op, left, right } if op.is_logical() => {
            let parts = vec![
                series_predicate(left, info)?,
                series_predicate(right, info)?,
            ];
            Ok(if *op == BinaryOp::And {
                TagPredicate::And(parts)
            } else {
                TagPredicate::Or(parts)
            })
        }
        ExprKind::Binary { op, left, right } => {
            let name = tag_compared(*op, left)?;
            if let Some(holds) = on_measurement_name(*op, name, right, info) {
                return Ok(if holds {
                    TagPredicate::All
                } else {
                    TagPredicate::None
                });
            }
            let is_field = |name: &Name| info.field(name).is_some();
            Ok(tag_predicate(expr, &is_field).unwrap_or(TagPredicate::All))
        }
        ExprKind::Boolean(false) => Ok(TagPredicate::None),
        _ => Ok(TagPredicate::All),
    }
}

/// The name on the left of a comparison that tags know.
fn tag_compared(op: BinaryOp, left: &Expr) -> Result<&Name, QueryError> {
    if !matches!(
        op,
        BinaryOp::Equal | BinaryOp::NotEqual | BinaryOp::Matches | BinaryOp::NotMatches
    ) {
        return Err(QueryError::statement("invalid tag comparison operator"));
    }
    let ExprKind::Variable { name, .. } = &left.kind else {
        let text = format!("left side of '{}' must be a tag key", op.text());
        return Err(QueryError::statement(text));
    };
    Ok(name)
}

/// Whether a comparison with the reserved name `_name` holds; `None` where it is none.
fn on_measurement_name(
    op: BinaryOp,
    name: &Name,
    right: &Expr,
    info: &MeasurementInfo,
) -> Option<bool> {
    if **name != *b"_name" {
        return None;
    }
    let equal = match &right.kind {
        ExprKind::String(text) => text.as_bytes() == &*info.name,
        ExprKind::Regex(regex) => regex.is_match(&info.name),
        _ => return None,
    };
    Some(equal == matches!(op, BinaryOp::Equal | BinaryOp::Matches))
}

/// Whether `SHOW MEASUREMENTS WHERE` names a measurement: it does where a series has the value
/// that is asked for; asked for the contrary, where the measurement has the tag and no series has
/// the value. `AND` and `OR` join measurements, not series.
///
/// # Errors
/// If the condition compares what tags are not compared with; what the store says.
pub(super) fn measurement_passes(
    expr: &Expr,
    source: &dyn Source,
    info: &MeasurementInfo,
) -> Result<bool, QueryError> {
    let ExprKind::Binary { op, left, right } = &expr.kind else {
        return match &expr.kind {
            ExprKind::Paren(inner) => measurement_passes(inner, source, info),
            _ => Err(QueryError::statement(format!(
                "invalid condition expression: {expr}"
            ))),
        };
    };
    if op.is_logical() {
        let left = measurement_passes(left, source, info)?;
        let right = measurement_passes(right, source, info)?;
        return Ok(if *op == BinaryOp::And {
            left && right
        } else {
            left || right
        });
    }
    let name = tag_compared(*op, left)?;
    let wanted = matches!(op, BinaryOp::Equal | BinaryOp::Matches);
    if let Some(holds) = on_measurement_name(*op, name, right, info) {
        return Ok(holds);
    }
    let positive = Expr {
        kind: ExprKind::Binary {
            op: match op {
                BinaryOp::NotEqual => BinaryOp::Equal,
                BinaryOp::NotMatches => BinaryOp::Matches,
                other => *other,
            },
            left: left.clone(),
            right: right.clone(),
        },
        span: expr.span,
    };
    let regex = matches!(op, BinaryOp::Matches | BinaryOp::NotMatches);
    let kind_fits = match right.kind {
        ExprKind::String(_) => !regex,
        ExprKind::Regex(_) => regex,
        _ => false,
    };
    let Some(predicate) = tag_predicate(&positive, &|_| false).filter(|_| kind_fits) else {
        let what = if regex {
            "regular expression"
        } else {
            "tag value string"
        };
        let text = format!("right side of '{}' must be a {what}", op.text());
        return Err(QueryError::statement(text));
    };
    if info
        .tag_keys
        .binary_search_by(|key| (**key).cmp(name))
        .is_err()
    {
        return Ok(false);
    }
    // A value that is asked for is one that some series has: a missing tag is none.
    let predicate = TagPredicate::And(vec![predicate, has_tag(name)]);
    let found = source.series_count(SeriesRequest {
        measurement: info.id,
        predicate: &predicate,
        policy: None,
        range: TimeRange::ALL,
    })?;
    Ok((found > 0) == wanted)
}
