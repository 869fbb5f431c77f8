//! Line protocol, InfluxQL and (later) PromQL over Silverback's storage: text becomes a batch or a
//! plan, a plan becomes scans. No async, no HTTP.

pub mod exec;
pub mod functions;
#[doc(hidden)]
pub mod fuzzing;
pub mod influxql;
pub mod lineprotocol;
#[doc(hidden)]
pub mod naive;
pub mod output;
pub mod plan;
pub mod result;
pub mod running;
pub mod source;
pub mod statement;

pub use silverback_storage as storage;
