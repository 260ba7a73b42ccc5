//! One verb, one file: its arguments (whose comments are the help) and what it does.
mod anew;
mod begun;
mod bucket;
pub(crate) mod cleanup;
pub(crate) mod complete;
pub(crate) mod completion;
mod consent;
pub(crate) mod copy;
pub(crate) mod ending;
mod examples;
pub(crate) mod freeze;
mod identity;
pub(crate) mod limit;
mod limits;
pub(crate) mod mark;
pub(crate) mod mover;
mod named;
mod object_store;
mod path;
pub(crate) mod plan;
pub(crate) mod preflight;
pub(crate) mod report;
pub(crate) mod restore;
pub(crate) mod restore_check;
pub(crate) mod rollback;
pub(crate) mod run;
mod session;
mod signals;
pub(crate) mod snapshot;
pub(crate) mod status;
pub(crate) mod switch_datastore;
pub(crate) mod thaw;
pub(crate) mod version;
pub(crate) mod wall;

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing_subscriber::{EnvFilter, fmt::writer::BoxMakeWriter};

use crate::{
    adapters::datastore::{Meter, Reading},
    context::Context,
    error::Kind,
    flags::Global,
    ui::{
        Ending, Options, Ui,
        amount::{bytes, count},
    },
};

/// The screen's options out of the global flags.
pub(crate) fn ui_options(program: String, flags: &Global) -> Options {
    Options {
        program,
        no_color: flags.no_color,
        quiet: flags.quiet,
        yes: flags.yes,
        verbose: flags.verbose > 0,
        confirm: flags.confirm.clone(),
    }
}

/// Logs to standard error, much as kubectl's levels are used: nothing below `-v 4`, then what libraries
/// tell (4), each request (6), and everything (8).
pub(crate) fn log(ui: &Ui, level: u8) {
    let filter = match level {
        0..=3 => return,
        4 | 5 => "info",
        6 | 7 => "debug",
        _ => "trace",
    };
    let ui = ui.clone();
    let writer = BoxMakeWriter::new(move || ui.log());
    // A second run in the same process keeps the first one's log.
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(writer)
        .with_ansi(false)
        .try_init()
        .ok();
}

/// A meter of a tenant's keys that is shown as a line, now and then.
fn tenant_meter(cx: &Context) -> Meter {
    const EACH: Duration = Duration::from_secs(5);
    let ui = cx.ui.clone();
    let last = Mutex::new(Instant::now());
    Meter::new(move |reading: Reading| {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() >= EACH {
            *last = Instant::now();
            ui.say(&format!(
                "{} records, {}",
                count(reading.keys),
                bytes(reading.bytes)
            ));
        }
    })
}

/// The runtime could not be made.
pub(crate) fn failed_to_start(program: &str, error: &std::io::Error) -> u8 {
    let ui = Ui::new(Options::of(program));
    ui.ending(&Ending {
        message: format!("failed to start threads: {error}"),
        ..Ending::default()
    });
    Kind::Error.code()
}
