//! A simulated world for members: a disk that loses power, a network that loses messages, time that only moves when told.
pub mod disk;
