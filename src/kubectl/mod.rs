//! # kubectl
