//! `SHOW QUERIES` and `KILL QUERY`, compared with the bodies of influxd 1.6.7, its own durations
//! aside.

use std::sync::Arc;

use silverback_query::result::QueryOptions;
use silverback_query::running::RunningQueries;

use crate::statements::{answer, catalog, options};

#[test]
fn running_queries_are_listed_and_killed_as_influxd_does() {
    let catalog = catalog();
    let running = Arc::new(RunningQueries::default());
    let options = || QueryOptions {
        running: Some(Arc::clone(&running)),
        ..options()
    };
    let columns = r#""columns":["qid","query","database","duration","status"]"#;
    let row = r#"[[1,"SHOW QUERIES;\nSHOW QUERIES","iql","0s","running"]]"#;
    let one = |id| format!(r#"{{"statement_id":{id},"series":[{{{columns},"values":{row}}}]}}"#);
    assert_eq!(
        answer(&catalog, "show queries; SHOW QUERIES", &options()),
        format!(r#"{{"results":[{},{}]}}"#, one(0), one(1))
    );
    for (text, id) in [("KILL QUERY 99", 99), ("KILL QUERY 33 ON \"h\"", 33)] {
        let error = format!("no such query id: {id}");
        assert_eq!(
            answer(&catalog, text, &options()),
            format!(r#"{{"results":[{{"statement_id":0,"error":"{error}"}}]}}"#)
        );
    }
    // A query that kills itself says so at its next look.
    assert_eq!(
        answer(&catalog, "KILL QUERY 4; SHOW QUERIES", &options()),
        r#"{"results":[{"statement_id":0},{"statement_id":1,"error":"query interrupted"}]}"#
    );
    assert_eq!(running.list(), []);
}

#[test]
fn how_long_a_query_has_run_is_shown_to_its_leading_unit_and_secrets_are_not() {
    let catalog = catalog();
    let running = Arc::new(RunningQueries::default());
    let options = |now_ns| QueryOptions {
        running: Some(Arc::clone(&running)),
        now_ns,
        ..options()
    };
    for (took_ns, shown) in [
        (61_234_567_890, "1m1s"),
        (1_234_567, "1ms"),
        (1_999, "1\u{b5}s"),
    ] {
        let other = options(1_000);
        let listed = running.enter("SELECT 1".into(), &other);
        let text = answer(&catalog, "SHOW QUERIES", &options(1_000 + took_ns));
        assert!(text.contains(&format!("\"{shown}\",\"running\"")), "{text}");
        drop(listed);
    }
    let text = "SHOW QUERIES; CREATE USER a WITH PASSWORD 'secret'";
    let shown = answer(&catalog, text, &options(1));
    assert!(
        shown.contains("CREATE USER a WITH PASSWORD [REDACTED]"),
        "{shown}"
    );
    assert!(!shown.contains("secret"), "{shown}");
}
