//! `silverback completions SHELL`.

use crate::exit::{Exit, Failure};

/// Options of `completions`.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

/// Prints what the shell has to source.
pub(super) fn completions(
    args: &CompletionsArgs,
    mut command: clap::Command,
) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "silverback", &mut script);
    super::print(&script)
}
