//! The terms of a block's index as it keeps them, in runs of front-coded strings, beside a map of the
//! crate `fst` with the same terms: bytes, and lookups a second.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use silverback_benches::Random;
use silverback_storage::env::{Env, RealEnv, RealOptions};
use silverback_storage::format::block::Span;
use silverback_storage::format::block::array::Array;
use silverback_storage::format::block::bytes::Taker;
use silverback_storage::format::block::keys::{KeyList, KeyListBuilder, run_count};
use silverback_storage::format::header::{FileHeader, FileKind};
use silverback_storage::format::sealed::{SealedReader, SealedWriter};

use super::{LINES, Settings, lines};

const LOOKUPS: usize = 500_000;

/// Shows both at a tenth and the whole of the series.
pub(super) fn compare(settings: Settings) {
    for series in [settings.series / 10, settings.series] {
        for (what, host) in HOSTS {
            let terms = terms(Settings { series, ..settings }, host);
            let wanted = wanted(&terms);
            println!("{series} series of {what}, {} terms:", terms.len());
            for compress in [false, true] {
                front_coded(&terms, &wanted, compress);
            }
            fst_map(&terms, &wanted);
        }
    }
}

/// Makes the name of a host of another, in which its number stands.
type Host = fn(&str) -> String;

/// Numbered from 0 on, which an automaton folds into a few states; and as an orchestrator names them.
const HOSTS: [(&str, Host); 2] = [
    ("numbered hosts", str::to_owned),
    ("hosts with ten drawn digits", |host| {
        let number = host.trim_start_matches("host_").parse().unwrap();
        format!("pod-{:010x}", Random(number).below(1 << 40))
    }),
];

/// Tag key, counted from 1 in four bytes, and value, of every tag.
fn terms(settings: Settings, host: Host) -> Vec<Vec<u8>> {
    let mut terms = BTreeSet::new();
    let mut body = String::new();
    for start in (0..settings.series).step_by(LINES) {
        let end = (start + LINES).min(settings.series);
        lines(settings, start..end, 0, &mut body);
        for line in body.lines() {
            let key = line.split(' ').next().unwrap();
            for (number, tag) in key.split(',').skip(1).enumerate() {
                let (_, value) = tag.split_once('=').unwrap();
                let id = u8::try_from(number + 1).unwrap();
                let value = if value.starts_with("host_") {
                    host(value)
                } else {
                    value.to_owned()
                };
                let term = [&[0, 0, 0, id], value.as_bytes()].concat();
                if !terms.contains(&term) {
                    terms.insert(term);
                }
            }
        }
    }
    terms.into_iter().collect()
}

/// Terms in no order.
fn wanted(terms: &[Vec<u8>]) -> Vec<usize> {
    let mut random = Random(7);
    let count = terms.len() as u64;
    (0..LOOKUPS)
        .map(|_| usize::try_from(random.below(count)).unwrap())
        .collect()
}

fn front_coded(terms: &[Vec<u8>], wanted: &[usize], compress: bool) {
    let folder = tempfile::tempdir().unwrap();
    let env = RealEnv::new(folder.path(), RealOptions { mmap: true });
    let path = Path::new("terms");
    let header = FileHeader::new(FileKind::Block, 1, 1);
    let mut builder = KeyListBuilder::new(compress);
    for term in terms {
        builder.push(term).unwrap();
    }
    let mut starts = Vec::new();
    let runs = builder.finish(&mut starts);
    let mut file = SealedWriter::new(env.create(path).unwrap(), path, &header);
    let offset = file.position();
    file.write(&runs).unwrap();
    file.finish().unwrap();
    let file = SealedReader::open(env.open_read(path).unwrap(), path, &header).unwrap();
    let len = runs.len() as u64;
    let array = Array::take(&mut Taker::new(&starts), run_count(terms.len())).unwrap();
    let list = KeyList::new(&file, Span { offset, len }, terms.len(), (array, &starts));
    let name = if compress { "runs, cold" } else { "runs, hot" };
    show(name, runs.len() + starts.len(), wanted, |place| {
        let (found, is_there) = list.search(&terms[place]).unwrap();
        assert!(is_there);
        found as u64
    });
}

fn fst_map(terms: &[Vec<u8>], wanted: &[usize]) {
    let numbered = terms.iter().zip(0_u64..);
    let map = fst::Map::from_iter(numbered).unwrap();
    show("fst", map.as_fst().size(), wanted, |place| {
        map.get(&terms[place]).unwrap()
    });
}

/// Looks all terms up that are `wanted`, and shows how soon.
fn show(name: &str, bytes: usize, wanted: &[usize], lookup: impl Fn(usize) -> u64) {
    let start = Instant::now();
    for place in wanted {
        assert_eq!(black_box(lookup(*place)), *place as u64);
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "  {name:<10} {:>9.1} kB, {:>7.0} lookups a second",
        bytes as f64 / 1e3,
        wanted.len() as f64 / seconds
    );
}
