//! What exists in a data directory: databases, their policies, and their names with ids.
//!
//! It knows nothing of files and logs. Values are immutable and shared: a change makes a new
//! [`DatabaseCatalog`], so a reader keeps the one it has. Invariants: ids are never used again (an
//! id below the next one that is not there was dropped, and defining it again has no effect); names
//! are unique among what lives.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::format::definitions::Names;
use crate::format::manifest::LastIds;
use crate::model::{
    Alteration, DatabaseId, FieldId, FieldInfo, MeasurementId, MeasurementInfo, PolicyId,
    PolicyInfo, TagKeyId,
};

/// All databases of a data directory.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    databases: BTreeMap<DatabaseId, Arc<DatabaseCatalog>>,
    names: BTreeMap<Box<str>, DatabaseId>,
    /// The last id given, 0 where none was.
    last: u32,
}

/// One database: policies, measurements with their fields and tag keys. Cloning costs a few counters.
#[derive(Clone, Debug)]
pub struct DatabaseCatalog {
    id: DatabaseId,
    name: Arc<str>,
    /// Sorted by name.
    policies: Arc<[PolicyInfo]>,
    /// What the default policy is called, whether or not there is one of that name.
    default_policy: Arc<str>,
    /// Sorted by name.
    measurements: Arc<Vec<Arc<MeasurementInfo>>>,
    measurement_ids: Arc<BTreeMap<MeasurementId, Arc<MeasurementInfo>>>,
    /// Name of tag key `i + 1`. Tag keys belong to the database and are never dropped alone.
    tag_keys: Arc<Vec<Arc<[u8]>>>,
    tag_key_ids: Arc<BTreeMap<Arc<[u8]>, TagKeyId>>,
    last: LastIds,
}

impl Catalog {
    /// The databases, sorted by id.
    pub fn databases(&self) -> impl ExactSizeIterator<Item = &Arc<DatabaseCatalog>> {
        self.databases.values()
    }

    /// The names of the databases, sorted.
    pub fn names(&self) -> Vec<Box<str>> {
        self.names.keys().cloned().collect()
    }

    /// The database called `name`, if there is one.
    pub fn by_name(&self, name: &str) -> Option<&Arc<DatabaseCatalog>> {
        self.databases.get(self.names.get(name)?)
    }

    /// The database `id`, if it lives.
    pub fn by_id(&self, id: DatabaseId) -> Option<&Arc<DatabaseCatalog>> {
        self.databases.get(&id)
    }

    /// The last database id given, 0 where none was.
    pub fn last_database(&self) -> u32 {
        self.last
    }

    /// Makes sure that no database gets an id up to `last`.
    pub fn reserve_databases(&mut self, last: u32) {
        self.last = self.last.max(last);
    }

    /// Puts a database in, in place of the one with its id.
    ///
    /// # Errors
    /// `Conflict` if another database has its name.
    pub fn put(&mut self, database: Arc<DatabaseCatalog>) -> Result<()> {
        match self.names.get(&*database.name) {
            Some(id) if *id != database.id => {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "two databases have one name",
                ));
            }
            Some(_) => {}
            None => {
                self.names.insert((*database.name).into(), database.id);
            }
        }
        self.last = self.last.max(database.id.0);
        self.databases.insert(database.id, database);
        Ok(())
    }

    /// Takes a database away; its name is free, its id is not.
    pub fn drop_database(&mut self, id: DatabaseId) -> Option<Arc<DatabaseCatalog>> {
        let database = self.databases.remove(&id)?;
        self.names.remove(&*database.name);
        Some(database)
    }
}

impl DatabaseCatalog {
    /// A database without policies and names.
    pub fn new(id: DatabaseId, name: &str) -> DatabaseCatalog {
        DatabaseCatalog {
            id,
            name: name.into(),
            policies: Arc::new([]),
            default_policy: "".into(),
            measurements: Arc::default(),
            measurement_ids: Arc::default(),
            tag_keys: Arc::default(),
            tag_key_ids: Arc::default(),
            last: LastIds::default(),
        }
    }

