//! A runtime that is not waited for without end: `runtimeRequestTimeout` of the kubelet's
//! configuration.

use async_trait::async_trait;
use cri::{
    Container, ContainerConfig, Error, Event, ExecRequest, Image, Result, Runtime, Sandbox, SandboxConfig,
    Session, Stats, Stream,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// Upstream's default for every call but those that take as long as their caller wants (pull,
/// exec's run, attach, logs).
const REQUEST_MAX: Duration = Duration::from_secs(120);

/// Gives every call of the runtime a time limit; what takes longer is an error of the pod, which is
/// tried again.
pub(crate) struct TimeLimited(pub Arc<dyn Runtime>);

async fn within<T>(what: &str, limit: Duration, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
    match tokio::time::timeout(limit, call).await {
        Ok(done) => done,
        Err(_) => Err(Error::State(format!(
            "{what}: context deadline exceeded: the runtime did not answer within {}s",
            limit.as_secs()
        ))),
    }
}

#[async_trait]
impl Runtime for TimeLimited {
    fn version(&self) -> String {
        self.0.version()
    }

    async fn run_pod_sandbox(&self, config: SandboxConfig) -> Result<Sandbox> {
        within("RunPodSandbox", REQUEST_MAX, self.0.run_pod_sandbox(config)).await
    }

    async fn stop_pod_sandbox(&self, id: &str) -> Result<()> {
        within("StopPodSandbox", REQUEST_MAX, self.0.stop_pod_sandbox(id)).await
    }

    async fn remove_pod_sandbox(&self, id: &str) -> Result<()> {
        within("RemovePodSandbox", REQUEST_MAX, self.0.remove_pod_sandbox(id)).await
    }

    async fn list_pod_sandboxes(&self) -> Result<Vec<Sandbox>> {
        within("ListPodSandbox", REQUEST_MAX, self.0.list_pod_sandboxes()).await
    }

    async fn list_pod_sandbox_stats(&self) -> Result<BTreeMap<String, Stats>> {
        within("ListPodSandboxStats", REQUEST_MAX, self.0.list_pod_sandbox_stats()).await
    }

    async fn create_container(&self, sandbox_id: &str, config: ContainerConfig) -> Result<String> {
        within("CreateContainer", REQUEST_MAX, self.0.create_container(sandbox_id, config)).await
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        within("StartContainer", REQUEST_MAX, self.0.start_container(id)).await
    }

    async fn stop_container(&self, id: &str, grace: Duration) -> Result<()> {
        let limit = grace.saturating_add(REQUEST_MAX);
        within("StopContainer", limit, self.0.stop_container(id, grace)).await
    }

    async fn remove_container(&self, id: &str) -> Result<()> {
        within("RemoveContainer", REQUEST_MAX, self.0.remove_container(id)).await
    }

    async fn list_containers(&self) -> Result<Vec<Container>> {
        within("ListContainers", REQUEST_MAX, self.0.list_containers()).await
    }

    async fn container_status(&self, id: &str) -> Result<Container> {
        within("ContainerStatus", REQUEST_MAX, self.0.container_status(id)).await
    }

    async fn list_container_stats(&self) -> Result<BTreeMap<String, Stats>> {
        within("ListContainerStats", REQUEST_MAX, self.0.list_container_stats()).await
    }

    async fn exec(&self, request: ExecRequest) -> Result<Session> {
        within("Exec", REQUEST_MAX, self.0.exec(request)).await // until it runs; its run has no limit here
    }

    async fn attach(&self, container_id: &str, stdin: bool) -> Result<Session> {
        within("Attach", REQUEST_MAX, self.0.attach(container_id, stdin)).await
    }

    async fn port_forward(&self, sandbox_id: &str, port: u16) -> Result<Box<dyn Stream>> {
        within("PortForward", REQUEST_MAX, self.0.port_forward(sandbox_id, port)).await
    }

    async fn pull_image(&self, reference: &str) -> Result<String> {
        self.0.pull_image(reference).await
    }

    async fn image_status(&self, reference: &str) -> Result<Option<Image>> {
        within("ImageStatus", REQUEST_MAX, self.0.image_status(reference)).await
    }

    async fn list_images(&self) -> Result<Vec<Image>> {
        within("ListImages", REQUEST_MAX, self.0.list_images()).await
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.0.events()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_never_answered_ends() {
        let stuck = within("StartContainer", REQUEST_MAX, std::future::pending::<Result<()>>());
        let error = stuck.await.unwrap_err().to_string();
        assert!(error.contains("StartContainer: context deadline exceeded"), "{error}");
        assert!(within("StartContainer", REQUEST_MAX, async { Ok(()) }).await.is_ok());
    }
}
