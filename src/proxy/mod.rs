//! # proxy
