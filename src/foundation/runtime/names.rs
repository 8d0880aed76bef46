//! Names of sandboxes and containers that are being made. A caller that stopped waiting may ask
//! again while the first call goes on; then it is refused instead of getting a twin that no
//! caller ends. containerd reserves names for the same reason (`registrar`).

use cri::{Error, Result};
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Names that calls in progress have reserved.
#[derive(Clone, Default)]
pub(crate) struct Names(Arc<Mutex<BTreeSet<String>>>);

/// A reserved name, until it is dropped.
pub(crate) struct Reserved {
    names: Names,
    name: String,
}

impl Names {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock()
    }

    /// Reserves a name. `is_made` is asked after that: whether there is one of that name already.
    ///
    /// # Errors
    /// `State`: another call makes it, or it is there.
    pub(crate) fn reserve(&self, name: String, is_made: impl FnOnce() -> bool) -> Result<Reserved> {
        if !self.lock().insert(name.clone()) {
            return Err(Error::State(format!("name {name:?} is reserved: an earlier call still makes it")));
        }
        let reserved = Reserved { names: self.clone(), name };
        match is_made() {
            true => Err(Error::State(format!("name {:?} is reserved: it is there", reserved.name))),
            false => Ok(reserved),
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.names.lock().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_maker() {
        let names = Names::default();
        let refused = |made: bool| names.reserve("u/0".into(), || made).err().map(|e| e.line());
        let first = names.reserve("u/0".into(), || false).unwrap();
        assert!(refused(false).unwrap().contains("still makes it"));
        assert!(names.reserve("u/1".into(), || false).is_ok(), "another attempt is another name");
        drop(first);
        assert!(refused(true).unwrap().contains("it is there"));
        assert_eq!(refused(false), None, "a refusal holds no name");
    }
}
