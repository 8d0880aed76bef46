//! Images of containers: when they are pulled, and the back-off of pulls that fail.

use super::PodWork;
use super::failure_events::FailedStep;
use super::kubelet::Kubelet;
use super::memory::PodMemory;
use super::starting::NewContainer;
use crate::error::Error;
use crate::specs::{go_duration, reference};
use crate::status;
use k8s_openapi::api::core::v1::ObjectReference;
use std::time::Duration;
use tap::Event;

/// An image that cannot be pulled is tried again after 10 s, doubled each time up to 300 s.
const PULL_BACKOFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));

/// Reasons of containers that wait because their image is not there.
const NO_IMAGE: [&str; 4] = ["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"];

impl PodMemory {
    /// Returns whether Events tell that a container's image is being pulled, or is there. Where the
    /// container waited for its image that is news; where it cannot be started for another reason,
    /// each try finds the same image again.
    fn tells_of_image(&self, container: &str) -> bool {
        let reason = self.waiting.get(container).map(|(reason, _)| reason.as_str());
        reason.is_some_and(|reason| NO_IMAGE.contains(&reason))
            || self.failure_events.is_due(&FailedStep::Start(container.into()))
    }
}

/// Returns the time that a pull took as its Event has it: cut to whole milliseconds.
///
/// ```text
/// 0s    7ms    1.25s    1m2s
/// ```
fn pull_time(took: Duration) -> String {
    let below = Duration::from_nanos(u64::from(took.subsec_nanos() % 1_000_000));
    go_duration(took.saturating_sub(below)).to_string()
}

impl Kubelet {
    /// Makes the image present. `Some`: not now, look again then.
    ///
    /// ```text
    /// imagePullPolicy   image on the node   not on the node
    /// IfNotPresent      used as it is       pulled
    /// Always            pulled              pulled
    /// Never             used as it is       ErrImageNeverPull
    /// ```
    ///
    /// A pull that failed is shown as ErrImagePull, and then as ImagePullBackOff for 10, 20, 40 up
    /// to 300 s. The back-off belongs to the pod and image: two containers with the same image wait
    /// together. What needs no pull does not wait: another pod may have brought the image. Events
    /// tell of the first try, and of those that fail in the same way now and then.
    ///
    /// # Errors
    /// Of the runtime.
    pub(super) async fn pull(
        &self,
        new: &NewContainer<'_>,
        memory: &mut PodMemory,
    ) -> Result<Option<Duration>, Error> {
        let &NewContainer { work: PodWork { key, pod, cause }, spec, is_init, .. } = new;
        let image = spec.image.clone().unwrap_or_default();
        let about = reference(pod, Some((&spec.name, is_init)));
        let static_pod = self.statics.contains_key(key);
        let policy = spec.image_pull_policy.as_deref().unwrap_or("IfNotPresent");
        let refuse = |memory: &mut PodMemory, event: &str, reason: &str, why: String| {
            if memory.note_waiting(&spec.name, reason, &why) {
                self.recorder.warning(&about, event, why, cause.clone());
                self.recorder.warning(&about, "Failed", format!("Error: {reason}"), cause.clone());
            }
            PULL_BACKOFF.0
        };
        let present = match self.config.runtime.image_status(&image).await {
            Err(error @ cri::Error::BadImageName { .. }) => {
                let why = format!("Failed to apply default image tag {image:?}: {error}");
                return Ok(Some(refuse(memory, "InspectFailed", "InvalidImageName", why)));
            }
            found => found?.is_some(),
        };
        if present && policy != "Always" {
            if !static_pod && memory.tells_of_image(&spec.name) {
                let message = format!(
                    "Container image {image:?} already present on machine and can be accessed by the pod"
                );
                self.recorder.normal(&about, "Pulled", message, cause.clone());
            }
            return Ok(None);
        }
        if policy == "Never" {
            let why = format!("Container image {image:?} is not present with pull policy of Never");
            return Ok(Some(refuse(memory, "ErrImageNeverPull", "ErrImageNeverPull", why)));
        }
        if let Some((pause, since, message)) = memory.pulls.get(&image).cloned()
            && let Some(left) = clock::left(since, pause, clock::Instant::now())
        {
            if memory.note_waiting(&spec.name, "ImagePullBackOff", &message) {
                let back_off = format!("Back-off pulling image {image:?}");
                self.recorder.normal(&about, "BackOff", back_off, cause.clone());
                self.recorder.warning(&about, "Failed", "Error: ImagePullBackOff", cause.clone());
            }
            return Ok(Some(left));
        }
        self.pull_now(new, &about, image, memory).await
    }

    /// Pulls the image of a container. `Some`: that failed, look again then.
    async fn pull_now(
        &self,
        new: &NewContainer<'_>,
        about: &ObjectReference,
        image: String,
        memory: &mut PodMemory,
    ) -> Result<Option<Duration>, Error> {
        let PodWork { key, pod, cause } = new.work;
        let container = new.spec.name.as_str();
        let tells = memory.tells_of_image(container);
        if tells {
            self.recorder.normal(about, "Pulling", format!("Pulling image {image:?}"), cause.clone());
        }
        let start = clock::Instant::now();
        match self.config.runtime.pull_image(&image).await {
            Ok(_) => {
                let took = pull_time(start.elapsed());
                let size = self.config.runtime.image_status(&image).await?.map_or(0, |i| i.size);
                let message = format!(
                    "Successfully pulled image {image:?} in {took} ({took} including waiting). Image size: {size} bytes."
                );
                if tells {
                    self.recorder.normal(about, "Pulled", message, cause.clone());
                }
                self.emit(Event::Pull { image: image.to_string(), error: None }, key, start, cause);
                memory.pulls.remove(&image);
                Ok(None)
            }
            Err(error) => {
                let message = format!("Failed to pull image {image:?}: {}", error.line());
                self.recorder.warning(about, "Failed", message, cause.clone());
                let event = Event::Pull { image: image.to_string(), error: Some(error.line()) };
                self.emit(event, key, start, cause);
                self.recorder.warning(about, "Failed", "Error: ErrImagePull", cause.clone());
                memory.note_waiting(container, "ErrImagePull", &error.line());
                let pause =
                    memory.pulls.get(&image).map_or(PULL_BACKOFF.0, |(p, ..)| (*p * 2).min(PULL_BACKOFF.1));
                let (_, message) = status::pull_back_off(&image, &error);
                memory.forget_pulls(pod);
                memory.pulls.insert(image, (pause, clock::Instant::now(), message));
                // ErrImagePull is shown first; a moment later the pod is backing off.
                Ok(Some(Duration::from_secs(1)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image that is there is pulled in no time: upstream says 0s then.
    #[test]
    fn the_time_of_a_pull_is_written_as_go_does() {
        let text = |micros| pull_time(Duration::from_micros(micros));
        assert_eq!([text(0), text(999), text(7_300)], ["0s", "0s", "7ms"]);
        assert_eq!([text(1_250_000), text(2_000_000), text(62_005_000)], ["1.25s", "2s", "1m2.005s"]);
    }
}
