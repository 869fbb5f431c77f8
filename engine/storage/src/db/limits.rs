//! Bounds on names and numbers of things, so that a mistake of one client does not take what all
//! need. What is over a bound is refused line by line; lines beside it are stored.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::model::{SeriesKey, TagSet};

/// Bounds of one store. 0 = none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Series that one database has. A tag that should have been a field reaches the default
    /// within an hour; no fleet of machines does.
    pub series_max: u64,
    /// Series made in one database within a minute. Off by default: a first write of a large fleet
    /// is no mistake.
    pub new_series_per_minute_max: u64,
    /// Tags of a series.
    pub tags_max: usize,
    /// The name of a measurement, a tag key or a field, bytes.
    pub name_bytes_max: usize,
    /// The value of a tag, bytes.
    pub tag_value_bytes_max: usize,
    /// A string value of a field, bytes.
    pub string_bytes_max: usize,
    /// Fields of a measurement: each has a column of its own in every block.
    pub fields_max: usize,
    /// Databases: each has memtables, an index and files of its own.
    pub databases_max: usize,
    /// Partitions that one write touches: a wrong clock or unit spreads rows over all time.
    pub partitions_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            series_max: 10_000_000,
            new_series_per_minute_max: 0,
            tags_max: 256,
            name_bytes_max: 4096,
            tag_value_bytes_max: 32_768,
            string_bytes_max: 1 << 20,
            fields_max: 4096,
            databases_max: 1000,
            partitions_max: 4096,
        }
    }
}

/// Whether `count` passes `max`, which is none where it is 0.
pub(super) fn passes(count: usize, max: usize) -> bool {
    max > 0 && count > max
}

impl Limits {
    /// Why a new series cannot have `key`, if it cannot.
    pub(super) fn refuse_key(&self, key: &SeriesKey) -> Option<String> {
        if passes(key.tags.len(), self.tags_max) {
            let (count, max) = (key.tags.len(), self.tags_max);
            return Some(format!(
                "the series has {count} tags; at most {max} (tags_max)"
            ));
        }
        if let Some(why) = self.refuse_name("the measurement's name", &key.measurement) {
            return Some(why);
        }
        key.tags.iter().find_map(|(name, value)| {
            self.refuse_name("a tag key", name).or_else(|| {
                let (size, max) = (value.len(), self.tag_value_bytes_max);
                passes(size, max).then(|| {
                    let name = String::from_utf8_lossy(name);
                    format!(
                        "the value of tag \"{name}\" has {size} bytes; at most {max} \
                         (tag_value_bytes_max)"
                    )
                })
            })
        })
    }

    /// Why nothing new can have `name`, if it cannot.
    pub(super) fn refuse_name(&self, what: &str, name: &[u8]) -> Option<String> {
        let (size, max) = (name.len(), self.name_bytes_max);
        passes(size, max)
            .then(|| format!("{what} has {size} bytes; at most {max} (name_bytes_max)"))
    }
}

/// One in so many new series is remembered, and so many of them.
const SAMPLE_EVERY: u64 = 16;
const SAMPLES_MAX: usize = 256;

/// The window that new series are counted in.
const MINUTE: Duration = Duration::from_secs(60);

/// New series of one database: how many lately, and which tags they differ in.
#[derive(Debug, Default)]
pub(super) struct Growth {
    made: u64,
    samples: VecDeque<TagSet>,
    minute: Option<Duration>,
    made_in_minute: u64,
}

impl Growth {
    /// How many series were made in the minute of `now`.
    pub(super) fn made_in_minute(&mut self, now: Duration) -> u64 {
        let goes_on = |began: Duration| now.saturating_sub(began) < MINUTE;
        if !self.minute.is_some_and(goes_on) {
            self.minute = Some(now);
            self.made_in_minute = 0;
        }
        self.made_in_minute
    }

    /// A series was made.
    pub(super) fn note(&mut self, tags: &TagSet) {
        self.made_in_minute += 1;
        if self.made.is_multiple_of(SAMPLE_EVERY) {
            if self.samples.len() >= SAMPLES_MAX {
                self.samples.pop_front();
            }
            self.samples.push_back(tags.clone());
        }
        self.made += 1;
    }

    /// Which tag key has most values among the new series of late and `refused`, in words.
    pub(super) fn grown(&self, refused: &TagSet) -> String {
        let mut values: BTreeMap<&[u8], BTreeSet<&[u8]>> = BTreeMap::new();
        for tags in self.samples.iter().chain([refused]) {
            for (key, value) in tags {
                values.entry(key).or_default().insert(value);
            }
        }
        let sampled = self.samples.len() + 1;
        let most = values.iter().max_by_key(|(_, values)| values.len());
        most.map_or_else(String::new, |(key, values)| {
            format!(
                "tag key \"{}\" has grown most: {} values in {sampled} of the last new series",
                String::from_utf8_lossy(key),
                values.len()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> TagSet {
        let pairs = pairs.iter();
        let own = |text: &&str| Box::from(text.as_bytes());
        TagSet::new(pairs.map(|(key, value)| (own(key), own(value))).collect()).unwrap()
    }

    #[test]
    fn the_tag_that_grew_is_named() {
        let mut growth = Growth::default();
        for number in 0..10_000 {
            let host = format!("h{}", number % 20);
            growth.note(&tags(&[("host", &host), ("id", &number.to_string())]));
        }
        assert_eq!(
            growth.grown(&tags(&[("host", "h1"), ("id", "x")])),
            "tag key \"id\" has grown most: 257 values in 257 of the last new series"
        );
        assert_eq!(Growth::default().grown(&tags(&[])), "");
    }

    #[test]
    fn a_minute_passes() {
        let mut growth = Growth::default();
        let at = Duration::from_secs;
        assert_eq!(growth.made_in_minute(at(5)), 0);
        growth.note(&tags(&[]));
        assert_eq!(growth.made_in_minute(at(64)), 1);
        assert_eq!(growth.made_in_minute(at(65)), 0);
    }

    #[test]
    fn names_and_values_have_a_length() {
        let limits = Limits {
            tags_max: 2,
            name_bytes_max: 4,
            tag_value_bytes_max: 3,
            ..Limits::default()
        };
        let refused = |measurement: &str, pairs: &[(&str, &str)]| {
            let key = SeriesKey {
                measurement: measurement.as_bytes().into(),
                tags: tags(pairs),
            };
            limits.refuse_key(&key).unwrap_or_default()
        };
        assert_eq!(refused("cpus", &[("a", "abc"), ("b", "b")]), "");
        assert!(refused("cpu", &[("a", "a"), ("b", "b"), ("c", "c")]).contains("tags_max"));
        assert!(refused("cpu00", &[]).contains("name_bytes_max"));
        assert!(refused("cpu", &[("hosts", "a")]).contains("name_bytes_max"));
        assert!(refused("cpu", &[("host", "abcd")]).contains("tag_value_bytes_max"));
    }
}
