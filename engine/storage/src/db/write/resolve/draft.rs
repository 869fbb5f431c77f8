//! Ids for what a batch names first, before anything is told of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Result;
use crate::format::definitions::{Definitions, Names};
use crate::format::manifest::LastIds;
use crate::manifest::catalog::DatabaseCatalog;
use crate::model::{
    CanonicalKey, DatabaseId, FieldId, FieldInfo, FieldType, MeasurementId, SeriesEntry, SeriesId,
    SeriesKey, TagKeyId,
};

/// New names and series over a catalogue that stays as it is.
#[derive(Debug)]
pub(super) struct Draft<'catalog> {
    catalog: &'catalog DatabaseCatalog,
    last: LastIds,
    /// The last series before those that are made here.
    series_before: u64,
    names: Names,
    measurements: BTreeMap<Box<[u8]>, MeasurementId>,
    tag_keys: BTreeMap<Box<[u8]>, TagKeyId>,
    /// Those of one measurement alone: there the id of the name goes by another name.
    own_tag_keys: BTreeMap<(MeasurementId, Box<[u8]>), TagKeyId>,
    fields: BTreeMap<(MeasurementId, Box<[u8]>), FieldId>,
    pairs: BTreeSet<(MeasurementId, TagKeyId)>,
    series: Vec<SeriesEntry>,
    shape: Option<Shape>,
}

/// What the last key named, all of it with ids: the next mostly names the same.
#[derive(Debug)]
struct Shape {
    name: Box<[u8]>,
    measurement: MeasurementId,
    tag_keys: Vec<(Box<[u8]>, TagKeyId)>,
}

impl Shape {
    fn is_of(&self, key: &SeriesKey) -> bool {
        let own = self.tag_keys.iter().map(|(name, _)| &**name);
        self.name == key.measurement && own.eq(key.tags.iter().map(|(name, _)| name))
    }
}

