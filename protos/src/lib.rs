//! Silverback's gRPC messages and services, compiled from `proto/`.

/// Version 1 of the interface.
pub mod v1 {
    #![expect(
        clippy::all,
        clippy::pedantic,
        reason = "generated code; the sentences stand in the .proto file"
    )]

    tonic::include_proto!("silverback.v1");
}

/// The compiled descriptions of all messages and services, as reflection serves them.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/silverback.bin"));
