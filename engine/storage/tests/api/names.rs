//! Series come sorted by tags and by the names of today, whoever asked for them before.

use silverback_storage::db::{Alter, Db, Delete};
use silverback_storage::env::SimEnv;
use silverback_storage::model::{TagPredicate, TagSet, TimeRange};

use crate::small::{float, open_with};
use crate::support::{Row, row, tags_by_name, write};

/// Rows of hosts, a tag that sorts the other way round with each.
fn rows(hosts: std::ops::Range<u32>) -> Vec<Row> {
    let row = |host: u32| {
        let (name, slot) = (format!("h{host:02}"), format!("s{:02}", 99 - host));
        let tags = [("host", &*name), ("slot", &*slot)];
        row("m", &tags, i64::from(host), &[("f", float(1.0))])
    };
    hosts.map(row).collect()
}

/// `key=value` of each series, the first tag only, as they come.
fn listed(db: &Db, predicate: &TagPredicate) -> Vec<String> {
    let snapshot = db.snapshot("db").unwrap();
    let id = snapshot.catalog().measurement(b"m").unwrap().id;
    let listed = || {
        let series = snapshot.series(id, predicate, None, TimeRange::ALL);
        let first = |tags: &TagSet| {
            let (key, value) = tags_by_name(tags).into_iter().next().unwrap();
            format!("{key}={value}")
        };
        let series = series.unwrap().into_iter();
        series.map(|(_, tags)| first(&tags)).collect::<Vec<_>>()
    };
    let once = listed();
    // The second time some of it may be kept.
    assert_eq!(listed(), once);
    once
}

fn expected(key: &str, hosts: impl Iterator<Item = u32>) -> Vec<String> {
    hosts.map(|host| format!("{key}=h{host:02}")).collect()
}

fn host_is(key: &str, host: &str) -> TagPredicate {
    TagPredicate::Equal {
        key: key.as_bytes().into(),
        value: host.as_bytes().into(),
    }
}

#[test]
fn series_are_those_of_today_whoever_asked_before() {
    let db = open_with(&SimEnv::new(1), "db");
    write(&db, "db", &rows(0..20)).unwrap();
    db.flush().unwrap();
    let all = TagPredicate::All;
    assert_eq!(listed(&db, &host_is("host", "h07")), ["host=h07"]);
    assert_eq!(listed(&db, &all), expected("host", 0..20));
    assert_eq!(listed(&db, &host_is("host", "h07")), ["host=h07"]);
    let others = TagPredicate::Not(Box::new(host_is("host", "h07")));
    let but_seven = expected("host", (0..20).filter(|host| *host != 7));
    assert_eq!(listed(&db, &others), but_seven);

    // The block stays, the name of its tag does not; by the new one the series stand the other way round.
    let old = db.snapshot("db").unwrap();
    let (from, to) = (&b"slot"[..], &b"a"[..]);
    let alter = Alter::RenameTag { from, to };
    db.alter_measurement("db", b"m", alter).unwrap();
    let slots: Vec<String> = (80..100).map(|slot| format!("a=s{slot}")).collect();
    assert_eq!(listed(&db, &all), slots);
    let but_seven: Vec<_> = (80..100).filter(|slot| *slot != 92).collect();
    let but_seven: Vec<_> = but_seven.iter().map(|slot| format!("a=s{slot}")).collect();
    assert_eq!(listed(&db, &others), but_seven);
    let id = old.catalog().measurement(b"m").unwrap().id;
    let series = old.series(id, &all, None, TimeRange::ALL).unwrap();
    assert_eq!(series[0].1.get(b"slot"), Some(&b"s99"[..]));
    let (from, to) = (to, from);
    let alter = Alter::RenameTag { from, to };
    db.alter_measurement("db", b"m", alter).unwrap();
    assert_eq!(listed(&db, &all), expected("host", 0..20));

    // Others come into memory, some of them known; then a second block; and one is deleted.
    write(&db, "db", &rows(18..23)).unwrap();
    assert_eq!(listed(&db, &all), expected("host", 0..23));
    db.flush().unwrap();
    assert_eq!(listed(&db, &all), expected("host", 0..23));
    let delete = Delete {
        policy: None,
        measurements: vec![(b"m", host_is("host", "h03"))],
        range: TimeRange::ALL,
    };
    db.delete("db", &delete).unwrap();
    let but_three = expected("host", (0..23).filter(|host| *host != 3));
    assert_eq!(listed(&db, &all), but_three);
    assert!(listed(&db, &host_is("host", "h03")).is_empty());
}
