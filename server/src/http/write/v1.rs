//! `POST /write`, as `InfluxDB` 1.x has it.

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

/// 204 when every line is as durable as was asked.
pub(crate) async fn write(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Refusal> {
    let creates = app.config.auto_create == AutoCreate::Always;
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

/// What the query string says.
fn target(query: Option<&str>, creates: bool) -> Result<Target, Refusal> {
    let value = |name| parameter(query, name).filter(|value| !value.is_empty());
    let Some(database) = value("db") else {
        return Err(Refusal::invalid("database is required"));
    };
    let precision = value("precision").unwrap_or_default();
    let Some(precision) = Precision::from_v1(&precision) else {
        let text = format!("invalid precision \"{precision}\" (use n, u, ms, s, m or h)");
        return Err(Refusal::invalid(text));
    };
    let consistency = value("consistency")
        .unwrap_or_default()
        .to_ascii_lowercase();
    if !matches!(consistency.as_str(), "" | "any" | "one" | "quorum" | "all") {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "invalid consistency level",
        ));
    }
    Ok(Target {
        database,
        policy: value("rp"),
        precision,
        durability: durability(query)?,
        creates,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_or_refused() {
        let read = |query| target(Some(query), false);
        let good = read("db=a%20b&rp=p&precision=ms&consistency=ONE").unwrap();
        assert_eq!(
            (good.database.as_str(), good.policy.as_deref()),
            ("a b", Some("p"))
        );
        assert_eq!(good.precision, Precision::Millisecond);
        assert_eq!(read("db=a&rp=").unwrap().policy, None);
        assert_eq!(read("db=").unwrap_err().text(), "database is required");
        assert_eq!(
            read("db=a&precision=x").unwrap_err().text(),
            "invalid precision \"x\" (use n, u, ms, s, m or h)"
        );
        let refusal = read("db=a&consistency=bogus").unwrap_err();
        assert_eq!(refusal.text(), "invalid consistency level");
    }
}
