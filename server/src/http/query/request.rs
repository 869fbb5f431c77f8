//! The parameters of a query: from the URL, and from the body where it is a form.

use std::collections::BTreeMap;

use axum::extract::Request;
use axum::http::{Method, header};

use crate::app::App;
use crate::http::body;
use crate::http::reply::Refusal;

/// The parameters. A form's value stands before one of the URL.
#[derive(Debug, Default)]
pub(super) struct Form(BTreeMap<String, String>);

impl Form {
    /// The value of `name`.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Takes the pairs of `text` whose names are new.
    fn add(&mut self, text: &[u8]) {
        for (name, value) in form_urlencoded::parse(text) {
            self.0
                .entry(name.into_owned())
                .or_insert_with(|| value.into_owned());
        }
    }
}

/// Reads the parameters of `request`.
pub(super) async fn read(app: &App, request: Request) -> Result<Form, Refusal> {
    let (parts, sent) = request.into_parts();
    let mut form = Form::default();
    let content_type = parts.headers.get(header::CONTENT_TYPE);
    let content_type = content_type
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let kind = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let limit = app.config.body_bytes_max;
    if parts.method != Method::POST {
        body::linger(&parts.headers, sent);
    } else if kind == "application/x-www-form-urlencoded" {
        let sent = body::read(&parts.headers, sent, limit, &app.bodies).await?;
        form.add(&sent);
    } else if kind == "multipart/form-data" {
        let sent = body::read(&parts.headers, sent, limit, &app.bodies).await?;
        for (name, value) in super::multipart::parts(content_type, &sent)? {
            form.0.entry(name).or_insert(value);
        }
    } else {
        body::linger(&parts.headers, sent);
    }
    form.add(parts.uri.query().unwrap_or_default().as_bytes());
    Ok(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_stands_before_the_url_and_the_first_value_counts() {
        let mut form = Form::default();
        form.add(b"q=SHOW+MEASUREMENTS&db=a%26b");
        form.add(b"q=SHOW+DATABASES&epoch=s&epoch=ms");
        assert_eq!(form.get("q"), Some("SHOW MEASUREMENTS"));
        assert_eq!(form.get("db"), Some("a&b"));
        assert_eq!(form.get("epoch"), Some("s"));
        assert_eq!(form.get("none"), None);
    }
}