    /// Its id.
    pub fn id(&self) -> DatabaseId {
        self.id
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its policies, sorted by name; one is the default unless that was dropped.
    pub fn policies(&self) -> &[PolicyInfo] {
        &self.policies
    }

    /// The policy called `name`; the default one for `None`.
    pub fn policy(&self, name: Option<&str>) -> Option<&PolicyInfo> {
        self.policies.iter().find(|policy| match name {
            Some(name) => &*policy.name == name,
            None => policy.is_default,
        })
    }

    /// What the default policy is called; one of that name is there unless it was dropped.
    pub fn default_policy(&self) -> &str {
        &self.default_policy
    }

    /// The policy `id`, if it lives.
    pub fn policy_by_id(&self, id: PolicyId) -> Option<&PolicyInfo> {
        self.policies.iter().find(|policy| policy.id == id)
    }

    /// Its measurements, sorted by name.
    pub fn measurements(&self) -> &[Arc<MeasurementInfo>] {
        &self.measurements
    }

    /// The measurement called `name`, if there is one.
    pub fn measurement(&self, name: &[u8]) -> Option<&Arc<MeasurementInfo>> {
        let index = self.place_of(name).ok()?;
        Some(&self.measurements[index])
    }

    /// The measurement `id`, if it lives.
    pub fn measurement_by_id(&self, id: MeasurementId) -> Option<&Arc<MeasurementInfo>> {
        self.measurement_ids.get(&id)
    }

    /// How many measurements and fields were dropped so far.
    pub fn dropped_count(&self) -> u64 {
        let last = self.last_ids();
        let fields = self
            .measurements()
            .iter()
            .map(|own| own.fields.len() as u64);
        let live = self.measurements().len() as u64 + fields.sum::<u64>();
        (u64::from(last.measurement) + u64::from(last.field)).saturating_sub(live)
    }

    /// Whether the measurement `measurement` has the field `field`.
    pub fn has_field(&self, measurement: MeasurementId, field: FieldId) -> bool {
        let found = self.measurement_by_id(measurement);
        found.is_some_and(|own| field_by_id(own, field).is_some())
    }

    /// The id of a tag key, if any series ever had it.
    pub fn tag_key(&self, name: &[u8]) -> Option<TagKeyId> {
        self.tag_key_ids.get(name).copied()
    }

    /// The name of a tag key.
    pub fn tag_key_name(&self, id: TagKeyId) -> Option<&[u8]> {
        let index = usize::try_from(id.0).ok()?.checked_sub(1)?;
        let name = self.tag_keys.get(index)?;
        // Empty: its definition was lost to damage. A tag key has a name.
        (!name.is_empty()).then_some(name)
    }

    /// The highest ids given.
    pub fn last_ids(&self) -> LastIds {
        self.last
    }

    /// Makes sure that nothing gets an id up to `last`.
    pub fn reserve(&mut self, last: LastIds) {
        self.last.policy = self.last.policy.max(last.policy);
        self.last.measurement = self.last.measurement.max(last.measurement);
        self.last.tag_key = self.last.tag_key.max(last.tag_key);
        self.last.field = self.last.field.max(last.field);
        self.last.series = self.last.series.max(last.series);
    }

    /// Puts a policy in, in place of the one with its id. It is the default one where it says so or
    /// has that one's name; no other is then.
    pub fn put_policy(&mut self, policy: PolicyInfo) {
        self.last.policy = self.last.policy.max(policy.id.0);
        if policy.is_default {
            self.default_policy = (*policy.name).into();
        }
        let others = self.policies.iter().filter(|one| one.id != policy.id);
        let mut policies: Vec<PolicyInfo> = others.cloned().collect();
        policies.push(policy);
        policies.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        self.put_policies(policies);
    }

    /// Takes a policy away: its name is free, its id is not. What was the default stays so by name.
    pub fn drop_policy(&mut self, id: PolicyId) -> Option<PolicyInfo> {
        let dropped = self.policy_by_id(id)?.clone();
        let kept = self.policies.iter().filter(|one| one.id != id);
        self.put_policies(kept.cloned().collect());
        Some(dropped)
    }

    /// Says what the default policy is called, whether or not it is there.
    pub fn set_default_policy(&mut self, name: &str) {
        self.default_policy = name.into();
        self.put_policies(self.policies.to_vec());
    }

    fn put_policies(&mut self, mut policies: Vec<PolicyInfo>) {
        for policy in &mut policies {
            policy.is_default = *policy.name == *self.default_policy;
        }
        self.policies = policies.into();
    }

    /// Takes names in. What is there already, and what was dropped, is left as it is, so that a
    /// log can be replayed over a manifest that knows more; so is what belongs to a measurement or
    /// tag key whose own definition was lost to damage. Cost: a copy of the lists that change.
    ///
    /// # Errors
    /// `Corrupt` if the names contradict what is there: an id or a name twice.
    pub fn define(&mut self, names: &Names) -> Result<()> {
        for (id, name) in &names.tag_keys {
            self.define_tag_key(*id, name)?;
        }
        let mut changed: BTreeMap<MeasurementId, MeasurementInfo> = BTreeMap::new();
        let before = self.last;
        for (id, name) in &names.measurements {
            if id.0 <= before.measurement {
                continue;
            }
            if self.measurement(name).is_some() {
                return Err(contradiction("a measurement is defined twice"));
            }
            self.last.measurement = self.last.measurement.max(id.0);
            let measurement = MeasurementInfo {
                id: *id,
                name: name.clone(),
                fields: Vec::new(),
                tag_keys: Vec::new(),
                tag_key_ids: Vec::new(),
            };
            if changed.insert(*id, measurement).is_some() {
                return Err(contradiction("a measurement id is defined twice"));
            }
        }
        for (id, field) in &names.fields {
            self.last.field = self.last.field.max(field.id.0);
            if field.id.0 <= before.field {
                // There already, under whatever name, or dropped.
                continue;
            }
            if let Some(measurement) = self.changing(&mut changed, *id) {
                insert_field(measurement, field)?;
            }
        }
        for (id, key) in &names.pairs {
            let Some(name) = self.tag_key_name(*key).map(Box::<[u8]>::from) else {
                continue;
            };
            if let Some(measurement) = self.changing(&mut changed, *id)
                && !measurement.tag_key_ids.contains(key)
            {
                insert_tag_key(measurement, *key, name);
            }
        }
        self.put_measurements(changed)
    }

    /// Takes a measurement away: its name and its fields' names are free, the ids are not.
    pub fn drop_measurement(&mut self, id: MeasurementId) -> Option<Arc<MeasurementInfo>> {
        let measurement = Arc::make_mut(&mut self.measurement_ids).remove(&id)?;
        Arc::make_mut(&mut self.measurements).retain(|one| one.id != id);
        Some(measurement)
    }

    /// Changes a measurement; one that was dropped stays dropped. Cost: a copy of the list of
    /// measurements.
    ///
    /// # Errors
    /// `Corrupt` where it contradicts what is there: a name twice, an id that is not there.
    pub fn alter(&mut self, id: MeasurementId, alteration: &Alteration) -> Result<()> {
        let mut changed = BTreeMap::new();
        let Some(measurement) = self.changing(&mut changed, id) else {
            return Ok(());
        };
        let unknown = || contradiction("what is not there is renamed");
        match alteration {
            Alteration::Rename(name) => measurement.name.clone_from(name),
            Alteration::RenameTagKey(key, name) => {
                let ids = &mut measurement.tag_key_ids;
                let place = ids.iter().position(|own| own == key).ok_or_else(unknown)?;
                ids.remove(place);
                measurement.tag_keys.remove(place);
                insert_tag_key(measurement, *key, name.clone());
            }
            Alteration::RenameField(field, name) => {
                let fields = &mut measurement.fields;
                let place = fields.iter().position(|own| own.id == *field);
                let mut info = fields.remove(place.ok_or_else(unknown)?);
                info.name.clone_from(name);
                insert_field(measurement, &info)?;
            }
            Alteration::DropField(field) => measurement.fields.retain(|own| own.id != *field),
        }
        self.put_measurements(changed)
    }

    /// The tag keys that a measurement has under another name than the database.
    pub fn renamed_tag_keys(&self) -> Vec<(MeasurementId, Alteration)> {
        let mut renamed = Vec::new();
        for (id, measurement) in &*self.measurement_ids {
            for (key, name) in measurement.tag_key_ids.iter().zip(&measurement.tag_keys) {
                if self.tag_key_name(*key) != Some(name) {
                    renamed.push((*id, Alteration::RenameTagKey(*key, name.clone())));
                }
            }
        }
        renamed
    }

    /// The id that a tag key called `name` has in a measurement, or would have: `None` where it
    /// needs a new one.
    pub fn tag_key_in(
        &self,
        measurement: Option<&MeasurementInfo>,
        name: &[u8],
    ) -> Option<TagKeyId> {
        let Some(measurement) = measurement else {
            return self.tag_key(name);
        };
        measurement.tag_key_id(name).or_else(|| {
            let shared = self.tag_key(name)?;
            (!measurement.tag_key_ids.contains(&shared)).then_some(shared)
        })
    }

    /// The name of a tag key in a measurement.
    pub fn tag_key_name_in<'own>(
        &'own self,
        measurement: Option<&'own MeasurementInfo>,
        id: TagKeyId,
    ) -> Option<&'own [u8]> {
        let own = measurement.and_then(|own| own.tag_key_name(id));
        own.or_else(|| self.tag_key_name(id))
    }

    /// Everything named, as [`DatabaseCatalog::define`] takes it.
    pub fn names(&self) -> Names {
        let mut names = Names::default();
        for (name, id) in self.tag_keys.iter().zip(1..) {
            if !name.is_empty() {
                names.tag_keys.push((TagKeyId(id), (**name).into()));
            }
        }
        for (id, measurement) in &*self.measurement_ids {
            names.measurements.push((*id, measurement.name.clone()));
            let fields = measurement.fields.iter().cloned();
            names.fields.extend(fields.map(|field| (*id, field)));
            let keys = measurement.tag_key_ids.iter();
            names.pairs.extend(keys.map(|key| (*id, *key)));
        }
        names
    }

    fn place_of(&self, name: &[u8]) -> std::result::Result<usize, usize> {
        self.measurements
            .binary_search_by(|measurement| (*measurement.name).cmp(name))
    }

    fn define_tag_key(&mut self, id: TagKeyId, name: &[u8]) -> Result<()> {
        match self.tag_key_name(id) {
            Some(have) if have == name => return Ok(()),
            Some(_) => return Err(contradiction("a tag key id has two names")),
            None => {}
        }
        let index = id.0 as usize - 1;
        if name.is_empty() {
            return Err(contradiction("a tag key has no name"));
        }
        let name: Arc<[u8]> = name.into();
        let keys = Arc::make_mut(&mut self.tag_keys);
        if keys.len() <= index {
            // Ids are given without a gap; where damage left one, it stays.
            keys.resize(index + 1, Arc::new([]));
        }
        keys[index] = Arc::clone(&name);
        // A second one of a name is for measurements where the first goes by another.
        let ids = Arc::make_mut(&mut self.tag_key_ids);
        ids.entry(name).or_insert(id);
        self.last.tag_key = self.last.tag_key.max(id.0);
        Ok(())
    }

    /// The working copy of a measurement, or `None` if it was dropped or its name lost.
    fn changing<'changed>(
        &self,
        changed: &'changed mut BTreeMap<MeasurementId, MeasurementInfo>,
        id: MeasurementId,
    ) -> Option<&'changed mut MeasurementInfo> {
        match changed.entry(id) {
            Entry::Occupied(occupied) => Some(occupied.into_mut()),
            Entry::Vacant(vacant) => {
                let have = self.measurement_ids.get(&id)?;
                Some(vacant.insert(MeasurementInfo::clone(have)))
            }
        }
    }

    fn put_measurements(
        &mut self,
        changed: BTreeMap<MeasurementId, MeasurementInfo>,
    ) -> Result<()> {
        if changed.is_empty() {
            return Ok(());
        }
        let by_id = Arc::make_mut(&mut self.measurement_ids);
        for (id, measurement) in changed {
            by_id.insert(id, Arc::new(measurement));
        }
        let mut sorted: Vec<_> = by_id.values().map(Arc::clone).collect();
        sorted.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        if sorted.windows(2).any(|pair| pair[0].name == pair[1].name) {
            return Err(contradiction("two measurements have one name"));
        }
        self.measurements = Arc::new(sorted);
        Ok(())
    }
}

