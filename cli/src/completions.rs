//! `sae completions`: what lets a shell complete the tool's verbs and options.

use std::process::ExitCode;

use clap_complete::Shell;

use crate::error::CliError;
use crate::output::print;

/// Print completions for a shell
///
/// `make install` puts them where bash, zsh and fish look. By hand, for bash: sae completions bash
/// >~/.local/share/bash-completion/completions/sae
#[derive(clap::Args)]
pub struct Args {
    /// Shell to print for
    shell: Shell,
}

/// Runs the verb. `tool` is the whole command line.
///
/// # Errors
/// If stdout cannot be written.
pub fn run(args: &Args, mut tool: clap::Command) -> Result<ExitCode, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut tool, "sae", &mut script);
    print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}
