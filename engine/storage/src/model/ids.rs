//! Ids. All are dense, start at 1 and are never used again; 0 is never an id, so that zeroed bytes
//! cannot pass for one. Database ids are per data directory, the others per database.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);
    };
}

id!(
    /// A database.
    DatabaseId(u32)
);
id!(
    /// A retention policy of one database.
    PolicyId(u32)
);
id!(
    /// A measurement of one database. Dropped and made anew, it gets a new id.
    MeasurementId(u32)
);
id!(
    /// A tag key of one database.
    TagKeyId(u32)
);
id!(
    /// A field of one measurement; unique in the database.
    FieldId(u32)
);
id!(
    /// A series of one database.
    SeriesId(u64)
);
id!(
    /// Order of acknowledged writes, one counter per data directory: the larger wins on equal
    /// series, field and time.
    Sequence(u64)
);
