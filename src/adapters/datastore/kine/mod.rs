//! kine's table: one row per change of a key, in a database that has the schema's name.
//!
//! Ids are the revisions that clients of the API server know, so a copy keeps them, with all else in a row. Rows
//! do not change once they are there, but for the one of [`COMPACT_KEY`]; compaction removes them.
mod bound;
mod class;
mod compare;
mod copy;
mod credentials;
mod definition;
mod dump;
mod findings;
mod later;
mod lead;
mod merge;
mod ours;
mod relay;
mod row;
mod server;
mod stream;
mod table;
mod writers;

pub(super) use bound::{CONNECT_BOUND, SILENCE_BOUND, STATEMENT_BOUND, within};
pub(super) use compare::compare;
pub(super) use copy::{At, copy_all, copy_since};
pub(super) use definition::Definition;
pub(super) use dump::{dump, load};
pub(super) use findings::{Seen, finding, findings};
pub(super) use later::later;
pub(super) use lead::{gap, lead};
pub(super) use merge::{Merge, Side};
pub(super) use ours::refuse_foreign_rows;
pub(super) use relay::Relay;
pub(super) use row::Row;
pub(super) use server::{Dialect, Meaning, Server};
pub(super) use stream::{Rows, Sink};
pub(super) use table::{Batch, Readable, Selection, Table};

use credentials::check_credentials;

/// The row whose `prev_revision` is the revision that kine has compacted to. It is changed in place.
pub(super) const COMPACT_KEY: &str = "compact_rev_key";
