//! `kubectl migrate`: moves the state of running workloads on Kubernetes, with proof that nothing was
//! lost and a way back at every step.
//!
//! Seven words, used alike in code, help and README:
//!
//! | word | is |
//! |---|---|
//! | **plan** | what the user wants: the YAML file, parsed and checked ([`plan`]) |
//! | **playbook** | turns a plan into a list of steps ([`playbooks`]) |
//! | **step** | one change to the world that can be looked at, made and put back ([`steps`]) |
//! | **journal** | what happened so far: an append-only list of entries ([`engine`], kept by [`state`]) |
//! | **event** | a journal entry or a progress figure, on its way to a screen or a file ([`engine`], [`ui`]) |
//! | **adapter** | the door to one outside system ([`adapters`]) |
//! | **mover** | our own binary running in a pod, next to a volume, as the data plane ([`transfer`]) |
pub mod adapters;
pub mod cli;
pub mod commands;
pub mod context;
pub mod engine;
pub mod error;
pub mod flags;
pub mod marks;
pub mod plan;
pub mod playbooks;
pub mod report;
pub mod state;
pub mod steps;
pub mod transfer;
pub mod ui;

pub use cli::run;
