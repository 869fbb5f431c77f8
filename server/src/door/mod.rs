//! What all doors share (HTTP, gRPC, the command line): the clock, the values a client binds, how
//! long a query may take, how safe a write is, and the words for what was not stored or is damaged.

pub(crate) mod bind;
pub(crate) mod clock;
pub(crate) mod durability;
pub(crate) mod problem;
pub(crate) mod refused;
pub(crate) mod retention;
pub(crate) mod time_limit;
