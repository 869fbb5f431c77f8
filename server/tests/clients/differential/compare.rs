//! When two answers are the same.

use serde_json::Value;

/// Floats may differ by this part: the two sides add in different orders.
const TOLERANCE: f64 = 1e-12;

/// Whether two answers to one query are the same; if not, where they part.
pub(super) fn same(expected: &(u16, Value), found: &(u16, Value)) -> Result<(), String> {
    if expected.0 != found.0 {
        return Err(format!(
            "status {} became {}: {} / {}",
            expected.0, found.0, expected.1, found.1
        ));
    }
    if let Some(error) = expected.1["error"].as_str() {
        return error_text(error, found.1["error"].as_str());
    }
    let results = |answer: &Value| answer["results"].as_array().cloned().unwrap_or_default();
    let (theirs, ours) = (results(&expected.1), results(&found.1));
    if theirs.len() != ours.len() {
        return Err(format!("{} results became {}", theirs.len(), ours.len()));
    }
    theirs
        .iter()
        .zip(&ours)
        .try_for_each(|(theirs, ours)| result(theirs, ours))
}

fn error_text(theirs: &str, ours: Option<&str>) -> Result<(), String> {
    let same = ours.is_some_and(|ours| ours.starts_with(theirs));
    if same {
        Ok(())
    } else {
        Err(format!("error \"{theirs}\" became {ours:?}"))
    }
}

fn result(theirs: &Value, ours: &Value) -> Result<(), String> {
    if let Some(error) = theirs["error"].as_str() {
        return error_text(error, ours["error"].as_str());
    }
    if let Some(error) = ours["error"].as_str() {
        return Err(format!("an answer became the error \"{error}\""));
    }
    let series = |result: &Value| result["series"].as_array().cloned().unwrap_or_default();
    let (their_series, our_series) = (series(theirs), series(ours));
    let heads = |series: &[Value]| -> Vec<String> {
        let head = |one: &Value| format!("{} {} {}", one["name"], one["tags"], one["columns"]);
        series.iter().map(head).collect()
    };
    let (their_heads, our_heads) = (heads(&their_series), heads(&our_series));
    if their_heads != our_heads {
        return Err(format!("series {their_heads:?} became {our_heads:?}"));
    }
    for ((theirs, ours), head) in their_series.iter().zip(&our_series).zip(&their_heads) {
        rows(theirs, ours).map_err(|why| format!("{head}: {why}"))?;
    }
    Ok(())
}

/// Rows of one time may come in any order.
fn rows(theirs: &Value, ours: &Value) -> Result<(), String> {
    let list = |series: &Value| series["values"].as_array().cloned().unwrap_or_default();
    let (mut theirs, mut ours) = (list(theirs), list(ours));
    if theirs.len() != ours.len() {
        let first = theirs.iter().zip(&ours).position(|(a, b)| !same_row(a, b));
        let at = first.unwrap_or(theirs.len().min(ours.len()));
        let (their, our) = (theirs.get(at), ours.get(at));
        return Err(format!(
            "{} rows became {}; the first to differ is {at}: {their:?} became {our:?}",
            theirs.len(),
            ours.len()
        ));
    }
    sort_within_times(&mut theirs);
    sort_within_times(&mut ours);
    match theirs
        .iter()
        .zip(&ours)
        .enumerate()
        .find(|(_, (a, b))| !same_row(a, b))
    {
        Some((index, (theirs, ours))) => Err(format!("row {index}: {theirs} became {ours}")),
        None => Ok(()),
    }
}

fn sort_within_times(rows: &mut [Value]) {
    for group in rows.chunk_by_mut(|a, b| a[0] == b[0]) {
        group.sort_by_key(Value::to_string);
    }
}

fn same_row(theirs: &Value, ours: &Value) -> bool {
    let cells = |row: &Value| row.as_array().cloned().unwrap_or_default();
    let (theirs, ours) = (cells(theirs), cells(ours));
    theirs.len() == ours.len() && theirs.iter().zip(&ours).all(|(a, b)| same_cell(a, b))
}

fn same_cell(theirs: &Value, ours: &Value) -> bool {
    if theirs == ours {
        return true;
    }
    match (theirs.as_f64(), ours.as_f64()) {
        (Some(a), Some(b)) if theirs.is_f64() || ours.is_f64() => {
            (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1e-3)
        }
        _ => false,
    }
}
