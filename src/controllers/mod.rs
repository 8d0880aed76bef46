//! # controllers
