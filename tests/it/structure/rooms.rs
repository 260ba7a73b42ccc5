//! The table of rooms, from the top of the house to the ground: a room uses only rooms below it.

/// A folder or file right under `src/`.
pub struct Room {
    /// Its name, as in `crate::NAME`.
    pub name: &'static str,
    /// The rooms that it may import.
    pub uses: &'static [&'static str],
    /// Why it is a room of its own, and uses just these.
    pub why: &'static str,
}

/// All rooms.
pub const ROOMS: &[Room] = &[
    Room {
        name: "main",
        uses: &["lib"],
        why: "the process: its arguments and its exit code; tests call the library instead",
    },
    Room {
        name: "lib",
        uses: &["cli"],
        why: "the list of rooms, and the one function that main calls",
    },
    Room {
        name: "cli",
        uses: &["commands", "context", "error", "flags", "ui"],
        why: "every verb on one page: it reads the command line and shows what the parser says of it",
    },
    Room {
        name: "commands",
        uses: &[
            "playbooks",
            "context",
            "error",
            "state",
            "ui",
            "report",
            "steps",
            "flags",
            "plan",
            "marks",
            "transfer",
            "adapters",
            "engine",
        ],
        why: "a verb puts together what it needs from everywhere below, and shows it; `mover` serves a volume",
    },
    Room {
        name: "playbooks",
        uses: &["steps", "plan", "marks", "transfer", "adapters", "engine"],
        why: "a plan becomes a list of steps; it prints nothing and keeps nothing",
    },
    Room {
        name: "context",
        uses: &["state", "ui", "flags", "plan", "adapters"],
        why: "what all commands are given: the screen, the flags, and doors to clusters that open on first use",
    },
    Room {
        name: "error",
        uses: &["state", "ui", "plan", "adapters", "engine"],
        why: "every error's exit code in one match, so it knows every room's error",
    },
    Room {
        name: "state",
        uses: &["marks", "adapters", "engine"],
        why: "keeps the engine's journal by means of an adapter; steps do not know where it is kept",
    },
    Room {
        name: "ui",
        uses: &["report", "engine"],
        why: "the only room that prints; it shows events and reports, and asks nobody for them",
    },
    Room {
        name: "report",
        uses: &["engine"],
        why: "pure: folds a journal into what people read, in every format",
    },
    Room {
        name: "steps",
        uses: &["plan", "marks", "transfer", "adapters", "engine"],
        why: "changes of the world: they work on clusters and volumes for the engine, and print nothing",
    },
    Room {
        name: "flags",
        uses: &["adapters"],
        why: "the flags of every verb; those of the connection are the adapter's, whose meanings they have",
    },
    Room {
        name: "plan",
        uses: &[],
        why: "what the user wants: plain data and its checks",
    },
    Room {
        name: "marks",
        uses: &[],
        why: "labels and annotations that tell what is ours: one place for names that are written to clusters",
    },
    Room {
        name: "transfer",
        uses: &[],
        why: "the data plane runs in a pod, where there is no cluster to ask and nobody to show anything",
    },
    Room {
        name: "adapters",
        uses: &[],
        why: "the doors to outside systems know these and nothing of us",
    },
    Room {
        name: "engine",
        uses: &[],
        why: "the loop that runs steps and goes back: plain data and traits, tested with no cluster",
    },
];
