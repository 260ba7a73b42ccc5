//! A snapshot is tried: brought back into a namespace of its own, with a closed network, started, looked at, and taken
//! away again.
mod answer;
mod examine;
mod probe;
mod scratch;
mod sealed;
#[cfg(test)]
mod tests;
mod wall;

pub use answer::{ANSWERED, Answer, Answered};
pub use examine::{EXAMINED, Examine, Examined};
pub use scratch::{SCRATCH_ROLE, Scratch, TearDown, let_volumes_go, scratch_name};
pub use wall::{WALLED, Wall, Walled};
