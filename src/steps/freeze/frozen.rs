//! What the step leaves in the journal.
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Original;
use crate::{engine::Key, plan::FreezeMode};

/// The id of the step.
pub(super) const ID: &str = "freeze";

/// What the freeze left; later steps rely on it.
pub const FROZEN: Key<Frozen> = Key::new(ID);

/// A freeze that was proved.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Frozen {
    /// The workload's uid: another object of the same name is another workload.
    pub uid: String,
    /// `metadata.generation` after the freeze: every later change of the spec shows in it.
    pub generation: i64,
    /// How it was frozen.
    pub mode: FreezeMode,
    /// What was replaced.
    pub original: Original,
    /// When it was proved that writing had stopped, for readers.
    pub frozen_at: Timestamp,
}
