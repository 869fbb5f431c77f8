//! Pages of a column on their way into a block. What stays cold waits unencoded until enough has
//! gathered, so that models can be made from all of it; each such set stands before its pages.

use crate::codec::{self, Effort, Shared};
use crate::error::Result;
use crate::format::block::directory::PagesParts;
use crate::format::sealed::SealedWriter;
use crate::model::{Column, Presence, Values, push_varint};

/// Pages, the last of them not yet written.
#[derive(Debug, Default)]
pub(super) struct PageWriter {
    pub(super) pages: PagesParts,
    pending: Vec<u8>,
    /// How many of `pages` lie in `pending`, their offsets counted from its start.
    pending_count: usize,
}

impl PageWriter {
    /// Appends the page that `encode` appends to the bytes it is given.
    pub(super) fn push(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> usize {
        let start = self.pending.len();
        encode(&mut self.pending);
        self.pages.offsets.push(start as u64);
        self.pages.lengths.push((self.pending.len() - start) as u64);
        self.pending_count += 1;
        self.pending.len() - start
    }

    pub(super) fn write(&mut self, file: &mut SealedWriter) -> Result<()> {
        let base = file.position();
        let pending = self.pages.offsets.len() - self.pending_count;
        for offset in &mut self.pages.offsets[pending..] {
            *offset += base;
        }
        file.write(&self.pending)?;
        self.pending.clear();
        self.pending_count = 0;
        Ok(())
    }
}

/// What a page holds before it is encoded.
pub(super) trait Gathered: Sized {
    /// What makes `pages` small together.
    fn shared(pages: &[&Self]) -> Shared;
    /// Whether no row has a value: the page has no bytes.
    fn is_absent(&self) -> bool;
    /// Appends the page, behind the number of its set.
    fn encode(&self, effort: Effort, shared: &Shared, out: &mut Vec<u8>);
    /// What it takes in memory, bytes.
    fn weight(&self) -> usize;
    /// Leaves an empty one behind.
    fn take(&mut self) -> Self;
}

impl Gathered for Vec<i64> {
    fn shared(pages: &[&Vec<i64>]) -> Shared {
        let pages = pages.iter().map(|times| &times[..]);
        Shared::of_timestamps(&pages.collect::<Vec<_>>())
    }

    fn is_absent(&self) -> bool {
        self.is_empty()
    }

    fn encode(&self, effort: Effort, shared: &Shared, out: &mut Vec<u8>) {
        codec::encode_timestamps_with(self, effort, shared, out);
    }

    fn weight(&self) -> usize {
        self.len() * 8
    }

    fn take(&mut self) -> Vec<i64> {
        std::mem::take(self)
    }
}

impl Gathered for Column {
    fn shared(pages: &[&Column]) -> Shared {
        let pages = pages.iter().map(|column| &column.values);
        Shared::of_values(&pages.collect::<Vec<_>>())
    }

    fn is_absent(&self) -> bool {
        self.values.is_empty()
    }

    fn encode(&self, effort: Effort, shared: &Shared, out: &mut Vec<u8>) {
        let rows = match &self.presence {
            Presence::All => self.values.len(),
            Presence::Some(bits) => bits.len(),
        };
        let mut presence = Vec::new();
        codec::encode_presence(&self.presence, rows, &mut presence);
        push_varint(out, presence.len() as u64);
        out.extend_from_slice(&presence);
        codec::encode_values_with(&self.values, effort, shared, out);
    }

    fn weight(&self) -> usize {
        match &self.values {
            Values::String(strings) => strings.bytes.len() + strings.ends.len() * 4,
            Values::Boolean(values) => values.len(),
            Values::Float(_) | Values::Integer(_) | Values::Unsigned(_) => self.values.len() * 8,
        }
    }

    fn take(&mut self) -> Column {
        let values = Values::new(self.values.field_type());
        let empty = Column {
            values,
            presence: Presence::All,
        };
        std::mem::replace(self, empty)
    }
}

/// The pages of one column and the sets that they share.
#[derive(Debug)]
pub(super) struct ColumnWriter<P> {
    effort: Effort,
    pages: PageWriter,
    sets: PageWriter,
    /// Pages to come, `None` where no row of the group has a value.
    waiting: Vec<Option<P>>,
}

impl<P: Gathered> ColumnWriter<P> {
    /// A column that had no value in the first `absent` groups.
    pub(super) fn new(effort: Effort, absent: usize) -> ColumnWriter<P> {
        let mut pages = PageWriter::default();
        pages.pages.offsets.resize(absent, 0);
        pages.pages.lengths.resize(absent, 0);
        ColumnWriter {
            effort,
            pages,
            sets: PageWriter::default(),
            waiting: Vec::new(),
        }
    }

    /// Appends the page of one group, or that there is none; what it takes in memory until it is
    /// written. `page` is left empty or as it was.
    pub(super) fn push(&mut self, page: Option<&mut P>) -> usize {
        let page = page.filter(|page| !page.is_absent());
        if self.effort == Effort::Cold {
            let page = page.map(Gathered::take);
            let weight = page.as_ref().map_or(0, Gathered::weight);
            self.waiting.push(page);
            return weight;
        }
        let effort = self.effort;
        self.pages.push(|out| {
            if let Some(page) = page {
                out.push(0);
                page.encode(effort, Shared::none(), out);
            }
        })
    }

    /// Writes what waits: the set, then the pages.
    pub(super) fn write(&mut self, file: &mut SealedWriter) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let present: Vec<&P> = waiting.iter().flatten().collect();
        let shared = P::shared(&present);
        let mut number = 0;
        if !shared.is_empty() {
            self.sets.push(|out| shared.encode(out));
            number = self.sets.pages.offsets.len() as u64;
        }
        for page in waiting {
            self.pages.push(|out| {
                if let Some(page) = page {
                    push_varint(out, number);
                    page.encode(self.effort, &shared, out);
                }
            });
        }
        self.sets.write(file)?;
        self.pages.write(file)
    }

    /// Where the pages lie, and the sets.
    pub(super) fn finish(self) -> (PagesParts, PagesParts) {
        (self.pages.pages, self.sets.pages)
    }
}
