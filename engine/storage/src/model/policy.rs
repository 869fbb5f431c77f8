//! Retention policies: what one is, and what may be stated of it. Pure; the rules and their words
//! are those of `InfluxDB` 1.x.

use crate::error::{Error, ErrorKind, Result};
use crate::model::{PolicyId, TIMESTAMP_MIN};

const HOUR_NS: i64 = 3_600_000_000_000;
const DAY_NS: i64 = 24 * HOUR_NS;

/// The shortest time that points are kept, and the narrowest partition, ns.
const DURATION_MIN_NS: i64 = HOUR_NS;

/// A retention policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyInfo {
    /// Its id.
    pub id: PolicyId,
    /// Its name.
    pub name: Box<str>,
    /// How long points are kept, ns; 0 = for ever.
    pub duration_ns: i64,
    /// Width of its partitions, ns: as stated, else a day, or an hour where points are kept for
    /// less than two days.
    pub partition_ns: i64,
    /// The width that `InfluxDB` would have, ns: what clients are told. It is `partition_ns` where
    /// one was stated.
    pub shard_ns: i64,
    /// The replication factor a client stated; stored, without meaning.
    pub replication: u32,
    /// Whether writes and queries that name no policy mean this one.
    pub is_default: bool,
}

/// What is stated of a policy that is to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicySpec {
    /// Name; `autogen` where absent.
    pub name: Option<Box<str>>,
    /// How long points are kept, ns; 0 = for ever.
    pub duration_ns: Option<i64>,
    /// Width of a partition, ns; 0 = the usual one.
    pub partition_ns: Option<i64>,
    /// Stored, without meaning.
    pub replication: Option<u32>,
}

impl PolicySpec {
    /// The name that the policy will have.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("autogen")
    }
}

/// What is to be changed of a policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyChange {
    /// How long points are kept, ns; 0 = for ever.
    pub duration_ns: Option<i64>,
    /// Width of a partition, ns; 0 = the usual one.
    pub partition_ns: Option<i64>,
    /// Stored, without meaning.
    pub replication: Option<u32>,
    /// Whether it becomes the default one.
    pub makes_default: bool,
}

impl PolicyInfo {
    /// The policy that `spec` asks for.
    ///
    /// # Errors
    /// `Invalid` for a duration that none can have. The name is not looked at.
    pub fn new(id: PolicyId, spec: &PolicySpec, is_default: bool) -> Result<PolicyInfo> {
        let duration_ns = spec.duration_ns.unwrap_or(0);
        check_duration(duration_ns)?;
        check_widths(duration_ns, spec.partition_ns.unwrap_or(0))?;
        let (partition_ns, shard_ns) = widths(duration_ns, spec.partition_ns.unwrap_or(0));
        Ok(PolicyInfo {
            id,
            name: spec.name().into(),
            duration_ns,
            partition_ns,
            shard_ns,
            replication: spec.replication.unwrap_or(1),
            is_default,
        })
    }

    /// The policy after `change`; it acts at once, a new width on what is written from then on and
    /// on blocks as they are merged.
    ///
    /// # Errors
    /// `Invalid` for durations that none can have together.
    pub fn changed(&self, change: &PolicyChange) -> Result<PolicyInfo> {
        if let Some(duration_ns) = change.duration_ns {
            check_duration(duration_ns)?;
        }
        let duration_ns = change.duration_ns.unwrap_or(self.duration_ns);
        // A policy keeps the width it has, and may not be shorter than that.
        check_widths(duration_ns, change.partition_ns.unwrap_or(self.shard_ns))?;
        let (partition_ns, shard_ns) = change
            .partition_ns
            .map_or((self.partition_ns, self.shard_ns), |stated| {
                widths(duration_ns, stated)
            });
        Ok(PolicyInfo {
            duration_ns,
            partition_ns,
            shard_ns,
            replication: change.replication.unwrap_or(self.replication),
            is_default: self.is_default || change.makes_default,
            ..self.clone()
        })
    }

    /// The earliest time that a write may have at `now_ns`; the earliest there is where points are
    /// kept for ever.
    pub fn earliest(&self, now_ns: i64) -> i64 {
        match self.duration_ns {
            0 => TIMESTAMP_MIN,
            duration => now_ns.saturating_sub(duration),
        }
    }

    /// Where the first partition begins that is not past its time at `now_ns`: what lies before is
    /// to be dropped. `None` where points are kept for ever.
    pub fn cutoff(&self, now_ns: i64) -> Option<i64> {
        let width = self.partition_ns.max(1);
        let earliest = Some(self.duration_ns)
            .filter(|duration| *duration > 0)
            .map(|duration| now_ns.saturating_sub(duration))?;
        Some(earliest.saturating_sub(earliest.rem_euclid(width)))
    }
}

