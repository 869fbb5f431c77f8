//! What a write defines: names and series that had no id before. The payload of a definitions
//! record of the log, and, without series, of the manifest's edit of names.
//!
//! It knows bytes and ids, not which of them exist. Page: `docs/format/definitions.md`.

use crate::error::{Error, ErrorKind, Result};
use crate::model::{
    DatabaseId, FieldId, FieldInfo, FieldType, MeasurementId, SeriesEntry, SeriesId, TagKeyId,
    push_varint, take_varint,
};

/// Names of one database that got an id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Measurements.
    pub measurements: Vec<(MeasurementId, Box<[u8]>)>,
    /// Tag keys.
    pub tag_keys: Vec<(TagKeyId, Box<[u8]>)>,
    /// Fields with their measurement and type.
    pub fields: Vec<(MeasurementId, FieldInfo)>,
    /// Tag keys that a measurement has series with.
    pub pairs: Vec<(MeasurementId, TagKeyId)>,
}

/// What one write defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definitions {
    /// The database that the ids belong to.
    pub database: DatabaseId,
    /// New names, which the series below may use.
    pub names: Names,
    /// New series.
    pub series: Vec<SeriesEntry>,
}

impl Names {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.measurements.is_empty()
            && self.tag_keys.is_empty()
            && self.fields.is_empty()
            && self.pairs.is_empty()
    }

    /// Appends the names: four lists, each a varint count and that many entries.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        push_varint(bytes, self.measurements.len() as u64);
        for (id, name) in &self.measurements {
            push_varint(bytes, u64::from(id.0));
            push_bytes(bytes, name);
        }
        push_varint(bytes, self.tag_keys.len() as u64);
        for (id, name) in &self.tag_keys {
            push_varint(bytes, u64::from(id.0));
            push_bytes(bytes, name);
        }
        push_varint(bytes, self.fields.len() as u64);
        for (measurement, field) in &self.fields {
            push_varint(bytes, u64::from(measurement.0));
            push_varint(bytes, u64::from(field.id.0));
            bytes.push(field.field_type.code());
            push_bytes(bytes, &field.name);
        }
        push_varint(bytes, self.pairs.len() as u64);
        for (measurement, key) in &self.pairs {
            push_varint(bytes, u64::from(measurement.0));
            push_varint(bytes, u64::from(key.0));
        }
    }

    /// Takes names off the front of `bytes`.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are none: the caller adds the place.
    pub fn decode(bytes: &mut &[u8]) -> Result<Names> {
        let mut names = Names::default();
        for _ in 0..take_count(bytes)? {
            let id = MeasurementId(take_id(bytes)?);
            names.measurements.push((id, take_bytes(bytes)?.into()));
        }
        for _ in 0..take_count(bytes)? {
            let id = TagKeyId(take_id(bytes)?);
            names.tag_keys.push((id, take_bytes(bytes)?.into()));
        }
        for _ in 0..take_count(bytes)? {
            let measurement = MeasurementId(take_id(bytes)?);
            let id = FieldId(take_id(bytes)?);
            let code = take_byte(bytes)?;
            let field_type =
                FieldType::from_code(code).ok_or_else(|| damaged("field type is unknown"))?;
            let name = take_bytes(bytes)?.into();
            let field = FieldInfo {
                id,
                name,
                field_type,
            };
            names.fields.push((measurement, field));
        }
        for _ in 0..take_count(bytes)? {
            let measurement = MeasurementId(take_id(bytes)?);
            names.pairs.push((measurement, TagKeyId(take_id(bytes)?)));
        }
        Ok(names)
    }
}

