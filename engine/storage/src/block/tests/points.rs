//! Points as a map, and how they are made: what every block is compared with.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::block::BlockRows;
use crate::model::{
    CanonicalKey, Column, FieldColumn, FieldId, FieldValue, MeasurementId, Rows, SeriesEntry,
    SeriesId, TagKeyId, TimeRange,
};

type Row = BTreeMap<FieldId, FieldValue>;
type Series = (SeriesId, BTreeMap<i64, Row>);

/// Points by canonical key (which opens with the measurement) and time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Points {
    series: BTreeMap<(MeasurementId, Box<[u8]>), Series>,
}

impl Points {
    pub(super) fn set(&mut self, entry: &SeriesEntry, time: i64, id: FieldId, value: FieldValue) {
        let measurement = CanonicalKey(&entry.key).measurement().unwrap();
        let series = self.series.entry((measurement, entry.key.clone()));
        let (_, rows) = series.or_insert_with(|| (entry.id, BTreeMap::new()));
        rows.entry(time).or_default().insert(id, value);
    }

    /// Adds what a cursor gave; rows that were there are a fault.
    pub(super) fn add(&mut self, entry: &SeriesEntry, ids: &[FieldId], rows: &BlockRows) {
        let measurement = CanonicalKey(&entry.key).measurement().unwrap();
        let series = self.series.entry((measurement, entry.key.clone()));
        let (_, own) = series.or_insert_with(|| (entry.id, BTreeMap::new()));
        for (at, time) in rows.timestamps.iter().enumerate() {
            let values = ids.iter().zip(&rows.columns);
            let row = values
                .filter_map(|(id, column)| Some((*id, column.as_ref()?.get(at)?)))
                .collect();
            assert_eq!(own.insert(*time, row), None, "each row comes once");
        }
    }

    pub(super) fn within(&self, range: TimeRange) -> Points {
        let mut within = Points::default();
        for (key, (id, rows)) in &self.series {
            let rows: BTreeMap<i64, Row> = rows
                .iter()
                .filter(|(time, _)| range.contains(**time))
                .map(|(time, row)| (*time, row.clone()))
                .collect();
            if !rows.is_empty() {
                within.series.insert(key.clone(), (*id, rows));
            }
        }
        within
    }

    pub(super) fn row_count(&self) -> u64 {
        let rows = self.series.values().map(|(_, rows)| rows.len() as u64);
        rows.sum()
    }

    pub(super) fn measurements(&self) -> Vec<MeasurementId> {
        let mut measurements: Vec<_> = self.series.keys().map(|(id, _)| *id).collect();
        measurements.dedup();
        measurements
    }

    /// The series of a measurement in the order of keys, with how many rows each has.
    pub(super) fn series(&self, measurement: MeasurementId) -> Vec<(SeriesEntry, usize)> {
        let own = self.series.iter().filter(|((id, _), _)| *id == measurement);
        own.map(|((_, key), (id, rows))| {
            let entry = SeriesEntry {
                id: *id,
                key: key.clone(),
            };
            (entry, rows.len())
        })
        .collect()
    }

    /// The rows of a measurement as a writer takes them, at most `step` at a time.
    pub(super) fn rows(
        &self,
        measurement: MeasurementId,
        step: usize,
    ) -> Vec<(Rows, Vec<SeriesEntry>)> {
        let mut flat = Vec::new();
        for ((own, key), (id, rows)) in &self.series {
            if *own == measurement {
                flat.extend(rows.iter().map(|(time, row)| (*id, key, *time, row)));
            }
        }
        flat.chunks(step)
            .map(|rows| {
                let mut series: Vec<SeriesEntry> = Vec::new();
                for (id, key, _, _) in rows {
                    if series.last().is_none_or(|last| last.id != *id) {
                        let key = (*key).clone();
                        series.push(SeriesEntry { id: *id, key });
                    }
                }
                let columns: Vec<&Row> = rows.iter().map(|(.., row)| *row).collect();
                let rows = Rows {
                    measurement,
                    series: rows.iter().map(|(id, ..)| *id).collect(),
                    timestamps: rows.iter().map(|(_, _, time, _)| *time).collect(),
                    columns: columns_of(&columns),
                };
                (rows, series)
            })
            .collect()
    }
}

