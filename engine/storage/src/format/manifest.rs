//! The manifest's bytes: edits, and the records that carry them. Slices in, slices out; it knows
//! no file and not what the edits come to. Page: `docs/format/manifest.md`.
//!
//! Invariants: a record's checksum covers its length, number and payload under file id and offset;
//! an edit that this build does not know is an error, never skipped.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::format::block::{BlockInfo, BlockMeta, SequenceRange};
use crate::format::definitions::{
    Names, damaged, push_bytes, take_byte, take_bytes, take_id, take_number,
};
use crate::format::sealed::checksum;
use crate::format::tombstone::{decode_tombstone, encode_tombstone};
use crate::model::{
    Alteration, DatabaseId, FieldId, MeasurementId, PolicyId, PolicyInfo, Sequence, TagKeyId,
    TimeRange, Tombstone, push_varint,
};

/// Size of a record's frame in front of its payload, bytes: length, CRC32, number.
pub const FRAME_BYTES: usize = 16;
/// A record ends where a sector does: what a crash tears in the next one it does not reach back.
pub const SECTOR_BYTES: usize = 512;
/// A payload's size at most, bytes: a reader allocates nothing beyond.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 30;

/// The highest id given so far of each kind, 0 where none was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastIds {
    /// Of policies.
    pub policy: u32,
    /// Of measurements.
    pub measurement: u32,
    /// Of tag keys.
    pub tag_key: u32,
    /// Of fields.
    pub field: u32,
    /// Of series.
    pub series: u64,
}

/// What the manifest says of a registry file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistryMeta {
    /// The file.
    pub file: u64,
    /// Whose series it holds.
    pub database: DatabaseId,
    /// How many.
    pub series_count: u64,
    /// Size of the file, bytes.
    pub size_bytes: u64,
}

/// Where the log ended when the store was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanStop {
    /// Number of its last segment.
    pub segment: u64,
    /// Offset behind its last group.
    pub offset: u64,
    /// Its last sequence.
    pub sequence: Sequence,
}

/// One change of what exists. The tags are written to disk and never change their meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// The data directory's id and the secret of its key hashes; once, first.
    Directory {
        /// Stands in every file's header.
        id: u128,
        /// See [`crate::model::KeyHasher`].
        secret: [u64; 4],
    },
    /// Everything before it is a snapshot of what exists; what follows are changes.
    SnapshotEnd,
    /// A database comes to be.
    CreateDatabase {
        /// Its id, new.
        id: DatabaseId,
        /// Its name, free.
        name: Box<str>,
    },
    /// A database goes, with all it holds.
    DropDatabase(DatabaseId),
    /// A policy comes to be, or takes the place of the one with its id.
    PutPolicy(DatabaseId, PolicyInfo),
    /// A policy goes, with its blocks.
    DropPolicy(DatabaseId, PolicyId),
    /// The default policy is called so, whether or not there is one of that name.
    DefaultPolicy(DatabaseId, Box<str>),
    /// Names get ids.
    DefineNames(DatabaseId, Names),
    /// A measurement goes, in all policies.
    DropMeasurement(DatabaseId, MeasurementId),
    /// A block is live.
    AddBlock(BlockMeta),
    /// A block is not live any more.
    RemoveBlock(u64),
    /// A registry file is live.
    AddRegistry(RegistryMeta),
    /// A registry file is not live any more.
    RemoveRegistry(u64),
    /// Every row up to this sequence lies in a live block or was dropped.
    FlushedThrough(Sequence),
    /// The store was closed, and the log ended here.
    CleanStop(CleanStop),
    /// Ids up to these are given in a database.
    Given(DatabaseId, LastIds),
    /// Database ids, file ids and sequences up to these are given.
    GivenInDirectory {
        /// Database id.
        database: u32,
        /// File id.
        file: u64,
        /// Sequence.
        sequence: Sequence,
    },
    /// A measurement is changed, its rows as they are.
    Alter(DatabaseId, MeasurementId, Alteration),
    /// A delete hides what blocks hold that end below its sequence.
    PutTombstone(DatabaseId, Arc<Tombstone>),
    /// A delete hides nothing any more: what it hid is gone.
    RemoveTombstone(DatabaseId, Sequence),
}

