//! Which disks a crash may leave. The unsynced changes fall into units that survive or not, each
//! by itself: a sector of a write, a change of size, a name. Up to twelve units every subset is
//! tried; beyond that every prefix, every subset that lacks one or has only one, and 64 random
//! ones. What does not survive is old, zero or garbage.

use std::collections::BTreeMap;

use super::content::Content;
use super::disk::{Disk, FileChangeKind, NameChangeKind};
use super::{Random, SimEnv};

/// Up to this many units, every subset.
const UNITS_EXHAUSTIVE_MAX: usize = 12;
const RANDOM_SUBSETS: u64 = 64;

/// One disk that a crash may leave.
#[derive(Debug)]
pub struct CrashImage {
    /// A fresh machine that has it. Everything on it is durable.
    pub env: SimEnv,
    /// Its number among all that are possible here: with the seed it names this image.
    pub number: u64,
    /// What survived, in words, for the message of a failing test.
    pub choice: String,
}

/// The disks that a crash may leave, one after another.
#[derive(Debug)]
pub struct CrashImages {
    seed: u64,
    now_ns: i64,
    disk: Disk,
    units: Vec<Unit>,
    next: u64,
    count: u64,
}

/// What survives or not by itself.
#[derive(Clone, Debug)]
struct Unit {
    stamp: u64,
    what: UnitKind,
}

#[derive(Clone, Debug)]
enum UnitKind {
    /// A change of a file's size; its place in the list of the file's changes.
    Size { inode: u64, change: usize },
    /// One sector of a write.
    Sector {
        inode: u64,
        change: usize,
        sector: u64,
    },
    /// A change of a name; its place in the disk's list.
    Name { change: usize },
}

/// Which units survive.
#[derive(Clone, Copy, Debug)]
enum Subset {
    /// Those whose bit is set.
    Bits(u64),
    Prefix(u64),
    AllBut(u64),
    Only(u64),
    /// Each unit by a throw; the image's number seeds them.
    Random,
}

/// What a lost sector holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    Old,
    Zero,
    Garbage,
    /// Any of the three, each by itself.
    Mixed,
}

const LOST: [Lost; 4] = [Lost::Old, Lost::Zero, Lost::Garbage, Lost::Mixed];

impl Iterator for CrashImages {
    type Item = CrashImage;

    fn next(&mut self) -> Option<CrashImage> {
        if self.next == self.count {
            return None;
        }
        let total = self.total();
        // The first and the last are the two ends: nothing survived, everything did.
        let number = match self.next {
            0 => 0,
            _ if self.next + 1 == self.count => total - 1,
            next => next * (total - 1) / (self.count - 1),
        };
        self.next += 1;
        Some(self.image(number))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.count - self.next).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}

impl ExactSizeIterator for CrashImages {}

impl CrashImages {
    pub(super) fn new(
        (seed, now_ns): (u64, i64),
        disk: Disk,
        image_count_max: usize,
    ) -> CrashImages {
        let units = units_of(&disk);
        let mut images = CrashImages {
            seed,
            now_ns,
            disk,
            units,
            next: 0,
            count: 0,
        };
        images.count = images.total().min((image_count_max as u64).max(2));
        images
    }

    fn subset_count(&self) -> u64 {
        let units = self.units.len();
        if units <= UNITS_EXHAUSTIVE_MAX {
            1 << units
        } else {
            // Prefixes from none to all, without each one, each one alone.
            let units = units as u64;
            1 + units + units + units + RANDOM_SUBSETS
        }
    }

    fn total(&self) -> u64 {
        // With every unit kept, the four ways of losing one are the same.
        (self.subset_count() - 1) * LOST.len() as u64 + 1
    }

    /// The subset of that place; the last place is all units.
    fn subset(&self, place: u64) -> Subset {
        let units = self.units.len() as u64;
        if self.units.len() <= UNITS_EXHAUSTIVE_MAX {
            return Subset::Bits(place);
        }
        match place {
            _ if place + 1 == self.subset_count() => Subset::Prefix(units),
            place if place < units => Subset::Prefix(place),
            place if place < 2 * units => Subset::AllBut(place - units),
            place if place < 3 * units => Subset::Only(place - 2 * units),
            _ => Subset::Random,
        }
    }

