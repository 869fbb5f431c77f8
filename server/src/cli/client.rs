//! HTTP to a server, one request at a time.

use std::io::Write as _;

use axum::http::{Request, Response, Uri, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::exit::Failure;

/// A server.
#[derive(Debug)]
pub(super) struct Client {
    base: String,
    runtime: tokio::runtime::Runtime,
    http: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Reply {
    /// The status.
    pub(super) status: u16,
    /// When to come back, in seconds, if the server says so.
    pub(super) retry_after_s: Option<u64>,
    /// The body.
    pub(super) body: Bytes,
}

impl Reply {
    /// What the body says went wrong.
    pub(super) fn error(&self) -> String {
        let json: Option<serde_json::Value> = serde_json::from_slice(&self.body).ok();
        let text = json.as_ref().and_then(|json| json.get("error")?.as_str());
        match text {
            Some(text) => text.to_owned(),
            None => String::from_utf8_lossy(&self.body).trim().to_owned(),
        }
    }
}

impl Client {
    /// A client of the server at `url`.
    pub(super) fn new(url: &str) -> Result<Client, Failure> {
        let wrong = |reason: &str| Failure::usage(format!("--host {url}: {reason}"));
        let with_scheme = if url.contains("://") {
            url.to_owned()
        } else {
            format!("http://{url}")
        };
        let uri: Uri = with_scheme.parse().map_err(|_| wrong("is no URL"))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("only http is supported yet"));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(format!("start the client: {error}")))?;
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
        let base = with_scheme.trim_end_matches('/').to_owned();
        Ok(Client {
            base,
            runtime,
            http,
        })
    }

    /// POSTs `body` to `path` with `parameters`, and waits for the whole answer.
    pub(super) fn post(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Reply, Failure> {
        self.runtime.block_on(async {
            let answer = self
                .send(path, parameters, "application/json", body)
                .await?;
            let status = answer.status().as_u16();
            let retry_after = answer.headers().get(header::RETRY_AFTER);
            let retry_after_s = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
            let body = answer
                .into_body()
                .collect()
                .await
                .map_err(|error| self.lost(&error))?;
            Ok(Reply {
                status,
                retry_after_s,
                body: body.to_bytes(),
            })
        })
    }

    /// POSTs to `path` and copies the answer to stdout as it comes; an error status is a failure.
    pub(super) fn stream(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
        accept: &str,
    ) -> Result<(), Failure> {
        self.runtime.block_on(async {
            let answer = self.send(path, parameters, accept, Bytes::new()).await?;
            let status = answer.status();
            let mut body = answer.into_body();
            if !status.is_success() {
                let body = body
                    .collect()
                    .await
                    .map_err(|error| self.lost(&error))?
                    .to_bytes();
                let text = String::from_utf8_lossy(&body);
                return Err(Failure::failed(text.trim()));
            }
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| self.lost(&error))?;
                if let Ok(data) = frame.into_data() {
                    let written = std::io::stdout().lock().write_all(&data);
                    if written.is_err() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        })
    }

    /// POSTs to `path` and hands each line of the answer, a JSON value, to `take` as it comes; an
    /// error status is a failure.
    pub(super) fn lines(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
        take: &mut dyn FnMut(&serde_json::Value),
    ) -> Result<(), Failure> {
        self.runtime.block_on(async {
            let sent = self.send(path, parameters, "application/json", Bytes::new());
            let answer = sent.await?;
            let status = answer.status().as_u16();
            let mut body = answer.into_body();
            let mut text = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| self.lost(&error))?;
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                text.extend_from_slice(&data);
                while status == 200
                    && let Some(end) = memchr::memchr(b'\n', &text)
                {
                    let line: Vec<u8> = text.drain(..=end).collect();
                    let value = serde_json::from_slice(&line);
                    take(&value.map_err(|error| self.lost(&error))?);
                }
            }
            if status == 200 {
                return Ok(());
            }
            let reply = Reply {
                status,
                retry_after_s: None,
                body: text.into(),
            };
            Err(Failure::failed(reply.error()))
        })
    }

    /// Waits.
    pub(super) fn rest(&self, duration: std::time::Duration) {
        self.runtime
            .block_on(async { tokio::time::sleep(duration).await });
    }

    async fn send(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
        accept: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, Failure> {
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(parameters)
            .finish();
        let request = Request::post(format!("{}{path}?{query}", self.base))
            .header(header::ACCEPT, accept)
            .header(
                header::USER_AGENT,
                concat!("silverback/", env!("CARGO_PKG_VERSION")),
            )
            .body(Full::new(body))
            .map_err(|error| Failure::usage(format!("--host {}: {error}", self.base)))?;
        self.http
            .request(request)
            .await
            .map_err(|error| self.lost(&error))
    }

    fn lost(&self, error: &dyn std::error::Error) -> Failure {
        let cause = error
            .source()
            .map(|cause| format!(": {cause}"))
            .unwrap_or_default();
        Failure::failed(format!("{}: {error}{cause}", self.base))
    }
}
