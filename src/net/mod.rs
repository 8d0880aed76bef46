//! # net
