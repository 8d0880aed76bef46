//! Labs as files: `labs/NAME/lab.md` holds what machines read and English, `lab.ko.md` texts only.

mod lab;
mod labs;
mod parse;
mod written;

pub use lab::{Also, Hint, Lab, Task, Wrong};
pub use labs::{DIRECTORY, Labs, directory};
