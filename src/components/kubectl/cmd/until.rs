//! Waits until an object is as a verb wants it, over restarts of the server.

use super::pages::items_of;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::info::Info;
use crate::wire::api::JSON;
use api::value;
use clock::Instant;
use serde_json::Value;
use std::time::Duration;

/// "Forever" of kubectl: a week.
pub(crate) const FOREVER: Duration = Duration::from_secs(168 * 3600);
/// An object that is replaced by force is waited for so long, unless `--timeout` says something
/// else. The wait is part of the replacement whatever `--wait` says, as in kubectl: no new object
/// can be created beside the old one.
pub(crate) const GONE_WITHIN: Duration = Duration::from_secs(5 * 60);
/// Time for one look, which a time limit of zero still allows.
pub(super) const AT_ONCE: Duration = Duration::from_millis(1);
/// The pause before a watch that the server ended at once, or could not begin, is begun again.
const AGAIN: Duration = Duration::from_millis(200);

/// The end of a wait for one or several objects.
#[derive(Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// From now; a limit of zero means `unlimited`.
    pub(crate) fn of(limit: Duration, unlimited: Duration) -> Deadline {
        Deadline(Instant::now() + if limit.is_zero() { unlimited } else { limit })
    }

    /// The time that is left, at least enough for one look.
    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now()).max(AT_ONCE)
    }
}

/// Lists and watches one object until `done` says so; the last state is kept in `info`. `limit`
/// zero: [`FOREVER`]. `done` gets null for an object that was deleted. A server that cannot be
/// reached, or cannot answer now, is asked again until the limit is over, as an informer does
/// (`UntilWithSync` of client-go): the cluster may be restarting.
pub(crate) async fn until(
    ctx: &Ctx,
    info: &mut Info,
    limit: Duration,
    done: impl Fn(&Value) -> Result<bool, Fail>,
) -> Result<(), Fail> {
    let limit = if limit.is_zero() { FOREVER } else { limit };
    let name = info.plural_named();
    let waiting = async {
        loop {
            match watch(ctx, info, &done).await {
                Err(fail) if is_passing(&fail) => clock::pause(AGAIN).await,
                outcome => return outcome,
            }
        }
    };
    match tokio::time::timeout(limit, waiting).await {
        Ok(outcome) => outcome,
        Err(_) => text(format!("timed out waiting for the condition on {name}")),
    }
}

/// Returns whether a request may succeed when it is sent again: the server was not reached, or is
/// overloaded or starting.
fn is_passing(fail: &Fail) -> bool {
    match fail {
        Fail::Refused(_) | Fail::Transport(_) => true,
        _ => fail.code().is_some_and(|code| code == 429 || code >= 500),
    }
}

/// As [`until`], until a request fails. A watch that ends is begun again with a list: the object
/// may have changed in between.
async fn watch(ctx: &Ctx, info: &mut Info, done: &impl Fn(&Value) -> Result<bool, Fail>) -> Result<(), Fail> {
    let selector = format!("metadata.name={}", info.name);
    let path = info.collection();
    loop {
        let list = ctx
            .api()
            .await?
            .get(&path, &[("fieldSelector", &selector), ("limit", "500"), ("resourceVersion", "0")])
            .await?;
        let found = items_of(&list, &info.resource).into_iter().next();
        if let Some(object) = &found {
            info.object = object.clone();
        }
        if done(&found.unwrap_or(Value::Null))? {
            return Ok(());
        }
        let version = value::text(&list, "metadata.resourceVersion").to_string();
        let query = [
            ("allowWatchBookmarks", "true"),
            ("fieldSelector", selector.as_str()),
            ("resourceVersion", version.as_str()),
            ("timeoutSeconds", "400"),
            ("watch", "true"),
        ];
        let begun = Instant::now();
        let mut events = ctx.api().await?.watch(&path, &query, JSON).await?;
        while let Some(event) = events.next().await {
            let object = value::at(&event, "object");
            match value::text(&event, "type") {
                "BOOKMARK" => continue,
                "ERROR" => break,
                "DELETED" => {
                    info.object = object.clone();
                    if done(&Value::Null)? {
                        return Ok(());
                    }
                }
                _ => {
                    info.object = object.clone();
                    if done(object)? {
                        return Ok(());
                    }
                }
            }
        }
        if begun.elapsed() < AGAIN {
            clock::pause(AGAIN).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_forced_replacement_waits_minutes_and_no_week() {
        let left = Deadline::of(Duration::ZERO, GONE_WITHIN).left();
        assert_eq!(left, Duration::from_secs(300));
        assert_eq!(Deadline::of(Duration::from_secs(2), GONE_WITHIN).left(), Duration::from_secs(2));
    }
}
