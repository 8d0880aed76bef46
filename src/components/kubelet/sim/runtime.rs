//! The way from a kubelet to its container runtime: calls that are late, fail, or are carried out
//! without an answer. The kubelet is killed in the midst of them. The runtime behind it is
//! [`FakeRuntime`], which outlives its kubelets. Everything comes from a seed.
use async_trait::async_trait;
use cri::fake::FakeRuntime;
use cri::{
    Container, ContainerConfig, Error, Event, ExecRequest, Image, Result, Runtime, Sandbox, SandboxConfig,
    Session, Stats, Stream,
};
use parking_lot::Mutex;
use rng::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, broadcast};

/// The probability of each fault, at each call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// The call takes up to two seconds.
    pub slow: f64,
    /// The call fails, and nothing was done.
    pub failed: f64,
    /// The call fails, and was carried out all the same.
    pub lost: f64,
    /// The kubelet is killed while it waits for the answer.
    pub killed: f64,
}

impl Faults {
    /// Returns whether no call fails or is cut off; it may be late.
    pub(super) fn are_fair(&self) -> bool {
        [self.failed, self.lost, self.killed].iter().all(|probability| *probability <= 0.0)
    }
}

/// Bytes of memory per byte of the fake runtime's figures: a pod is worth its eviction then.
const MEMORY_SCALE: u64 = 8;

/// Kills in one history, at most: as of the simulated API server.
const KILLS_MAX: u64 = 4;

/// A mistake that is made on purpose, to see whether it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// A kubelet that was restarted does not see the containers of the one before.
    ForgottenContainers,
    /// Now and then a sandbox that is to be removed stays.
    LeakedSandbox,
}

/// Counts of what happened in a history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub calls: u64,
    pub failed: u64,
    pub lost: u64,
    pub killed: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.calls += other.calls;
        self.failed += other.failed;
        self.lost += other.lost;
        self.killed += other.killed;
    }
}

struct Inner {
    runtime: FakeRuntime,
    rng: Rng,
    faults: Mutex<Faults>,
    bug: Option<Bug>,
    killed: Notify,
    tally: Mutex<Tally>,
    /// Ids of the containers that were there when the kubelet started.
    older: Mutex<BTreeSet<String>>,
    /// Ids of containers whose kubelet was killed while they were being started. The runtime
    /// finishes that, here when the next container was made.
    late: Mutex<Vec<String>>,
}

/// A runtime with faults. Clones are the same.
#[derive(Clone)]
pub(super) struct Rough(Arc<Inner>);

fn busy() -> Error {
    Error::State("the runtime is busy".into())
}

impl Rough {
    pub(super) fn new(runtime: &FakeRuntime, rng: Rng, faults: Faults, bug: Option<Bug>) -> Rough {
        Rough(Arc::new(Inner {
            runtime: runtime.clone(),
            rng,
            faults: Mutex::new(faults),
            bug,
            killed: Notify::new(),
            tally: Mutex::default(),
            older: Mutex::default(),
            late: Mutex::default(),
        }))
    }

    /// Ends the faults: from now on nothing goes wrong.
    pub(super) fn calm(&self) {
        *self.0.faults.lock() = Faults::default();
    }

    /// Notes that a kubelet is about to start.
    pub(super) async fn restarted(&self) {
        let there = self.0.runtime.list_containers().await.unwrap_or_default();
        *self.0.older.lock() = there.into_iter().map(|c| c.id).collect();
    }

    /// Waits until the kubelet is to be killed. Its call gets no answer.
    pub(super) async fn killed(&self) {
        self.0.killed.notified().await;
    }

    pub(super) fn tally(&self) -> Tally {
        *self.0.tally.lock()
    }

    fn chance(&self, of: impl Fn(&Faults) -> f64) -> bool {
        let probability = of(&self.0.faults.lock());
        probability > 0.0 && self.0.rng.chance(probability)
    }

    /// Returns whether the call is to be carried out.
    async fn arrives(&self) -> bool {
        self.0.tally.lock().calls += 1;
        if self.chance(|f| f.slow) {
            clock::sleep(Duration::from_millis(self.0.rng.range(1, 2000))).await;
        }
        let failed = self.chance(|f| f.failed);
        self.0.tally.lock().failed += u64::from(failed);
        !failed
    }

