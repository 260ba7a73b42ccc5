//! The flags that every verb has.
use std::path::PathBuf;

use clap::{ValueEnum, builder::PossibleValue};

use crate::adapters::kube::ConnectionFlags;

/// Flags that every verb has.
#[derive(clap::Args, Clone, Debug)]
pub struct Global {
    /// Kubeconfig context of the target's cluster
    #[arg(long, global = true, value_name = "NAME", help_heading = "Target")]
    pub(crate) to_context: Option<String>,
    /// Kubeconfig file of the target's cluster
    #[arg(long, global = true, value_name = "FILE", help_heading = "Target")]
    pub(crate) to_kubeconfig: Option<PathBuf>,
    /// Namespace of the target
    #[arg(long, global = true, value_name = "NAME", help_heading = "Target")]
    pub(crate) to_namespace: Option<String>,
    /// Keep the journal in this file instead of in the cluster
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) mover: MoverFlags,
    /// Name under which changes are recorded on objects
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        default_value = "kubectl-migrate"
    )]
    pub(crate) field_manager: String,
    /// Say nothing but failures
    #[arg(long, short = 'q', global = true)]
    pub(crate) quiet: bool,
    /// Answer with yes what can be put back, such as stopping writes
    #[arg(long, short = 'y', global = true)]
    pub(crate) yes: bool,
    /// Name of what cannot be undone, in place of typing it
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
    /// Print without colours
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    /// How much is logged, from 0 to 9
    #[arg(
        long,
        short = 'v',
        // kubectl's `--v=6`.
        alias = "v",
        global = true,
        value_name = "LEVEL",
        default_value_t = 0
    )]
    pub(crate) verbose: u8,
    // The last: its heading would be that of every flag after it.
    #[command(flatten)]
    pub(crate) connection: ConnectionFlags,
}

/// Flags about the pods that carry the data.
#[derive(clap::Args, Clone, Debug)]
pub struct MoverFlags {
    /// Image of the pods that carry the data
    #[arg(
        id = "mover_image",
        long = "mover-image",
        global = true,
        value_name = "IMAGE"
    )]
    pub(crate) image: Option<String>,
    /// Put this program into pods of an image that the nodes have, so that no registry is needed
    #[arg(id = "put_mover", long = "put-mover", global = true)]
    pub(crate) put: bool,
    /// Executable to put there instead, for nodes of another architecture
    #[arg(
        id = "mover_executable",
        long = "mover-executable",
        global = true,
        value_name = "FILE"
    )]
    pub(crate) executable: Option<PathBuf>,
}

/// Whether changes are made, only checked by the server, or only shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DryRun {
    /// Make the changes.
    #[default]
    None,
    /// Show what would be done.
    Client,
    /// Send each change to the server, which checks it and drops it.
    Server,
}

// By hand: a text for each value would blow up the help of every verb that has the flag.
impl ValueEnum for DryRun {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::None, Self::Client, Self::Server]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::None => "none",
            Self::Client => "client",
            Self::Server => "server",
        }))
    }
}
