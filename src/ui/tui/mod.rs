//! # The interface: lesson, map and shell
//!
//! ## In Kubernetes
//! Dashboards poll the API and draw what is. None shows how it came to be, because no part of Kubernetes tells every hop.
//! ## How this one works
//! A pure core between two edges:
//! ```text
//! keyboard ─┐                                  ┌─▶ bytes for the shell's terminal
//! shell     ├─▶ Event ─▶ update(Model) ─▶ Effect ─▶ questions to the lesson engine
//! records   │              │                   └─▶ suspend, quit
//! objects  ─┘              └─▶ render(Model) ─▶ cells
//! ```
//! [`model`] is plain data, [`update`] and [`render`] are functions without a clock, a socket or a terminal, so every picture can be
//! compared with a stored one. [`edge`] is the one loop around them; it draws only when something looks different. The shell
//! pane is [`super::repl`] on a terminal of its own ([`terminal`]): kubectl, completion and the words of lessons live there, once.
//! [`flow`] turns records into the hops of a command and plays them at a speed that eyes can follow; [`map`] draws them.
//! ## Left out
//! A selection of text that ends at a pane's edge (Shift and the mouse select as the terminal does it). The time view compares
//! nothing yet: it lists what was done and writes the `rewind` that undoes it.
//! ## Read next
//! [`flow`], then [`map`].

pub mod agreement;
pub mod cluster;
mod edge;
pub mod event;
pub mod flow;
pub mod keys;
pub mod layout;
pub mod look;
pub mod map;
pub mod markdown;
pub mod model;
pub mod render;
pub mod terminal;
pub mod text;
pub mod update;
pub mod words;

pub use edge::{Setting, run};

#[cfg(test)]
mod tests;
