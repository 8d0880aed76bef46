//! Faults of the components of one node: they are ended, held down, and let start again.

use super::{Component, NAMESPACE, NodeCri};
use crate::components::images::component_of;
use crate::node::ComponentRuntime;
use crate::world::World;
use cri::{ContainerState, Error, Result};
use task::Crew;

impl NodeCri {
    /// Checks that no `fault stop` holds the component of this image down here.
    ///
    /// # Errors
    /// [`Error::State`]: one does. The pod's status shows the message.
    pub(super) fn refuse_held(&self, world: &World, image: &str) -> Result<()> {
        let node = &self.node.name;
        match component_of(image).filter(|component| world.faults.is_held(component, node)) {
            None => Ok(()),
            Some(component) => Err(Error::State(format!(
                "{component} was stopped with `fault stop`; `ropewalk fault start {component}/{node}` starts it"
            ))),
        }
    }
}

impl ComponentRuntime for NodeCri {
    fn kill(&self, component: &str) -> bool {
        let crews: Vec<Crew> = self
            .components()
            .values()
            .filter(|c| {
                component_of(&c.config.image) == Some(component) && c.state == ContainerState::Running
            })
            .filter_map(|c| c.crew.clone())
            .collect();
        crews.iter().for_each(Crew::kill);
        !crews.is_empty()
    }

    fn has_container(&self, component: &str) -> bool {
        self.components().values().any(|c| component_of(&c.config.image) == Some(component))
    }

    fn runs(&self, component: &str) -> bool {
        let is_it = |c: &Component| {
            component_of(&c.config.image) == Some(component) && c.state == ContainerState::Running
        };
        self.components().values().any(is_it)
    }

    fn wake(&self) {
        self.sandboxes.wake(NAMESPACE, &self.events);
    }
}
