//! # api
