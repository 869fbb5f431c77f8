//! An answer as tables for people.

use comfy_table::Table;
use serde_json::Value;

use crate::exit::{Exit, Failure};

/// Prints the answer in `body`, `InfluxDB`'s JSON. A statement's error is printed in its place and
/// fails the command behind the last.
pub(super) fn print(body: &[u8]) -> Result<Exit, Failure> {
    let answer: Value = serde_json::from_slice(body)
        .map_err(|error| Failure::failed(format!("read the answer: {error}")))?;
    let mut text = String::new();
    let mut failure = None;
    for result in list(&answer, "results") {
        for series in list(result, "series") {
            text.push_str(&heading(series));
            text.push_str(&rows(series));
        }
        for message in list(result, "messages") {
            let part = |name| {
                message
                    .get(name)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            text.extend([part("level"), ": ", part("text"), "\n"]);
        }
        if let Some(error) = result.get("error").and_then(Value::as_str) {
            failure.get_or_insert_with(|| error.to_owned());
        }
    }
    super::print(text.as_bytes())?;
    match failure {
        None => Ok(Exit::Done),
        Some(error) => Err(Failure::failed(error)),
    }
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The series' name and tags on a line.
fn heading(series: &Value) -> String {
    let name = series
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut text = format!("{name}\n");
    if let Some(tags) = series.get("tags").and_then(Value::as_object) {
        let tags = tags
            .iter()
            .map(|(key, value)| format!("{key}={}", cell(value)));
        text = format!("{name} {}\n", tags.collect::<Vec<_>>().join(" "));
    }
    text
}

/// The columns and rows.
fn rows(series: &Value) -> String {
    let mut table = Table::new();
    table.set_header(list(series, "columns").iter().map(cell));
    for row in list(series, "values") {
        table.add_row(row.as_array().into_iter().flatten().map(cell));
    }
    format!("{table}\n")
}

/// A value as people read it.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_has_a_heading_and_its_rows() {
        let text = r#"{"name":"cpu","tags":{"host":"a"},"columns":["time","v"],"values":[[1,null],[2,"x"]]}"#;
        let series: Value = serde_json::from_str(text).unwrap();
        assert_eq!(heading(&series), "cpu host=a\n");
        let rows = rows(&series);
        for word in ["time", "v", "1", "2", "x"] {
            assert!(rows.contains(word), "{word} in\n{rows}");
        }
    }
}
