//! What a pod needs next. Pure: the same facts give the same steps.

use crate::clock::Timestamp;
use crate::cri::{Container, ContainerState, Sandbox, SandboxState};
use k8s_openapi::api::core::v1::{Container as Spec, Pod};
use std::collections::BTreeMap;
use std::time::Duration;

/// A crashing container waits 10 s before its second restart, doubled each time up to 300 s …
pub const BACKOFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));
/// … and starts anew after it ran well for this long.
const BACKOFF_RESET: Duration = Duration::from_secs(600);

/// How long a container has to wait before its next restart.
pub type Backoffs = BTreeMap<String, Duration>;

/// The pause after the next crash, given the one before this restart and how long the container ran.
pub fn next_backoff(before: Option<Duration>, ran: Duration) -> Duration {
    match before {
        Some(before) if ran < BACKOFF_RESET => (before * 2).min(BACKOFF.1),
        _ => BACKOFF.0,
    }
}

/// Everything known about a pod on this node.
pub struct View<'a> {
    pub pod: &'a Pod,
    /// The newest sandbox of this pod, if any.
    pub sandbox: Option<&'a Sandbox>,
    /// All containers of this pod, of all attempts and sandboxes.
    pub containers: &'a [Container],
    pub backoffs: &'a Backoffs,
    pub now: Timestamp,
}

/// One thing to do next. Nothing here has happened yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A new sandbox; the one before is gone or broken.
    CreateSandbox { attempt: u32 },
    /// Pull the image if need be, make the container, run it.
    Start { name: String, init: bool, attempt: u32 },
    /// End everything: the pod is done.
    StopSandbox { id: String },
    /// Time alone will change something.
    LookAgain(Duration),
}

impl<'a> View<'a> {
    /// The newest attempt of a container.
    pub fn current(&self, name: &str) -> Option<&'a Container> {
        self.containers.iter().filter(|c| c.name == name).max_by_key(|c| c.attempt)
    }

    /// The attempt before the newest.
    pub fn previous(&self, name: &str) -> Option<&'a Container> {
        let newest = self.current(name)?.attempt;
        self.containers.iter().filter(|c| c.name == name && c.attempt < newest).max_by_key(|c| c.attempt)
    }

    pub fn init_specs(&self) -> &'a [Spec] {
        self.pod.spec.as_ref().and_then(|s| s.init_containers.as_deref()).unwrap_or_default()
    }

    pub fn specs(&self) -> &'a [Spec] {
        self.pod.spec.as_ref().map(|s| s.containers.as_slice()).unwrap_or_default()
    }

    pub fn policy(&self) -> &'a str {
        self.pod.spec.as_ref().and_then(|s| s.restart_policy.as_deref()).unwrap_or("Always")
    }

    /// An init container that keeps running beside the others (a native sidecar).
    pub fn is_sidecar(spec: &Spec) -> bool {
        spec.restart_policy.as_deref() == Some("Always")
    }

    /// Will this ended container be started again?
    pub fn restarts(&self, spec: &Spec, init: bool, ended: &Container) -> bool {
        if init {
            return Self::is_sidecar(spec) || (ended.exit_code != 0 && self.policy() != "Never");
        }
        match self.policy() {
            "Always" => true,
            "OnFailure" => ended.exit_code != 0,
            _ => false,
        }
    }

    /// How much of the back-off is left.
    pub fn backoff_left(&self, name: &str, ended: &Container) -> Option<Duration> {
        let pause = *self.backoffs.get(name)?;
        let since = (self.now - ended.finished_at?).total(jiff::Unit::Second).ok()?;
        let left = pause.as_secs_f64() - since;
        (left > 0.0).then(|| Duration::from_secs_f64(left))
    }

    /// Number of the attempt that a start now would be. After a restart of the machine the runtime knows of no
    /// container any more, but the pod's status does.
    pub fn next_attempt(&self, name: &str) -> u32 {
        let known = self.current(name).map(|c| c.attempt + 1);
        let status = self.pod.status.as_ref();
        let told = status
            .into_iter()
            .flat_map(|s| s.container_statuses.iter().chain(s.init_container_statuses.iter()).flatten())
            .find(|s| s.name == name && s.container_id.is_some())
            .map(|s| s.restart_count.max(0) as u32 + 1);
        known.or(told).unwrap_or(0)
    }

    /// Has the pod come to its end? `Some(true)` if well. A pod that restarts its containers never has.
    pub fn finished(&self) -> Option<bool> {
        for spec in self.init_specs().iter().filter(|s| !Self::is_sidecar(s)) {
            if let Some(c) = self.current(&spec.name)
                && c.state == ContainerState::Exited
                && c.exit_code != 0
                && !self.restarts(spec, true, c)
            {
                return Some(false);
            }
        }
        let mut well = true;
        for spec in self.specs() {
            let ended = self.current(&spec.name).filter(|c| c.state == ContainerState::Exited)?;
            if self.restarts(spec, false, ended) {
                return None;
            }
            well &= ended.exit_code == 0;
        }
        (!self.specs().is_empty()).then_some(well)
    }
}

