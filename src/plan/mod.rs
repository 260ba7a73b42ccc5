//! The plan file: its types, reading, checking with field paths, and its digest.
