//! A simulated world for members: a disk that loses power, a network that loses messages, time that
//! moves only when a test moves it. One thread, one seed, one history. What lives on the members is
//! a [`guest`]: numbers here, the whole store in `etcd::sim`. `ROPEWALK_SEEDS=100000 cargo test
//! --profile sim -p raft --lib sim::` runs more histories, `ROPEWALK_SEEDS=1
//! ROPEWALK_SEED_FROM=8841` one again.
mod checks;
pub mod disk;
mod faults;
pub mod guest;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod values;
pub mod world;
