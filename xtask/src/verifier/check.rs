//! Compares what a server has with what the ledger says, by several ways of reading.
//!
//! - Every acknowledged point is there, bit for bit, and none that was never intended.
//! - Nothing of what was rejected is there; of what is unknown all or nothing.
//! - What was deleted with an acknowledgement stays away.
//! - The ways of reading agree, and aggregates with what they are computed of here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::grpc;
use super::http::Connection;
use super::ledger::{Ending, Intent};
use super::points::{MEASUREMENT, SERIES, values};
use crate::Outcome;

/// What a check looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Points acknowledged and found.
    pub(crate) acknowledged: u64,
    /// Points found.
    pub(crate) found: u64,
    /// Requests with an unknown outcome: done, and not done.
    pub(crate) unknown_done: u64,
    pub(crate) unknown_not_done: u64,
    /// Points that stay away after a delete.
    pub(crate) deleted: u64,
}

/// A point: writer and number.
type Found = BTreeSet<(u64, u64)>;

/// Reads everything and compares it with `requests`.
pub(crate) fn check(
    connection: &mut Connection,
    seed: u64,
    requests: &[(Intent, Ending)],
) -> Result<Counts, String> {
    let found = read_json(connection, seed)?;
    let counts = compare(&found, requests)?;
    compare_csv(connection, &found)?;
    compare_grpc(connection, seed, &found)?;
    compare_aggregates(connection, seed, &found)?;
    Ok(counts)
}

fn parse<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("\"{text}\" is no number"))
}

fn read_json(connection: &mut Connection, seed: u64) -> Result<Found, String> {
    let query = format!("SELECT i, f, t, n FROM {MEASUREMENT} GROUP BY w, s");
    let body = connection.query("application/json", &query)?;
    let answer: Value = serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))?;
    let result = &answer["results"][0];
    if !result["error"].is_null() {
        return Err(format!("{query}: {}", result["error"]));
    }
    let mut found = Found::new();
    for series in result["series"].as_array().into_iter().flatten() {
        let tag = |name: &str| {
            let text = series["tags"][name].as_str().unwrap_or_default();
            parse::<u64>(text.trim_start_matches(['w', 's']))
        };
        let (writer, class) = (tag("w")?, tag("s")?);
        for row in series["values"].as_array().into_iter().flatten() {
            let number = row[0]
                .as_u64()
                .ok_or_else(|| format!("{row} has no time"))?;
            let own = values(seed, writer, number);
            let is_own = class == number % SERIES
                && row[1].as_i64() == Some(own.integer)
                && row[2].as_f64().map(f64::to_bits) == Some(own.float_bits)
                && row[3].as_str() == Some(&own.text)
                && row[4].as_i64() == Some(own.small);
            if !is_own {
                return Err(format!(
                    "writer {writer} point {number} in series {class}: {row}, not {own:?}"
                ));
            }
            if !found.insert((writer, number)) {
                return Err(format!("writer {writer} point {number} is there twice"));
            }
        }
    }
    Ok(found)
}

fn compare(found: &Found, requests: &[(Intent, Ending)]) -> Result<Counts, String> {
    let mut deletes: BTreeMap<(u64, u64), Ending> = BTreeMap::new();
    for (intent, ending) in requests.iter().filter(|(intent, _)| intent.is_delete) {
        deletes.insert((intent.writer, intent.start), *ending);
    }
    let mut counts = Counts {
        found: found.len() as u64,
        ..Counts::default()
    };
    let mut explained = 0;
    for (intent, ending) in requests.iter().filter(|(intent, _)| !intent.is_delete) {
        let Intent {
            writer,
            start,
            count,
            ..
        } = *intent;
        let there = found
            .range((writer, start)..(writer, start + count))
            .count() as u64;
        explained += there;
        let deleted = deletes.get(&(writer, start)).copied();
        let wrong = |rule: &str| {
            Err(format!(
                "{rule}: writer {writer}, points {start} and {count} on: {there} are there"
            ))
        };
        match (ending, deleted) {
            (Ending::Acknowledged, None | Some(Ending::Rejected)) => {
                if there != count {
                    return wrong("acknowledged points are lost");
                }
                counts.acknowledged += count;
            }
            (Ending::Acknowledged, Some(Ending::Acknowledged)) => {
                if there != 0 {
                    return wrong("deleted points came back");
                }
                counts.deleted += count;
            }
            (Ending::Rejected, _) => {
                if there != 0 {
                    return wrong("rejected points are there");
                }
            }
            (Ending::Unknown, _) | (_, Some(Ending::Unknown)) => {
                if there != 0 && there != count {
                    return wrong("a request was done in part");
                }
                counts.unknown_done += u64::from(there > 0);
                counts.unknown_not_done += u64::from(there == 0);
            }
        }
    }
    if explained != counts.found {
        return Err(format!(
            "{} points are there, {explained} were sent",
            counts.found
        ));
    }
    Ok(counts)
}

