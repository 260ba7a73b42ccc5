//! Changes to the world, shared by verbs and playbooks.
mod about;
pub mod archives;
pub mod checks;
pub mod copy;
pub mod drills;
pub mod freeze;
pub mod hand_over;
pub mod in_place;
pub mod inventory;
pub mod kamaji;
mod kept_claims;
pub mod movers;
mod place;
pub mod preflight;
pub mod prepare;
mod ready;
pub mod receipt;
pub mod release;
pub mod restores;
pub mod rights;
pub mod snapshots;
pub mod start_target;
mod take_down;
mod target_objects;
mod users;
mod verified_claims;
pub mod verify;

pub use about::{About, OfSnapshot};
pub use place::Place;
use users::Users;

/// The size in bytes that a volume asks for at the target.
fn target_capacity(volume: &inventory::Volume) -> u64 {
    let size: Result<crate::plan::Quantity, _> = volume.size.parse();
    // It was read from the plan or from the API server; both write quantities only.
    size.map_or(volume.capacity, |size| size.bytes())
}
