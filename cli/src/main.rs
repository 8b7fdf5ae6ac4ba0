//! The command-line tool `sae`: arguments in, exit code out. Each verb has its own file.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bound;
//X mod compress;
mod error;
mod filter_args;
//X mod h5;
//X mod info;
mod interrupt;
//X mod method_counts;
mod models;
mod output;
//X mod picture;
mod progress;
//X mod repack;
mod scattering;
mod synth;
//X mod unpack;
//X mod verify;

/// Trains, applies and checks the error-bounded compression of HDF5 files by sparse autoencoders.
#[derive(Parser)]
#[command(version, name = "sae", after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    FilterArgs(filter_args::Args),
//X    Info(info::Args),
//X    Repack(repack::Args),
    Synth(synth::Args),
//X    Unpack(unpack::Args),
//X    Verify(verify::Args),
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 `verify` found a broken promise; 2 anything else went wrong \
                          (arguments, files, data); 130 interrupted.";

fn main() -> ExitCode {
    let cli = Cli::parse();
    interrupt::watch();
    let result = match cli.verb {
        Verb::FilterArgs(args) => filter_args::run(&args),
//X        Verb::Info(args) => info::run(&args),
//X        Verb::Repack(args) => repack::run(&args),
        Verb::Synth(args) => synth::run(&args),
//X        Verb::Unpack(args) => unpack::run(&args),
//X        Verb::Verify(args) => verify::run(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("sae: {error}");
        error.exit_code()
    })
}
