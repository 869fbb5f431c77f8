//! Opens what a stop left behind: reads every segment in order, then mends. Reading changes nothing,
//! mending can be stopped anywhere and done again: a second opening finds nothing to mend.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::{Path, PathBuf};

use super::replay::{Bounds, Replay, SegmentReplay, pieces};
use super::report::{Damage, RecoveryReport, SequenceSpan, TornTail, WalStart};
use super::scan::Scan;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::format::wal::{SECTOR, SECTOR_BYTES, Seal, SegmentHeader};
use crate::model::Sequence;
use crate::sabotage::{self, Fault};

/// The folder of the segments.
pub(super) const FOLDER: &str = "wal";
/// Where copies of damaged bytes go.
pub(crate) const QUARANTINE: &str = "quarantine";

/// Path of a segment.
pub(crate) fn segment_path(number: u64) -> PathBuf {
    Path::new(FOLDER).join(format!("{number:016x}.wal"))
}

/// What reading found, for mending and for writing on.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) report: RecoveryReport,
    /// Segments that hold records, with the last sequence that counts in each.
    pub(super) segments: BTreeMap<u64, u64>,
    /// Segments that were being made when the machine stopped.
    unfinished: Vec<u64>,
    /// The last segment and the offset where the log ends in it.
    end: Option<(u64, u64)>,
    /// Highest number in use.
    pub(super) number_max: u64,
    /// Last sequence in use.
    pub(super) last: u64,
}

#[derive(Debug)]
pub(super) struct Segment {
    number: u64,
    pub(super) scan: Scan,
    pub(super) header: Option<SegmentHeader>,
    /// None where neither header nor groups are readable.
    pub(super) known: Option<Known>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) seal: Seal,
    /// The sequence it begins with; of its first readable group where its header is damaged.
    pub(super) first: u64,
    durable: u64,
    /// Whether it does begin there: with a damaged header, groups before the first readable one may
    /// be lost.
    begins_there: bool,
}

/// Reads the log and replays what was not released.
pub(super) fn read(env: &dyn Env, start: &WalStart, replay: &mut Replay<'_>) -> Result<Found> {
    let mut segments = open_segments(env, start.directory_id)?;
    let mut found = Found {
        number_max: segments.last().map_or(0, |segment| segment.number),
        ..Found::default()
    };
    while let Some(mut segment) = segments.pop_if(|segment| segment.known.is_none()) {
        // Whoever stopped while making it had written its first sector at most.
        if segment.scan.content_end(SECTOR_BYTES, segment.scan.size)? > SECTOR_BYTES {
            let size = segment.scan.size;
            note_bytes(&mut found.report, &mut segment.scan, size)?;
        }
        found.unfinished.push(segment.number);
    }
    let released = start.released_through.0;
    let mut reading = Reading {
        found,
        released,
        clean_end: start.clean_end.map_or(0, |end| end.sequence.0),
        expected: released + 1,
        payload: Vec::new(),
    };
    // In the middle, a segment of which nothing is known shows where the next one begins.
    let known: Vec<(Known, Segment)> = (segments.into_iter())
        .filter_map(|segment| Some((segment.known?, segment)))
        .collect();
    let durables: Vec<u64> = known.iter().map(|(known, _)| known.durable).collect();
    for (index, (known, mut segment)) in known.into_iter().enumerate() {
        let next_durable = durables.get(index + 1).copied();
        reading.segment(known, &mut segment, next_durable, replay)?;
    }
    reading.missing_through(reading.clean_end);
    let mut found = reading.found;
    found.last = reading.expected - 1;
    found.report.last = (found.last > 0).then_some(Sequence(found.last));
    Ok(found)
}

/// Goes from segment to segment.
struct Reading {
    found: Found,
    released: u64,
    clean_end: u64,
    /// The sequence that comes next.
    expected: u64,
    payload: Vec<u8>,
}

