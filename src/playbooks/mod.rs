//! What turns a plan into a list of steps.
