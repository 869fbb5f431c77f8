//! The values for `$name` in a query, which clients send as a JSON object.

use serde_json::Value;
use silverback::query::result::BindValue;

/// The values in `text`, which may be empty.
///
/// # Errors
/// What to say where it is no JSON object.
pub(crate) fn read(text: &str) -> Result<Vec<(Box<str>, BindValue)>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let object: serde_json::Map<String, Value> = serde_json::from_str(text).map_err(|error| {
        let reason = if error.is_eof() {
            "unexpected EOF".to_owned()
        } else {
            error.to_string()
        };
        format!("error parsing query parameters: {reason}")
    })?;
    let values = object
        .iter()
        .map(|(name, value)| (name.as_str().into(), bind(value)));
    Ok(values.collect())
}

/// What a value binds.
fn bind(value: &Value) -> BindValue {
    match value {
        Value::String(text) => BindValue::String(text.as_str().into()),
        Value::Bool(truth) => BindValue::Boolean(*truth),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => BindValue::Integer(integer),
            (None, Some(float)) if number.is_f64() => BindValue::Float(float),
            _ => wrong(value),
        },
        Value::Object(object) if object.len() == 1 => {
            let member = object.iter().next();
            member.map_or_else(|| wrong(value), |(kind, inner)| typed(kind, inner))
        }
        Value::Null | Value::Array(_) | Value::Object(_) => wrong(value),
    }
}

/// The value of `{"kind": inner}`.
fn typed(kind: &str, inner: &Value) -> BindValue {
    match (kind, inner) {
        ("identifier", Value::String(text)) => BindValue::Identifier(text.as_str().into()),
        ("regex", Value::String(text)) => BindValue::Regex(text.as_str().into()),
        ("duration", Value::String(text)) => BindValue::Duration(text.as_str().into()),
        ("string", Value::String(text)) => BindValue::String(text.as_str().into()),
        ("boolean", Value::Bool(truth)) => BindValue::Boolean(*truth),
        ("integer", Value::Number(number)) => match number.as_i64() {
            Some(integer) => BindValue::Integer(integer),
            None => wrong(inner),
        },
        ("float", Value::Number(number)) => match number.as_f64() {
            Some(float) => BindValue::Float(float),
            None => wrong(inner),
        },
        _ => wrong(inner),
    }
}

fn wrong(value: &Value) -> BindValue {
    BindValue::Wrong(format!("unable to bind parameter with value {value}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_value_binds() {
        let text = r#"{"a":"x","b":1.5,"c":1,"d":true,"e":{"identifier":"v"},"f":{"regex":"a|b"},
                       "g":{"duration":"10s"},"h":{"integer":3},"i":[1]}"#;
        let mut bound = read(text).unwrap();
        bound.sort_by(|left, right| left.0.cmp(&right.0));
        let values: Vec<BindValue> = bound.into_iter().map(|(_, value)| value).collect();
        assert_eq!(
            values[..8],
            [
                BindValue::String("x".into()),
                BindValue::Float(1.5),
                BindValue::Integer(1),
                BindValue::Boolean(true),
                BindValue::Identifier("v".into()),
                BindValue::Regex("a|b".into()),
                BindValue::Duration("10s".into()),
                BindValue::Integer(3),
            ]
        );
        assert!(matches!(values[8], BindValue::Wrong(_)));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert_eq!(
            read("{").unwrap_err(),
            "error parsing query parameters: unexpected EOF"
        );
        assert!(read("[]").is_err());
        assert!(read("").unwrap().is_empty());
    }
}
