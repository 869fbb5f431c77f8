//! What a reader learns of a database's shape.

use crate::model::{FieldId, FieldType, MeasurementId, TagKeyId};

/// A field of a measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldInfo {
    /// Its id.
    pub id: FieldId,
    /// Its name, unescaped.
    pub name: Box<[u8]>,
    /// The type of all its values.
    pub field_type: FieldType,
}

/// A measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeasurementInfo {
    /// Its id.
    pub id: MeasurementId,
    /// Its name, unescaped.
    pub name: Box<[u8]>,
    /// Its fields, sorted by name.
    pub fields: Vec<FieldInfo>,
    /// The tag keys that any of its series has, sorted.
    pub tag_keys: Vec<Box<[u8]>>,
    /// Their ids, in the same order.
    pub tag_key_ids: Vec<TagKeyId>,
}

/// A change of a measurement that leaves its rows as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alteration {
    /// It gets this name.
    Rename(Box<[u8]>),
    /// A tag key gets this name in it; in other measurements it keeps the one it has.
    RenameTagKey(TagKeyId, Box<[u8]>),
    /// A field gets this name.
    RenameField(FieldId, Box<[u8]>),
    /// A field goes.
    DropField(FieldId),
}

impl MeasurementInfo {
    /// The field called `name`, if there is one.
    pub fn field(&self, name: &[u8]) -> Option<&FieldInfo> {
        let index = self
            .fields
            .binary_search_by(|field| (*field.name).cmp(name))
            .ok()?;
        Some(&self.fields[index])
    }

    /// The id of a tag key by the name it has here.
    pub fn tag_key_id(&self, name: &[u8]) -> Option<TagKeyId> {
        let index = self.tag_keys.binary_search_by(|own| (**own).cmp(name));
        self.tag_key_ids.get(index.ok()?).copied()
    }

    /// The name that a tag key has here. Cost: linear in the measurement's tag keys.
    pub fn tag_key_name(&self, id: TagKeyId) -> Option<&[u8]> {
        let index = self.tag_key_ids.iter().position(|own| *own == id)?;
        self.tag_keys.get(index).map(|name| &**name)
    }
}
