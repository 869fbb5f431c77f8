//! Reading the naive store: rows and windows, worked out one by one.

use std::collections::BTreeMap;
use std::sync::Arc;

use silverback_storage::Result;
use silverback_storage::model::{
    AggregateRequest, AggregateSet, Bitmap, Column, Extreme, FieldId, FieldType, FieldValue,
    FieldWindows, FloatSum, MeasurementInfo, PolicyId, PolicyInfo, Presence, ScanRequest, SeriesId,
    SeriesRequest, SeriesRows, Sum, TimeRange, Values, WindowBatch, WindowPartial,
};

use crate::naive::{Measurement, NaiveDatabase, Row};
use crate::source::{RowScan, SeriesInfo, Source, WindowScan};

/// Rows in one piece of a scan.
const PIECE_ROWS: usize = 3;

impl Source for NaiveDatabase {
    fn policies(&self) -> Vec<PolicyInfo> {
        self.policies.clone()
    }

    fn default_policy(&self) -> Box<str> {
        self.default_policy.clone()
    }

    fn measurements(&self) -> Vec<Arc<MeasurementInfo>> {
        let all = self.measurements.iter();
        all.map(|(name, one)| one.info(name)).collect()
    }

    fn measurement(&self, name: &[u8]) -> Option<Arc<MeasurementInfo>> {
        Some(self.measurements.get(name)?.info(name))
    }

    fn series(&self, request: SeriesRequest<'_>) -> Result<Vec<SeriesInfo>> {
        let SeriesRequest {
            measurement,
            predicate,
            policy,
            range,
        } = request;
        let Some(measurement) = self.by_id(measurement) else {
            return Ok(Vec::new());
        };
        let policies: Vec<PolicyId> = match policy {
            Some(policy) => vec![policy],
            None => self.policies.iter().map(|policy| policy.id).collect(),
        };
        let has_rows = |id: SeriesId| {
            let mut policies = policies.iter();
            policies.any(|policy| measurement.rows_of(id, *policy, range).next().is_some())
        };
        let chosen = measurement
            .series
            .iter()
            .filter(|(tags, id)| predicate.holds(tags) && has_rows(**id));
        Ok(chosen
            .map(|(tags, id)| SeriesInfo {
                id: *id,
                tags: tags.clone(),
            })
            .collect())
    }

    fn scan(&self, request: ScanRequest) -> Result<Box<dyn RowScan + '_>> {
        let mut pieces = Vec::new();
        if let Some(measurement) = self.by_id(request.measurement) {
            let types = field_types(measurement);
            for (index, series) in request.series.iter().enumerate() {
                let rows = measurement.rows_of(*series, request.policy, request.range);
                let wanted = |row: &Row| request.fields.iter().any(|id| row.contains_key(id));
                let mut rows: Vec<_> = rows.filter(|(_, row)| wanted(row)).collect();
                if request.descending {
                    rows.reverse();
                }
                for piece in rows.chunks(PIECE_ROWS) {
                    pieces.push(rows_piece(index, piece, &request.fields, &types));
                }
            }
        }
        Ok(Box::new(Pieces(pieces.into_iter())))
    }

    fn aggregate(&self, request: AggregateRequest) -> Result<Box<dyn WindowScan + '_>> {
        let mut all = Vec::new();
        if let Some(measurement) = self.by_id(request.scan.measurement) {
            let types = field_types(measurement);
            for (index, series) in request.scan.series.iter().enumerate() {
                let fields = request.scan.fields.iter().zip(&request.wanted);
                let column = |(id, wanted): (&FieldId, &AggregateSet)| {
                    let field_type = types.get(id).copied().unwrap_or(FieldType::Float);
                    FieldWindows::new(field_type, *wanted)
                };
                let mut own = WindowBatch {
                    series: vec![(index, 0)],
                    windows: Vec::new(),
                    columns: fields.map(column).collect(),
                };
                for (number, edges) in (0_u32..).zip(request.edges.windows(2)) {
                    let window = TimeRange {
                        start: edges[0],
                        end: edges[1],
                    };
                    let range = window.intersect(request.scan.range);
                    let rows = measurement.rows_of(*series, request.scan.policy, range);
                    let rows: Vec<_> = rows.collect();
                    let fields = request.scan.fields.iter();
                    let partials: Vec<_> = fields.map(|id| partial(&rows, *id)).collect();
                    if partials.iter().all(Option::is_none) {
                        continue;
                    }
                    own.windows.push(number);
                    for (column, partial) in own.columns.iter_mut().zip(&partials) {
                        match partial {
                            Some(partial) => column.push(partial),
                            None => column.push_absent(),
                        }
                    }
                }
                if !own.windows.is_empty() {
                    all.push(own);
                }
            }
        }
        Ok(Box::new(Pieces(all.into_iter())))
    }
}

