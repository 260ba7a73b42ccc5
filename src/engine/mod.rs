//! The loop that runs steps, goes on after a crash and rolls back.
//!
//! It knows no cluster and no screen: plain data and two traits ([`Step`] and [`Store`]). Its rules:
//!
//! 1. Write intent, act, write done: [`Record::Started`] is kept before the world is touched. After a
//!    crash, `Started` means "perhaps".
//! 2. `apply` may run again at any point, and is told so ([`Cx::again`]).
//! 3. `undo` covers a half-done `apply`. A step that cannot be undone says why before it is run.
//! 4. What was already so before us is skipped, and rollback leaves it alone.
//! 5. A failure stops and explains. Nothing unwinds by itself.
//! 6. The journal is folded by a pure function; a history that cannot be is an error, never a guess.
//! 7. What a step hands to later steps is typed ([`Key`]) and lives in the journal.
//! 8. One runner per migration: the store confirms the lock before each `apply` and `undo`, and every
//!    entry carries the runner's fencing number.
mod check;
mod codec;
mod event;
mod failure;
mod journal;
mod record;
mod rollback;
mod run;
#[cfg(test)]
mod sealing;
mod step;
mod store;
#[cfg(test)]
mod sweep;

pub use check::{Check, Verdict};
pub use codec::{FORMAT, Header, decode, encode_entry, encode_header};
pub use event::{Event, Limited, Part, Progress, Sink, Unit};
pub use failure::{Failure, Kind};
pub use journal::{Journal, JournalError, State};
pub use record::{Entry, IllegalTransition, Record};
pub use rollback::rollback;
pub use run::{Ended, RunError, run, stands_before};
pub use step::{Cx, Freezes, Holds, Key, Outcome, Probe, Step, Stop, UndoPlan, Undone};
pub use store::{MemoryStore, Store, StoreError};