    async fn read<T>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        if self.arrives().await { call.await } else { Err(busy()) }
    }

    async fn write<T: Send>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        if !self.arrives().await {
            return Err(busy());
        }
        if self.0.tally.lock().killed < KILLS_MAX && self.chance(|f| f.killed) {
            self.0.tally.lock().killed += 1;
            if self.0.rng.chance(0.5) {
                drop(call.await);
            }
            self.0.killed.notify_one();
            return std::future::pending().await;
        }
        let done = call.await;
        if self.chance(|f| f.lost) {
            self.0.tally.lock().lost += 1;
            return Err(busy());
        }
        done
    }
}

#[async_trait]
impl Runtime for Rough {
    fn version(&self) -> String {
        self.0.runtime.version()
    }

    async fn run_pod_sandbox(&self, config: SandboxConfig) -> Result<Sandbox> {
        self.write(self.0.runtime.run_pod_sandbox(config)).await
    }

    async fn stop_pod_sandbox(&self, id: &str) -> Result<()> {
        self.write(self.0.runtime.stop_pod_sandbox(id)).await
    }

    async fn remove_pod_sandbox(&self, id: &str) -> Result<()> {
        if self.0.bug == Some(Bug::LeakedSandbox) && self.0.rng.chance(0.3) {
            return Ok(());
        }
        self.write(self.0.runtime.remove_pod_sandbox(id)).await
    }

    async fn list_pod_sandboxes(&self) -> Result<Vec<Sandbox>> {
        self.read(self.0.runtime.list_pod_sandboxes()).await
    }

    async fn list_pod_sandbox_stats(&self) -> Result<BTreeMap<String, Stats>> {
        let mut all = self.read(self.0.runtime.list_pod_sandbox_stats()).await?;
        all.values_mut().for_each(|stats| stats.memory_working_set *= MEMORY_SCALE);
        Ok(all)
    }

    async fn create_container(&self, sandbox_id: &str, config: ContainerConfig) -> Result<String> {
        let made = self.write(self.0.runtime.create_container(sandbox_id, config)).await;
        let late = std::mem::take(&mut *self.0.late.lock());
        for id in late {
            drop(self.0.runtime.start_container(&id).await); // it may be removed by now
        }
        made
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        let killed = self.0.tally.lock().killed;
        let start = async {
            if self.0.tally.lock().killed > killed {
                self.0.late.lock().push(id.into());
                return Ok(());
            }
            self.0.runtime.start_container(id).await
        };
        self.write(start).await
    }

    async fn stop_container(&self, id: &str, grace: Duration) -> Result<()> {
        self.write(self.0.runtime.stop_container(id, grace)).await
    }

    async fn remove_container(&self, id: &str) -> Result<()> {
        self.write(self.0.runtime.remove_container(id)).await
    }

    async fn list_containers(&self) -> Result<Vec<Container>> {
        let mut all = self.read(self.0.runtime.list_containers()).await?;
        if self.0.bug == Some(Bug::ForgottenContainers) {
            let older = self.0.older.lock();
            all.retain(|c| !older.contains(&c.id));
        }
        Ok(all)
    }

    async fn container_status(&self, id: &str) -> Result<Container> {
        self.read(self.0.runtime.container_status(id)).await
    }

    async fn list_container_stats(&self) -> Result<BTreeMap<String, Stats>> {
        self.read(self.0.runtime.list_container_stats()).await
    }

    async fn exec(&self, request: ExecRequest) -> Result<Session> {
        self.read(self.0.runtime.exec(request)).await
    }

    async fn attach(&self, container_id: &str, stdin: bool) -> Result<Session> {
        self.read(self.0.runtime.attach(container_id, stdin)).await
    }

    async fn port_forward(&self, sandbox_id: &str, port: u16) -> Result<Box<dyn Stream>> {
        self.read(self.0.runtime.port_forward(sandbox_id, port)).await
    }

    async fn pull_image(&self, reference: &str) -> Result<String> {
        self.write(self.0.runtime.pull_image(reference)).await
    }

    async fn image_status(&self, reference: &str) -> Result<Option<Image>> {
        self.read(self.0.runtime.image_status(reference)).await
    }

    async fn list_images(&self) -> Result<Vec<Image>> {
        self.read(self.0.runtime.list_images()).await
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.0.runtime.events()
    }
}
