//! Typed columns as a batch of the engine. A row's series becomes the text that line protocol has
//! for it, so that both doors share one key parser and one cache.
//!
//! Nothing a message says is believed: every length and index is checked, and the keys together
//! are bounded, since a few indexes can ask for a long tag value again and again.

use std::collections::BTreeMap;

use silverback::query::lineprotocol::{escape_key, escape_measurement};
use silverback::storage::model::{
    Batch, Bitmap, Column, FieldColumn, KeyHasher, KeyRef, MeasurementRows, NameOf, Presence,
    Strings, TIMESTAMP_MAX, TIMESTAMP_MIN, Values, unwritable,
};
use silverback_protos::v1;
use silverback_protos::v1::field_column::Values as Sent;
use tonic::Status;

/// The longest key, in bytes, as in line protocol.
const KEY_BYTES_MAX: usize = 65_535;

/// Rows, and the text that their keys lie in.
#[derive(Debug)]
pub(super) struct Typed {
    text: Vec<u8>,
    rows: Vec<MeasurementRows>,
}

impl Typed {
    /// The batch, and the text it refers to.
    pub(super) fn batch(&mut self) -> Batch<'_> {
        Batch {
            text: &self.text,
            rows: std::mem::take(&mut self.rows),
        }
    }
}

/// Reads `columns`; the keys' text has at most `text_bytes_max` bytes.
///
/// # Errors
/// `INVALID_ARGUMENT` naming the measurement and what is wrong, `RESOURCE_EXHAUSTED` where the
/// keys are too long.
pub(super) fn read(
    columns: v1::TypedColumns,
    hasher: KeyHasher,
    text_bytes_max: usize,
) -> Result<Typed, Status> {
    let mut reader = Reader {
        text: Vec::new(),
        text_bytes_max: text_bytes_max.min(u32::MAX as usize),
        hasher,
        line: 1,
    };
    let mut rows = Vec::with_capacity(columns.measurements.len());
    for measurement in columns.measurements {
        let name = measurement.measurement.clone();
        rows.push(
            reader
                .measurement(measurement)
                .map_err(|fault| fault.status(&name))?,
        );
    }
    let text = reader.text;
    Ok(Typed { text, rows })
}

/// What is wrong.
#[derive(Debug)]
enum Fault {
    Invalid(String),
    TooLong(String),
}

impl Fault {
    fn status(self, measurement: &str) -> Status {
        match self {
            Fault::Invalid(text) => Status::invalid_argument(format!("{measurement:?}: {text}")),
            Fault::TooLong(text) => Status::resource_exhausted(format!("{measurement:?}: {text}")),
        }
    }
}

fn invalid<T>(text: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Invalid(text.into()))
}

/// Gathers the keys of all measurements in one text.
#[derive(Debug)]
struct Reader {
    text: Vec<u8>,
    text_bytes_max: usize,
    hasher: KeyHasher,
    line: u32,
}

impl Reader {
    fn measurement(&mut self, sent: v1::MeasurementColumns) -> Result<MeasurementRows, Fault> {
        let row_count = sent.timestamps.len();
        check_name(NameOf::Measurement, &sent.measurement)?;
        if let Some(time) = sent.timestamps.iter().find(|time| !is_time(**time)) {
            return invalid(format!(
                "time {time} is outside {TIMESTAMP_MIN}..={TIMESTAMP_MAX}"
            ));
        }
        for tag in &sent.tags {
            check_tag(tag, row_count)?;
        }
        let keys = self.keys(&sent.measurement, &sent.tags, row_count)?;
        let mut fields: Vec<FieldColumn> = Vec::with_capacity(sent.fields.len());
        for field in sent.fields {
            if fields.iter().any(|own| *own.name == *field.name.as_bytes()) {
                return invalid(format!("field {:?} stands there twice", field.name));
            }
            fields.push(column(field, row_count)?);
        }
        let has_field = |row| fields.iter().any(|field| field.column.presence.has(row));
        if let Some(row) = (0..row_count).find(|row| !has_field(*row)) {
            return invalid(format!("row {row} has no field"));
        }
        let first = self.line;
        let narrow = u32::try_from(row_count);
        let Some(next) = narrow.ok().and_then(|count| first.checked_add(count)) else {
            return Err(Fault::TooLong("too many rows".to_owned()));
        };
        self.line = next;
        Ok(MeasurementRows {
            measurement: sent.measurement.into_bytes().into(),
            keys,
            timestamps: sent.timestamps,
            lines: (first..next).collect(),
            fields,
        })
    }

