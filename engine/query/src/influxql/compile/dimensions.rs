//! `GROUP BY`: the window of time and the tags.

use crate::influxql::ast::{Expr, ExprKind, Regex, Select};
use crate::influxql::fold::fold;
use crate::influxql::time::parse_time;
use crate::result::QueryError;

/// A `GROUP BY`, read but not yet looked up.
#[derive(Clone, Debug, Default)]
pub(super) struct Dimensions {
    /// Length of a window, ns; 0 = no windows.
    pub(super) every_ns: i64,
    /// Where windows start after a multiple of their length, ns.
    pub(super) offset_ns: i64,
    tags: Vec<Tags>,
}

#[derive(Clone, Debug)]
enum Tags {
    Named(Box<[u8]>),
    All,
    Matching(Regex),
}

impl Dimensions {
    /// The tags that are named.
    pub(super) fn named(&self) -> Vec<Box<[u8]>> {
        let named = |tags: &Tags| match tags {
            Tags::Named(name) => Some(name.clone()),
            Tags::All | Tags::Matching(_) => None,
        };
        self.tags.iter().filter_map(named).collect()
    }

    /// Whether tags are asked for by wildcard or regular expression.
    pub(super) fn has_patterns(&self) -> bool {
        self.tags.iter().any(|tags| !matches!(tags, Tags::Named(_)))
    }

    /// Whether a wildcard or regular expression stands for tag `key`.
    pub(super) fn matches(&self, key: &[u8]) -> bool {
        self.tags.iter().any(|tags| match tags {
            Tags::Named(_) => false,
            Tags::All => true,
            Tags::Matching(regex) => regex.is_match(key),
        })
    }
}

fn refuse<T>(text: &str) -> Result<T, QueryError> {
    Err(QueryError::statement(text))
}

/// The `GROUP BY` of `select`.
///
/// # Errors
/// `Statement` for what is neither a tag nor one `time(...)`.
pub(super) fn read_dimensions(select: &Select, now_ns: i64) -> Result<Dimensions, QueryError> {
    let mut dimensions = Dimensions::default();
    for dimension in &select.dimensions {
        match &dimension.kind {
            ExprKind::Variable { name, .. } if name.eq_ignore_ascii_case(b"time") => {
                return refuse("time() is a function and expects at least one argument");
            }
            ExprKind::Variable { name, .. } => {
                dimensions.tags.push(Tags::Named(name.0.clone()));
            }
            ExprKind::Wildcard(_) => dimensions.tags.push(Tags::All),
            ExprKind::Regex(regex) => dimensions.tags.push(Tags::Matching(regex.clone())),
            ExprKind::Call { name, args } => {
                if &**name != "time" {
                    return refuse("only time() calls allowed in dimensions");
                }
                read_time(&mut dimensions, args, (select, now_ns))?;
            }
            ExprKind::Binary { .. }
            | ExprKind::Number(_)
            | ExprKind::Integer(_)
            | ExprKind::Unsigned(_)
            | ExprKind::String(_)
            | ExprKind::Boolean(_)
            | ExprKind::Duration(_)
            | ExprKind::Time(_)
            | ExprKind::List(_)
            | ExprKind::Distinct(_)
            | ExprKind::Paren(_) => return refuse("only time and tag dimensions allowed"),
        }
    }
    Ok(dimensions)
}

fn read_time(
    dimensions: &mut Dimensions,
    args: &[Expr],
    (select, now_ns): (&Select, i64),
) -> Result<(), QueryError> {
    let (every, offset) = match args {
        [every] => (every, None),
        [every, offset] => (every, Some(offset)),
        _ => return refuse("time dimension expected 1 or 2 arguments"),
    };
    let ExprKind::Duration(every_ns) = every.kind else {
        return refuse("time dimension must have duration argument");
    };
    if dimensions.every_ns != 0 {
        return refuse("multiple time dimensions not allowed");
    }
    if every_ns < 0 {
        return refuse("time dimension must have a duration that is not negative");
    }
    dimensions.every_ns = every_ns;
    let Some(offset) = offset else {
        return Ok(());
    };
    let zone = select.zone.as_ref().map(|zone| &zone.zone);
    let offset_ns = match fold(offset, now_ns).kind {
        ExprKind::Duration(offset_ns) => offset_ns,
        ExprKind::Time(at) => at,
        ExprKind::String(text) => match parse_time(&text, zone)? {
            Some(at) => at,
            None => return refuse("time dimension offset must be duration or now()"),
        },
        ExprKind::Call { name, args } => {
            if &*name != "now" {
                return refuse("time dimension offset function must be now()");
            }
            if !args.is_empty() {
                return refuse("time dimension offset now() function requires no arguments");
            }
            now_ns
        }
        ExprKind::Binary { .. }
        | ExprKind::Variable { .. }
        | ExprKind::Number(_)
        | ExprKind::Integer(_)
        | ExprKind::Unsigned(_)
        | ExprKind::Boolean(_)
        | ExprKind::Regex(_)
        | ExprKind::List(_)
        | ExprKind::Wildcard(_)
        | ExprKind::Distinct(_)
        | ExprKind::Paren(_) => {
            return refuse("time dimension offset must be duration or now()");
        }
    };
    dimensions.offset_ns = offset_ns.checked_rem(every_ns).unwrap_or(0);
    Ok(())
}
