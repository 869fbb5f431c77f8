//! The ledger: what was meant to be sent, made durable before it was sent, and how it ended.
//! Append-only lines of text; one that is cut at the end of the file does not count.
//!
//! A file system that is shut down answers for a moment longer than a machine without power would: what
//! is acknowledged between the lines [`POWER_OFF`] and [`POWER_ON`] is as good as not answered.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Stands in the ledger before power goes.
pub(crate) const POWER_OFF: &str = "power off";
/// Stands there once it is back.
const POWER_ON: &str = "power on";

/// What one request was to do: points `start` to `start + count` of one writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Intent {
    pub(crate) writer: u64,
    pub(crate) start: u64,
    pub(crate) count: u64,
    /// Whether it takes the points away.
    pub(crate) is_delete: bool,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Acknowledged,
    /// Refused for good: nothing of it was done.
    Rejected,
    /// No answer, or one that leaves it open.
    Unknown,
}

/// The ledger being written.
#[derive(Debug)]
pub(crate) struct Ledger(Mutex<(File, u64)>);

impl Ledger {
    /// Goes on with the ledger at `path`; numbers begin with `first`.
    pub(crate) fn open(path: &Path, first: u64) -> Result<Ledger, String> {
        let file = File::options().create(true).append(true).open(path);
        let file = file.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Ledger(Mutex::new((file, first))))
    }

    fn append(&self, line: impl FnOnce(&mut u64) -> String, sync: bool) -> Result<(), String> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, next) = &mut *inner;
        let line = line(next);
        let written = file.write_all(line.as_bytes());
        let synced = written.and_then(|()| if sync { file.sync_data() } else { Ok(()) });
        synced.map_err(|error| format!("the ledger cannot be written: {error}"))
    }

    /// Notes what is about to be sent, durably, and gives its number.
    pub(crate) fn intend(&self, intent: Intent) -> Result<u64, String> {
        let mut number = 0;
        let kind = if intent.is_delete { 'D' } else { 'W' };
        let line = |next: &mut u64| {
            number = *next;
            *next += 1;
            let Intent {
                writer,
                start,
                count,
                ..
            } = intent;
            format!("{kind} {number} {writer} {start} {count}\n")
        };
        self.append(line, true)?;
        Ok(number)
    }

    /// Notes how it ended.
    pub(crate) fn end(&self, number: u64, ending: Ending) -> Result<(), String> {
        let word = match ending {
            Ending::Acknowledged => 'a',
            Ending::Rejected => 'r',
            Ending::Unknown => 'u',
        };
        self.append(|_| format!("{word} {number}\n"), false)
    }
}

/// Notes that power is back.
pub(crate) fn power_on(path: &Path) -> Result<(), String> {
    Ledger::open(path, 0)?.append(|_| format!("{POWER_ON}\n"), true)
}

/// All requests of a ledger in the order they were meant, and how they ended.
pub(crate) fn read(path: &Path) -> Result<Vec<(Intent, Ending)>, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let whole = text
        .rfind('\n')
        .map_or("", |end| text.get(..end).unwrap_or_default());
    let mut requests: BTreeMap<u64, (Intent, Ending)> = BTreeMap::new();
    let mut has_power = true;
    for line in whole.lines() {
        if line == POWER_OFF || line == POWER_ON {
            has_power = line == POWER_ON;
            continue;
        }
        let bad = || format!("{}: \"{line}\" is no line of a ledger", path.display());
        let mut words = line.split(' ');
        let kind = words.next().ok_or_else(bad)?;
        let numbers: Vec<u64> = words
            .map(|word| word.parse().map_err(|_| bad()))
            .collect::<Result<_, _>>()?;
        match (kind, &numbers[..]) {
            ("W" | "D", &[number, writer, start, count]) => {
                let is_delete = kind == "D";
                let intent = Intent {
                    writer,
                    start,
                    count,
                    is_delete,
                };
                requests.insert(number, (intent, Ending::Unknown));
            }
            ("a" | "r" | "u", [number]) => {
                let ending = match kind {
                    "a" if has_power => Ending::Acknowledged,
                    "r" => Ending::Rejected,
                    _ => Ending::Unknown,
                };
                requests.get_mut(number).ok_or_else(bad)?.1 = ending;
            }
            _ => return Err(bad()),
        }
    }
    Ok(requests.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again_and_a_cut_line_is_not() {
        let path = std::env::temp_dir().join(format!("silverback-ledger-{}", std::process::id()));
        let ledger = Ledger::open(&path, 7).expect("a ledger");
        let intent = Intent {
            writer: 1,
            start: 10,
            count: 5,
            is_delete: false,
        };
        let gone = Intent {
            is_delete: true,
            ..intent
        };
        assert_eq!(ledger.intend(intent), Ok(7));
        assert_eq!(ledger.intend(gone), Ok(8));
        assert_eq!(ledger.end(7, Ending::Acknowledged), Ok(()));
        let mut text = std::fs::read_to_string(&path).expect("its text");
        text.push_str("r 8");
        std::fs::write(&path, text).expect("a cut line");
        let expected = [(intent, Ending::Acknowledged), (gone, Ending::Unknown)];
        assert_eq!(read(&path).as_deref(), Ok(&expected[..]));
        std::fs::remove_file(&path).expect("the ledger goes");
    }
}
