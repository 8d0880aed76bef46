//! The environment of a container that is to start: the ConfigMaps and Secrets that it refers to
//! are read from the API, [`crate::env`] makes variables of them.

use super::failure_events::FailedStep;
use super::kubelet::Kubelet;
use super::memory::PodMemory;
use crate::env::{self, Facts, Sources};
use crate::error::Error;
use crate::resources;
use client::{Key, is_unanswered, optional};
use cri::Sandbox;
use k8s_openapi::api::core::v1::{ConfigMap, Container as Spec, Pod, Secret};

impl Kubelet {
    /// Returns the container's environment. While no API server says what ConfigMaps and Secrets
    /// hold, it is the one of the container's run before. A server that was too slow to say what
    /// the pod's volumes hold is not asked.
    ///
    /// # Errors
    /// As the API's. The inner error is a mistake of the pod's author, and the message of
    /// `CreateContainerConfigError`.
    pub(super) async fn variables(
        &self,
        pod: &Pod,
        spec: &Spec,
        sandbox: &Sandbox,
        memory: &mut PodMemory,
    ) -> Result<Result<Vec<(String, String)>, String>, Error> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
        if let Some(known) = memory.variables.get(&spec.name).filter(|_| memory.is_cut_off) {
            return Ok(Ok(known.clone()));
        }
        let (mut sources, mut services) = (Sources::default(), Vec::new());
        if !self.statics.contains_key(&Key::of(pod)) {
            match (self.sources(spec, namespace).await, memory.variables.get(&spec.name)) {
                (Ok(Ok(found)), _) => sources = found,
                (Ok(Err(why)), _) => return Ok(Err(why)),
                (Err(error), Some(known)) if is_unanswered(&error) => return Ok(Ok(known.clone())),
                (Err(error), _) => {
                    // The next try finds the same image: no Event has to say so once more.
                    memory.failure_events.note(FailedStep::Start(spec.name.clone()));
                    return Err(error.into());
                }
            }
            self.services.synced().await;
            let links = pod.spec.as_ref().and_then(|s| s.enable_service_links).unwrap_or(true);
            services = match env::service_variables(&self.services.list(), namespace, links) {
                Ok(services) => services,
                Err(why) => return Ok(Err(why)),
            };
        }
        let facts = self.facts(pod, std::slice::from_ref(sandbox));
        let variables = env::of(spec, &facts, &sources, services);
        if let Ok(variables) = &variables
            && !(sources.config_maps.is_empty() && sources.secrets.is_empty())
        {
            memory.variables.remove(&spec.name); // of an earlier start
            if env::is_small(variables) {
                memory.variables.insert(spec.name.clone(), variables.clone());
            }
        }
        Ok(variables)
    }

    /// Reads the ConfigMaps and Secrets that a container takes variables from. Those that are not
    /// there are left out.
    ///
    /// # Errors
    /// As the API's. The inner error: they hold more than a container may refer to.
    async fn sources(&self, spec: &Spec, namespace: &str) -> Result<Result<Sources, String>, kube::Error> {
        let mut sources = Sources::default();
        let (maps, secrets) = env::needs(spec);
        let mut left = env::ALL_MAX;
        for (name, keys) in &maps {
            let found = self.config.client.within::<ConfigMap>(namespace).get(name).await;
            if let Some(map) = optional(found)?
                && let Err(why) = sources.keep_config_map(name, map, keys, &mut left)
            {
                return Ok(Err(why));
            }
        }
        for (name, keys) in &secrets {
            let found = self.config.client.within::<Secret>(namespace).get(name).await;
            if let Some(secret) = optional(found)?
                && let Err(why) = sources.keep_secret(name, secret, keys, &mut left)
            {
                return Ok(Err(why));
            }
        }
        Ok(Ok(sources))
    }

    /// Returns what the downward API says of the pod.
    pub(super) fn facts<'a>(&'a self, pod: &'a Pod, sandboxes: &[Sandbox]) -> Facts<'a> {
        let ip = sandboxes.iter().max_by_key(|s| s.attempt).and_then(|s| s.ip);
        Facts {
            pod,
            node_name: &self.config.node_name,
            node_ip: self.config.node_ip.to_string(),
            pod_ip: ip.map(|ip| ip.to_string()).unwrap_or_default(),
            allocatable: resources::allocatable(pod, self.config.capacity.allocatable()),
        }
    }
}
