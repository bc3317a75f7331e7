//! Black-box tests with the bundled model and real stores: over HTTP, and on the command line.

mod bad_input;
mod choices;
mod cli;
mod collections;
mod company;
mod complete;
mod crash;
mod documents;
mod echo;
mod ending;
mod eval;
mod files;
mod filters;
mod index;
mod interchange;
mod openapi;
mod prefetch;
mod reindex;
mod removal;
mod replace;
mod samples;
mod score;
mod server;
mod startup;
mod support;
mod versions;
