//! # addons
