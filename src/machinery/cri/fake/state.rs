//! What the fake runtime remembers of sandboxes and containers.

use super::super::{Container, ContainerConfig, ContainerState, Error, Result, Security, Stats};
use super::{CALLS, Made, Pod, Script, State};
use std::time::Duration;

impl State {
    /// Keeps a call for [`FakeRuntime::calls`](super::FakeRuntime::calls), the newest [`CALLS`].
    pub(super) fn remember_call(&mut self, call: String) {
        if self.calls.len() == CALLS {
            self.calls.remove(0);
        }
        self.calls.push(call);
    }

    /// Returns the sandbox of this id, and how it was asked for.
    ///
    /// # Errors
    /// `NotFound`: there is none.
    pub(super) fn pod(&self, sandbox_id: &str) -> Result<&Pod> {
        self.pods.get(sandbox_id).ok_or_else(|| Error::NotFound(format!("sandbox {sandbox_id}")))
    }

    /// Returns the container of this id, and how it was asked for.
    ///
    /// # Errors
    /// `NotFound`: there is none.
    pub(super) fn made(&self, id: &str) -> Result<&Made> {
        self.containers.get(id).ok_or_else(|| Error::NotFound(format!("container {id}")))
    }

    /// Refuses what only a container that runs can do.
    ///
    /// # Errors
    /// `NotFound`, or `State`: it has not started, or it has ended.
    pub(super) fn check_running(&self, id: &str) -> Result<()> {
        match self.made(id)?.container.state {
            ContainerState::Running => Ok(()),
            ContainerState::Created | ContainerState::Exited => Err(not_running(id)),
        }
    }

    /// Returns the script for a container's name, else that for its image.
    pub(super) fn script_of(&self, config: &ContainerConfig) -> Script {
        let found = self.scripts.get(&config.name).or_else(|| self.scripts.get(&config.image));
        found.cloned().unwrap_or(Script::Run)
    }

    /// Refuses an image that is not there, or whose reference is none.
    ///
    /// # Errors
    /// `BadImageName`, `NoImage`.
    pub(super) fn check_image(&self, reference: &str) -> Result<()> {
        if reference.is_empty() || reference.contains(char::is_whitespace) {
            let (image, why) = (reference.to_string(), "invalid reference format".to_string());
            return Err(Error::BadImageName { image, why });
        }
        match self.absent.contains(reference) {
            true => Err(Error::NoImage { reference: reference.to_string(), known: Vec::new() }),
            false => Ok(()),
        }
    }
}

/// Refuses a second sandbox or container of one name, in the words of the runtime. A caller may ask
/// again after a call that was carried out and whose answer was lost.
///
/// # Errors
/// `State`: there is one already.
pub(super) fn refuse_twin(is_made: bool, name: String) -> Result<()> {
    match is_made {
        true => Err(Error::State(format!("name {name:?} is reserved: it is there"))),
        false => Ok(()),
    }
}

/// Refuses user 0 where the pod forbids it. All images of the fake run as root.
///
/// # Errors
/// `RunsAsRoot`.
pub(super) fn check_user(security: &Security) -> Result<()> {
    match security.non_root && security.run_as_user.unwrap_or(0) == 0 {
        true => Err(Error::RunsAsRoot),
        false => Ok(()),
    }
}

/// Returns the runtime's error for a container that has not started or has ended.
fn not_running(id: &str) -> Error {
    Error::State(format!("container {id} is not running"))
}

/// Returns the runtime's error for a sandbox that was stopped.
pub(super) fn sandbox_not_running(sandbox_id: &str) -> Error {
    Error::State(format!("sandbox container {sandbox_id:?} is not running"))
}

/// Returns a made-up digest, the same for each reference at any time.
pub(super) fn image_id(reference: &str) -> String {
    let word = |seed: u64| {
        reference.bytes().fold(seed, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
    };
    let words = [1u64, 2, 3, 4].map(|n| format!("{:016x}", word(0xcbf2_9ce4_8422_2325 ^ n)));
    format!("sha256:{}", words.concat())
}

/// Returns made-up figures: one millicore for as long as a container has run, and 4 MiB while it
/// runs. `None`: it was never started.
pub(super) fn made_up_stats(container: &Container) -> Option<Stats> {
    let until = container.finished_at.unwrap_or_else(clock::now);
    let ran = Duration::try_from(until.duration_since(container.started_at?)).unwrap_or_default();
    let memory = if container.state == ContainerState::Running { 4 << 20 } else { 0 };
    Some(Stats { cpu_usage: ran / 1000, memory_working_set: memory })
}