/// The field of a measurement by id. Cost: linear in the measurement's fields.
pub fn field_by_id(measurement: &MeasurementInfo, id: FieldId) -> Option<&FieldInfo> {
    measurement.fields.iter().find(|field| field.id == id)
}

/// Whether a database or policy may be called `name`.
///
/// # Errors
/// `Invalid`: `invalid name`.
///
/// # Source
/// `InfluxDB` 1.x: not empty, not `.` or `..`, no slash of either kind, printable throughout.
pub fn check_name(name: &str) -> Result<()> {
    let bad = |character: char| matches!(character, '/' | '\\') || !is_printable(character);
    if name.is_empty() || name == "." || name == ".." || name.chars().any(bad) {
        return Err(Error::new(ErrorKind::Invalid, "invalid name"));
    }
    Ok(())
}

/// Whether a character shows: no control, no space but the plain one, no invisible mark.
fn is_printable(character: char) -> bool {
    let invisible = matches!(
        u32::from(character),
        0xad | 0x200b..=0x200f
            | 0x202a..=0x202e
            | 0x2060..=0x206f
            | 0xe000..=0xf8ff
            | 0xfeff
            | 0xfff0..=0xfffb
            | 0xe_0000..
    );
    character == ' ' || !(invisible || character.is_control() || character.is_whitespace())
}