const PADDING: u8 = 0;
const DIRECTORY: u8 = 1;
const SNAPSHOT_END: u8 = 2;
const CREATE_DATABASE: u8 = 3;
const DROP_DATABASE: u8 = 4;
const PUT_POLICY: u8 = 5;
const DROP_POLICY: u8 = 6;
const DEFINE_NAMES: u8 = 7;
const DROP_MEASUREMENT: u8 = 8;
const ADD_BLOCK: u8 = 9;
const REMOVE_BLOCK: u8 = 10;
const ADD_REGISTRY: u8 = 11;
const REMOVE_REGISTRY: u8 = 12;
const FLUSHED_THROUGH: u8 = 13;
const CLEAN_STOP: u8 = 14;
const GIVEN: u8 = 15;
const GIVEN_IN_DIRECTORY: u8 = 16;
const PUT_TOMBSTONE: u8 = 17;
const REMOVE_TOMBSTONE: u8 = 18;
const ALTER: u8 = 19;
const DEFAULT_POLICY: u8 = 20;

const RENAME: u8 = 1;
const RENAME_TAG_KEY: u8 = 2;
const RENAME_FIELD: u8 = 3;
const DROP_FIELD: u8 = 4;

impl Edit {
    /// Appends tag and body.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        match self {
            Edit::Directory { id, secret } => encode_directory(*id, secret, bytes),
            Edit::SnapshotEnd => bytes.push(SNAPSHOT_END),
            Edit::CreateDatabase { id, name } => {
                tagged(bytes, CREATE_DATABASE, &[u64::from(id.0)]);
                push_bytes(bytes, name.as_bytes());
            }
            Edit::DropDatabase(id) => tagged(bytes, DROP_DATABASE, &[u64::from(id.0)]),
            Edit::PutPolicy(database, policy) => encode_policy(*database, policy, bytes),
            Edit::DropPolicy(database, policy) => {
                tagged_in(bytes, DROP_POLICY, *database, policy.0);
            }
            Edit::DefaultPolicy(database, name) => {
                tagged(bytes, DEFAULT_POLICY, &[u64::from(database.0)]);
                push_bytes(bytes, name.as_bytes());
            }
            Edit::DefineNames(database, names) => {
                tagged(bytes, DEFINE_NAMES, &[u64::from(database.0)]);
                names.encode(bytes);
            }
            Edit::DropMeasurement(database, measurement) => {
                tagged_in(bytes, DROP_MEASUREMENT, *database, measurement.0);
            }
            Edit::AddBlock(block) => {
                bytes.push(ADD_BLOCK);
                encode_block(block, bytes);
            }
            Edit::RemoveBlock(file) => tagged(bytes, REMOVE_BLOCK, &[*file]),
            Edit::AddRegistry(registry) => {
                let (file, database) = (registry.file, u64::from(registry.database.0));
                let sizes = (registry.series_count, registry.size_bytes);
                tagged(bytes, ADD_REGISTRY, &[file, database, sizes.0, sizes.1]);
            }
            Edit::RemoveRegistry(file) => tagged(bytes, REMOVE_REGISTRY, &[*file]),
            Edit::FlushedThrough(sequence) => tagged(bytes, FLUSHED_THROUGH, &[sequence.0]),
            Edit::CleanStop(end) => {
                let numbers = [end.segment, end.offset, end.sequence.0];
                tagged(bytes, CLEAN_STOP, &numbers);
            }
            Edit::Given(database, last) => {
                tagged(bytes, GIVEN, &[u64::from(database.0), last.series]);
                for id in [last.policy, last.measurement, last.tag_key, last.field] {
                    push_varint(bytes, u64::from(id));
                }
            }
            Edit::GivenInDirectory {
                database,
                file,
                sequence,
            } => {
                let last = [u64::from(*database), *file, sequence.0];
                tagged(bytes, GIVEN_IN_DIRECTORY, &last);
            }
            Edit::PutTombstone(database, tombstone) => {
                tagged(bytes, PUT_TOMBSTONE, &[tombstone.sequence.0]);
                encode_tombstone(*database, tombstone, bytes);
            }
            Edit::Alter(database, measurement, alteration) => {
                let ids = [u64::from(database.0), u64::from(measurement.0)];
                tagged(bytes, ALTER, &ids);
                encode_alteration(alteration, bytes);
            }
            Edit::RemoveTombstone(database, sequence) => {
                let ids = [u64::from(database.0), sequence.0];
                tagged(bytes, REMOVE_TOMBSTONE, &ids);
            }
        }
    }

    /// Takes an edit off the front.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are none: the caller adds the place.
    pub fn decode(bytes: &mut &[u8]) -> Result<Edit> {
        Ok(match take_byte(bytes)? {
            DIRECTORY => decode_directory(bytes)?,
            SNAPSHOT_END => Edit::SnapshotEnd,
            CREATE_DATABASE => {
                let id = DatabaseId(take_id(bytes)?);
                let name = take_text(bytes)?;
                Edit::CreateDatabase { id, name }
            }
            DROP_DATABASE => Edit::DropDatabase(DatabaseId(take_id(bytes)?)),
            PUT_POLICY => decode_policy(bytes)?,
            DROP_POLICY => {
                let database = DatabaseId(take_id(bytes)?);
                Edit::DropPolicy(database, PolicyId(take_id(bytes)?))
            }
            DEFAULT_POLICY => {
                let database = DatabaseId(take_id(bytes)?);
                Edit::DefaultPolicy(database, take_text(bytes)?)
            }
            DEFINE_NAMES => {
                let database = DatabaseId(take_id(bytes)?);
                Edit::DefineNames(database, Names::decode(bytes)?)
            }
            DROP_MEASUREMENT => {
                let database = DatabaseId(take_id(bytes)?);
                Edit::DropMeasurement(database, MeasurementId(take_id(bytes)?))
            }
            ADD_BLOCK => Edit::AddBlock(decode_block(bytes)?),
            REMOVE_BLOCK => Edit::RemoveBlock(take_number(bytes)?),
            ADD_REGISTRY => {
                let file = take_number(bytes)?;
                Edit::AddRegistry(RegistryMeta {
                    file,
                    database: DatabaseId(take_id(bytes)?),
                    series_count: take_number(bytes)?,
                    size_bytes: take_number(bytes)?,
                })
            }
            REMOVE_REGISTRY => Edit::RemoveRegistry(take_number(bytes)?),
            FLUSHED_THROUGH => Edit::FlushedThrough(Sequence(take_number(bytes)?)),
            CLEAN_STOP => Edit::CleanStop(CleanStop {
                segment: take_number(bytes)?,
                offset: take_number(bytes)?,
                sequence: Sequence(take_number(bytes)?),
            }),
            GIVEN => decode_given(bytes)?,
            GIVEN_IN_DIRECTORY => Edit::GivenInDirectory {
                database: take_small(bytes)?,
                file: take_number(bytes)?,
                sequence: Sequence(take_number(bytes)?),
            },
            PUT_TOMBSTONE => {
                let sequence = Sequence(take_number(bytes)?);
                let (database, tombstone) = decode_tombstone(bytes, sequence)?;
                Edit::PutTombstone(database, Arc::new(tombstone))
            }
            REMOVE_TOMBSTONE => {
                let database = DatabaseId(take_id(bytes)?);
                Edit::RemoveTombstone(database, Sequence(take_number(bytes)?))
            }
            ALTER => {
                let database = DatabaseId(take_id(bytes)?);
                let measurement = MeasurementId(take_id(bytes)?);
                Edit::Alter(database, measurement, decode_alteration(bytes)?)
            }
            tag => return Err(damaged(&format!("no edit has the tag {tag}"))),
        })
    }
}

