//! The integration tests: one binary, so that they link once. They drive the real program.

mod abroad;
mod bad_input;
mod book;
mod clients;
mod crash;
mod custom;
mod etcd;
mod exercise;
mod floors;
mod kubectl;
mod labs;
mod leaks;
mod lessons;
mod oracle;
mod pictures;
mod play;
mod policy;
mod probes;
mod repl;
mod seat;
mod shell;
mod support;
mod towers;
mod tui;
mod undo;
mod workloads;