fn insert_tag_key(measurement: &mut MeasurementInfo, key: TagKeyId, name: Box<[u8]>) {
    let place = measurement.tag_keys.partition_point(|own| *own < name);
    measurement.tag_keys.insert(place, name);
    measurement.tag_key_ids.insert(place, key);
}

fn insert_field(measurement: &mut MeasurementInfo, field: &FieldInfo) -> Result<()> {
    match measurement
        .fields
        .binary_search_by(|have| have.name.cmp(&field.name))
    {
        Ok(place) if measurement.fields[place] == *field => Ok(()),
        Ok(_) => Err(contradiction("a field is defined twice")),
        Err(place) => {
            measurement.fields.insert(place, field.clone());
            Ok(())
        }
    }
}

fn contradiction(message: &str) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FieldType;

    fn field(id: u32, name: &str) -> FieldInfo {
        FieldInfo {
            id: FieldId(id),
            name: name.as_bytes().into(),
            field_type: FieldType::Float,
        }
    }

    fn names() -> Names {
        Names {
            measurements: vec![
                (MeasurementId(1), b"mem"[..].into()),
                (MeasurementId(2), b"cpu"[..].into()),
            ],
            tag_keys: vec![(TagKeyId(1), b"host"[..].into())],
            fields: vec![
                (MeasurementId(2), field(1, "user")),
                (MeasurementId(2), field(2, "idle")),
            ],
            pairs: vec![(MeasurementId(2), TagKeyId(1))],
        }
    }

    fn sample() -> DatabaseCatalog {
        let mut database = DatabaseCatalog::new(DatabaseId(1), "db");
        database.define(&names()).unwrap();
        database
    }

    #[test]
    fn names_are_found_by_name_and_id_and_listed_sorted() {
        let database = sample();
        let listed: Vec<_> = database
            .measurements()
            .iter()
            .map(|one| &*one.name)
            .collect();
        assert_eq!(listed, [b"cpu", b"mem"]);
        let cpu = database.measurement(b"cpu").unwrap();
        assert_eq!(cpu.id, MeasurementId(2));
        assert_eq!(cpu.field(b"idle").unwrap().id, FieldId(2));
        assert_eq!(cpu.tag_keys, [b"host"[..].into()]);
        assert_eq!(database.tag_key(b"host"), Some(TagKeyId(1)));
        assert_eq!(database.tag_key_name(TagKeyId(1)), Some(&b"host"[..]));
        assert_eq!(database.tag_key_name(TagKeyId(0)), None);
    }

    #[test]
    fn defining_again_changes_nothing() {
        let mut database = sample();
        let before = database.names();
        database.define(&names()).unwrap();
        assert_eq!(database.names(), before);
    }

    #[test]
    fn a_dropped_measurement_frees_its_name_and_a_replay_does_not_bring_it_back() {
        let mut database = sample();
        let kept = database.clone();
        database.drop_measurement(MeasurementId(2)).unwrap();
        database.define(&names()).unwrap();
        assert!(database.measurement(b"cpu").is_none());
        assert!(
            kept.measurement(b"cpu").is_some(),
            "a reader keeps what it has"
        );
        let again = Names {
            measurements: vec![(MeasurementId(3), b"cpu"[..].into())],
            ..Names::default()
        };
        database.define(&again).unwrap();
        assert_eq!(database.measurement(b"cpu").unwrap().id, MeasurementId(3));
    }

    #[test]
    fn contradicting_names_are_refused() {
        let refused = |names: Names| {
            assert_eq!(
                sample().define(&names).unwrap_err().kind(),
                ErrorKind::Corrupt
            );
        };
        refused(Names {
            measurements: vec![(MeasurementId(3), b"cpu"[..].into())],
            ..Names::default()
        });
        refused(Names {
            fields: vec![(MeasurementId(2), field(3, "user"))],
            ..Names::default()
        });
        refused(Names {
            tag_keys: vec![(TagKeyId(1), b"other"[..].into())],
            ..Names::default()
        });
    }

    #[test]
    fn what_belongs_to_a_lost_definition_is_left_out_and_the_rest_taken() {
        let mut database = sample();
        let before = database.names();
        database
            .define(&Names {
                fields: vec![(MeasurementId(9), field(3, "x"))],
                pairs: vec![(MeasurementId(2), TagKeyId(2))],
                ..Names::default()
            })
            .unwrap();
        assert_eq!(database.names(), before);
        // Tag keys 2 and 3 were lost.
        let rack = Names {
            tag_keys: vec![(TagKeyId(4), b"rack"[..].into())],
            pairs: vec![(MeasurementId(2), TagKeyId(4))],
            ..Names::default()
        };
        database.define(&rack).unwrap();
        assert_eq!(database.tag_key(b"rack"), Some(TagKeyId(4)));
        assert_eq!(database.tag_key_name(TagKeyId(3)), None);
        assert_eq!(database.tag_key(b""), None);
        let mut again = DatabaseCatalog::new(DatabaseId(1), "db");
        again.define(&database.names()).unwrap();
        assert_eq!(again.names(), database.names());
        assert_eq!(again.last_ids().tag_key, 4);
    }

    #[test]
    fn database_names_are_checked_as_influxdb_does() {
        for good in ["db", "with space", "a.b", "\u{e9}t\u{e9}", "\"quoted\""] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a\\b",
            "tab\there",
            "line\n",
            "\u{a0}",
            "\u{200b}",
        ] {
            let error = check_name(bad).unwrap_err();
            assert_eq!(error.to_string(), "invalid name", "{bad:?}");
        }
    }

    #[test]
    fn a_dropped_database_frees_its_name_but_not_its_id() {
        let mut catalog = Catalog::default();
        catalog.put(Arc::new(sample())).unwrap();
        let twin = Arc::new(DatabaseCatalog::new(DatabaseId(2), "db"));
        assert!(catalog.put(Arc::clone(&twin)).is_err());
        catalog.drop_database(DatabaseId(1)).unwrap();
        assert_eq!(catalog.last_database(), 1);
        catalog.put(twin).unwrap();
        assert_eq!(catalog.by_name("db").unwrap().id(), DatabaseId(2));
        assert!(catalog.by_id(DatabaseId(1)).is_none());
    }
}
