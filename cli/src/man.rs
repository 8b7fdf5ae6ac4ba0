//! `sae man`: the manual pages, made of the same definitions as the help texts.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap_mangen::Man;

use crate::error::{At, CliError};
use crate::output::PendingFile;

/// Write the manual pages to a folder
///
/// sae.1, and a page for each verb: sae-train.1 and so on. `make install` does this.
#[derive(clap::Args)]
pub struct Args {
    /// Folder to write to; it must exist
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Runs the verb. `tool` is the whole command line.
///
/// # Errors
/// If a page cannot be written.
pub fn run(args: &Args, tool: clap::Command) -> Result<ExitCode, CliError> {
    let mut tool = tool.disable_help_subcommand(true);
    // Gives the verbs their full names, as `sae-train`.
    tool.build();
    for verb in tool.get_subcommands() {
        write_page(verb.clone(), &args.folder)?;
    }
    write_page(tool, &args.folder)?;
    Ok(ExitCode::SUCCESS)
}

fn write_page(command: clap::Command, folder: &Path) -> Result<(), CliError> {
    let page =
        Man::new(command).source(concat!("H5Z-SAE ", env!("CARGO_PKG_VERSION"))).manual("User Commands");
    let path = folder.join(page.get_filename());
    let mut text = Vec::new();
    page.render(&mut text).at(path.display())?;
    PendingFile::try_new(&path)?.write(&text)
}
