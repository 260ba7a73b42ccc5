//! Two movers in one process, over loopback, with a client.
