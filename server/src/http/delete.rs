//! `POST /api/v2/delete`, as `InfluxDB` has it over databases and policies.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::fmt::temporal::Pieces;
use serde::Deserialize;
use silverback::query::statement::{Equalities, PredicateFault, equalities};
use silverback::storage::ErrorKind;
use silverback::storage::model::PolicyInfo;
use silverback::{DeleteRequest, Silverback};

use super::body;
use super::reply::Refusal;
use super::write::v2::bucket;
use crate::app::App;

/// What the body says. What else it has is not looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body {
    start: String,
    stop: String,
    predicate: String,
}

/// A delete that makes sense.
#[derive(Debug)]
struct Wanted {
    measurement: Option<Box<[u8]>>,
    tags: Equalities,
    start: i64,
    stop: i64,
}

/// 204 when the delete is durable and seen.
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Refusal> {
    let named = super::parameter(request.uri().query(), "bucket").unwrap_or_default();
    let found = bucket(&named).map_err(|why| format!("bucket: {why}"));
    let found = found.and_then(|(database, policy)| {
        if app.engine.has_database(database) {
            return Ok((database.to_owned(), policy.to_owned()));
        }
        Err(format!("database not found: \"{database}\""))
    });
    let (parts, sent) = request.into_parts();
    let (database, policy) = match found {
        Ok(both) => both,
        Err(text) => {
            body::linger(&parts.headers, sent);
            return Err(refused(StatusCode::NOT_FOUND, &text));
        }
    };
    let limit = app.config.body_bytes_max;
    let sent = body::read(&parts.headers, sent, limit, &app.bodies).await?;
    let place = format!("database: \"{database}\", retention policy: \"{policy}\"");
    let wanted = read(&sent, &place)?;
    let work = move || match wanted {
        Some(wanted) => run(&app.engine, (&database, &policy), &wanted),
        None => Ok(()),
    };
    let outcome = tokio::task::spawn_blocking(work).await;
    let inside = |_| {
        Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the delete failed inside",
        )
    };
    outcome.map_err(inside)??;
    let headers = [(header::CONTENT_TYPE, "application/json")];
    Ok((StatusCode::NO_CONTENT, headers).into_response())
}

/// Deletes in one policy: a bucket that names none means the default one, where writes to it go.
fn run(
    engine: &Silverback,
    (database, policy): (&str, &str),
    wanted: &Wanted,
) -> Result<(), Refusal> {
    let missing = || {
        let text = format!("retention policy not found in \"{database}\": \"{policy}\"");
        refused(StatusCode::NOT_FOUND, &text)
    };
    let policies = engine.policies(database).unwrap_or_default();
    let is_meant = |own: &&PolicyInfo| {
        if policy.is_empty() {
            own.is_default
        } else {
            *own.name == *policy
        }
    };
    let meant = policies.iter().find(is_meant).ok_or_else(missing)?;
    let mut request = DeleteRequest::new(database)
        .policy(&meant.name)
        .times(wanted.start, wanted.stop);
    if let Some(name) = &wanted.measurement {
        request = request.measurement(name);
    }
    for (key, value) in &wanted.tags {
        request = request.tag(key, value);
    }
    engine.delete(&request).map_err(|error| {
        let is_missing = error.kind() == ErrorKind::NotFound;
        if is_missing && error.message().starts_with("retention policy") {
            return missing();
        }
        Refusal::from(error)
    })
}

fn refused(status: StatusCode, text: &str) -> Refusal {
    Refusal::new(status, format!("delete - {text}"))
}

