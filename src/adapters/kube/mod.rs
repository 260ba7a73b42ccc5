//! Kubernetes: connecting as kubectl does, with retries, bounded waits and evidence.
