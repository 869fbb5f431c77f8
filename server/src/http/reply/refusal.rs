//! What a request gets that is not done: a status and a text, in the shape its interface uses.

use std::fmt::Write as _;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use silverback::storage::db::Durability;

use crate::door::durability;

/// How an error body looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `InfluxDB` 1.x: `{"error"}`.
    V1,
    /// `InfluxDB` 2.x, and `error` for clients of both: `{"code","message","error"}`.
    V2,
    /// Silverback's own: `{"error","code","hint","request_id"}`.
    Ours,
}

/// How safe what was stored is.
pub(crate) const DURABILITY_HEADER: &str = "x-silverback-durability";

/// The longest text in `X-Influxdb-Error`, in bytes.
const ERROR_HEADER_BYTES_MAX: usize = 1024;

/// Why a request was not done. Handlers return it; the envelope writes it, since it knows the
/// request's id and what the client accepts.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    text: Vec<u8>,
    hint: &'static str,
    retry_after_s: Option<u32>,
    /// How safe the lines are that were stored all the same.
    durability: Option<Durability>,
    close: bool,
}

impl Refusal {
    /// `status` with `text`, as the interface's own words.
    pub(crate) fn new(status: StatusCode, text: impl Into<Vec<u8>>) -> Refusal {
        Refusal {
            status,
            text: text.into(),
            hint: "",
            retry_after_s: None,
            durability: None,
            close: false,
        }
    }

    /// The call is wrong.
    pub(crate) fn invalid(text: impl Into<Vec<u8>>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, text)
    }

    /// The body passes a limit. The rest of it is not read.
    pub(crate) fn too_large() -> Refusal {
        Refusal {
            close: true,
            ..Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large")
        }
    }

    /// Not now: the client comes back in `seconds`.
    pub(crate) fn later(status: StatusCode, text: impl Into<Vec<u8>>, seconds: u32) -> Refusal {
        Refusal {
            retry_after_s: Some(seconds),
            ..Refusal::new(status, text)
        }
    }

    /// The same with what to do about it.
    pub(crate) fn hint(mut self, hint: &'static str) -> Refusal {
        self.hint = hint;
        self
    }

    /// The same, where some of it was done: how safe that is.
    pub(crate) fn durability(mut self, given: Durability) -> Refusal {
        self.durability = Some(given);
        self
    }

    /// The same, the connection being closed behind it.
    pub(crate) fn closing(mut self) -> Refusal {
        self.close = true;
        self
    }

    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }

    /// Writes body and headers.
    pub(super) fn write(&self, style: Style, request_id: &str) -> Response {
        let (content_type, body) = if style.csv {
            ("text/csv", csv(&self.text))
        } else {
            ("application/json", self.json(style, request_id))
        };
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert("x-influxdb-error", error_header(&self.text));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(given) = self.durability {
            let name = HeaderValue::from_static(durability::name(given));
            headers.insert(DURABILITY_HEADER, name);
        }
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    fn json(&self, style: Style, request_id: &str) -> Vec<u8> {
        let text = self.text.as_slice();
        let code = code(self.status).as_bytes();
        let members: Vec<(&str, &[u8])> = match style.shape {
            Shape::V1 => vec![("error", text)],
            Shape::V2 => vec![("code", code), ("message", text), ("error", text)],
            Shape::Ours => vec![
                ("error", text),
                ("code", code),
                ("hint", self.hint.as_bytes()),
                ("request_id", request_id.as_bytes()),
            ],
        };
        object(&members, style.pretty).into_bytes()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// How the client wants its errors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// The members of the body.
    pub(super) shape: Shape,
    /// Whether as CSV instead.
    pub(super) csv: bool,
    /// Whether JSON is indented.
    pub(super) pretty: bool,
}

impl Style {
    /// The style of a request by its path, query string and headers.
    pub(super) fn of(path: &str, query: Option<&str>, headers: &HeaderMap) -> Style {
        let shape = match path {
            "/write" | "/query" => Shape::V1,
            path if path.starts_with("/api/v2/") => Shape::V2,
            _ => Shape::Ours,
        };
        Style {
            shape,
            csv: shape == Shape::V1 && super::negotiate::wants_csv(headers),
            pretty: crate::http::parameter(query, "pretty").as_deref() == Some("true"),
        }
    }
}

/// The word that `InfluxDB` 2.x has for a status.
fn code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "invalid",
        401 => "unauthorized",
        403 => "forbidden",
        404 => "not found",
        405 => "method not allowed",
        409 => "conflict",
        413 => "request too large",
        422 => "unprocessable entity",
        429 => "too many requests",
        501 => "not implemented",
        503 | 507 => "unavailable",
        _ => "internal error",
    }
}