impl Definitions {
    /// Whether nothing is defined.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.series.is_empty()
    }

    /// Appends the record's payload.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        Definitions::encode_parts(self.database, &self.names, &self.series, bytes);
    }

    /// Appends the payload of a record that defines this.
    pub fn encode_parts(
        database: DatabaseId,
        names: &Names,
        series: &[SeriesEntry],
        bytes: &mut Vec<u8>,
    ) {
        push_varint(bytes, u64::from(database.0));
        names.encode(bytes);
        push_varint(bytes, series.len() as u64);
        for series in series {
            push_series(bytes, series.id, &series.key);
        }
    }

    /// The definitions that `bytes` are, all of them.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are none: the caller adds the place.
    pub fn decode(bytes: &[u8]) -> Result<Definitions> {
        let (database, names, list) = Definitions::decode_names(bytes)?;
        let entry = |listed: Result<(SeriesId, &[u8])>| {
            let (id, key) = listed?;
            let key = key.into();
            Ok(SeriesEntry { id, key })
        };
        Ok(Definitions {
            database,
            names,
            series: list.map(entry).collect::<Result<_>>()?,
        })
    }

    /// The same, with the series where they are: a log has millions.
    ///
    /// # Errors
    /// `Corrupt` if the bytes before the series are none: the caller adds the place.
    pub fn decode_names(mut bytes: &[u8]) -> Result<(DatabaseId, Names, SeriesList<'_>)> {
        let rest = &mut bytes;
        let database = DatabaseId(take_id(rest)?);
        let names = Names::decode(rest)?;
        let count = take_count(rest)?;
        let series = SeriesList::of(count, bytes);
        Ok((database, names, series))
    }
}

/// Series with their canonical keys, as a record has them. Ends with `Corrupt` where the bytes are no series, or
/// where more bytes follow.
#[derive(Clone, Debug)]
pub struct SeriesList<'bytes> {
    left: usize,
    rest: &'bytes [u8],
}

impl<'bytes> SeriesList<'bytes> {
    /// The `count` series that stand in `bytes`.
    pub fn of(count: usize, bytes: &'bytes [u8]) -> SeriesList<'bytes> {
        SeriesList {
            left: count,
            rest: bytes,
        }
    }

    /// How many there are, and where they stand.
    pub fn parts(&self) -> (usize, &'bytes [u8]) {
        (self.left, self.rest)
    }

    fn take(&mut self) -> Result<(SeriesId, &'bytes [u8])> {
        let id = SeriesId(take_number(&mut self.rest)?);
        if id.0 == 0 {
            return Err(damaged("series id is zero"));
        }
        Ok((id, take_bytes(&mut self.rest)?))
    }
}

impl<'bytes> Iterator for SeriesList<'bytes> {
    type Item = Result<(SeriesId, &'bytes [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(left) = self.left.checked_sub(1) else {
            let rest = std::mem::take(&mut self.rest);
            return (!rest.is_empty()).then(|| Err(damaged("bytes follow the definitions")));
        };
        let taken = self.take();
        self.left = left;
        if taken.is_err() {
            *self = SeriesList { left: 0, rest: &[] };
        }
        Some(taken)
    }
}

/// Appends a series: its id (varint), its canonical key.
pub(crate) fn push_series(bytes: &mut Vec<u8>, id: SeriesId, key: &[u8]) {
    push_varint(bytes, id.0);
    push_bytes(bytes, key);
}

/// Appends a byte string: varint length, bytes.
pub(crate) fn push_bytes(bytes: &mut Vec<u8>, string: &[u8]) {
    push_varint(bytes, string.len() as u64);
    bytes.extend_from_slice(string);
}

/// Takes a byte string off the front.
pub(crate) fn take_bytes<'bytes>(bytes: &mut &'bytes [u8]) -> Result<&'bytes [u8]> {
    let len = take_number(bytes)?;
    let len = usize::try_from(len).map_err(|_| damaged("a length passes the end"))?;
    let (string, rest) = bytes
        .split_at_checked(len)
        .ok_or_else(|| damaged("a length passes the end"))?;
    *bytes = rest;
    Ok(string)
}

