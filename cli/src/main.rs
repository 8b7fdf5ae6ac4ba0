//! The command-line tool `sae`.
fn main() {}