/// A JSON object of strings and LF, on one line or indented by four.
fn object(members: &[(&str, &[u8])], pretty: bool) -> String {
    let (open, between, colon, close) = if pretty {
        ("{\n    ", ",\n    ", ": ", "\n}\n")
    } else {
        ("{", ",", ":", "}\n")
    };
    let mut out = String::from(open);
    for (index, (name, value)) in members.iter().enumerate() {
        if index > 0 {
            out.push_str(between);
        }
        quote(name.as_bytes(), &mut out);
        out.push_str(colon);
        quote(value, &mut out);
    }
    out.push_str(close);
    out
}

/// Appends `text` as a JSON string with the escapes that Go's encoder uses, since clients of
/// `InfluxDB` compare texts: HTML's characters are escaped, what is no UTF-8 becomes U+FFFD.
fn quote(text: &[u8], out: &mut String) {
    out.push('"');
    for piece in text.utf8_chunks() {
        for character in piece.valid().chars() {
            match character {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..' ' => {
                    write!(out, "\\u{:04x}", u32::from(character))
                        .expect("writing to a string cannot fail");
                }
                _ => out.push(character),
            }
        }
        for _ in piece.invalid() {
            out.push_str("\\ufffd");
        }
    }
    out.push('"');
}

/// The text as the one cell of a CSV table.
fn csv(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text).replace('"', "\"\"");
    format!("error\n\"{text}\"\n").into_bytes()
}

/// The text as a header: one line, cut.
fn error_header(text: &[u8]) -> HeaderValue {
    let cut = &text[..text.len().min(ERROR_HEADER_BYTES_MAX)];
    let line: Vec<u8> = cut
        .iter()
        .map(|byte| {
            if *byte < b' ' || *byte == 0x7f {
                b' '
            } else {
                *byte
            }
        })
        .collect();
    HeaderValue::from_bytes(&line).expect("control characters became blanks")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_written_as_go_writes_them() {
        let mut out = String::new();
        quote(b"a\"\\<&>\n\x01\xff\xfeb", &mut out);
        assert_eq!(out, r#""a\"\\\u003c\u0026\u003e\n\u0001\ufffd\ufffdb""#);
        assert_eq!(object(&[("error", b"x")], false), "{\"error\":\"x\"}\n");
        assert_eq!(
            object(&[("error", b"x")], true),
            "{\n    \"error\": \"x\"\n}\n"
        );
    }

    #[test]
    fn a_header_is_one_line_of_at_most_1024_bytes() {
        assert_eq!(error_header(b"a\nb\r\x7f"), "a b  ");
        assert_eq!(error_header(&[b'x'; 3000]).len(), 1024);
    }

    #[test]
    fn csv_doubles_quotes() {
        assert_eq!(
            csv(b"database not found: \"nope\""),
            b"error\n\"database not found: \"\"nope\"\"\"\n"
        );
    }

    #[test]
    fn each_interface_gets_its_own_shape() {
        let refusal = Refusal::new(StatusCode::NOT_FOUND, "no").hint("make it");
        let json = |shape| {
            let style = Style {
                shape,
                csv: false,
                pretty: false,
            };
            String::from_utf8(refusal.json(style, "7")).unwrap()
        };
        assert_eq!(json(Shape::V1), "{\"error\":\"no\"}\n");
        assert_eq!(
            json(Shape::V2),
            "{\"code\":\"not found\",\"message\":\"no\",\"error\":\"no\"}\n"
        );
        assert_eq!(
            json(Shape::Ours),
            "{\"error\":\"no\",\"code\":\"not found\",\"hint\":\"make it\",\"request_id\":\"7\"}\n"
        );
    }
}
