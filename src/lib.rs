//! RETRO (Borgeaud et al. 2021, arXiv 2112.04426) as an HTTP server: a small Transformer that looks its facts up in a database.
//!
//! The modules are floors of a house, lowest first; an import only ever points down (docs/architecture.md).

mod batch_cache;
#[cfg(any(test, fuzzing))]
mod caught;
pub mod files;
pub mod invalid;
pub mod keys;
pub mod metrics;
pub mod names;
mod object;
mod panics;
mod schemas;
pub mod settings;
pub mod telemetry;

pub mod text;

pub mod onnx;

pub mod embedder;
pub mod model;

pub mod neighbours;

pub mod catalogue;

pub mod ingest;

pub mod backup;
pub mod consistency;

pub mod generate;

pub mod app;

pub mod cli;
pub mod http;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
