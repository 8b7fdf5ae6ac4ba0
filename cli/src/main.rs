//! The command-line tool `sae`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod error;
mod interrupt;
mod output;
mod train;

#[derive(Parser)]
#[command(version, name = "sae")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Train(train::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    interrupt::watch();
    let result = match cli.verb {
        Verb::Train(args) => train::run(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("sae: {error}");
        error.exit_code()
    })
}
