//! Silverback, the embeddable time-series database: open a directory, write, query.

pub use silverback_query as query;
pub use silverback_storage as storage;
