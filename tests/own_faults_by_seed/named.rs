//! Faults that a seed has found, each by its own call.
