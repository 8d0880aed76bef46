//! # api
pub mod quantity;
