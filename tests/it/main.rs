//! The whole program from outside, in a closed world: no cluster, no environment.
mod bad_input;
mod help;
mod structure;
mod world;
