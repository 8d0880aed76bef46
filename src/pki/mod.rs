//! # pki
