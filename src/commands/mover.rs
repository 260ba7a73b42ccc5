use std::{path::PathBuf, time::Duration};

use super::object_store;
use crate::{
    error::Kind,
    plan::Span,
    transfer::{
        Side,
        mover::{DEFAULT_PORT, Ended, MoverConfig, serve},
        report::Shape,
    },
    ui::{Ending, Options, Ui},
};

/// Serve a volume: what the pods that carry the data do
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Which volume of the two: source or target
    #[arg(long, value_parser = side)]
    side: Side,
    /// Where the volume is mounted
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "device",
        conflicts_with = "device"
    )]
    root: Option<PathBuf>,
    /// The block device, for a volume that is one
    #[arg(long, value_name = "FILE")]
    device: Option<PathBuf>,
    /// The folder of the keys
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// The run that it belongs to
    #[arg(long, value_name = "ID")]
    run: String,
    /// The port to listen on
    #[arg(long, default_value_t = DEFAULT_PORT)]
    port: u16,
    /// How long it waits for a client before it ends
    #[arg(long, default_value = "15m")]
    idle: Span,
}

fn side(text: &str) -> Result<Side, String> {
    match text {
        "source" => Ok(Side::Source),
        "target" => Ok(Side::Target),
        _ => Err("it is source or target".to_owned()),
    }
}

/// Runs the verb: it returns when the mover ends.
pub(crate) fn run(args: &Args) -> Kind {
    let (path, shape) = match (&args.root, &args.device) {
        (_, Some(device)) => (device.clone(), Shape::Device),
        (root, None) => (root.clone().unwrap_or_default(), Shape::Directory),
    };
    let idle_limit: Duration = args.idle.0;
    let config = MoverConfig {
        side: args.side,
        path,
        shape,
        port: args.port,
        keys: args.keys.clone(),
        run: args.run.clone(),
        idle_limit,
        open_store: object_store::open,
        trusted_after: None,
    };
    match serve(&config) {
        // A Job takes an end without an error for the end of its work, and would not start another mover.
        Ok(Ended::Signal) => Kind::Interrupted,
        Ok(Ended::Stopped | Ended::Idle) => Kind::Done,
        Err(error) => {
            let ui = Ui::new(Options::of("kubectl-migrate mover"));
            ui.ending(&Ending::of(&error.into()));
            Kind::Error
        }
    }
}