impl<'catalog> Draft<'catalog> {
    pub(super) fn new(catalog: &'catalog DatabaseCatalog, last_series: u64) -> Draft<'catalog> {
        let last = LastIds {
            series: last_series,
            ..catalog.last_ids()
        };
        Draft {
            catalog,
            last,
            series_before: last_series,
            names: Names::default(),
            measurements: BTreeMap::new(),
            tag_keys: BTreeMap::new(),
            own_tag_keys: BTreeMap::new(),
            fields: BTreeMap::new(),
            pairs: BTreeSet::new(),
            series: Vec::new(),
            shape: None,
        }
    }

    /// The measurement and the canonical key of `key`; names in it get ids where they have none.
    pub(super) fn canonical(&mut self, key: &SeriesKey) -> (MeasurementId, Box<[u8]>) {
        let shape = match self.shape.take() {
            Some(last) if last.is_of(key) => last,
            Some(_) | None => self.shape_of(key),
        };
        let measurement = shape.measurement;
        let ids = shape.tag_keys.iter().map(|(_, id)| *id);
        let values = key.tags.iter().map(|(_, value)| value);
        let mut tags: Vec<(TagKeyId, &[u8])> = ids.zip(values).collect();
        self.shape = Some(shape);
        (measurement, CanonicalKey::encode(measurement, &mut tags))
    }

    fn shape_of(&mut self, key: &SeriesKey) -> Shape {
        let measurement = self.measurement(&key.measurement);
        let tag_keys = key.tags.iter().map(|(name, _)| {
            let id = self.tag_key(measurement, name);
            self.pair(measurement, (id, name));
            (name.into(), id)
        });
        Shape {
            tag_keys: tag_keys.collect(),
            name: key.measurement.clone(),
            measurement,
        }
    }

    /// How many series were made here.
    pub(super) fn series_made(&self) -> u64 {
        self.last.series - self.series_before
    }

    /// Whether all names of `key` have ids, and its tags occur in its measurement: else it is new.
    pub(super) fn knows(&self, key: &SeriesKey) -> bool {
        if self.shape.as_ref().is_some_and(|last| last.is_of(key)) {
            return true;
        }
        let known = self.catalog.measurement(&key.measurement);
        let drafted = self.measurements.get(&key.measurement).copied();
        let Some(measurement) = known.map(|known| known.id).or(drafted) else {
            return false;
        };
        key.tags.iter().all(|(name, _)| {
            let place = |own: &[Box<[u8]>]| own.binary_search_by(|own| (**own).cmp(name));
            let has_key = known.is_some_and(|known| place(&known.tag_keys).is_ok());
            let own = self.own_tag_keys.get(&(measurement, name.into()));
            let drafted = own.or_else(|| self.tag_keys.get(name)).copied();
            let id = self.catalog.tag_key_in(known.map(|known| &**known), name);
            let id = id.or(drafted);
            has_key || id.is_some_and(|id| self.pairs.contains(&(measurement, id)))
        })
    }

    /// The id of a new series.
    pub(super) fn new_series(&mut self) -> SeriesId {
        self.last.series += 1;
        SeriesId(self.last.series)
    }

    /// Has the log told of a series: a new one, or one not told of since the last flush began.
    pub(super) fn define(&mut self, id: SeriesId, key: Box<[u8]>) {
        self.series.push(SeriesEntry { id, key });
    }

    /// The field of a measurement; it gets an id where it has none.
    pub(super) fn field(
        &mut self,
        measurement: MeasurementId,
        name: &[u8],
        field_type: FieldType,
    ) -> FieldId {
        let known = self.catalog.measurement_by_id(measurement);
        if let Some(info) = known.and_then(|measurement| measurement.field(name)) {
            return info.id;
        }
        let key = (measurement, name.into());
        if let Some(id) = self.fields.get(&key) {
            return *id;
        }
        self.last.field += 1;
        let id = FieldId(self.last.field);
        let info = FieldInfo {
            id,
            name: name.into(),
            field_type,
        };
        self.names.fields.push((measurement, info));
        self.fields.insert(key, id);
        id
    }

    /// What is new, and the catalogue with it where names are.
    ///
    /// # Errors
    /// Never, unless the ids given here contradict the catalogue.
    pub(super) fn finish(
        self,
        database: DatabaseId,
    ) -> Result<(Definitions, Option<DatabaseCatalog>)> {
        let catalog = if self.names.is_empty() {
            None
        } else {
            let mut catalog = self.catalog.clone();
            catalog.define(&self.names)?;
            Some(catalog)
        };
        let definitions = Definitions {
            database,
            names: self.names,
            series: self.series,
        };
        Ok((definitions, catalog))
    }

    fn measurement(&mut self, name: &[u8]) -> MeasurementId {
        if let Some(known) = self.catalog.measurement(name) {
            return known.id;
        }
        if let Some(id) = self.measurements.get(name) {
            return *id;
        }
        self.last.measurement += 1;
        let id = MeasurementId(self.last.measurement);
        self.names.measurements.push((id, name.into()));
        self.measurements.insert(name.into(), id);
        id
    }

    fn tag_key(&mut self, measurement: MeasurementId, name: &[u8]) -> TagKeyId {
        let known = self.catalog.measurement_by_id(measurement);
        if let Some(id) = self.catalog.tag_key_in(known.map(|own| &**own), name) {
            return id;
        }
        let is_shared = self.catalog.tag_key(name).is_none();
        let drafted = if is_shared {
            self.tag_keys.get(name)
        } else {
            self.own_tag_keys.get(&(measurement, name.into()))
        };
        if let Some(id) = drafted {
            return *id;
        }
        self.last.tag_key += 1;
        let id = TagKeyId(self.last.tag_key);
        self.names.tag_keys.push((id, name.into()));
        if is_shared {
            self.tag_keys.insert(name.into(), id);
        } else {
            self.own_tag_keys.insert((measurement, name.into()), id);
        }
        id
    }

    fn pair(&mut self, measurement: MeasurementId, (key, name): (TagKeyId, &[u8])) {
        let known = self.catalog.measurement_by_id(measurement);
        let is_known = known.is_some_and(|measurement| measurement.tag_key_id(name).is_some());
        if !is_known && self.pairs.insert((measurement, key)) {
            self.names.pairs.push((measurement, key));
        }
    }
}

/// At most how long the canonical key of `key` is, bytes.
pub(super) fn key_size(key: &SeriesKey) -> usize {
    let tags = key.tags.iter();
    4 + tags.map(|(_, value)| value.len() + 10).sum::<usize>()
}
