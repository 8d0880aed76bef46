//! Cgroups: how much a container may use, how much it used, and whether it died of it.
//!
//! Three worlds: v2 has one tree with all controllers, v1 one tree per controller, hybrid machines
//! v1 trees plus a v2 tree without controllers, which still kills a whole group at once. cgroups-rs
//! writes the limits of v1, and of v2 that on processes. Every limit of a pod or a container is
//! read back after it was written: an error that says which one does not hold is better than a
//! container without it. Those of the cluster's own group and `memory.oom.group` are not: the
//! cluster runs without them too. Where no tree is writable there are no limits, and `describe`
//! says why. On v2 the group above has to give controllers, which `delegation` switches on and off
//! again; one that it does not have limits nothing, and the others do.
//!
//! ```text
//! ropewalk-1f2e3d4c5b6a7988     the cluster, upstream's `kubepods`: leaves the host some memory
//!                               and process numbers
//!   <sandbox>                   a pod: processes, share of the processors, limits of all its
//!                               containers together
//!     pause
//!     <container>               a container: its own limits
//! ```

mod backend;
mod cluster_limits;
mod delegation;
mod devices;
mod files;
mod find;
mod remembered;
mod v1;
mod v2;

use super::usage::Usage;
use super::{Error, Result};
use files::clear_all;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

pub use backend::{BUSY, Backend, Entry, Group, Lack, Limits, Missing, PATIENCE, Shared};
pub use cluster_limits::available_memory;
pub use find::{Found, find};

/// Chooses a backend for this process and makes the cluster's group, e.g.
/// `ropewalk-1f2e3d4c5b6a7988`. A group left over from a supervisor that was killed is removed
/// first. Never fails: without cgroups containers run without limits.
///
/// `remember` is where the places of the group are written down before it is made, and what is
/// changed in a group of the machine for it, so that a start or a [`sweep`] that happens elsewhere
/// in the trees finds both again; those of an earlier start are cleared.
pub fn open(name: &str, remember: Option<&Path>) -> Arc<dyn Backend> {
    let found = find();
    if let Some(file) = remember {
        remembered::clear(file, name, Instant::now() + PATIENCE);
        remembered::write(file, name, &found);
    }
    match found {
        Found::V2 { bases } => match v2::V2::open(&bases, name, remember) {
            Ok(backend) => Arc::new(backend),
            Err(e) if delegation::not_given(&e).is_some() => {
                Arc::new(nothing(Missing::Delegation(backend::CONTROLLERS.to_vec()), &e))
            }
            Err(e) => Arc::new(nothing(Missing::Group, &e)),
        },
        Found::V1 { controllers, unified } => match v1::V1::open(&controllers, unified.as_deref(), name) {
            Ok(backend) => Arc::new(backend),
            Err(e) => Arc::new(nothing(Missing::Trees(backend::CONTROLLERS.to_vec()), &e)),
        },
        Found::Nothing { lack } => Arc::new(Nothing(lack)),
    }
}

/// Removes the cluster's group wherever it is, or was made by what `remember` tells, with whatever
/// still runs in it: for a cluster whose every process was killed.
pub fn sweep(name: &str, remember: &Path) {
    let until = Instant::now() + PATIENCE;
    remembered::clear(remember, name, until);
    clear_all(&remembered::of(&find(), name), until);
}

/// A machine on which no group can be made, and why.
pub(crate) struct Nothing(pub(crate) Lack);

fn nothing(missing: Missing, why: &Error) -> Nothing {
    Nothing(Lack { missing, why: why.line() })
}

impl Backend for Nothing {
    fn describe(&self) -> String {
        format!("none: {}", self.0.why)
    }
    fn lacks(&self) -> Option<Lack> {
        Some(self.0.clone())
    }
    fn controls_devices(&self) -> bool {
        false
    }
    fn controls_swap(&self) -> bool {
        true // nothing is limited here, as `lacks` says
    }
    fn kills(&self) -> bool {
        false
    }
    fn memory(&self) -> Option<Shared> {
        None
    }
    fn create(&self, _: &str, _: &Limits) -> Result<Arc<dyn Group>> {
        Ok(Arc::new(NoGroup))
    }
    fn destroy(&self) {}
}

struct NoGroup;

impl Group for NoGroup {
    fn entry(&self) -> Result<Entry> {
        Ok(Entry::default())
    }
    fn usage(&self) -> Option<Usage> {
        None
    }
    fn oom_kills(&self) -> u64 {
        0
    }
    fn kill(&self) -> Result<()> {
        Err(Error::new("no cgroup to kill", io::ErrorKind::Unsupported))
    }
    fn remove(&self) -> Result<()> {
        Ok(())
    }
}
