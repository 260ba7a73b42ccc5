//! The data plane: listing, comparing, moving and verifying a volume, mover to mover.
