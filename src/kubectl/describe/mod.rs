//! describe: everything about one object, as text.
