//! What a test sets up in the fake runtime, makes happen there, and reads from it.

use super::{EventKind, FakeRuntime, SandboxState};
use std::time::Duration;

/// What a container does once it is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Script {
    /// Runs until it is stopped, then ends at once with code 0.
    Run,
    /// Runs until it is stopped and then uses up the whole grace period: code 137.
    IgnoreStop,
    /// Ends by itself.
    Exit {
        /// The time from its start to its end, on the clock of the tests.
        after: Duration,
        /// The exit code.
        code: i32,
        /// `Completed`, `Error` or `OOMKilled`.
        reason: &'static str,
    },
    /// Cannot be started, for this reason.
    FailStart(String),
}

impl FakeRuntime {
    /// Sets what containers of that name or image do from now on.
    pub fn script(&self, name_or_image: &str, script: Script) {
        self.lock().scripts.insert(name_or_image.to_string(), script);
    }

    /// Makes each pull of the image fail from now on.
    pub fn forget_image(&self, reference: &str) {
        self.lock().absent.insert(reference.to_string());
    }

    /// Ends a running container as if its process had ended.
    pub fn exit(&self, id: &str, code: i32, reason: &str) {
        self.end_container(id, code, reason);
    }

    /// Ends a sandbox' first process. Its containers run on, as those with PID namespaces of their
    /// own do.
    pub fn end_pause_process(&self, id: &str) {
        let mut state = self.lock();
        if let Some(pod) = state.pods.get_mut(id) {
            pod.sandbox.state = SandboxState::NotReady;
            self.send_event(&state, id, id, EventKind::Stopped);
        }
    }

    /// Makes `exec` run a program that writes nothing from now on: it begins after the first time,
    /// and ends with code 0 after the second.
    pub fn exec_takes(&self, start: Duration, run: Duration) {
        self.lock().exec = Some((start, run));
    }

    /// Makes the next calls of `stop_container`, so many, fail.
    pub fn fail_stops(&self, count: u32) {
        self.lock().failing_stops = count;
    }

    /// Makes the next calls of `stop_pod_sandbox`, so many, fail.
    pub fn fail_sandbox_stops(&self, count: u32) {
        self.lock().failing_sandbox_stops = count;
    }

    /// Makes the next calls of `list_pod_sandboxes`, so many, fail.
    pub fn fail_lists(&self, count: u32) {
        self.lock().failing_lists = count;
    }

    /// Makes `list_images` panic from now on, as a mistake in its caller would.
    pub fn panic_at_images(&self) {
        self.lock().panics = true;
    }

    /// Gives a call of `port_forward` this stream as its connection: the first call gets the first
    /// stream that was given, the second call the second one.
    pub fn give_connection(&self, connection: tokio::io::DuplexStream) {
        self.lock().connections.push_back(connection);
    }

    /// Returns what was asked, e.g. `start_container nginx`, oldest first.
    pub fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }
}