/// The next steps for a pod that shall run.
pub fn decide(view: &View) -> Vec<Step> {
    let ready = view.sandbox.filter(|s| s.state == SandboxState::Ready);
    if view.finished().is_some() {
        return ready.map(|s| Step::StopSandbox { id: s.id.clone() }).into_iter().collect();
    }
    let Some(sandbox) = ready else {
        let attempt = view.sandbox.map_or(0, |s| s.attempt + 1);
        return vec![Step::CreateSandbox { attempt }];
    };
    let mut steps = Vec::new();
    let mut look_again: Option<Duration> = None;
    // `true`: it runs, or has nothing more to do; `false`: it does not run (yet).
    let mut tend = |spec: &Spec, init: bool, steps: &mut Vec<Step>| -> bool {
        let current = view.current(&spec.name);
        match current {
            Some(c) if c.sandbox_id == sandbox.id && c.state == ContainerState::Running => return true,
            Some(c) if c.state == ContainerState::Exited => {
                // An ended init container of an earlier sandbox runs again with the new one.
                let done = c.sandbox_id == sandbox.id && c.exit_code == 0;
                if init && !View::is_sidecar(spec) && done {
                    return true;
                }
                if c.sandbox_id == sandbox.id && !view.restarts(spec, init, c) {
                    return true;
                }
                if let Some(left) = view.backoff_left(&spec.name, c) {
                    look_again = Some(look_again.map_or(left, |l| l.min(left)));
                    return false;
                }
            }
            _ => {}
        }
        steps.push(Step::Start { name: spec.name.clone(), init, attempt: view.next_attempt(&spec.name) });
        false
    };
    let mut initialized = true;
    for spec in view.init_specs() {
        let settled = tend(spec, true, &mut steps);
        let running = view.current(&spec.name).is_some_and(|c| c.state == ContainerState::Running);
        if !settled || (running && !View::is_sidecar(spec)) {
            initialized = false;
            break; // the next init container waits for this one
        }
    }
    if initialized {
        for spec in view.specs() {
            tend(spec, false, &mut steps);
        }
    }
    steps.extend(look_again.map(Step::LookAgain));
    steps
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cri::PodId;
    use std::path::PathBuf;

    pub fn pod(policy: &str, init: &[&str], main: &[&str]) -> Pod {
        let names = |names: &[&str]| -> Vec<serde_json::Value> {
            names.iter().map(|n| serde_json::json!({"name": n, "image": "nginx"})).collect()
        };
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "namespace": "default", "uid": "u"},
            "spec": {"restartPolicy": policy, "initContainers": names(init), "containers": names(main)},
        }))
        .unwrap()
    }

    pub fn sandbox(id: &str, attempt: u32, state: SandboxState) -> Sandbox {
        Sandbox {
            id: id.into(),
            pod: PodId { namespace: "default".into(), name: "p".into(), uid: "u".into() },
            attempt,
            state,
            created_at: Timestamp::UNIX_EPOCH,
            ip: Some([10, 244, 1, 2].into()),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }

    pub fn container(name: &str, attempt: u32, state: ContainerState, exit_code: i32) -> Container {
        let at = |s| Some(Timestamp::from_second(s).unwrap());
        let exited = state == ContainerState::Exited;
        Container {
            id: format!("{name}-{attempt}"),
            sandbox_id: "s".into(),
            name: name.into(),
            attempt,
            state,
            image: "nginx".into(),
            image_id: "sha256:1".into(),
            created_at: at(100).unwrap(),
            started_at: at(100),
            finished_at: if exited { at(200) } else { None },
            exit_code,
            reason: if exit_code == 0 { "Completed".into() } else { "Error".into() },
            message: String::new(),
            log_path: PathBuf::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }

    fn steps(
        pod: &Pod,
        sandbox: Option<&Sandbox>,
        containers: &[Container],
        backoff: Option<u64>,
    ) -> Vec<Step> {
        let backoffs = backoff.map(|s| ("a".to_string(), Duration::from_secs(s))).into_iter().collect();
        let now = Timestamp::from_second(205).unwrap();
        decide(&View { pod, sandbox, containers, backoffs: &backoffs, now })
    }

    fn start(name: &str, init: bool, attempt: u32) -> Step {
        Step::Start { name: name.into(), init, attempt }
    }

    use ContainerState::{Exited, Running};

    #[test]
    fn a_pod_grows_sandbox_first_then_init_containers_one_by_one_then_the_rest() {
        let pod = pod("Always", &["i", "j"], &["a", "b"]);
        let ready = sandbox("s", 0, SandboxState::Ready);
        assert_eq!(steps(&pod, None, &[], None), [Step::CreateSandbox { attempt: 0 }]);
        assert_eq!(steps(&pod, Some(&ready), &[], None), [start("i", true, 0)]);
        assert_eq!(steps(&pod, Some(&ready), &[container("i", 0, Running, 0)], None), []);
        let i = container("i", 0, Exited, 0);
        assert_eq!(steps(&pod, Some(&ready), std::slice::from_ref(&i), None), [start("j", true, 0)]);
        let both = [i, container("j", 0, Exited, 0)];
        assert_eq!(steps(&pod, Some(&ready), &both, None), [start("a", false, 0), start("b", false, 0)]);
    }

    #[test]
    fn a_crash_restarts_at_once_and_later_after_its_back_off() {
        let pod = pod("Always", &[], &["a"]);
        let ready = sandbox("s", 0, SandboxState::Ready);
        let crashed = [container("a", 0, Exited, 1)];
        assert_eq!(steps(&pod, Some(&ready), &crashed, None), [start("a", false, 1)]);
        assert_eq!(steps(&pod, Some(&ready), &crashed, Some(10)), [Step::LookAgain(Duration::from_secs(5))]);
        assert_eq!(steps(&pod, Some(&ready), &crashed, Some(5)), [start("a", false, 1)]);
    }

    #[test]
    fn restart_policies_decide_when_a_pod_is_done() {
        let ready = sandbox("s", 0, SandboxState::Ready);
        let (well, ill) = ([container("a", 0, Exited, 0)], [container("a", 0, Exited, 2)]);
        let stop = [Step::StopSandbox { id: "s".into() }];
        assert_eq!(steps(&pod("Never", &[], &["a"]), Some(&ready), &ill, None), stop);
        assert_eq!(steps(&pod("OnFailure", &[], &["a"]), Some(&ready), &well, None), stop);
        assert_eq!(steps(&pod("OnFailure", &[], &["a"]), Some(&ready), &ill, None), [start("a", false, 1)]);
        assert_eq!(steps(&pod("Always", &[], &["a"]), Some(&ready), &well, None), [start("a", false, 1)]);
    }

    #[test]
    fn a_lost_sandbox_takes_its_containers_with_it() {
        let pod = pod("Always", &["i"], &["a"]);
        let old = sandbox("s", 0, SandboxState::NotReady);
        let before = [container("i", 0, Exited, 0), container("a", 0, Exited, 137)];
        assert_eq!(steps(&pod, Some(&old), &before, None), [Step::CreateSandbox { attempt: 1 }]);
        let new = sandbox("t", 1, SandboxState::Ready);
        assert_eq!(steps(&pod, Some(&new), &before, None), [start("i", true, 1)]);
    }

    #[test]
    fn back_off_doubles_to_five_minutes_and_forgets_a_good_run() {
        let short = Duration::from_secs(1);
        assert_eq!(next_backoff(None, short), Duration::from_secs(10));
        assert_eq!(next_backoff(Some(Duration::from_secs(10)), short), Duration::from_secs(20));
        assert_eq!(next_backoff(Some(Duration::from_secs(300)), short), Duration::from_secs(300));
        assert_eq!(
            next_backoff(Some(Duration::from_secs(300)), Duration::from_secs(601)),
            Duration::from_secs(10)
        );
    }
}
