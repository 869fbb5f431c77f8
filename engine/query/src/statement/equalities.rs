//! The predicate of `InfluxDB` 2.x's delete: `_measurement="m" AND tag="v"`.

use crate::influxql::ast::{BinaryOp, ExprKind, Statement};
use crate::influxql::{conjuncts, parse_query};

/// Texts that may be predicates are no longer, bytes.
const PREDICATE_BYTES_MAX: usize = 64 << 10;

/// A name and the value it must have.
pub type Equality = (Box<[u8]>, Box<[u8]>);
/// What a predicate demands.
pub type Equalities = Vec<Equality>;

/// Why a text is no predicate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PredicateFault {
    /// It cannot be read; the parser's words.
    Parse(String),
    /// It has more than equalities joined by `AND`.
    NotEqualities,
}

/// Reads equalities of a name and a value, joined by `AND`; brackets may stand around them, and
/// quotes of either kind around a value.
///
/// # Errors
/// Why it is none.
pub fn equalities(text: &str) -> Result<Equalities, PredicateFault> {
    let statement = format!("DELETE WHERE {text}");
    let parsed = parse_query(&statement, &[], PREDICATE_BYTES_MAX)
        .map_err(|error| PredicateFault::Parse(error.message().to_owned()))?;
    let [Statement::Delete(deletion)] = &parsed[..] else {
        return Err(PredicateFault::NotEqualities);
    };
    let Some(condition) = &deletion.condition else {
        return Err(PredicateFault::NotEqualities);
    };
    let parts = conjuncts(condition).into_iter();
    let pairs = parts.map(|part| equality(&part.kind));
    let pairs: Option<Equalities> = pairs.collect();
    pairs.ok_or(PredicateFault::NotEqualities)
}

fn equality(kind: &ExprKind) -> Option<Equality> {
    let ExprKind::Binary {
        op: BinaryOp::Equal,
        left,
        right,
    } = kind
    else {
        return None;
    };
    let (ExprKind::Variable { name, cast: None }, value) = (&left.kind, &right.kind) else {
        return None;
    };
    if let ExprKind::String(text) = value {
        return Some((name.0.clone(), text.as_bytes().into()));
    }
    if let ExprKind::Variable {
        name: value,
        cast: None,
    } = value
    {
        return Some((name.0.clone(), value.0.clone()));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        let text_of = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let pairs = equalities(text).unwrap();
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (text_of(name), text_of(value)))
            .collect()
    }

    #[test]
    fn names_and_values_are_read_however_they_are_quoted() {
        let pairs = [("_measurement", "m"), ("t", "v w"), ("u", "x")];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(read(r#"_measurement="m" AND t='v w' and "u"=x"#), pairs);
        assert_eq!(read(r#"(_measurement=m AND (t="v w")) AND u="x""#), pairs);
    }

    #[test]
    fn what_is_more_than_equalities_is_refused() {
        for text in [
            "a != 'b'",
            "a='b' OR c='d'",
            "a=~/b/",
            "a=1",
            "a='b'; DROP DATABASE x",
        ] {
            assert_eq!(
                equalities(text),
                Err(PredicateFault::NotEqualities),
                "{text}"
            );
        }
        for text in ["", "a", "a=", "FROM m", "a='b' LIMIT 1"] {
            assert!(equalities(text).is_err(), "{text}");
        }
    }
}
