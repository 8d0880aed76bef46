//! A runtime that only remembers what it was asked: for simulated nodes and tests.
