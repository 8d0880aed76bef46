//! A door for what lives in the cluster's process but stands above it: the lesson engine. The cluster knows that it has guests, not who they are.

use super::Place;
use super::control::Reply;
use super::undo::Past;
use super::world::World;
use crate::client::Client;
use crate::tap::Tap;
use crate::task::Crew;
use futures::stream::BoxStream;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;

/// What a guest may use of the cluster.
#[derive(Clone)]
pub struct Host {
    world: Arc<World>,
}

impl Host {
    pub(super) fn new(world: Arc<World>) -> Host {
        Host { world }
    }
    pub fn place(&self) -> &Place {
        &self.world.place
    }
    pub fn tap(&self) -> &Tap {
        &self.world.tap
    }
    /// A client of the API with all rights, under a user name of its own, so that its acts are not taken for the learner's.
    pub fn client(&self, user: &str) -> Result<Client, super::Error> {
        self.world.client(
            "",
            user,
            "system:masters",
            &format!("{user}/{}", super::version()),
            self.world.dialer(),
        )
    }

    /// What can be undone, and going back. An error is for people.
    pub async fn past(&self, past: Past) -> Result<Value, String> {
        super::undo::send(&self.world, past).await.map_err(|e| e.say(crate::lang::Lang::En))
    }

    /// What the cluster is made of.
    pub fn spec(&self) -> &super::Spec {
        &self.world.spec
    }

    /// A kubeconfig for such a user, in the cluster's private directory: for what is done with kubectl's words. The API's address is the one in
    /// the learner's kubeconfig as the start has just written it.
    pub fn kubeconfig(&self, user: &str) -> Result<PathBuf, super::Error> {
        let path = self.place().pki().join(format!("{user}.kubeconfig"));
        super::launch::kubeconfig_of(&self.world, user, &path)?;
        Ok(path)
    }
}

/// Somebody who lives in the cluster's process.
pub trait Guest: Send + Sync + 'static {
    /// The word by which [`super::control::Ask::Guest`] names it.
    fn name(&self) -> &'static str;
    /// Moves in: its tasks belong to the crew.
    fn start(&self, crew: &Crew, host: Host);
    /// Answers a question with one reply or a stream of them.
    fn ask(&self, question: Value) -> BoxStream<'static, Reply>;
}

/// Makes the guests of a cluster when it starts.
pub type Guests = fn() -> Vec<Arc<dyn Guest>>;
