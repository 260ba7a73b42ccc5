//! `kubectl-migrate`: see the library.
use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(kubectl_migrate::run(std::env::args_os().collect()))
}
