//! gRPC: Silverback's own service, with health and reflection beside it.

use axum::Router;
use tonic::service::Routes;

/// All gRPC routes.
///
/// # Panics
/// If the compiled descriptions are no descriptions: the build made them.
pub(crate) fn router() -> Router {
    let (health, server) = tonic_health::server::health_reporter();
    drop(health);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(silverback_protos::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptions come from the build");
    Routes::new(server)
        .add_service(reflection)
        .into_axum_router()
}
