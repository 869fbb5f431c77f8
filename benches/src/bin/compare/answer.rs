//! What the peers answer, brought to one form, so that a fast wrong answer is seen.

use serde_json::Value;

use crate::peer::PeerKind;

/// Two numbers are the same within this part of the greater: peers add in orders of their own.
const TOLERANCE: f64 = 1e-9;

/// All that an answer holds beside times and tags, without order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Answer {
    numbers: Vec<f64>,
    names: Vec<String>,
}

impl Answer {
    /// Reads the body of an answer, for its numbers or for its names.
    pub(crate) fn read(kind: PeerKind, body: &[u8], of_names: bool) -> Answer {
        let mut answer = Answer::default();
        match kind {
            PeerKind::Silverback | PeerKind::InfluxDb => influx(&json(body), of_names, &mut answer),
            PeerKind::VictoriaMetrics | PeerKind::Prometheus => {
                // An export is one document a line.
                for line in body.split(|byte| *byte == b'\n') {
                    if !line.is_empty() {
                        prometheus(&json(line), &mut answer);
                    }
                }
            }
            PeerKind::QuestDb => quest(&json(body), of_names, &mut answer),
        }
        answer.numbers.sort_by(f64::total_cmp);
        answer.names.sort_unstable();
        answer
    }

    /// How it differs from another peer's, if it does.
    pub(crate) fn difference(&self, other: &Answer) -> Option<String> {
        if self.names != other.names {
            let (own, others) = (self.names.len(), other.names.len());
            return Some(format!("{own} names, {others} names"));
        }
        if self.numbers.len() != other.numbers.len() {
            let (own, others) = (self.numbers.len(), other.numbers.len());
            return Some(format!("{own} numbers, {others} numbers"));
        }
        let same = |a: f64, b: f64| (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1.0);
        let mut pairs = self.numbers.iter().zip(&other.numbers);
        let unequal = pairs.find(|(own, other)| !same(**own, **other))?;
        Some(format!("{} and {}", unequal.0, unequal.1))
    }

    /// Numbers and names in it.
    pub(crate) fn size(&self) -> usize {
        self.numbers.len() + self.names.len()
    }
}

fn json(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|error| {
        let start = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        unreachable!("an answer is JSON: {error}: {start}")
    })
}

/// The elements of an array, or none.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn influx(answer: &Value, of_names: bool, out: &mut Answer) {
    for series in list(&answer["results"][0]["series"]) {
        let columns = list(&series["columns"]);
        for row in list(&series["values"]) {
            for (column, cell) in columns.iter().zip(list(row)) {
                let wanted = column == "value" || column == "fieldKey";
                if of_names && wanted {
                    out.names.extend(cell.as_str().map(str::to_owned));
                } else if column != "time" {
                    out.numbers.extend(cell.as_f64());
                }
            }
        }
    }
}

fn prometheus(answer: &Value, out: &mut Answer) {
    out.numbers
        .extend(list(&answer["values"]).iter().filter_map(Value::as_f64));
    for name in list(&answer["data"]) {
        let name = name.as_str().unwrap_or_default();
        out.names
            .push(name.strip_prefix("cpu_").unwrap_or(name).to_owned());
    }
    for series in list(&answer["data"]["result"]) {
        let pairs = list(&series["values"]).iter().chain([&series["value"]]);
        let numbers = pairs.filter_map(|pair| pair[1].as_str()?.parse::<f64>().ok());
        out.numbers.extend(numbers);
    }
}

fn quest(answer: &Value, of_names: bool, out: &mut Answer) {
    for row in list(&answer["dataset"]) {
        for cell in list(row) {
            if of_names {
                out.names.extend(cell.as_str().map(str::to_owned));
            } else {
                out.numbers.extend(cell.as_f64());
            }
        }
    }
}
