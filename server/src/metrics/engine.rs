//! What the engine counts.

use silverback::storage::budget::{Budget, Class};
use silverback::storage::db::{CompactionCounters, DbStats};
use silverback::storage::wal::{SYNC_BIN_ENDS_US, WalCounters};

use super::{Kind, Text};

/// Writes the engine's figures.
pub(crate) fn render(stats: &DbStats, text: &mut Text) {
    let gauges = [
        ("databases", "Databases.", stats.databases),
        (
            "measurements",
            "Measurements of all databases.",
            stats.measurements,
        ),
        (
            "series",
            "Series ever made, of the databases that live.",
            stats.series,
        ),
        ("blocks", "Live blocks.", stats.blocks),
        ("block_bytes", "Size of the live blocks.", stats.block_bytes),
        ("block_rows", "Rows of the live blocks.", stats.block_rows),
        (
            "damaged_blocks",
            "Blocks that cannot be opened, or in which a reader met damage.",
            stats.damaged_blocks,
        ),
        (
            "tombstones",
            "Deletes that may hide rows which are stored yet.",
            stats.tombstones,
        ),
        ("memtable_rows", "Rows in memory.", stats.memtable_rows),
        (
            "memtable_bytes",
            "Memory of the rows in memory.",
            stats.memtable_bytes,
        ),
        (
            "index_bytes",
            "Memory of series and their index.",
            stats.index_bytes,
        ),
        (
            "registry_files",
            "Files of series keys.",
            stats.registry_files,
        ),
        (
            "retention_waits",
            "Databases whose retention waits to be confirmed, or for an hour.",
            stats.retention_waits.len() as u64,
        ),
        (
            "problems",
            "What is wrong with stored bytes, or keeps failing.",
            stats.problem_count,
        ),
    ];
    text.singles(Kind::Gauge, gauges);
    render_scrub(stats, text);
    render_counters(stats, text);
    render_compaction(&stats.compaction, text);
    render_syncs(&stats.log, text);
}

/// Writes the memory budget: what each class takes, and how often it was enforced.
pub(crate) fn render_budget(budget: &Budget, text: &mut Text) {
    let usage = budget.usage();
    let help = "Memory for all that is held (memory_budget).";
    text.single(
        "memory_budget_bytes",
        Kind::Gauge,
        help,
        budget.limit_bytes(),
    );
    let name = "memory_used_bytes";
    text.family(name, Kind::Gauge, "What is held, by what it is for.");
    for class in Class::ALL {
        text.sample(name, &[("class", class.name())], usage.class(class));
    }
    text.sample(name, &[("class", "other")], usage.rest);
    let help = "Part of the class memtable that running queries keep from being freed.";
    text.single("memory_pinned_bytes", Kind::Gauge, help, usage.pinned);
    let counters = budget.counters();
    let families = [
        (
            "writes_refused_for_memory_total",
            "Writes refused because memory was short.",
            counters.writes_refused,
        ),
        (
            "writes_slowed_for_memory_total",
            "Writes whose acknowledgement was held back because memory was getting short.",
            counters.writes_slowed,
        ),
        (
            "queries_stopped_for_memory_total",
            "Queries stopped so that writes go on.",
            counters.queries_stopped,
        ),
    ];
    text.singles(Kind::Counter, families);
}

/// Online verification, and what is kept back for a full disk.
fn render_scrub(stats: &DbStats, text: &mut Text) {
    let scrub = &stats.scrub;
    let gauges = [
        (
            "scrub_pass_bytes",
            "Bytes of the pass of the scrubber that runs.",
            scrub.pass_bytes,
        ),
        (
            "scrub_pass_done_bytes",
            "Bytes of it that are read.",
            scrub.pass_done_bytes,
        ),
        (
            "reserve_bytes",
            "Space kept back for a full disk.",
            stats.reserve_bytes,
        ),
    ];
    text.singles(Kind::Gauge, gauges);
    let last = scrub.last_pass_ns / 1_000_000_000;
    let help = "When the scrubber's last pass ended, 0 where none did.";
    text.single("scrub_last_pass_timestamp_seconds", Kind::Gauge, help, last);
    let counters = [
        (
            "scrub_passes_total",
            "Passes of the scrubber.",
            scrub.passes,
        ),
        ("scrub_bytes_total", "Bytes it read.", scrub.bytes),
    ];
    text.singles(Kind::Counter, counters);
}