/// The same points as CSV, which is another way through the server.
fn compare_csv(connection: &mut Connection, found: &Found) -> Outcome {
    let query = format!("SELECT n FROM {MEASUREMENT} GROUP BY w, s");
    let body = connection.query("application/csv", &query)?;
    let mut seen = Found::new();
    // name,"s=s0,w=w1",time,n: the tags are one column.
    for line in body.lines().filter(|line| line.starts_with(MEASUREMENT)) {
        let bad = || format!("\"{line}\" is no line of the answer");
        let writer = line.split("w=w").nth(1).ok_or_else(bad)?;
        let writer: String = writer.chars().take_while(char::is_ascii_digit).collect();
        let number = line.rsplit(',').nth(1).ok_or_else(bad)?;
        seen.insert((parse(&writer)?, parse(number)?));
    }
    if seen == *found {
        Ok(())
    } else {
        Err(format!(
            "{} points as JSON, {} as CSV",
            found.len(),
            seen.len()
        ))
    }
}

/// The same points with all their values through gRPC, which has another encoder of its own.
fn compare_grpc(connection: &Connection, seed: u64, found: &Found) -> Outcome {
    let query = format!("SELECT i, f, t, n FROM {MEASUREMENT} GROUP BY w, s");
    let mut seen = Found::new();
    for series in grpc::query(connection.address(), &query)? {
        let writer = series.tags.iter().find(|(key, _)| key == "w");
        let writer = writer.and_then(|(_, value)| value.strip_prefix('w'));
        let writer: u64 = parse(writer.unwrap_or_default())?;
        let [times, integers, floats, texts, smalls] = &series.columns[..] else {
            return Err(format!("{} columns through gRPC", series.columns.len()));
        };
        for (row, number) in times.words.iter().enumerate() {
            let own = values(seed, writer, *number);
            let is_own = integers.words.get(row) == Some(&own.integer.cast_unsigned())
                && floats.words.get(row) == Some(&own.float_bits)
                && texts.texts.get(row) == Some(&own.text)
                && smalls.words.get(row) == Some(&own.small.cast_unsigned());
            if !is_own || !seen.insert((writer, *number)) {
                return Err(format!(
                    "writer {writer} point {number} is another through gRPC, not {own:?}"
                ));
            }
        }
    }
    if seen == *found {
        Ok(())
    } else {
        let (json, grpc) = (found.len(), seen.len());
        Err(format!("{json} points as JSON, {grpc} through gRPC"))
    }
}

fn compare_aggregates(connection: &mut Connection, seed: u64, found: &Found) -> Outcome {
    let query = format!("SELECT count(n), sum(n), min(i), max(i) FROM {MEASUREMENT} GROUP BY w");
    let body = connection.query("application/json", &query)?;
    let answer: Value = serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))?;
    let mut expected: BTreeMap<u64, (i64, i64, i64, i64)> = BTreeMap::new();
    for (writer, number) in found {
        let own = values(seed, *writer, *number);
        let all = expected
            .entry(*writer)
            .or_insert((0, 0, i64::MAX, i64::MIN));
        *all = (
            all.0 + 1,
            all.1 + own.small,
            all.2.min(own.integer),
            all.3.max(own.integer),
        );
    }
    let mut seen = BTreeMap::new();
    for series in answer["results"][0]["series"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let writer = series["tags"]["w"].as_str().unwrap_or_default();
        let row = &series["values"][0];
        let at = |index: usize| {
            row[index]
                .as_i64()
                .ok_or_else(|| format!("{row} is no row"))
        };
        seen.insert(
            parse(writer.trim_start_matches('w'))?,
            (at(1)?, at(2)?, at(3)?, at(4)?),
        );
    }
    if seen == expected {
        Ok(())
    } else {
        Err(format!(
            "aggregates are {seen:?}, of what is there they are {expected:?}"
        ))
    }
}