    /// Each row's key; rows of one series share its text.
    fn keys(
        &mut self,
        measurement: &str,
        tags: &[v1::TagColumn],
        row_count: usize,
    ) -> Result<Vec<KeyRef>, Fault> {
        let mut sorted: Vec<&v1::TagColumn> = tags.iter().collect();
        sorted.sort_by(|left, right| left.key.cmp(&right.key));
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0].key == pair[1].key) {
            return invalid(format!("tag {:?} stands there twice", pair[0].key));
        }
        let mut known: BTreeMap<Vec<u32>, KeyRef> = BTreeMap::new();
        let mut keys = Vec::with_capacity(row_count);
        let mut indexes: Vec<u32> = Vec::with_capacity(sorted.len());
        for row in 0..row_count {
            indexes.clear();
            // No indexes: the one value of the dictionary, or none at all.
            let all = |tag: &v1::TagColumn| u32::from(!tag.dictionary.is_empty());
            let index = |tag: &&v1::TagColumn| tag.indexes.get(row).copied().unwrap_or(all(tag));
            indexes.extend(sorted.iter().map(index));
            let key = if let Some(key) = known.get(&indexes) {
                *key
            } else {
                let key = self.key(measurement, &sorted, &indexes)?;
                known.insert(indexes.clone(), key);
                key
            };
            keys.push(key);
        }
        Ok(keys)
    }

    /// Appends the key of a row.
    fn key(
        &mut self,
        measurement: &str,
        tags: &[&v1::TagColumn],
        indexes: &[u32],
    ) -> Result<KeyRef, Fault> {
        let start = self.text.len();
        escape_measurement(measurement.as_bytes(), &mut self.text);
        for (tag, index) in tags.iter().zip(indexes) {
            if *index > 0 {
                let value = &tag.dictionary[*index as usize - 1];
                self.text.push(b',');
                escape_key(tag.key.as_bytes(), &mut self.text);
                self.text.push(b'=');
                escape_key(value.as_bytes(), &mut self.text);
            }
        }
        let key = &self.text[start..];
        if key.len() > KEY_BYTES_MAX {
            return Err(Fault::TooLong(format!(
                "a key is longer than {KEY_BYTES_MAX} bytes"
            )));
        }
        if self.text.len() > self.text_bytes_max {
            let text = format!(
                "the keys are longer than {} bytes together",
                self.text_bytes_max
            );
            return Err(Fault::TooLong(text));
        }
        let narrow = |size: usize| u32::try_from(size).expect("the text was bounded by 32 bits");
        Ok(KeyRef {
            offset: narrow(start),
            len: narrow(key.len()),
            hash: self.hasher.hash(key),
        })
    }
}

/// Refuses what no line of line protocol can have.
fn check_name(of: NameOf, name: &str) -> Result<(), Fault> {
    match unwritable(of, name.as_bytes()) {
        None => Ok(()),
        Some(why) => invalid(format!("invalid {of} {name:?}: {why}")),
    }
}

fn is_time(time: i64) -> bool {
    (TIMESTAMP_MIN..=TIMESTAMP_MAX).contains(&time)
}

