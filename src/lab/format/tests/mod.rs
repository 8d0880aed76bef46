//! What holds for lessons as they are written: their keys, the examples of the authors' chapter,
//! and the course as a whole.

mod chapter;
mod check;
mod cluster;
mod course;
mod words;
