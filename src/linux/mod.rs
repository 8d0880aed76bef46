//! # linux
