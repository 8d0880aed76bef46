//! # applets
