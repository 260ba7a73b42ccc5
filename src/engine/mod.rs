//! The loop that runs steps, goes on after a crash and rolls back. It imports none of ours.
