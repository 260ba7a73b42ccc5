//! The whole program from outside, in a closed world: no cluster, no environment.
mod bad_input;
mod completion;
mod help;
mod limit;
mod readme;
mod structure;
mod world;
