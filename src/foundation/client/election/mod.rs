//! Leader election through a Lease object, as client-go's `leaderelection` does it.

use super::answers::{is_code, optional};
use super::api_client::Client;
use super::objects::Api;
use super::recorder::{Recorder, reference};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{DeleteParams, PostParams};
use std::time::Duration;
use tap::{Event, Record, Tap};
use task::{Crew, End};

/// How a try ended that the server answered.
enum Tried {
    /// The Lease as it was written.
    Held(Box<Lease>),
    /// Another identity holds it.
    Others,
    /// It was written meanwhile: who holds it is to be looked at again.
    Overtaken,
}

/// The reason of the Event on a Lease that says who leads.
const LEADER_ELECTION: &str = "LeaderElection";

/// How often a standby warns that no API server answers; for the first time after as long.
const UNANSWERED_WARN_EVERY: Duration = Duration::from_secs(30);

/// Since when no API server answers, or when the log warned of it last. `None` while one answers.
#[derive(Default)]
struct Silence(Option<clock::Instant>);

impl Silence {
    /// Takes note of a try that was not answered at `now`. True if the log has to warn of it.
    fn goes_on(&mut self, now: clock::Instant) -> bool {
        let since = *self.0.get_or_insert(now);
        let is_long = now.saturating_duration_since(since) >= UNANSWERED_WARN_EVERY;
        if is_long {
            self.0 = Some(now);
        }
        is_long
    }

    /// Takes note of an answer.
    fn ends(&mut self) {
        self.0 = None;
    }
}

/// A Lease that at most one holder renews. Kubernetes' times: 15 s / 10 s / 2 s.
pub struct LeaderElection {
    /// Reads and writes the Lease.
    pub client: Client,
    /// Name of the Lease in kube-system, e.g. `kube-scheduler`.
    pub name: String,
    /// The candidate, `NODE_UUID`; the same after a restart, so that it may go on at once.
    pub identity: String,
    /// Others may take over a Lease that was not renewed for this long.
    pub lease_duration: Duration,
    /// A holder that could not renew for this long stops working.
    pub renew_deadline: Duration,
    /// Pause between two tries.
    pub retry_period: Duration,
}

impl LeaderElection {
    /// Makes an election for the Lease `name` in kube-system, with Kubernetes' times.
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

    /// Stands for election, and works while it leads: `work` starts tasks in the crew that it gets.
    /// Their panic is the end of `crew`. When `crew` is asked to stop, the work ends first and the
    /// Lease is given back after that, since another one may lead from then on.
    ///
    /// # Errors
    /// Why the Lease was lost: then the component ends, as upstream's does.
    pub async fn lead<W: Future<Output = ()>>(
        self,
        crew: &Crew,
        tap: &Tap,
        work: impl FnOnce(Crew) -> W,
    ) -> Result<(), String> {
        let stop = crew.token();
        let Some((held, lease)) = self.acquire(crew).await else { return Ok(()) };
        if stop.is_cancelled() {
            self.release().await;
            return Ok(());
        }
        tracing::info!(identity = self.identity, "successfully acquired lease kube-system/{}", self.name);
        tap.emit(Record::new(Event::Lead).object("leases", "kube-system", &self.name));
        let part = crew.part();
        let message = format!("{} became leader", self.identity);
        Recorder::new(&part, &self.client, &self.name, "").normal(
            &reference(&lease),
            LEADER_ELECTION,
            message,
            None,
        );
        let working = async {
            work(part.clone()).await;
            part.wait().await
        };
        // The Lease is renewed from the beginning: to read everything may take longer than it
        // lasts.
        tokio::select! {
            why = self.hold(held) => return Err(why),
            end = working => match end {
                End::Panicked(text) => std::panic::resume_unwind(Box::new(text)),
                end => return Err(format!("the work ended: {end:?}")),
            },
            () = stop.cancelled() => {}
        }
        // A task that another thread runs just now is not gone yet when it is aborted.
        let gone = part.token();
        drop(part);
        if clock::limit(self.renew_deadline, gone.cancelled()).await.is_none() {
            tracing::warn!(lease = self.name, "not released: a task of the work does not end");
            return Ok(());
        }
        self.release().await;
        Ok(())
    }

