//! Changes to the world, shared by verbs and playbooks.
pub mod freeze;
pub mod marks;
mod place;

pub use place::Place;