fn check_tag(tag: &v1::TagColumn, row_count: usize) -> Result<(), Fault> {
    let name = &tag.key;
    check_name(NameOf::TagKey, name)?;
    for value in &tag.dictionary {
        check_name(NameOf::TagValue, value)?;
    }
    let count = tag.dictionary.len();
    if tag.indexes.is_empty() && count > 1 {
        return invalid(format!("tag {name:?} has {count} values and no indexes"));
    }
    if !tag.indexes.is_empty() && tag.indexes.len() != row_count {
        let have = tag.indexes.len();
        return invalid(format!(
            "tag {name:?} has {have} indexes for {row_count} rows"
        ));
    }
    if let Some(index) = tag.indexes.iter().find(|index| **index as usize > count) {
        return invalid(format!(
            "tag {name:?} has an index {index} for {count} values"
        ));
    }
    Ok(())
}

/// A field's column.
fn column(field: v1::FieldColumn, row_count: usize) -> Result<FieldColumn, Fault> {
    let name = field.name;
    check_name(NameOf::Field, &name)?;
    let presence = presence(&field.presence, row_count).ok_or_else(|| {
        Fault::Invalid(format!("field {name:?}: presence has a bit for each row"))
    })?;
    let Some(sent) = field.values else {
        return invalid(format!("field {name:?} has no values"));
    };
    let values = match sent {
        Sent::Floats(floats) => Values::Float(floats.values),
        Sent::Integers(integers) => Values::Integer(integers.values),
        Sent::Unsigneds(unsigneds) => Values::Unsigned(unsigneds.values),
        Sent::Booleans(booleans) => Values::Boolean(booleans.values),
        Sent::Strings(sent) => {
            let mut strings = Strings::default();
            sent.values.iter().for_each(|value| strings.push(value));
            Values::String(strings)
        }
    };
    let expected = match &presence {
        Presence::All => row_count,
        Presence::Some(bits) => bits.count_ones(),
    };
    if values.len() != expected {
        let have = values.len();
        return invalid(format!(
            "field {name:?} has {have} values where {expected} are present"
        ));
    }
    Ok(FieldColumn {
        name: name.into_bytes().into(),
        column: Column { values, presence },
    })
}

/// The rows that have a value; `None` where the bits are not as many as the rows.
fn presence(bytes: &[u8], row_count: usize) -> Option<Presence> {
    if bytes.is_empty() {
        return Some(Presence::All);
    }
    if bytes.len() != row_count.div_ceil(8) {
        return None;
    }
    let word = |chunk: &[u8]| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    };
    let words = bytes.chunks(8).map(word).collect();
    Bitmap::from_words(words, row_count).map(Presence::Some)
}

#[cfg(test)]
mod tests {
    use silverback::query::lineprotocol::Keys;
    use silverback::storage::model::{FieldValue, KeyParser as _};

    use super::*;

    fn sent() -> v1::MeasurementColumns {
        v1::MeasurementColumns {
            measurement: "c pu".to_owned(),
            timestamps: vec![1, 2, 3],
            tags: vec![
                v1::TagColumn {
                    key: "host".to_owned(),
                    dictionary: vec!["a=b".to_owned(), "c".to_owned()],
                    indexes: vec![2, 0, 1],
                },
                v1::TagColumn {
                    key: "dc".to_owned(),
                    dictionary: vec!["x".to_owned()],
                    indexes: vec![],
                },
            ],
            fields: vec![
                v1::FieldColumn {
                    name: "f".to_owned(),
                    presence: vec![0b101],
                    values: Some(Sent::Floats(v1::Floats {
                        values: vec![1.5, f64::NAN],
                    })),
                },
                v1::FieldColumn {
                    name: "s".to_owned(),
                    presence: vec![],
                    values: Some(Sent::Strings(v1::Strings {
                        values: vec![b"a".to_vec(), b"\xff".to_vec(), b"".to_vec()],
                    })),
                },
            ],
        }
    }

