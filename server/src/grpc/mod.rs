//! gRPC: Silverback's own service, with health and reflection beside it. Handlers turn a message
//! into one call of the engine and its answer into a message.

mod columns;
mod query;
mod results;
mod status;
mod stream;
mod write;

use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use futures_util::Stream;
use silverback_protos::v1::silverback_server::{Silverback, SilverbackServer};
use silverback_protos::v1::{
    QueryRequest, QueryResponse, WriteRequest, WriteResponse, WriteStreamRequest,
    WriteStreamResponse,
};
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::app::App;

/// What a streaming call answers.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// All gRPC routes.
///
/// # Panics
/// If the compiled descriptions are no descriptions: the build made them.
pub(crate) async fn router(app: &Arc<App>) -> Router {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<SilverbackServer<Service>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(silverback_protos::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptions come from the build");
    let service = SilverbackServer::new(Service(Arc::clone(app)))
        .max_decoding_message_size(app.config.body_bytes_max);
    Routes::new(health)
        .add_service(reflection)
        .add_service(service)
        .into_axum_router()
}

/// The service over the engine.
#[derive(Clone, Debug)]
struct Service(Arc<App>);

#[tonic::async_trait]
impl Silverback for Service {
    type WriteStreamStream = Answers<WriteStreamResponse>;
    type QueryStream = Answers<QueryResponse>;

    async fn write(
        &self,
        request: Request<WriteRequest>,
    ) -> Result<Response<WriteResponse>, Status> {
        let written = write::submit(&self.0, request.into_inner()).await?;
        Ok(Response::new(written.durable().await?))
    }

    async fn write_stream(
        &self,
        request: Request<Streaming<WriteStreamRequest>>,
    ) -> Result<Response<Self::WriteStreamStream>, Status> {
        let answers = stream::answers(Arc::clone(&self.0), request.into_inner());
        Ok(Response::new(Box::pin(answers)))
    }

    async fn query(
        &self,
        request: Request<QueryRequest>,
    ) -> Result<Response<Self::QueryStream>, Status> {
        query::run(Arc::clone(&self.0), request.into_inner()).await
    }
}
