//! # cluster