    fn typed(measurement: v1::MeasurementColumns) -> Result<Typed, Status> {
        let columns = v1::TypedColumns {
            measurements: vec![measurement],
        };
        read(columns, KeyHasher::new([1, 2, 3, 4]), 10_000)
    }

    #[test]
    fn rows_get_keys_that_line_protocol_understands() {
        let mut typed = typed(sent()).unwrap();
        let batch = typed.batch();
        let rows = &batch.rows[0];
        let series: Vec<String> = rows
            .keys
            .iter()
            .map(|key| {
                let start = key.offset as usize;
                let text = &batch.text[start..start + key.len as usize];
                let series = Keys.parse(text).unwrap();
                let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let tags = series
                    .tags
                    .iter()
                    .map(|(key, value)| (lossy(key), lossy(value)));
                format!(
                    "{} {:?}",
                    lossy(&series.measurement),
                    tags.collect::<Vec<_>>()
                )
            })
            .collect();
        assert_eq!(
            series,
            [
                "c pu [(\"dc\", \"x\"), (\"host\", \"c\")]",
                "c pu [(\"dc\", \"x\")]",
                "c pu [(\"dc\", \"x\"), (\"host\", \"a=b\")]",
            ]
        );
        assert_eq!(rows.fields[0].column.get(1), None);
        assert_eq!(
            rows.fields[0].column.get(2),
            Some(FieldValue::Float(f64::NAN))
        );
        assert_eq!(
            rows.fields[1].column.get(1),
            Some(FieldValue::String(b"\xff"[..].into()))
        );
        assert_eq!(rows.lines, [1, 2, 3]);
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let refusal = |change: fn(&mut v1::MeasurementColumns)| {
            let mut columns = sent();
            change(&mut columns);
            typed(columns).unwrap_err().message().to_owned()
        };
        assert!(refusal(|sent| sent.measurement.clear()).contains("invalid measurement \"\""));
        let feed = |sent: &mut v1::MeasurementColumns| sent.fields[0].name = "a\nb".to_owned();
        assert!(refusal(feed).contains("invalid field \"a\\nb\": it has a line feed"));
        assert!(refusal(|sent| sent.tags[0].key = "a\\".to_owned()).contains("backslash"));
        let value = |sent: &mut v1::MeasurementColumns| sent.tags[0].dictionary[0].clear();
        assert!(refusal(value).contains("invalid tag value \"\": it is empty"));
        assert!(refusal(|sent| sent.measurement = "#m".to_owned()).contains("comment"));
        assert!(refusal(|sent| sent.timestamps.push(4)).contains("indexes"));
        assert!(refusal(|sent| sent.timestamps[0] = i64::MIN).contains("outside"));
        assert!(refusal(|sent| sent.tags[0].indexes[0] = 3).contains("index 3"));
        assert!(refusal(|sent| sent.tags[0].indexes.clear()).contains("no indexes"));
        assert!(refusal(|sent| sent.tags[1].key = "host".to_owned()).contains("twice"));
        assert!(refusal(|sent| sent.fields[1].name = "f".to_owned()).contains("twice"));
        assert!(refusal(|sent| sent.fields[0].presence = vec![0b1101]).contains("presence"));
        assert!(refusal(|sent| sent.fields[0].presence = vec![0b001]).contains("1 are present"));
        assert!(refusal(|sent| sent.fields[0].values = None).contains("no values"));
        assert!(refusal(|sent| sent.fields.truncate(1)).contains("row 1 has no field"));
    }

    #[test]
    fn a_few_indexes_cannot_ask_for_endless_text() {
        let mut columns = sent();
        columns.tags[1].dictionary[0] = "x".repeat(5000);
        assert_eq!(
            typed(columns.clone()).unwrap_err().code(),
            tonic::Code::ResourceExhausted
        );
        columns.tags[1].dictionary[0] = "x".repeat(70_000);
        assert!(typed(columns).unwrap_err().message().contains("65535"));
    }
}
