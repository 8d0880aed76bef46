//! # raft