fn field_types(measurement: &Measurement) -> BTreeMap<FieldId, FieldType> {
    measurement.fields.values().copied().collect()
}

fn rows_piece(
    index: usize,
    rows: &[(i64, &Row)],
    fields: &[FieldId],
    types: &BTreeMap<FieldId, FieldType>,
) -> SeriesRows {
    let columns = fields.iter().map(|id| {
        let mut values = Values::new(types.get(id).copied().unwrap_or(FieldType::Float));
        let mut bits = Bitmap::default();
        for (_, row) in rows {
            let value = row.get(id);
            bits.push(value.is_some());
            if let Some(value) = value {
                values.push(value);
            }
        }
        let presence = if bits.count_ones() == rows.len() {
            Presence::All
        } else {
            Presence::Some(bits)
        };
        Column { values, presence }
    });
    SeriesRows {
        index,
        timestamps: rows.iter().map(|(timestamp, _)| *timestamp).collect(),
        columns: columns.collect(),
    }
}

fn partial(rows: &[(i64, &Row)], field: FieldId) -> Option<WindowPartial> {
    let values: Vec<Extreme> = rows
        .iter()
        .filter_map(|(timestamp, row)| {
            let value = row.get(&field)?.clone();
            Some(Extreme {
                value,
                timestamp: *timestamp,
            })
        })
        .collect();
    let first = values.first()?.clone();
    let sum = values
        .iter()
        .fold(Sum::None, |sum, one| add(sum, &one.value));
    Some(WindowPartial {
        count: values.len() as u64,
        sum,
        min: best(&values, |candidate, best| candidate < best),
        max: best(&values, |candidate, best| candidate > best),
        last: values.last()?.clone(),
        first,
    })
}

fn add(sum: Sum, value: &FieldValue) -> Sum {
    match (sum, value) {
        (Sum::Float(sum), FieldValue::Float(value)) => Sum::Float(sum.plus(*value)),
        (Sum::Integer(sum), FieldValue::Integer(value)) => Sum::Integer(sum + i128::from(*value)),
        (Sum::Integer(sum), FieldValue::Unsigned(value)) => Sum::Integer(sum + i128::from(*value)),
        (_, FieldValue::Float(value)) => Sum::Float(FloatSum::default().plus(*value)),
        (_, FieldValue::Integer(value)) => Sum::Integer(i128::from(*value)),
        (_, FieldValue::Unsigned(value)) => Sum::Integer(i128::from(*value)),
        (_, FieldValue::Boolean(_) | FieldValue::String(_)) => Sum::None,
    }
}

/// The earliest value that none other beats; a NaN only where all are. `None` for strings.
fn best(values: &[Extreme], beats: impl Fn(&Order, &Order) -> bool) -> Option<Extreme> {
    let mut best: Option<(&Extreme, Order)> = None;
    for one in values {
        let order = order(&one.value)?;
        let better = match &best {
            None => true,
            Some((_, Order::Float(old))) if old.is_nan() => {
                !matches!(order, Order::Float(new) if new.is_nan())
            }
            Some((_, old)) => beats(&order, old),
        };
        if better {
            best = Some((one, order));
        }
    }
    best.map(|(one, _)| one.clone())
}

#[derive(PartialEq, PartialOrd)]
enum Order {
    Float(f64),
    Integer(i128),
}

fn order(value: &FieldValue) -> Option<Order> {
    Some(match value {
        FieldValue::Float(value) => Order::Float(*value),
        FieldValue::Integer(value) => Order::Integer(i128::from(*value)),
        FieldValue::Unsigned(value) => Order::Integer(i128::from(*value)),
        FieldValue::Boolean(value) => Order::Integer(i128::from(*value)),
        FieldValue::String(_) => return None,
    })
}

struct Pieces<T>(std::vec::IntoIter<T>);

impl RowScan for Pieces<SeriesRows> {
    fn next_rows(&mut self) -> Result<Option<SeriesRows>> {
        Ok(self.0.next())
    }
}

impl WindowScan for Pieces<WindowBatch> {
    fn next_windows(&mut self) -> Result<Option<WindowBatch>> {
        Ok(self.0.next())
    }
}
