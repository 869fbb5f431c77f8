//! What things are: time, ids, values, columns, series keys, batches, and what a reader asks for.
//! Floor 0: no I/O, no clock, no locks; nothing here knows how anything is stored.

mod batch;
mod canonical;
mod column;
mod ids;
mod name;
mod policy;
mod predicate;
mod request;
mod rows;
mod schema;
mod series;
mod time;
mod tombstone;
mod value;
mod windows;

pub use batch::{Batch, FieldColumn, KeyError, KeyParser, KeyRef, MeasurementRows};
pub use canonical::{CanonicalKey, push_varint, take_varint};
pub use column::{Bitmap, Column, Presence, Strings, Values};
pub use ids::{DatabaseId, FieldId, MeasurementId, PolicyId, Sequence, SeriesId, TagKeyId};
pub use name::{NameOf, unwritable};
pub use policy::{PolicyChange, PolicyInfo, PolicySpec};
pub use predicate::{TagPredicate, ValueMatcher, Wanted};
pub use request::{
    Extreme, FloatSum, RowFilter, ScanRequest, SeriesRequest, SeriesRows, Sum, VECTOR_ROWS_MAX,
    WindowPartial,
};
pub use rows::{Rows, SeriesEntry};
pub use schema::{Alteration, FieldInfo, MeasurementInfo};
pub use series::{KeyHash, KeyHasher, SeriesKey, Tag, TagSet, TagValue, Tags};
pub use time::{TIMESTAMP_MAX, TIMESTAMP_MIN, TimeRange};
pub use tombstone::{Hides, SeriesSet, Tombstone, Tombstones, covers, is_hidden, meets, visible};
pub use value::{FieldType, FieldValue, FieldValueRef};
pub use windows::{AggregateRequest, AggregateSet, FieldWindows, Selected, WindowBatch};