fn columns_of(rows: &[&Row]) -> Vec<(FieldId, Column)> {
    let mut columns: BTreeMap<FieldId, FieldColumn> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        for (id, value) in *row {
            columns
                .entry(*id)
                .or_insert_with(|| FieldColumn::absent(b"", value.field_type(), at))
                .push(at, value);
        }
    }
    columns
        .into_iter()
        .map(|(id, mut column)| {
            column.pad(rows.len());
            (id, column.column)
        })
        .collect()
}

/// How the rows of one series are to be.
#[derive(Clone, Debug)]
struct Shape {
    tags: Vec<(u8, u8)>,
    rows: usize,
    step: i64,
    /// Of 256 rows, how many have a value, by field.
    density: [u8; 6],
    seed: u64,
}

fn any_shape() -> impl Strategy<Value = Shape> {
    let tags = proptest::collection::vec((0_u8..4, 0_u8..5), 0..4);
    let rows = prop_oneof![6 => 0_usize..40, 2 => 250_usize..700, 1 => Just(9000_usize)];
    let density = proptest::array::uniform6(prop_oneof![Just(0_u8), Just(255), any::<u8>()]);
    (tags, rows, 1_i64..30, density, any::<u64>()).prop_map(|(tags, rows, step, density, seed)| {
        Shape {
            tags,
            rows,
            step,
            density,
            seed,
        }
    })
}

/// Points of up to two measurements; ids of series in no order.
pub(super) fn any_points() -> impl Strategy<Value = Points> {
    let measurement = || proptest::collection::vec(any_shape(), 0..8);
    (measurement(), measurement()).prop_map(|(one, other)| {
        let mut points = Points::default();
        let mut next_id = 1;
        for (number, shapes) in [(4, one), (9, other)] {
            for shape in shapes {
                next_id += shape.seed % 3 + 1;
                let id = SeriesId(if shape.seed.is_multiple_of(2) {
                    next_id
                } else {
                    1000 - next_id
                });
                fill(&mut points, MeasurementId(number), id, &shape);
            }
        }
        points
    })
}

fn fill(points: &mut Points, measurement: MeasurementId, id: SeriesId, shape: &Shape) {
    let texts: BTreeMap<TagKeyId, String> = shape
        .tags
        .iter()
        .map(|(key, value)| (TagKeyId(u32::from(*key) + 1), format!("value-{value}")))
        .collect();
    let mut tags: Vec<(TagKeyId, &[u8])> = texts
        .iter()
        .map(|(key, value)| (*key, value.as_bytes()))
        .collect();
    let key = CanonicalKey::encode(measurement, &mut tags);
    let taken = points.series.contains_key(&(measurement, key.clone()));
    let used = points.series.values().any(|(own, _)| *own == id);
    if taken || used {
        return;
    }
    let entry = SeriesEntry { id, key };
    let mut state = shape.seed;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state >> 33
    };
    for row in 0..shape.rows {
        let time = i64::try_from(row).unwrap() * shape.step - 500;
        for (field, density) in shape.density.iter().enumerate() {
            if random() % 256 <= u64::from(*density) && *density > 0 {
                let id = FieldId(u32::try_from(field).unwrap() + 1);
                points.set(&entry, time, id, value(field, random()));
            }
        }
    }
}

fn value(field: usize, random: u64) -> FieldValue {
    let small = i64::try_from(random % 100_000).unwrap();
    match field {
        0 => FieldValue::Float(f64::from(i32::try_from(small).unwrap()) / 100.0),
        1 => FieldValue::Integer(small - 50_000),
        2 => FieldValue::Unsigned(random),
        3 => FieldValue::Boolean(random.is_multiple_of(2)),
        4 => FieldValue::String(format!("s{}", random % 20).into_bytes().into()),
        _ if random.is_multiple_of(7) => FieldValue::Float(f64::NAN),
        _ => FieldValue::Float(f64::from_bits(random << 31 ^ random) * 1e-300),
    }
}