impl Reading {
    fn segment(
        &mut self,
        known: Known,
        segment: &mut Segment,
        next_durable: Option<u64>,
        replay: &mut Replay<'_>,
    ) -> Result<()> {
        let released = self.released;
        if known.begins_there {
            self.missing_through(known.durable);
        }
        if known.first > released && known.first < self.expected {
            let message = "the segment begins before its predecessor ends";
            return Err(Error::corrupt(&segment.scan.path, 72, message));
        }
        if segment.header.is_some() {
            // What lies between was refused.
            self.expected = self.expected.max(known.first);
        }
        let bounds = match next_durable {
            Some(durable) => Bounds {
                released,
                required: durable,
                limit: durable,
            },
            None => Bounds {
                released,
                required: (segment.scan.horizon(known.seal)?)
                    .max(known.durable)
                    .max(self.clean_end)
                    .max(released),
                limit: u64::MAX,
            },
        };
        if next_durable.is_some() && bounds.required <= released {
            self.found.segments.insert(segment.number, bounds.required);
            return Ok(());
        }
        if segment.header.is_none() {
            note_bytes(&mut self.found.report, &mut segment.scan, SECTOR_BYTES)?;
        }
        let mut reading = SegmentReplay {
            // A segment may begin with what is released.
            expected: self.expected.min(known.first),
            scan: &mut segment.scan,
            seal: known.seal,
            bounds,
            report: &mut self.found.report,
            replay,
            payload: std::mem::take(&mut self.payload),
        };
        let end = reading.run()?;
        // What was refused does not count, however bad its bytes are.
        let counted = reading.expected.min(bounds.limit.saturating_add(1));
        self.payload = reading.payload;
        self.expected = counted.max(released + 1);
        if next_durable.is_none() {
            self.missing_through(bounds.required);
            note_end(&mut self.found, segment, end)?;
        }
        self.found
            .segments
            .insert(segment.number, self.expected - 1);
        Ok(())
    }

    /// Notes what should have come up to `last` and did not.
    fn missing_through(&mut self, last: u64) {
        if last >= self.expected {
            self.found.report.missing.push(SequenceSpan {
                first: Sequence(self.expected),
                last: Sequence(last),
            });
            self.expected = last + 1;
        }
    }
}

fn open_segments(env: &dyn Env, directory_id: u128) -> Result<Vec<Segment>> {
    let folder = Path::new(FOLDER);
    let entries = match env.list(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(Error::io("list the segments of the log", folder, error)),
    };
    let mut numbers: Vec<u64> = (entries.iter())
        .filter(|entry| !entry.is_dir)
        .filter_map(|entry| number_of(&entry.name))
        .collect();
    numbers.sort_unstable();
    let segments = numbers
        .into_iter()
        .map(|number| open_segment(env, directory_id, number));
    segments.collect()
}

/// Whether a file of the log's folder is a segment by its name.
pub fn is_segment(name: &str) -> bool {
    number_of(name).is_some()
}

/// The number in the name of a segment, if it is one's.
fn number_of(name: &str) -> Option<u64> {
    let digits = name
        .strip_suffix(".wal")
        .filter(|digits| digits.len() == 16)?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (number < u64::MAX && segment_path(number).ends_with(name)).then_some(number)
}

pub(super) fn open_segment(env: &dyn Env, directory_id: u128, number: u64) -> Result<Segment> {
    let path = segment_path(number);
    let mut scan = Scan::open(env, &path)?;
    let sector = scan.bytes(0, SECTOR)?;
    let header = match SegmentHeader::decode(&path, sector, directory_id, number) {
        Ok(header) => Some(header),
        Err(error) if error.kind() == ErrorKind::Corrupt => None,
        Err(error) => return Err(error),
    };
    let known = match header {
        Some(header) => Some(Known {
            seal: header.seal(),
            first: header.first,
            durable: header.durable,
            begins_there: true,
        }),
        None => scan
            .find_seal(directory_id, number)?
            .map(|(seal, offset, group)| Known {
                seal,
                first: group.first,
                durable: group.durable,
                begins_there: offset == SECTOR_BYTES,
            }),
    };
    Ok(Segment {
        number,
        scan,
        header,
        known,
    })
}

