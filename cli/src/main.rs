//! The command-line tool `sae`: arguments in, exit code out. Each verb has its own file.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

mod bound;
mod check;
mod chunking;
mod completions;
mod compress;
mod device;
mod embed;
mod embedding;
mod error;
mod fields;
mod filter_args;
mod h5;
mod info;
mod interrupt;
mod man;
mod method_counts;
mod models;
mod output;
mod picture;
mod progress;
mod repack;
mod scattering;
mod synth;
mod train;
mod unpack;
mod values;
mod verify;
mod workers;

/// Trains, applies and checks the error-bounded compression of HDF5 files by sparse autoencoders.
#[derive(Parser)]
#[command(version, name = "sae", after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Completions(completions::Args),
    Embed(embed::EmbedArgs),
    Extract(embed::ExtractArgs),
    FilterArgs(filter_args::Args),
    Info(info::Args),
    Man(man::Args),
    Repack(repack::Args),
    Synth(synth::Args),
    Train(Box<train::Args>),
    Unpack(unpack::Args),
    Verify(verify::Args),
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 a promise is broken, as `verify` found, or `repack` when it read \
                          back what it wrote; 2 anything else went wrong (arguments, files, data); 130 interrupted.";

fn main() -> ExitCode {
    let cli = Cli::parse();
    interrupt::watch();
    let result = match cli.verb {
        Verb::Completions(args) => completions::run(&args, Cli::command()),
        Verb::Embed(args) => embed::embed(&args),
        Verb::Extract(args) => embed::extract(&args),
        Verb::FilterArgs(args) => filter_args::run(&args),
        Verb::Info(args) => info::run(&args),
        Verb::Man(args) => man::run(&args, Cli::command()),
        Verb::Repack(args) => repack::run(&args),
        Verb::Synth(args) => synth::run(&args),
        Verb::Train(args) => train::run(&args),
        Verb::Unpack(args) => unpack::run(&args),
        Verb::Verify(args) => verify::run(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("sae: {error}");
        error.exit_code()
    })
}
