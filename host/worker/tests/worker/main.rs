//! A whole worker on the memory store with a scripted executor.

mod bench;
mod enqueueing;
mod rig;
mod running;
mod stopping;