    fn image(&self, number: u64) -> CrashImage {
        let ways = LOST.len() as u64;
        let subset = self.subset(number / ways);
        let way = usize::try_from(number % ways).expect("one of four");
        let lost = LOST[way];
        let mut random = Random(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut files: BTreeMap<u64, Content> = (self.disk.inodes.iter())
            .map(|(inode, file)| (*inode, file.durable.clone()))
            .collect();
        let mut names = self.disk.durable.clone();
        let mut kept_count = 0;
        for (place, unit) in (0..).zip(&self.units) {
            let kept = match subset {
                Subset::Bits(bits) => bits >> place & 1 == 1,
                Subset::Prefix(end) => place < end,
                Subset::AllBut(one) => place != one,
                Subset::Only(one) => place == one,
                Subset::Random => random.below(2) == 0,
            };
            kept_count += u64::from(kept);
            match unit.what {
                UnitKind::Name { change } if kept => {
                    let change = &self.disk.pending[change];
                    names.apply(&change.path, change.what);
                }
                UnitKind::Name { .. } => {}
                UnitKind::Size { inode, change } => {
                    let content = files
                        .get_mut(&inode)
                        .expect("units are of the disk's files");
                    let what = &self.disk.inode(inode).pending[change].what;
                    fall_size(content, what, (kept, lost), &mut random);
                }
                UnitKind::Sector {
                    inode,
                    change,
                    sector,
                } => {
                    let content = files
                        .get_mut(&inode)
                        .expect("units are of the disk's files");
                    if kept {
                        let what = &self.disk.inode(inode).pending[change].what;
                        what.apply(content, sector..sector + 1);
                    } else {
                        fall_sector(content, sector, lost, &mut random);
                    }
                }
            }
        }
        for content in files.values_mut() {
            content.clip();
        }
        let units = self.units.len();
        CrashImage {
            env: SimEnv::with_disk(self.seed.wrapping_add(number), Disk::settled(files, names))
                .with_clock(self.now_ns),
            number,
            choice: format!("{kept_count} of {units} units kept ({subset:?}), the rest {lost:?}"),
        }
    }
}

/// A size is new, old, or, where sectors fall to other than their old state, anything between.
fn fall_size(
    content: &mut Content,
    what: &FileChangeKind,
    (kept, lost): (bool, Lost),
    random: &mut Random,
) {
    let FileChangeKind::Resize { to } = *what else {
        return;
    };
    if kept {
        content.resize(to);
    } else if matches!(lost, Lost::Garbage | Lost::Mixed) {
        let (low, high) = (to.min(content.size), to.max(content.size));
        content.resize(low + random.below(high - low + 1));
    }
}

fn fall_sector(content: &mut Content, sector: u64, lost: Lost, random: &mut Random) {
    let lost = match lost {
        Lost::Mixed => LOST[usize::try_from(random.below(3)).expect("one of three")],
        Lost::Old | Lost::Zero | Lost::Garbage => lost,
    };
    match lost {
        Lost::Zero => content.put_sector(sector, || 0),
        Lost::Garbage => content.put_sector(sector, || random.next().to_le_bytes()[3]),
        Lost::Old | Lost::Mixed => {}
    }
}

fn units_of(disk: &Disk) -> Vec<Unit> {
    let mut units = Vec::new();
    // A file that no future names has nothing to lose.
    let linked = |inode: u64| {
        disk.durable.files.values().any(|named| *named == inode)
            || (disk.pending.iter())
                .any(|change| matches!(change.what, NameChangeKind::Link(named) if named == inode))
    };
    for (&inode, file) in &disk.inodes {
        if file.pending.is_empty() || !linked(inode) {
            continue;
        }
        for (change, pending) in file.pending.iter().enumerate() {
            let stamp = pending.stamp;
            if matches!(pending.what, FileChangeKind::Resize { .. }) {
                let what = UnitKind::Size { inode, change };
                units.push(Unit { stamp, what });
            }
            for sector in pending.what.sectors() {
                let what = UnitKind::Sector {
                    inode,
                    change,
                    sector,
                };
                units.push(Unit { stamp, what });
            }
        }
    }
    for (change, pending) in disk.pending.iter().enumerate() {
        let what = UnitKind::Name { change };
        units.push(Unit {
            stamp: pending.stamp,
            what,
        });
    }
    units.sort_by_key(|unit| unit.stamp);
    units
}