/// Takes a varint off the front.
pub(crate) fn take_number(bytes: &mut &[u8]) -> Result<u64> {
    take_varint(bytes).ok_or_else(|| damaged("a number is cut or too long"))
}

/// Takes a 32-bit id, which is never zero, off the front.
pub(crate) fn take_id(bytes: &mut &[u8]) -> Result<u32> {
    match u32::try_from(take_number(bytes)?) {
        Ok(id) if id != 0 => Ok(id),
        Ok(_) | Err(_) => Err(damaged("an id is zero or too large")),
    }
}

/// Takes a byte off the front.
pub(crate) fn take_byte(bytes: &mut &[u8]) -> Result<u8> {
    let (first, rest) = bytes
        .split_first()
        .ok_or_else(|| damaged("the bytes end early"))?;
    *bytes = rest;
    Ok(*first)
}

/// Takes a count off the front: never more than the bytes behind it could hold.
pub(crate) fn take_count(bytes: &mut &[u8]) -> Result<usize> {
    match usize::try_from(take_number(bytes)?) {
        Ok(count) if count <= bytes.len() => Ok(count),
        Ok(_) | Err(_) => Err(damaged("a count passes the end")),
    }
}

/// Damage in a payload whose place the caller knows.
pub(crate) fn damaged(message: &str) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Definitions {
        Definitions {
            database: DatabaseId(3),
            names: Names {
                measurements: vec![(MeasurementId(1), b"cpu"[..].into())],
                tag_keys: vec![(TagKeyId(200), b"host"[..].into())],
                fields: vec![(
                    MeasurementId(1),
                    FieldInfo {
                        id: FieldId(9),
                        name: b"usage"[..].into(),
                        field_type: FieldType::Float,
                    },
                )],
                pairs: vec![(MeasurementId(1), TagKeyId(200))],
            },
            series: vec![SeriesEntry {
                id: SeriesId(u64::MAX),
                key: b"key"[..].into(),
            }],
        }
    }

    #[test]
    fn definitions_read_back_as_written() {
        let mut bytes = Vec::new();
        sample().encode(&mut bytes);
        assert_eq!(Definitions::decode(&bytes).unwrap(), sample());
    }

    #[test]
    fn a_cut_or_changed_record_is_an_error_or_other_definitions_but_never_a_panic() {
        let mut bytes = Vec::new();
        sample().encode(&mut bytes);
        for end in 0..bytes.len() {
            assert!(Definitions::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        for index in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[index] = value;
                if let Ok(read) = Definitions::decode(&changed) {
                    assert!(changed == bytes || read != sample(), "byte {index}");
                }
            }
        }
    }

    #[test]
    fn a_count_larger_than_the_bytes_behind_it_allocates_nothing() {
        let mut bytes = vec![1];
        push_varint(&mut bytes, u64::from(u32::MAX));
        assert!(Definitions::decode(&bytes).is_err());
    }

    #[test]
    fn the_page_states_types_and_parts_of_the_code() {
        let page = include_str!("../../../../docs/format/definitions.md");
        let types: Vec<String> = (1..=u8::MAX)
            .map_while(FieldType::from_code)
            .map(|field_type| format!("{} {field_type}", field_type.code()))
            .collect();
        assert!(page.contains(&format!("Types: {}.", types.join(", "))));
        // One part of each kind: what each list's entry has is what the bytes have.
        let mut bytes = Vec::new();
        sample().encode(&mut bytes);
        let expected = [
            &[3, 1, 1, 3][..],
            b"cpu",
            &[1, 200, 1, 4],
            b"host",
            &[1, 1, 9, 1, 5],
            b"usage",
            &[1, 1, 200, 1, 1],
            &[0xff; 9],
            &[1, 3],
            b"key",
        ];
        assert_eq!(bytes, expected.concat());
        for part in [
            "measurement id, name",
            "tag key id, name",
            "type (1 byte), name",
        ] {
            assert!(page.contains(part), "the page lacks: {part}");
        }
    }
}
