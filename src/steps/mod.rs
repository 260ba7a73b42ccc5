//! Changes to the world, shared by verbs and playbooks.
pub mod inventory;
pub mod movers;
mod place;

pub use place::Place;
