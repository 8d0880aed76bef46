//! Practice at the prompt: drills, and the skill map, as text.

pub mod drill;
pub mod progress;
mod words;