/// What only grows.
fn render_counters(stats: &DbStats, text: &mut Text) {
    let log = &stats.log;
    let counters = [
        (
            "rows_written_total",
            "Rows the engine took.",
            stats.rows_written,
        ),
        (
            "rows_rejected_total",
            "Rows the engine rejected.",
            stats.rows_rejected,
        ),
        ("flushes_total", "Flushes.", stats.flushes),
        ("flushed_rows_total", "Rows flushed.", stats.flushed_rows),
        (
            "retention_blocks_total",
            "Blocks that retention dropped or cut.",
            stats.retention_blocks,
        ),
        (
            "log_groups_total",
            "Groups of writes that shared a sync.",
            log.groups,
        ),
        (
            "log_submissions_total",
            "Writes in the log.",
            log.submissions,
        ),
        ("log_bytes_total", "Bytes written to the log.", log.bytes),
        (
            "log_sync_failures_total",
            "Syncs of the log that failed.",
            log.sync_failures,
        ),
        (
            "log_refused_total",
            "Writes refused after they were queued.",
            log.refused,
        ),
        (
            "log_refused_acknowledged_total",
            "Those of them that had asked for durability=memory and were answered.",
            log.refused_acknowledged,
        ),
        (
            "log_segments_total",
            "Segments of the log made.",
            log.segments,
        ),
        (
            "log_cut_bytes_total",
            "Bytes of an unfinished write that were cut off the log at the start.",
            stats.torn.as_ref().map_or(0, |torn| torn.bytes),
        ),
    ];
    text.singles(Kind::Counter, counters);
}

/// What compaction came to, and what it is at.
fn render_compaction(compaction: &CompactionCounters, text: &mut Text) {
    let gauges = [
        (
            "compaction_debt_bytes",
            "Bytes of blocks that wait to be merged.",
            compaction.debt_bytes,
        ),
        (
            "compaction_job_rows",
            "Rows of the merge that runs, 0 where none does.",
            compaction.job_rows,
        ),
        (
            "compaction_job_rows_done",
            "Rows of it that went through.",
            compaction.job_rows_done,
        ),
    ];
    text.singles(Kind::Gauge, gauges);
    let counters = [
        ("compactions_total", "Merges of blocks.", compaction.merges),
        (
            "compaction_rows_total",
            "Rows that went through merges.",
            compaction.rows,
        ),
        (
            "compaction_read_bytes_total",
            "Bytes of blocks that were merged.",
            compaction.bytes_read,
        ),
        (
            "compaction_written_bytes_total",
            "Bytes of blocks that took their place.",
            compaction.bytes_written,
        ),
    ];
    text.singles(Kind::Counter, counters);
    let us = compaction.paused_us;
    let paused = format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    let help = "Time that merges rested so that others work.";
    text.single(
        "compaction_paused_seconds_total",
        Kind::Counter,
        help,
        paused,
    );
}

/// How long the log's syncs took.
fn render_syncs(log: &WalCounters, text: &mut Text) {
    let name = "log_sync_duration_seconds";
    text.family(name, Kind::Histogram, "Time of a sync of the log.");
    let mut count = 0;
    for (end_us, bin) in SYNC_BIN_ENDS_US.iter().zip(log.sync_bins) {
        count += bin;
        let bound = format!("{}.{:06}", end_us / 1_000_000, end_us % 1_000_000);
        text.sample(&format!("{name}_bucket"), &[("le", &bound)], count);
    }
    text.sample(&format!("{name}_bucket"), &[("le", "+Inf")], log.syncs);
    text.sample(&format!("{name}_sum"), &[], log.sync_time.as_secs_f64());
    text.sample(&format!("{name}_count"), &[], log.syncs);
}
