//! The containers of components on one node: a table of them, from their making to their removal.

use crate::components::MANY_ON_A_NODE;
use crate::components::images::{component_of, image_id};
use crate::logs;
use clock::Timestamp;
use cri::{Container, ContainerConfig, ContainerState, Error, LogLimits, PodId, Result};
use parking_lot::Mutex;
use runtime::log;
use std::collections::BTreeMap;
use std::path::PathBuf;
use task::{Crew, End};

/// A container of a component: its tasks while it runs, and how it ended.
pub(super) struct Component {
    pub id: String,
    pub sandbox_id: String,
    pub pod: PodId,
    pub config: ContainerConfig,
    pub log: LogFile,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub state: ContainerState,
    pub exit_code: i32,
    pub reason: &'static str,
    pub message: String,
    pub crew: Option<Crew>,
}

/// The path of a component's log, and how much of it is kept.
#[derive(Clone, Debug, Default)]
pub(super) struct LogFile {
    pub path: PathBuf,
    pub limits: LogLimits,
}

impl Component {
    /// Describes the container as CRI shows it.
    pub(super) fn describe(&self) -> Container {
        Container {
            id: self.id.clone(),
            sandbox_id: self.sandbox_id.clone(),
            name: self.config.name.clone(),
            attempt: self.config.attempt,
            state: self.state,
            image: self.config.image.clone(),
            image_id: image_id(&self.config.image),
            created_at: self.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
            exit_code: self.exit_code,
            reason: if self.state == ContainerState::Exited { self.reason.into() } else { String::new() },
            message: self.message.clone(),
            warnings: Vec::new(),
            user: None,
            log_path: self.log.path.clone(),
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
        }
    }
}

/// Takes containers of components out of the table, and removes their logs, also the rotated ones.
/// One that runs is ended, as CRI's `RemoveContainer` says: [`claim`] would not know of it any
/// more.
pub(super) async fn remove_components(
    components: &Mutex<BTreeMap<String, Component>>,
    is_wanted: impl Fn(&Component) -> bool,
) -> Vec<Component> {
    let removed: Vec<Component> = {
        let mut all = components.lock();
        let ids: Vec<String> = all.values().filter(|c| is_wanted(c)).map(|c| c.id.clone()).collect();
        ids.iter().filter_map(|id| all.remove(id)).collect()
    };
    for crew in removed.iter().filter_map(|c| c.crew.as_ref()) {
        crew.kill();
        crew.wait().await;
    }
    for component in &removed {
        logs::close(&component.id); // its end may not have been noted yet
        log::remove(&component.log.path, component.log.limits);
    }
    removed
}

/// Marks a component of the node as running, which another one of the same name cannot be from then
/// on: two of them would have one address and, in an election, one identity.
///
/// # Errors
/// `NotFound`, and `State` of a container that was started before: nothing is changed. `Start`: the
/// component runs here in another container.
pub(super) fn claim(components: &mut BTreeMap<String, Component>, id: &str, node: &str) -> Result<()> {
    let Some(own) = components.get(id) else { return Err(Error::NotFound(id.into())) };
    if own.state != ContainerState::Created {
        return Err(Error::State(format!("container {id} is not in created state")));
    }
    let name = component_of(&own.config.image).unwrap_or_default();
    let runs =
        |c: &Component| component_of(&c.config.image) == Some(name) && c.state == ContainerState::Running;
    if !MANY_ON_A_NODE.contains(&name) && components.values().any(runs) {
        return Err(Error::Start(format!("{name} runs on {node} already")));
    }
    if let Some(own) = components.get_mut(id) {
        own.state = ContainerState::Running;
    }
    Ok(())
}

/// Notes that a component was started. `false`: its container was removed meanwhile.
pub(super) fn note_start(components: &mut BTreeMap<String, Component>, id: &str, crew: &Crew) -> bool {
    let Some(c) = components.get_mut(id) else { return false };
    c.started_at = Some(clock::now());
    c.crew = Some(crew.clone());
    true
}

/// Closes a component's log, and notes how it ended. Returns its pod; `None` if the container was
/// removed before its end was heard of.
pub(super) fn note_end(components: &mut BTreeMap<String, Component>, id: &str, end: &End) -> Option<PodId> {
    logs::close(id);
    let c = components.get_mut(id)?;
    c.state = ContainerState::Exited;
    c.finished_at = Some(clock::now());
    c.crew = None;
    (c.exit_code, c.reason, c.message) = match end {
        End::Done(Ok(())) | End::Stopped => (0, "Completed", String::new()),
        End::Done(Err(message)) => (1, "Error", message.clone()),
        End::Panicked(message) => (2, "Error", format!("panic: {message}")),
        End::Killed => (137, "Error", String::new()),
    };
    Some(c.pod.clone())
}
