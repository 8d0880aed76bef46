//! Undo and redo of what people did, beside the registry and in the same transactions.
//!
//! | file | part |
//! |---|---|
//! | `steps` | which writes belong to one step, and which steps are undone |
//! | `restore` | the objects as they were at an earlier revision, in one transaction |
//! | `origin` | the revision from which on there is a cluster to go back to |

mod origin;
pub(crate) mod restore;
pub(crate) mod steps;
