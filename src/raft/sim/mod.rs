//! A simulated world for members: a disk that loses power, a network that loses messages, time that only moves when
//! told. One thread, one seed, one history: `ROPEWALK_SIM_SEED=8841 cargo test raft::sim` shows it again,
//! `ROPEWALK_SIM_SEEDS=100000` runs more of them.
pub mod disk;
mod tests;
mod world;
