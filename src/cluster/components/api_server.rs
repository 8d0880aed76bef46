//! kube-apiserver: asks the store of its node, or the external one, and serves on the address of
//! its node.

use super::{API_PORT, Location, OnEnd};
use crate::error::chain;
use crate::node::sockets::{dialer, listen_after};
use crate::store::external::ExternalEtcd;
use crate::world::{Problem, World};
use net::addresses;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tap::Component;
use task::Crew;
use tokio::sync::watch;

/// Starts an API server in the crew. It waits for its store, and ends when it has lost that.
///
/// # Errors
/// A text for people: a certificate or a TLS configuration cannot be made.
pub(super) fn start(world: &Arc<World>, crew: &Crew, place: Location) -> Result<(), String> {
    let identity = world.api_identity.clone();
    let (tls, clients) = pki::asking_server_config(&identity, world.ca.pem()).map_err(|e| chain(&e))?;
    let subject = pki::Subject::client("kube-apiserver-kubelet-client", "system:masters");
    let kubelet = world.ca.issue(&subject).map_err(|e| chain(&e))?;
    let kubelet_tls = pki::client_config(Some(&kubelet), world.ca.pem(), &["http/1.1"]);
    let kubelet_tls = kubelet_tls.map_err(|e| chain(&e))?;
    let (world, stop) = (world.clone(), crew.token());
    crew.spawn_main(async move {
        let mut own_store: Option<Arc<dyn etcd::Storage>> = None;
        if let Some(etcd) = &world.spec.external_etcd {
            let remote = claim_external(&world, etcd).await?;
            own_store = Some(remote.clone());
            world.stores.send_modify(|stores| drop(stores.insert(place.node.clone(), remote)));
        }
        let mut stores = world.stores.subscribe();
        let kv = match stores.wait_for(|s| s.contains_key(&place.node)).await {
            Ok(stores) => stores.get(&place.node).cloned(),
            Err(_) => None,
        };
        let Some(kv) = kv else { return Err("there is no store".to_string()) };
        let (asked, address) = (kv.clone(), SocketAddr::from((place.ip, API_PORT)));
        let config = apiserver::Config {
            kv,
            tap: world.tap.at(&place.node, Component::ApiServer),
            rng: world.rng.fork("apiserver"),
            tls,
            clients,
            teachers: world.teachers.clone(),
            tokens: world.tokens.clone(),
            service_cidr: world.service_cidr,
            is_inside: addresses::is_inside,
            node_ports: world.spec.node_ports,
            kubelet_tls,
            dial: dialer(&place.network),
            advertise: address,
        };
        let server = apiserver::Server::start(config);
        let (killed, gone, node) = (server.clone(), world.clone(), place.node.clone());
        let _guard = OnEnd(move || {
            remove_own(&gone.api_servers, &node, |server| server.is(&killed));
            remove_own(&gone.stores, &node, |there| {
                own_store.as_ref().is_some_and(|own| Arc::ptr_eq(own, there))
            });
            killed.crew().kill();
        });
        let listener = listen_after(&*place.network, address).await;
        let listener = listener.map_err(|error| format!("cannot listen on {address}: {error}"))?;
        tracing::info!(%address, "Serving securely");
        world.api_servers.send_modify(|servers| drop(servers.insert(place.node.clone(), server.clone())));
        let lost = async {
            let _ = stores.wait_for(|s| !has_own(s, &place.node, |there| Arc::ptr_eq(there, &asked))).await;
        };
        // A stop is the listener's to carry out: it lets running requests end before the
        // connections go.
        let ended = tokio::select! {
            ended = server.serve(listener, stop) => ended.map_err(|e| e.to_string()),
            () = lost => Err("the connection to etcd was lost".into()),
        };
        server.crew().stop().await;
        ended
    });
    Ok(())
}

/// Connects to an external etcd and makes it this cluster's own.
///
/// # Errors
/// The etcd does not answer, or it holds the objects of another cluster: then this cluster ends.
async fn claim_external(world: &World, etcd: &ExternalEtcd) -> Result<Arc<dyn etcd::Storage>, String> {
    let remote: Arc<dyn etcd::Storage> = Arc::new(etcd.connect().await.map_err(|t| t.to_string())?);
    let claimed = etcd.claim(&*remote, world.ca.pem(), &world.spec.name).await;
    if claimed.map_err(|t| t.to_string())? {
        return Ok(remote);
    }
    let refusal = etcd.foreign();
    world.problem.send_replace(Some(Problem::Refused(refusal.clone())));
    Err(refusal.to_string())
}

/// Returns whether a node's entry is the caller's own. A watcher sees the latest entries only:
/// where one has gone there may be the next one already.
fn has_own<T>(entries: &BTreeMap<String, T>, node: &str, is_own: impl Fn(&T) -> bool) -> bool {
    entries.get(node).is_some_and(is_own)
}

/// Removes a node's entry if it is the caller's own: another server of the node may be there by
/// now.
fn remove_own<T>(entries: &watch::Sender<BTreeMap<String, T>>, node: &str, is_own: impl Fn(&T) -> bool) {
    entries.send_if_modified(|entries| has_own(entries, node, &is_own) && entries.remove(node).is_some());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_ends_late_leaves_the_entry_of_the_next_one() {
        let (old, new) = (Arc::new("old"), Arc::new("new"));
        let entries = watch::Sender::new(BTreeMap::from([("n".to_string(), new.clone())]));
        let mut seen = entries.subscribe();
        remove_own(&entries, "n", |there| Arc::ptr_eq(there, &old));
        remove_own(&entries, "m", |_| true);
        assert!(entries.borrow().contains_key("n") && !seen.has_changed().unwrap());
        remove_own(&entries, "n", |there| Arc::ptr_eq(there, &new));
        assert!(seen.borrow_and_update().is_empty());
    }

    /// An API server would otherwise go on with a member that is dead.
    #[tokio::test]
    async fn a_store_that_another_one_has_replaced_is_lost() {
        let old = Arc::new("old");
        let entries = watch::Sender::new(BTreeMap::from([("n".to_string(), old.clone())]));
        let mut seen = entries.subscribe();
        let is_own = |there: &Arc<&str>| Arc::ptr_eq(there, &old);
        assert!(has_own(&seen.borrow_and_update(), "n", is_own));
        entries.send_modify(|entries| drop(entries.remove("n")));
        entries.send_modify(|entries| drop(entries.insert("n".into(), Arc::new("new"))));
        let lost = seen.wait_for(|entries| !has_own(entries, "n", is_own));
        assert!(futures::FutureExt::now_or_never(lost).is_some_and(|found| found.is_ok()));
    }
}
