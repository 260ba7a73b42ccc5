//! Where a journal is kept, and the lock on it: a `ConfigMap` with a Lease, or a file.
