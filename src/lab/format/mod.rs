//! Lessons as files: what machines read and English in `lesson.md`, further languages beside it,
//! texts only.

mod alone;
mod answer;
mod asked;
mod compiler;
pub mod declared;
pub mod draft;
mod expect;
pub(crate) mod file;
mod files;
pub(crate) mod lesson;
pub mod library;
mod load;
pub mod pack;
pub(crate) mod prose;
mod question;
pub(crate) mod raw;
mod sentences;
mod step;
mod terms;
#[cfg(test)]
mod tests;
mod text;
mod then;
mod track;
mod translate;

pub use declared::Declared;
pub use files::File;
pub use lesson::{Check, Hint, Lesson, Lost, Predict, Step, Way, Wrong};
pub(crate) use lesson::{Repair, Templates};
pub use library::Library;
pub(crate) use load::Load;
pub use pack::Pack;
pub use prose::sh_blocks;
pub(crate) use question::Odd;
pub use question::{Answer, Form};
pub(crate) use sentences::{Beat, Sentences};
pub(crate) use step::checks;
pub use terms::{Term, Terms};
pub use text::{EN, Fault, Text};
pub(crate) use text::{FAULTS_MAX, OTHERS};
pub use then::Then;
pub use track::VIEWS;
#[cfg(test)]
pub(crate) use track::parse;