/// Whether points may be kept for as long as this.
fn check_duration(duration_ns: i64) -> Result<()> {
    if duration_ns < 0 || duration_ns > 0 && duration_ns < DURATION_MIN_NS {
        let message = "retention policy duration must be at least 1h0m0s";
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(())
}

/// Whether points are kept for a partition's width at least.
fn check_widths(duration_ns: i64, width_ns: i64) -> Result<()> {
    if duration_ns != 0 && width_ns > duration_ns {
        let message = "retention policy duration must be greater than the shard duration";
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(())
}

/// The width of a partition, and the one clients are told, for what was stated (0 for nothing).
///
/// # Source
/// `InfluxDB` 1.x: 7 days for ever or half a year and more, a day from two days on, else an hour.
/// A partition is no wider than a day unless it was stated: a closed one is finished sooner, and
/// less outlives its time.
fn widths(duration_ns: i64, stated_ns: i64) -> (i64, i64) {
    let usual = match duration_ns {
        0 => 7 * DAY_NS,
        long if long >= 180 * DAY_NS => 7 * DAY_NS,
        middle if middle >= 2 * DAY_NS => DAY_NS,
        _ => HOUR_NS,
    };
    match stated_ns {
        stated if stated > 0 => (stated.max(DURATION_MIN_NS), stated.max(DURATION_MIN_NS)),
        _ => (usual.min(DAY_NS), usual),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(duration_ns: i64, partition_ns: i64) -> Result<PolicyInfo> {
        let spec = PolicySpec {
            duration_ns: Some(duration_ns),
            partition_ns: Some(partition_ns),
            ..PolicySpec::default()
        };
        PolicyInfo::new(PolicyId(1), &spec, false)
    }

    fn change(duration_ns: Option<i64>, partition_ns: Option<i64>) -> PolicyChange {
        PolicyChange {
            duration_ns,
            partition_ns,
            ..PolicyChange::default()
        }
    }

    #[test]
    fn widths_are_those_of_influxdb_and_a_day_at_most_unless_stated() {
        let cases = [
            (0, 0, DAY_NS, 7 * DAY_NS),
            (180 * DAY_NS, 0, DAY_NS, 7 * DAY_NS),
            (180 * DAY_NS - 1, 0, DAY_NS, DAY_NS),
            (2 * DAY_NS, 0, DAY_NS, DAY_NS),
            (2 * DAY_NS - 1, 0, HOUR_NS, HOUR_NS),
            (3 * HOUR_NS, 1, HOUR_NS, HOUR_NS),
            (0, 30 * DAY_NS, 30 * DAY_NS, 30 * DAY_NS),
        ];
        for (duration, stated, width, told) in cases {
            let policy = policy(duration, stated).unwrap();
            assert_eq!((policy.partition_ns, policy.shard_ns), (width, told));
        }
    }

    #[test]
    fn what_no_policy_can_be_is_refused_in_the_words_of_influxdb() {
        let short = "retention policy duration must be at least 1h0m0s";
        let narrow = "retention policy duration must be greater than the shard duration";
        let text = |outcome: Result<PolicyInfo>| outcome.unwrap_err().to_string();
        assert_eq!(text(policy(HOUR_NS - 1, 0)), short);
        assert_eq!(text(policy(-1, 0)), short);
        assert_eq!(text(policy(HOUR_NS, HOUR_NS + 1)), narrow);
        let week = policy(0, 0).unwrap();
        assert_eq!(text(week.changed(&change(Some(DAY_NS), None))), narrow);
        assert_eq!(text(week.changed(&change(Some(1), Some(1)))), short);
        let day = policy(DAY_NS, HOUR_NS).unwrap();
        assert_eq!(text(day.changed(&change(None, Some(2 * DAY_NS)))), narrow);
        let wider = day.changed(&change(Some(4 * DAY_NS), Some(2 * DAY_NS)));
        assert_eq!(wider.unwrap().partition_ns, 2 * DAY_NS);
        // A longer time alone leaves the width, nothing stated makes it the usual one.
        let longer = day.changed(&change(Some(400 * DAY_NS), None)).unwrap();
        assert_eq!((longer.partition_ns, longer.shard_ns), (HOUR_NS, HOUR_NS));
        let usual = longer.changed(&change(None, Some(0))).unwrap();
        assert_eq!((usual.partition_ns, usual.shard_ns), (DAY_NS, 7 * DAY_NS));
    }

    #[test]
    fn a_partition_is_past_its_time_when_its_last_point_is() {
        let day = policy(DAY_NS, HOUR_NS).unwrap();
        assert_eq!(day.cutoff(DAY_NS + 3 * HOUR_NS), Some(3 * HOUR_NS));
        assert_eq!(day.cutoff(DAY_NS + 3 * HOUR_NS - 1), Some(2 * HOUR_NS));
        assert_eq!(day.cutoff(DAY_NS - 1), Some(-HOUR_NS));
        assert_eq!(day.earliest(DAY_NS + 5), 5);
        assert_eq!(day.cutoff(i64::MIN), Some(i64::MIN));
        let for_ever = policy(0, HOUR_NS).unwrap();
        assert_eq!(for_ever.cutoff(i64::MAX), None);
        assert_eq!(for_ever.earliest(i64::MAX), TIMESTAMP_MIN);
    }
}