/// Damage from the start of a segment on that cost no record we know of.
pub(super) fn note_bytes(report: &mut RecoveryReport, scan: &mut Scan, end: u64) -> Result<()> {
    let bytes = scan.content_end(0, end)?;
    report.damage_count += 1;
    report.damage.push(Damage {
        file: scan.path.clone(),
        offset: 0,
        bytes,
        lost: None,
        quarantine: None,
    });
    Ok(())
}

fn note_end(found: &mut Found, segment: &mut Segment, end: u64) -> Result<()> {
    let content_end = segment.scan.content_end(end, segment.scan.size)?;
    if content_end > end {
        found.report.torn = Some(TornTail {
            file: segment.scan.path.clone(),
            offset: end,
            bytes: content_end - end,
        });
    }
    found.end = Some((segment.number, end));
    Ok(())
}

/// Makes the disk what was found: the tail cut, everything replayed durable, copies of damaged bytes
/// set aside, released and unfinished segments gone.
pub(super) fn mend(env: &dyn Env, start: &WalStart, found: &mut Found) -> Result<()> {
    let (root, folder) = (Path::new(""), Path::new(FOLDER));
    let io = |error| Error::io("prepare the folder of the log", folder, error);
    env.create_dir(folder).map_err(io)?;
    env.sync_dir(root).map_err(io)?;
    quarantine(env, &mut found.report.damage);
    if let Some((number, end)) = found.end {
        settle(env, &segment_path(number), end)?;
    }
    for number in std::mem::take(&mut found.unfinished) {
        remove(env, number)?;
    }
    let released = start.released_through.0;
    let last = found.end.map(|(number, _)| number);
    let mut removed = Vec::new();
    for (&number, &through) in &found.segments {
        if through <= released && Some(number) != last {
            remove(env, number)?;
            removed.push(number);
        }
    }
    found.segments.retain(|number, _| !removed.contains(number));
    env.sync_dir(folder).map_err(io)
}

/// Cuts the last segment and syncs it: after a kill its bytes may stand in memory only, and what is
/// replayed is about to count as durable.
fn settle(env: &dyn Env, path: &Path, end: u64) -> Result<()> {
    let io = |error| Error::io("settle the end of the log", path, error);
    let mut file = env.open_write(path).map_err(io)?;
    if !sabotage::is(Fault::TailNotCut) {
        file.truncate(end).map_err(io)?;
    }
    file.sync_data().map_err(io)
}

pub(super) fn remove(env: &dyn Env, number: u64) -> Result<()> {
    let path = segment_path(number);
    match env.remove(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove a segment of the log", path, error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Copies damaged bytes aside. A copy that cannot be made is no reason not to open.
fn quarantine(env: &dyn Env, damage: &mut [Damage]) {
    for damage in damage.iter_mut().filter(|damage| damage.bytes > 0) {
        damage.quarantine = set_aside(env, damage).ok();
    }
}

fn set_aside(env: &dyn Env, damage: &Damage) -> Result<PathBuf> {
    let folder = Path::new(QUARANTINE);
    let stem = damage
        .file
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy();
    let path = folder.join(format!("wal-{stem}-{:x}.bin", damage.offset));
    let io = |error| Error::io("copy damaged bytes", &path, error);
    env.create_dir(folder).map_err(io)?;
    if env
        .open_read(&path)
        .is_ok_and(|copy| copy.size_bytes() == damage.bytes)
    {
        return Ok(path);
    }
    let unfinished = path.with_extension("tmp");
    if env.open_read(&unfinished).is_ok() {
        env.remove(&unfinished).map_err(io)?;
    }
    let scan = Scan::open(env, &damage.file)?;
    let mut copy = env.create(&unfinished).map_err(io)?;
    let bytes = damage.offset..damage.offset + damage.bytes;
    pieces(&scan, bytes, |at, piece| {
        copy.write_at(at, &[IoSlice::new(piece)]).map_err(io)
    })?;
    copy.sync_data().map_err(io)?;
    env.rename(&unfinished, &path).map_err(io)?;
    env.sync_dir(folder).map_err(io)?;
    env.sync_dir(Path::new("")).map_err(io)?;
    Ok(path)
}
