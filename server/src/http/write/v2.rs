//! `POST /api/v2/write`, as `InfluxDB` 2.x has it over databases and policies.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use silverback::query::lineprotocol::Precision;

use super::{Target, durability, store};
use crate::app::App;
use crate::config::AutoCreate;
use crate::http::parameter;
use crate::http::reply::Refusal;

/// 204 when every line is as durable as was asked. Makes a database that does not exist unless told never to:
/// clients of this interface drop what gets a 404.
pub(crate) async fn write(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Refusal> {
    let creates = app.config.auto_create != AutoCreate::Never;
    let target = match target(request.uri().query(), creates) {
        Ok(target) => target,
        Err(refusal) => {
            let (parts, body) = request.into_parts();
            crate::http::body::linger(&parts.headers, body);
            return Err(refusal);
        }
    };
    store(app, target, request).await
}

/// What the query string says. `org` is not looked at.
fn target(query: Option<&str>, creates: bool) -> Result<Target, Refusal> {
    let precision = parameter(query, "precision").unwrap_or_default();
    let Some(precision) = Precision::from_v2(&precision) else {
        let text = format!("invalid precision \"{precision}\" (use ns, us, ms or s)");
        return Err(Refusal::invalid(text));
    };
    let named = parameter(query, "bucket").unwrap_or_default();
    let not_found = |text: String| Refusal::new(StatusCode::NOT_FOUND, text);
    let (database, policy) = bucket(&named).map_err(not_found)?;
    Ok(Target {
        database: database.to_owned(),
        policy: Some(policy.to_owned()).filter(|policy| !policy.is_empty()),
        precision,
        durability: durability(query)?,
        creates,
    })
}

/// A bucket's database and its policy, empty for the default one.
///
/// # Errors
/// The words for a name that is none.
pub(in crate::http) fn bucket(name: &str) -> Result<(&str, &str), String> {
    if name.is_empty() {
        let words =
            "bucket name \"\" is missing a slash; not in \"database/retention-policy\" format";
        return Err(words.to_owned());
    }
    match name.split_once('/') {
        None => Ok((name, "")),
        Some(("", _)) => Err(format!(
            "bucket name \"{name}\" is in db/rp form but has an empty database"
        )),
        Some(both) => Ok(both),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_a_database_with_or_without_a_policy() {
        let read = |query| target(Some(query), true);
        let bare = read("bucket=b&org=o&precision=us").unwrap();
        assert_eq!((bare.database.as_str(), bare.policy), ("b", None));
        assert_eq!(bare.precision, Precision::Microsecond);
        let full = read("bucket=b/p").unwrap();
        assert_eq!(
            (full.database.as_str(), full.policy.as_deref()),
            ("b", Some("p"))
        );
        assert_eq!(read("org=o").unwrap_err().status(), 404);
        assert!(
            read("bucket=/p")
                .unwrap_err()
                .text()
                .contains("empty database")
        );
        assert_eq!(read("bucket=b&precision=h").unwrap_err().status(), 400);
    }
}
