//! The care-plan service through its clients, in process, on every database of this machine.
mod accountability;
mod case;
mod plan;
mod task;
mod world;
