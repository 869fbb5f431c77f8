//! A stream of every codec as it was written when the formats settled: it must mean the same for ever.
//!
//! `tests/golden/streams.txt` has a line for each: id, what it holds, its bytes. It is written anew only where an id is
//! added, by `SILVERBACK_GOLDEN=write cargo test --lib golden`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::*;

const STORED: &str = include_str!("../../../tests/golden/streams.txt");

/// What a stream holds.
enum Held {
    Values(Values),
    Times(Vec<i64>),
}

/// By id: a stream, the name of what it holds, and the set that it refers to.
type Streams = BTreeMap<u8, (String, Vec<u8>, Vec<u8>)>;

/// A set of nothing.
fn none() -> Shared {
    Shared::of_values(&[])
}

/// All that the streams hold, by name, in no order that means anything.
fn held() -> Vec<(String, Held, Shared)> {
    let mut all = Vec::new();
    for (at, values) in samples().into_iter().enumerate() {
        all.push((format!("sample-{at}"), Held::Values(values), none()));
    }
    let walks = walks_of(3);
    let set = Shared::of_values(&walks.iter().collect::<Vec<_>>());
    let walk = walks.into_iter().next().expect("there are three");
    all.push(("walk-of-a-set".into(), Held::Values(walk), set));
    let roots = roots_of(2);
    let set = Shared::of_values(&roots.iter().collect::<Vec<_>>());
    let root = roots.into_iter().next().expect("there are two");
    all.push(("roots-of-a-set".into(), Held::Values(root), set));
    all.push(("cyclic".into(), Held::Times(cyclic()), none()));
    all.push(("jittered".into(), Held::Times(jittered()), none()));
    all
}

fn walks_of(count: usize) -> Vec<Values> {
    let noise = noise(count * 400);
    let walk = |steps: &[u64]| {
        let mut value = 50;
        let each = steps.iter().map(|step| {
            value += (step % 5).cast_signed() - 2;
            value
        });
        Values::Integer(each.collect())
    };
    noise.chunks(400).map(walk).collect()
}

fn roots_of(count: usize) -> Vec<Values> {
    let noise = noise(count * 400);
    let root = |n: &u64| f64::from(u32::try_from(n % 40).unwrap()).sqrt();
    noise
        .chunks(400)
        .map(|part| Values::Float(part.iter().map(root).collect()))
        .collect()
}

/// The smallest stream of each id.
fn encoded_by_id() -> Streams {
    let mut streams = Streams::new();
    for (name, held, shared) in held() {
        for effort in EFFORTS {
            let mut bytes = Vec::new();
            match &held {
                Held::Values(values) => encode_values_with(values, effort, &shared, &mut bytes),
                Held::Times(times) => encode_timestamps(times, effort, &mut bytes),
            }
            let mut set = Vec::new();
            if !shared.is_empty() {
                shared.encode(&mut set);
            }
            let known = streams.get(&bytes[0]);
            if known.is_none_or(|(_, known, _)| bytes.len() < known.len()) {
                streams.insert(bytes[0], (name.clone(), bytes, set));
            }
        }
    }
    streams
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap())
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

#[test]
fn golden_streams_of_every_codec_mean_what_they_did() {
    if std::env::var("SILVERBACK_GOLDEN").as_deref() == Ok("write") {
        let mut text = String::new();
        for (id, (name, bytes, set)) in encoded_by_id() {
            writeln!(text, "{id} {name} {} {}", hex(&bytes), hex(&set)).unwrap();
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/streams.txt");
        std::fs::write(path, text).unwrap();
        return;
    }
    let held: BTreeMap<String, Held> = held()
        .into_iter()
        .map(|(name, held, _)| (name, held))
        .collect();
    let mut seen = Vec::new();
    for line in STORED.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [id, name, stream, set] = words[..] else {
            unreachable!("a line has four words: {line}");
        };
        let stream = unhex(stream);
        let shared = if set.is_empty() {
            none()
        } else {
            Shared::decode(&unhex(set)).unwrap()
        };
        assert_eq!(id, stream[0].to_string(), "{name}");
        seen.push(stream[0]);
        match &held[name] {
            Held::Values(values) => {
                let found = decode_values_with(values.field_type(), &stream, values.len(), &shared);
                assert!(found.as_ref() == Ok(values), "codec {id}, {name}");
            }
            Held::Times(times) => {
                let found = decode_timestamps_with(&stream, times.len(), &shared);
                assert!(found.as_ref() == Ok(times), "codec {id}, {name}");
            }
        }
    }
    let all = [
        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16, 17, 18, 19, 24, 25, 32, 33, 34,
    ];
    assert_eq!(seen, all, "every id has its stream");
}
