//! What the whole-system specifications share: the workspace as it is written, and the built system as it runs.
#![forbid(unsafe_code)]

pub mod measure;
pub mod workspace;