    fn api(&self) -> Api<Lease> {
        self.client.within("kube-system")
    }

    /// Waits until this identity holds the Lease. Returns since when: the time at which the write
    /// that got it was begun, since others may count from then on; and the Lease as it was written.
    /// `None` if `crew` is asked to stop meanwhile. A try that is on its way then is waited for,
    /// since it may get the Lease.
    pub async fn acquire(&self, crew: &Crew) -> Option<(clock::Instant, Lease)> {
        // The holder's clock is not ours: a Lease counts as expired when *we* saw no renewal for
        // its duration.
        let mut observed: Option<(Option<LeaseSpec>, clock::Instant)> = None;
        let mut impatience = Duration::from_millis(10);
        let mut silence = Silence::default();
        let stop = crew.token();
        while !stop.is_cancelled() {
            let asked = clock::Instant::now();
            let pause = match self.answered(self.try_acquire(&mut observed)).await {
                Ok(Tried::Held(lease)) => return Some((asked, *lease)),
                Ok(Tried::Others | Tried::Overtaken) => {
                    silence.ends();
                    self.retry_period
                }
                Err(error) => {
                    // No answer does not mean that another identity holds it: at a cluster's start
                    // the API is only just coming. Later it is worth a warning, now and then.
                    if silence.goes_on(clock::Instant::now()) {
                        tracing::warn!(lease = self.name, %error, "cannot ask for the lease");
                    } else {
                        tracing::debug!(lease = self.name, %error, "cannot ask for the lease");
                    }
                    let pause = impatience;
                    impatience = (impatience * 2).min(self.retry_period);
                    pause
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = clock::pause(pause) => {}
            }
        }
        None
    }

    /// Renews the Lease, which was got or renewed last at `renewed`; returns why it is lost: it
    /// could not be renewed in time, or another holder took it. Each failed try is a warning in the
    /// component's log, so that a restart under load can be distinguished from any other.
    ///
    /// The holder stops at the deadline at the latest, whatever it waits for then: a pause, or an
    /// answer. Others may take the Lease after `lease_duration`, and there must not be two holders.
    pub async fn hold(&self, mut renewed: clock::Instant) -> String {
        let mut last = String::from("no try was answered");
        loop {
            let deadline = renewed + self.renew_deadline;
            let renewal = async {
                clock::pause(self.retry_period).await;
                let asked = clock::Instant::now();
                (asked, self.answered(self.try_acquire(&mut None)).await)
            };
            let (asked, tried) = tokio::select! {
                biased;
                () = clock::pause_until(deadline) => {
                    let since = renewed.elapsed().as_secs();
                    return format!("leaderelection lost: not renewed for {since} s: {last}");
                }
                renewal = renewal => renewal,
            };
            let error: Box<dyn std::error::Error + Send + Sync> = match tried {
                Ok(Tried::Held(_)) => {
                    renewed = asked;
                    continue;
                }
                Ok(Tried::Others) => {
                    tracing::warn!(lease = self.name, "another holder has the lease");
                    return "leaderelection lost: another holder has the lease".into();
                }
                Ok(Tried::Overtaken) => "it changed meanwhile".into(),
                Err(error) => error,
            };
            let since = renewed.elapsed();
            tracing::warn!(lease = self.name, %error, ?since, "failed to renew the lease");
            last = error.to_string();
        }
    }

    /// Gives the Lease back, so that another need not wait for its expiry. If that cannot be done
    /// in time, it expires. Its times are those of the release, as client-go writes them.
    async fn release(&self) {
        let released = clock::limit(self.renew_deadline, async {
            match self.try_release().await {
                // A renewal that was on its way came in between.
                Err(error) if is_code(&error, 409) => self.try_release().await,
                released => released,
            }
        });
        match released.await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::warn!(lease = self.name, %error, "failed to release the lease"),
            None => tracing::warn!(lease = self.name, "failed to release the lease: no answer in time"),
        }
    }

