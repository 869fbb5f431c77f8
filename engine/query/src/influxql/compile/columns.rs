//! What columns are called.

use std::collections::BTreeMap;

use crate::influxql::ast::{Expr, ExprKind, Field};

/// The name of a field: its alias, or what its expression says.
pub(super) fn field_name(field: &Field) -> Box<[u8]> {
    match &field.alias {
        Some(alias) => alias.0.clone(),
        None => expr_name(&field.expr),
    }
}

fn expr_name(expr: &Expr) -> Box<[u8]> {
    match &expr.kind {
        ExprKind::Call { name, .. } => name.as_bytes().into(),
        ExprKind::Variable { name, .. } => name.0.clone(),
        ExprKind::Distinct(_) => b"distinct"[..].into(),
        ExprKind::Paren(inner) => expr_name(inner),
        ExprKind::Binary { .. } => {
            let mut names = Vec::new();
            operand_names(expr, &mut names);
            names.join(&b'_').into()
        }
        ExprKind::Number(_)
        | ExprKind::Integer(_)
        | ExprKind::Unsigned(_)
        | ExprKind::String(_)
        | ExprKind::Boolean(_)
        | ExprKind::Duration(_)
        | ExprKind::Time(_)
        | ExprKind::Regex(_)
        | ExprKind::List(_)
        | ExprKind::Wildcard(_) => Box::default(),
    }
}

fn operand_names<'e>(expr: &'e Expr, names: &mut Vec<&'e [u8]>) {
    match &expr.kind {
        ExprKind::Binary { left, right, .. } => {
            operand_names(left, names);
            operand_names(right, names);
        }
        ExprKind::Paren(inner) => operand_names(inner, names),
        ExprKind::Variable { name, .. } => names.push(name),
        ExprKind::Call { name, .. } => names.push(name.as_bytes()),
        ExprKind::Number(_)
        | ExprKind::Integer(_)
        | ExprKind::Unsigned(_)
        | ExprKind::String(_)
        | ExprKind::Boolean(_)
        | ExprKind::Duration(_)
        | ExprKind::Time(_)
        | ExprKind::Regex(_)
        | ExprKind::List(_)
        | ExprKind::Wildcard(_)
        | ExprKind::Distinct(_) => {}
    }
}

/// A column's name before equal ones are told apart.
pub(super) struct Wanted {
    /// As it is called.
    pub(super) name: Box<[u8]>,
    /// Whether the query gave the name: then it stays, also where another has it.
    pub(super) is_alias: bool,
}

/// The names of all columns. Those that the query did not give get `_1`, `_2` where they are taken.
pub(super) fn unique_names(wanted: &[Wanted]) -> Vec<Box<[u8]>> {
    let mut taken: BTreeMap<Box<[u8]>, u32> = BTreeMap::new();
    for one in wanted.iter().filter(|one| one.is_alias) {
        taken.insert(one.name.clone(), 1);
    }
    let mut names = Vec::with_capacity(wanted.len());
    for one in wanted {
        if one.is_alias {
            names.push(one.name.clone());
            continue;
        }
        let mut name = one.name.clone();
        if let Some(count) = taken.get(&name).copied() {
            let numbered = |count: u32| -> Box<[u8]> {
                [&one.name, format!("_{count}").as_bytes()].concat().into()
            };
            let mut free = count;
            while taken.contains_key(&numbered(free)) {
                free += 1;
            }
            taken.insert(name, free.saturating_add(1));
            name = numbered(free);
        }
        *taken.entry(name.clone()).or_insert(0) += 1;
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::influxql::parse_expression;

    fn name(text: &str) -> String {
        let expr = parse_expression(text).unwrap();
        let field = Field { expr, alias: None };
        String::from_utf8(field_name(&field).into()).unwrap()
    }

    #[test]
    fn an_expression_is_called_by_its_operands() {
        assert_eq!(name("usage + idle"), "usage_idle");
        assert_eq!(name("(usage) * 2"), "usage");
        assert_eq!(name("mean(x) / max(y)"), "mean_max");
        assert_eq!(name("count(distinct(x))"), "count");
    }

    #[test]
    fn equal_names_are_numbered_and_aliases_stay() {
        let wanted = [
            ("mean", false),
            ("mean", false),
            ("m", true),
            ("m", true),
            ("mean_1", false),
        ]
        .map(|(name, is_alias)| Wanted {
            name: name.as_bytes().into(),
            is_alias,
        });
        let names = unique_names(&wanted);
        let names: Vec<_> = names
            .iter()
            .map(|name| String::from_utf8_lossy(name))
            .collect();
        assert_eq!(names, ["mean", "mean_1", "m", "m", "mean_1_1"]);
    }
}