/// Where a record stands and what it is checked under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordPlace {
    /// The manifest file.
    pub file: u64,
    /// Offset of the frame in it.
    pub offset: u64,
    /// Which record of the file it is, from 1 without a gap.
    pub number: u64,
}

/// The record of `edits` for `place`: all of them come to be, or none.
///
/// # Errors
/// `Limit` if they pass [`PAYLOAD_BYTES_MAX`].
///
/// # Panics
/// If the offset passes the address space.
pub fn encode_record(edits: &[Edit], place: RecordPlace) -> Result<Vec<u8>> {
    let mut bytes = vec![0; FRAME_BYTES];
    for edit in edits {
        edit.encode(&mut bytes);
    }
    let start = usize::try_from(place.offset).expect("a manifest fits the address space");
    let end = (start + bytes.len()).next_multiple_of(SECTOR_BYTES);
    bytes.resize(end - start, PADDING);
    let len = bytes.len() - FRAME_BYTES;
    let Some(len) = u32::try_from(len).ok().filter(|_| len <= PAYLOAD_BYTES_MAX) else {
        let message = "an edit of the manifest passes 1 GiB";
        return Err(Error::new(ErrorKind::Limit, message));
    };
    bytes[..4].copy_from_slice(&len.to_le_bytes());
    bytes[8..FRAME_BYTES].copy_from_slice(&place.number.to_le_bytes());
    let sum = record_checksum(place, len, &bytes[FRAME_BYTES..]);
    bytes[4..8].copy_from_slice(&sum.to_le_bytes());
    Ok(bytes)
}

