//! Leader election through a Lease object, as client-go's `leaderelection` does it.

use super::{Client, is_code, optional};
use crate::clock;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use std::time::Duration;

/// A Lease that at most one holder renews. Kubernetes' times: 15 s / 10 s / 2 s.
pub struct LeaderElection {
    pub client: Client,
    /// Name of the Lease in kube-system, e.g. `kube-scheduler`.
    pub name: String,
    /// Who asks; stable over restarts, since a restarted holder may go on at once.
    pub identity: String,
    /// Others may take over a Lease that was not renewed for this long.
    pub lease_duration: Duration,
    /// A holder that could not renew for this long stops working.
    pub renew_deadline: Duration,
    /// Pause between two tries.
    pub retry_period: Duration,
}

impl LeaderElection {
    pub fn new(client: Client, name: &str, identity: &str) -> LeaderElection {
        LeaderElection {
            client,
            name: name.into(),
            identity: identity.into(),
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }

    fn api(&self) -> Api<Lease> {
        self.client.within("kube-system")
    }

    /// Waits until this identity holds the Lease.
    pub async fn acquire(&self) {
        // The holder's clock is not ours: a Lease counts as expired when *we* saw no renewal for its duration.
        let mut observed: Option<(Option<LeaseSpec>, clock::Instant)> = None;
        let mut impatience = Duration::from_millis(10);
        loop {
            match self.try_acquire(&mut observed).await {
                Ok(true) => return,
                Ok(false) => clock::sleep(self.retry_period).await,
                Err(error) => {
                    // No answer is not "somebody else holds it": at a cluster's start the API is only just coming.
                    tracing::debug!(lease = self.name, %error, "cannot ask for the lease");
                    clock::sleep(impatience).await;
                    impatience = (impatience * 2).min(self.retry_period);
                }
            }
        }
    }

    /// Renews the Lease; returns when it could not be renewed in time or somebody else took it.
    pub async fn hold(&self) {
        let mut renewed = clock::Instant::now();
        loop {
            clock::sleep(self.retry_period).await;
            match self.try_acquire(&mut None).await {
                Ok(true) => renewed = clock::Instant::now(),
                Ok(false) => return,
                Err(error) => tracing::debug!(lease = self.name, %error, "cannot renew the lease"),
            }
            if renewed.elapsed() > clock::scaled(self.renew_deadline) {
                return;
            }
        }
    }

    /// Gives the Lease back, so that another need not wait for its expiry.
    pub async fn release(&self) -> Result<(), kube::Error> {
        let api = self.api();
        let Some(mut lease) = optional(api.get(&self.name).await)? else { return Ok(()) };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return Ok(());
        }
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        api.replace(&self.name, &PostParams::default(), &lease).await.map(drop)
    }

    async fn try_acquire(
        &self,
        observed: &mut Option<(Option<LeaseSpec>, clock::Instant)>,
    ) -> Result<bool, kube::Error> {
        let api = self.api();
        let now = MicroTime(clock::now());
        let fresh = |transitions: i32, acquired: MicroTime| LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(self.lease_duration.as_secs() as i32),
            acquire_time: Some(acquired),
            renew_time: Some(now.clone()),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        };
        let Some(mut lease) = optional(api.get(&self.name).await)? else {
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(fresh(0, now.clone())) };
            return match api.create(&PostParams::default(), &lease).await {
                Ok(_) => Ok(true),
                Err(error) if is_code(&error, 409) => Ok(false),
                Err(error) => Err(error),
            };
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let mine = holder == self.identity;
        if !mine && !holder.is_empty() {
            match observed {
                Some((seen, since)) if *seen == lease.spec => {
                    let duration =
                        Duration::from_secs(spec.lease_duration_seconds.unwrap_or(15).max(1) as u64);
                    if since.elapsed() < clock::scaled(duration) {
                        return Ok(false);
                    }
                }
                _ => {
                    *observed = Some((lease.spec.clone(), clock::Instant::now()));
                    return Ok(false);
                }
            }
        }
        let transitions = spec.lease_transitions.unwrap_or(0) + i32::from(!mine);
        let acquired = spec.acquire_time.filter(|_| mine).unwrap_or_else(|| now.clone());
        lease.spec = Some(fresh(transitions, acquired));
        match api.replace(&self.name, &PostParams::default(), &lease).await {
            Ok(_) => Ok(true),
            Err(error) if is_code(&error, 409) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
