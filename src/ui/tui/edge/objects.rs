//! Watches objects through the API server, with the rights of the learner.

use super::super::event::Event;
use super::follow::AGAIN;
use crate::kubeconfig::of_map;
use client::kube::core::{ApiResource, DynamicObject};
use client::kube::runtime::watcher;
use client::{Api, Client, Codec, Delta, Item, Reflector, is_code};
use cluster::Place;
use cluster::control::Control;
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::SendError;

/// Pause before a resource that the learner may not list is asked for again. A role may be bound,
/// or another user chosen in the kubeconfig.
const DENIED_AGAIN: Duration = Duration::from_secs(5);

/// Sends the objects of one kind and their changes. Watches again after every error.
pub(super) async fn objects(place: Place, resource: ApiResource, tell: Sender<Event>) {
    let mut silent = false;
    loop {
        // Without a cluster no request is made: there would be one for each kind.
        let client = Control::connect(&place).await.ok().and_then(|_| of_map(&place));
        match watch_once(client, &resource, &tell, &mut silent).await {
            Ok(pause) => clock::sleep(pause).await,
            Err(_) => return,
        }
    }
}

/// Watches one kind until the watch ends, and tells why. Returns the pause before the next attempt.
///
/// # Errors
/// The interface has ended.
async fn watch_once(
    client: Option<Client>,
    resource: &ApiResource,
    tell: &Sender<Event>,
    silent: &mut bool,
) -> Result<Duration, SendError<Event>> {
    let end = match client {
        Some(client) => watch_kind(&client, resource, tell, silent).await?,
        None => Watched::Broken,
    };
    // Both count as silence, which is sent once, until a complete list comes.
    let known = std::mem::replace(silent, true);
    Ok(match end {
        Watched::Denied => {
            tell.send(Event::Denied(resource.plural.clone())).await?;
            DENIED_AGAIN
        }
        Watched::Broken => {
            if !known {
                tell.send(Event::Silent(resource.plural.clone())).await?;
            }
            AGAIN
        }
    })
}

/// How watching a kind ended.
#[derive(Debug, PartialEq, Eq)]
enum Watched {
    /// The learner may not list this kind.
    Denied,
    /// The server does not answer, or the watch broke.
    Broken,
}

/// Sends the objects of one kind until the watch ends; `silent` becomes false when all of them are
/// sent.
///
/// # Errors
/// The interface has ended.
async fn watch_kind(
    client: &Client,
    resource: &ApiResource,
    tell: &Sender<Event>,
    silent: &mut bool,
) -> Result<Watched, SendError<Event>> {
    let api = Api::<Item<DynamicObject>>::all_with(client.kube(), resource);
    let mut reflector = Reflector::<DynamicObject>::new(&resource.kind, api, watcher::Config::default());
    while let Some(next) = reflector.next_decoded().await {
        let delta = match next {
            Ok(delta) => delta,
            Err(watcher::Error::InitialListFailed(error)) if is_code(&error, 403) => {
                return Ok(Watched::Denied);
            }
            // The server may be back elsewhere, with another certificate: from the kubeconfig on.
            Err(_) => break,
        };
        if matches!(delta, Delta::Replaced(_)) {
            *silent = false;
        }
        let delta = delta.map(|object| object.encode().unwrap_or_default());
        tell.send(Event::Objects(resource.plural.clone(), delta)).await?;
    }
    Ok(Watched::Broken)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answers, next};
    use super::*;
    use client::kube::core::GroupVersionKind;
    use serde_json::json;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio::sync::mpsc::channel;

    #[tokio::test]
    async fn objects_that_cannot_be_watched_are_told_to_be_silent() {
        let (_dir, place) = answers(vec![vec![]]); // without a kubeconfig
        let (tell, mut told) = channel(8);
        let kind = GroupVersionKind::gvk("", "v1", "Pod");
        let task = tokio::spawn(objects(place, ApiResource::from_gvk_with_plural(&kind, "pods"), tell));
        let event = next(&mut told).await;
        assert!(matches!(&event, Event::Silent(resource) if resource == "pods"), "{event:?}");
        task.abort();
    }

    #[tokio::test]
    async fn a_kind_that_may_not_be_listed_is_told_to_be_denied_and_asked_for_again() {
        let allowed = Arc::new(AtomicBool::new(false));
        let now = allowed.clone();
        let server = client::testing::Scripted::new(move |_| match now.load(Ordering::SeqCst) {
            false => client::testing::refusal(403, "Forbidden"),
            true => Some((200, json!({"metadata": {"resourceVersion": "7"}, "items": []}))),
        })
        .await;
        let (tell, mut told) = channel(8);
        let kind = GroupVersionKind::gvk("", "v1", "Pod");
        let resource = ApiResource::from_gvk_with_plural(&kind, "pods");
        let mut silent = false;
        for _ in 0..2 {
            let pause = watch_once(Some(server.client.clone()), &resource, &tell, &mut silent).await;
            assert_eq!(pause.unwrap(), DENIED_AGAIN);
            assert!(matches!(told.try_recv(), Ok(Event::Denied(resource)) if resource == "pods"));
            assert!(told.try_recv().is_err() && silent);
        }
        watch_once(None, &resource, &tell, &mut silent).await.unwrap();
        assert!(told.try_recv().is_err(), "there is no picture that could be an old one");
        allowed.store(true, Ordering::SeqCst);
        assert_eq!(watch_once(Some(server.client), &resource, &tell, &mut silent).await.unwrap(), AGAIN);
        let seen = told.try_recv();
        assert!(matches!(seen, Ok(Event::Objects(_, Delta::Replaced(_)))), "from now on it is seen");
    }
}
