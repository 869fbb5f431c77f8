//! How far a long command is, shown on a terminal; elsewhere nothing.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of bytes on stderr.
pub(super) fn bar() -> ProgressBar {
    let template = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Shows that `done` bytes of `total` are done.
pub(super) fn show(bar: &ProgressBar, done: u64, total: u64) {
    bar.set_length(total);
    bar.set_position(done);
}
