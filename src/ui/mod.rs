//! Everything that a person sees. This is the only room that prints.
//!
//! Data goes to standard output; progress, questions and endings go to standard error. Every text that
//! comes from elsewhere is made safe for a terminal here ([`visible`]).
pub mod amount;
mod checks;
mod error;
mod format;
mod look;
mod options;
mod plan;
mod preflight;
mod progress;
mod prompt;
mod prune;
mod removal;
mod report;
mod screen;
mod snapshots;
mod status;
mod stream;
mod table;
mod visible;
mod watch;

pub use checks::CheckRow;
pub use error::Ending;
pub use format::{Format, FormatError};
pub use look::{Look, Tone};
pub use options::{Environment, Options};
pub use plan::{FreezeForecast, PlanStep, PlanView};
pub use preflight::{PreflightView, StepCheck};
pub use progress::LINE_INTERVAL;
pub use prompt::PromptError;
pub use prune::{PruneFate, PruneReason, PruneRow, PruneView};
pub use removal::Removal;
pub use screen::{Log, Ui, Written};
pub use snapshots::{SnapshotCheck, SnapshotChecked, SnapshotRow, SnapshotState, SnapshotVolume};
pub use status::StatusRow;
pub use stream::OutputError;
pub use visible::{visible, visible_bytes, visible_lines};
pub use watch::Snapshot;
