//! One verb, one file: its arguments (whose comments are the help) and what it does.
