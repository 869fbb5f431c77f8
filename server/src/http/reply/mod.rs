//! What leaves: the headers of every answer, refusals in the shape of their interface, and what a
//! client said it takes.

mod cors;
mod engine;
mod envelope;
mod negotiate;
mod refusal;
mod request_id;

pub(super) use envelope::envelope;
pub(super) use negotiate::{wants_csv, wants_gzip};
pub(crate) use refusal::{DURABILITY_HEADER, Refusal};