    async fn try_release(&self) -> Result<(), kube::Error> {
        let api = self.api();
        let Some(mut lease) = optional(api.get(&self.name).await)? else { return Ok(()) };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return Ok(());
        }
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        let now = MicroTime(clock::now());
        (spec.acquire_time, spec.renew_time) = (Some(now.clone()), Some(now));
        api.replace(&self.name, &PostParams::default(), &lease).await.map(drop)
    }

    /// Gives one try to take or renew the Lease half the time that its holder has for renewing it:
    /// the other half is for a try at another server.
    async fn answered(
        &self,
        tried: impl Future<Output = Result<Tried, kube::Error>>,
    ) -> Result<Tried, Box<dyn std::error::Error + Send + Sync>> {
        match clock::limit(self.renew_deadline / 2, tried).await {
            Some(tried) => Ok(tried?),
            None => Err("the API server does not answer".into()),
        }
    }

    async fn try_acquire(
        &self,
        observed: &mut Option<(Option<LeaseSpec>, clock::Instant)>,
    ) -> Result<Tried, kube::Error> {
        let api = self.api();
        let (asked, now) = (clock::Instant::now(), MicroTime(clock::now()));
        let found = match optional(api.get(&self.name).await) {
            Err(error) if is_undecodable(&error) => {
                return self.replace_undecodable(observed, asked, error).await;
            }
            found => found?,
        };
        let fresh = |transitions: i32, acquired: MicroTime| LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(self.lease_duration.as_secs() as i32),
            acquire_time: Some(acquired),
            renew_time: Some(now.clone()),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        };
        let Some(mut lease) = found else {
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(fresh(0, now.clone())) };
            return match api.create(&PostParams::default(), &lease).await {
                Ok(lease) => Ok(Tried::Held(Box::new(lease))),
                Err(error) if is_code(&error, 409) => Ok(Tried::Overtaken),
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
                    if since.elapsed() < duration {
                        return Ok(Tried::Others);
                    }
                }
                _ => {
                    *observed = Some((lease.spec.clone(), clock::Instant::now()));
                    return Ok(Tried::Others);
                }
            }
        }
        let transitions = spec.lease_transitions.unwrap_or(0).saturating_add(i32::from(!mine));
        let acquired = spec.acquire_time.filter(|_| mine).unwrap_or_else(|| now.clone());
        lease.spec = Some(fresh(transitions, acquired));
        match api.replace(&self.name, &PostParams::default(), &lease).await {
            Ok(lease) => Ok(Tried::Held(Box::new(lease))),
            Err(error) if is_code(&error, 409) => Ok(Tried::Overtaken),
            Err(error) => Err(error),
        }
    }
}

impl LeaderElection {
    /// Deletes a Lease that cannot be decoded, after the time in which its holder must have given
    /// up; the next try makes a new one. A renewal (`observed` is new each time) fails meanwhile,
    /// so the holder stops working in time.
    ///
    /// Another standby may delete it, too, and make a new one, `retry_period` later at the
    /// earliest. No precondition tells the two apart: uid and resource version of the first cannot
    /// be read. So the DELETE is given up that long after the GET, sent at `asked`, that found the
    /// Lease undecodable.
    async fn replace_undecodable(
        &self,
        observed: &mut Option<(Option<LeaseSpec>, clock::Instant)>,
        asked: clock::Instant,
        error: kube::Error,
    ) -> Result<Tried, kube::Error> {
        match observed {
            Some((None, since)) if since.elapsed() >= self.lease_duration => {
                tracing::warn!(lease = self.name, %error, "deleting a Lease that cannot be decoded");
                let (api, how) = (self.api(), DeleteParams::default());
                let left = self.retry_period.saturating_sub(asked.elapsed());
                match clock::limit(left, api.delete(&self.name, &how)).await {
                    None => return Err(error),
                    Some(deleted) => {
                        optional(deleted)?;
                    }
                }
                *observed = None;
                Ok(Tried::Overtaken)
            }
            Some((None, _)) => Err(error),
            _ => {
                *observed = Some((None, clock::Instant::now()));
                Err(error)
            }
        }
    }
}

/// Returns true if what is stored cannot be decoded, by the server or by this client.
fn is_undecodable(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.reason == "StorageReadError",
        kube::Error::SerdeError(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