/// What the body asks for; `None` where no point can be meant.
fn read(body: &[u8], place: &str) -> Result<Option<Wanted>, Refusal> {
    let bad = |text: &str| refused(StatusCode::BAD_REQUEST, text);
    let body: Body = serde_json::from_slice(body)
        .map_err(|error| bad(&format!("cannot parse request body: {error}")))?;
    let time = |name: &str, text: &str| {
        if text.is_empty() {
            return Err(bad(&format!("{name} field in RFC3339Nano format required")));
        }
        rfc3339(text).map_err(|why| {
            let text = format!(
                "invalid format for {name} field \"{text}\", please use RFC3339Nano: {why}"
            );
            bad(&text)
        })
    };
    let (start, stop) = (time("start", &body.start)?, time("stop", &body.stop)?);
    if stop < start {
        // Nothing can be meant by it: most likely the two are swapped.
        let text = format!("stop \"{}\" is before start \"{}\"", body.stop, body.start);
        return Err(bad(&text));
    }
    let all = format!(
        "{place}, start: \"{}\", stop: \"{}\", predicate: \"{}\"",
        body.start, body.stop, body.predicate
    );
    let mut wanted = Wanted {
        measurement: None,
        tags: Vec::new(),
        start,
        stop,
    };
    if body.predicate.trim().is_empty() {
        return Ok(Some(wanted));
    }
    let pairs = equalities(&body.predicate).map_err(|fault| match fault {
        PredicateFault::Parse(why) => bad(&format!(
            "cannot parse predicate \"{}\": {why}",
            body.predicate
        )),
        PredicateFault::NotEqualities => bad(&format!(
            "predicate only supports equality operators and conjunctions. {all}"
        )),
    })?;
    for (name, value) in pairs {
        match &*name {
            b"_measurement" => {
                if wanted.measurement.as_ref().is_some_and(|own| *own != value) {
                    return Ok(None);
                }
                wanted.measurement = Some(value);
            }
            b"_field" => return Err(bad("_field in a predicate: points are deleted whole")),
            b"time" => return Err(bad("time in a predicate: start and stop bound it")),
            _ => wanted.tags.push((name, value)),
        }
    }
    Ok(Some(wanted))
}

/// A time in ns UTC; one before or behind what a point may carry is the nearest that one may.
fn rfc3339(text: &str) -> Result<i64, String> {
    let ns = match text.parse::<jiff::Timestamp>() {
        Ok(time) => time.as_nanosecond(),
        // The last hours of the year 9999, which clients send for "for ever", pass the library's range.
        Err(error) => match Pieces::parse(text) {
            Ok(pieces) if pieces.offset().is_some() && pieces.date().year() == 9999 => i128::MAX,
            Ok(_) | Err(_) => return Err(error.to_string()),
        },
    };
    let limit = if ns < 0 { i64::MIN } else { i64::MAX };
    Ok(i64::try_from(ns).unwrap_or(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_times_and_equalities() {
        let body = br#"{"start":"1970-01-01T00:00:01Z","stop":"9999-12-31T00:00:00.5Z",
            "predicate":"_measurement=\"m\" AND t='v'"}"#;
        let wanted = read(body, "").unwrap().unwrap();
        assert_eq!((wanted.start, wanted.stop), (1_000_000_000, i64::MAX));
        assert_eq!(wanted.measurement.as_deref(), Some(&b"m"[..]));
        assert_eq!(wanted.tags.len(), 1);
        let text = |body: &[u8]| read(body, "p").unwrap_err().text();
        assert!(text(b"{").starts_with("delete - cannot parse request body: "));
        let required = "delete - start field in RFC3339Nano format required";
        assert_eq!(text(b"{}"), required);
        let start = r#""start":"2020-01-01T00:00:00Z""#;
        let stop = text(format!("{{{start}}}").as_bytes());
        assert_eq!(stop, "delete - stop field in RFC3339Nano format required");
        let bad = text(br#"{"start":"yesterday"}"#);
        assert!(
            bad.starts_with("delete - invalid format for start field \"yesterday\", please use"),
            "{bad}"
        );
        let with = |predicate: &str| {
            let body =
                format!(r#"{{{start},"stop":"2020-01-02T00:00:00Z","predicate":"{predicate}"}}"#);
            read(body.as_bytes(), "p")
        };
        let text = with("a='b' OR c='d'").unwrap_err().text();
        let words =
            "delete - predicate only supports equality operators and conjunctions. p, start";
        assert!(text.starts_with(words), "{text}");
        assert!(
            with("a=")
                .unwrap_err()
                .text()
                .starts_with("delete - cannot parse predicate")
        );
        assert!(with("_field='x'").is_err() && with("time='x'").is_err());
        assert!(
            with("_measurement='a' AND _measurement='b'")
                .unwrap()
                .is_none()
        );
    }
}
