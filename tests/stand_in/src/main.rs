//! Stands in for Kamaji in tests: a controller that does what was seen of the real one, defects included.
//! It is written from what is known of Kamaji's behaviour, not from its code.
mod api;
mod certificates;
mod channel;
mod cluster;
mod control_plane;
mod datastores;
mod driver;
mod etcd;
mod kine;
mod manager;
mod migrate;
mod migration;
mod mysql;
mod nats;
mod pki;
mod postgres;
mod reconcile;
mod removal;
mod soot;
mod status;
mod storage;
mod store;
mod watch;
mod webhook;

use anyhow::Result;
use clap::Parser;
use tracing_subscriber::EnvFilter;

/// The two programs in Kamaji's one image.
#[derive(Parser)]
#[command(version, about = "stands in for Kamaji in tests")]
enum Command {
    /// Runs the controller and its webhooks.
    Manager(manager::Options),
    /// Copies a tenant's data to another store; what the controller's Jobs run.
    Migrate(migrate::Options),
}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("kamaji_stand_in=info"))
        .with_writer(std::io::stderr)
        .init();
    match Command::parse() {
        Command::Manager(options) => manager::run(options).await,
        Command::Migrate(options) => migrate::run(options).await,
    }
}
