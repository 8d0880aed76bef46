//! # runtime