/// The payload of the record that stands at the front of `bytes` and belongs to `place`; `None`
/// where there is no such record, whole and unharmed.
pub fn find_record(bytes: &[u8], place: RecordPlace) -> Option<&[u8]> {
    let (frame, rest) = bytes.split_first_chunk::<FRAME_BYTES>()?;
    let word = |at: usize| {
        let byte = |index: usize| u32::from(frame[at + index]) << (8 * index);
        byte(0) | byte(1) | byte(2) | byte(3)
    };
    let number = u64::from(word(8)) | u64::from(word(12)) << 32;
    let payload = rest.get(..usize::try_from(word(0)).ok()?)?;
    (number == place.number
        && !payload.is_empty()
        && record_checksum(place, word(0), payload) == word(4))
    .then_some(payload)
}

/// The edits of a payload, which may end in zeros.
///
/// # Errors
/// `Corrupt` if the bytes are none: the caller adds the place.
pub fn decode_payload(mut payload: &[u8]) -> Result<Vec<Edit>> {
    let mut edits = Vec::new();
    while payload.iter().any(|byte| *byte != PADDING) {
        edits.push(Edit::decode(&mut payload)?);
    }
    Ok(edits)
}

fn record_checksum(place: RecordPlace, len: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(checksum(place.file, place.offset, &[]));
    hasher.update(&len.to_le_bytes());
    hasher.update(&place.number.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

fn encode_block(block: &BlockMeta, bytes: &mut Vec<u8>) {
    let info = &block.info;
    push_varint(bytes, block.file_id);
    push_varint(bytes, u64::from(info.database.0));
    push_varint(bytes, u64::from(info.policy.0));
    bytes.push(info.level);
    bytes.extend_from_slice(&block.range.start.to_le_bytes());
    bytes.extend_from_slice(&block.range.end.to_le_bytes());
    for number in [
        info.sequences.first.0,
        info.sequences.last.0,
        block.row_count,
        block.size_bytes,
    ] {
        push_varint(bytes, number);
    }
}

fn decode_block(bytes: &mut &[u8]) -> Result<BlockMeta> {
    let file_id = take_number(bytes)?;
    let database = DatabaseId(take_id(bytes)?);
    let policy = PolicyId(take_id(bytes)?);
    let level = take_byte(bytes)?;
    let start = i64::from_le_bytes(take_array(bytes)?);
    let end = i64::from_le_bytes(take_array(bytes)?);
    let first = Sequence(take_number(bytes)?);
    let last = Sequence(take_number(bytes)?);
    Ok(BlockMeta {
        file_id,
        info: BlockInfo {
            database,
            policy,
            level,
            sequences: SequenceRange { first, last },
        },
        range: TimeRange { start, end },
        row_count: take_number(bytes)?,
        size_bytes: take_number(bytes)?,
    })
}

fn encode_directory(id: u128, secret: &[u64; 4], bytes: &mut Vec<u8>) {
    bytes.push(DIRECTORY);
    bytes.extend_from_slice(&id.to_le_bytes());
    for word in secret {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
}

fn decode_directory(bytes: &mut &[u8]) -> Result<Edit> {
    let id = u128::from_le_bytes(take_array(bytes)?);
    let mut secret = [0; 4];
    for word in &mut secret {
        *word = u64::from_le_bytes(take_array(bytes)?);
    }
    Ok(Edit::Directory { id, secret })
}

fn encode_policy(database: DatabaseId, policy: &PolicyInfo, bytes: &mut Vec<u8>) {
    let ids = [u64::from(database.0), u64::from(policy.id.0)];
    tagged(bytes, PUT_POLICY, &ids);
    push_bytes(bytes, policy.name.as_bytes());
    bytes.extend_from_slice(&policy.duration_ns.to_le_bytes());
    bytes.extend_from_slice(&policy.partition_ns.to_le_bytes());
    bytes.extend_from_slice(&policy.shard_ns.to_le_bytes());
    push_varint(bytes, u64::from(policy.replication));
    bytes.push(u8::from(policy.is_default));
}

fn decode_policy(bytes: &mut &[u8]) -> Result<Edit> {
    let database = DatabaseId(take_id(bytes)?);
    let policy = PolicyInfo {
        id: PolicyId(take_id(bytes)?),
        name: take_text(bytes)?,
        duration_ns: i64::from_le_bytes(take_array(bytes)?),
        partition_ns: i64::from_le_bytes(take_array(bytes)?),
        shard_ns: i64::from_le_bytes(take_array(bytes)?),
        replication: take_small(bytes)?,
        is_default: match take_byte(bytes)? {
            0 => false,
            1 => true,
            _ => return Err(damaged("a flag is neither set nor clear")),
        },
    };
    Ok(Edit::PutPolicy(database, policy))
}

fn encode_alteration(alteration: &Alteration, bytes: &mut Vec<u8>) {
    match alteration {
        Alteration::Rename(name) => {
            bytes.push(RENAME);
            push_bytes(bytes, name);
        }
        Alteration::RenameTagKey(key, name) => {
            tagged(bytes, RENAME_TAG_KEY, &[u64::from(key.0)]);
            push_bytes(bytes, name);
        }
        Alteration::RenameField(field, name) => {
            tagged(bytes, RENAME_FIELD, &[u64::from(field.0)]);
            push_bytes(bytes, name);
        }
        Alteration::DropField(field) => tagged(bytes, DROP_FIELD, &[u64::from(field.0)]),
    }
}

fn decode_alteration(bytes: &mut &[u8]) -> Result<Alteration> {
    Ok(match take_byte(bytes)? {
        RENAME => Alteration::Rename(take_bytes(bytes)?.into()),
        RENAME_TAG_KEY => {
            let key = TagKeyId(take_id(bytes)?);
            Alteration::RenameTagKey(key, take_bytes(bytes)?.into())
        }
        RENAME_FIELD => {
            let field = FieldId(take_id(bytes)?);
            Alteration::RenameField(field, take_bytes(bytes)?.into())
        }
        DROP_FIELD => Alteration::DropField(FieldId(take_id(bytes)?)),
        kind => {
            return Err(damaged(&format!(
                "no change of a measurement has the kind {kind}"
            )));
        }
    })
}

fn decode_given(bytes: &mut &[u8]) -> Result<Edit> {
    let database = DatabaseId(take_id(bytes)?);
    let series = take_number(bytes)?;
    let last = LastIds {
        policy: take_small(bytes)?,
        measurement: take_small(bytes)?,
        tag_key: take_small(bytes)?,
        field: take_small(bytes)?,
        series,
    };
    Ok(Edit::Given(database, last))
}

fn tagged(bytes: &mut Vec<u8>, tag: u8, numbers: &[u64]) {
    bytes.push(tag);
    for number in numbers {
        push_varint(bytes, *number);
    }
}

/// The tag of something that belongs to a database, and both ids.
fn tagged_in(bytes: &mut Vec<u8>, tag: u8, database: DatabaseId, id: u32) {
    tagged(bytes, tag, &[u64::from(database.0), u64::from(id)]);
}

pub(super) fn take_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N]> {
    let (array, rest) = bytes
        .split_first_chunk::<N>()
        .ok_or_else(|| damaged("the bytes end early"))?;
    *bytes = rest;
    Ok(*array)
}

fn take_small(bytes: &mut &[u8]) -> Result<u32> {
    u32::try_from(take_number(bytes)?).map_err(|_| damaged("a number passes 32 bits"))
}

fn take_text(bytes: &mut &[u8]) -> Result<Box<str>> {
    match std::str::from_utf8(take_bytes(bytes)?) {
        Ok(text) => Ok(text.into()),
        Err(_) => Err(damaged("a name is not UTF-8")),
    }
}

#[cfg(test)]
#[path = "manifest/tests.rs"]
mod tests;
