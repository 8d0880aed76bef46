//! Going back in time, asked on the control socket and done by the API server.

use super::control::Reply;
use super::world::World;
use crate::clock::Timestamp;
use crate::tap;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What may be asked of the past.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Past {
    /// What can be undone and redone.
    Steps,
    Undo {
        count: usize,
    },
    Redo,
    Rewind {
        to: Moment,
    },
}

/// When.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Moment {
    /// A resourceVersion.
    Revision(i64),
    At(Timestamp),
    /// So many seconds ago.
    Ago(u64),
}

/// Asks an API server. Answers what it says; an error is for people.
pub async fn ask(world: &World, past: Past) -> Reply {
    match send(world, past).await {
        Ok(value) => Reply::Ok(value),
        Err(text) => Reply::Error(text),
    }
}

/// The same for those who live in this process.
pub async fn send(world: &World, past: Past) -> Result<Value, String> {
    let (method, what, body) = match past {
        Past::Steps => ("GET", "steps", Value::Null),
        Past::Undo { count } => ("POST", "undo", json!({ "count": count })),
        Past::Redo => ("POST", "redo", json!({})),
        Past::Rewind { to } => ("POST", "rewind", json!({"revision": revision(world, &to)?})),
    };
    let body = if body.is_null() { vec![] } else { body.to_string().into_bytes() };
    let request = http::Request::builder()
        .method(method)
        .uri(format!("/ropewalk/v1/{what}"))
        .header("content-type", "application/json")
        .body(body)
        .map_err(|e| e.to_string())?;
    let agent = format!("ropewalk/{}", super::version());
    let client = world
        .client("", tap::TEACHER, "system:masters", &agent, world.dialer())
        .map_err(|e| super::chain(&e))?;
    client.kube().request::<Value>(request).await.map_err(|error| match error {
        kube::Error::Api(status) => status.message,
        other => super::chain(&other),
    })
}

/// The last revision that was committed by then, as far as the tap remembers.
fn revision(world: &World, moment: &Moment) -> Result<i64, String> {
    let at = match moment {
        Moment::Revision(revision) => return Ok(*revision),
        Moment::At(at) => *at,
        Moment::Ago(seconds) => crate::clock::now() - std::time::Duration::from_secs(*seconds),
    };
    let records = world.tap.since(0);
    let found = records
        .iter()
        .filter(|r| r.request.is_some())
        .take_while(|r| r.at <= at)
        .filter_map(|r| r.revision)
        .last();
    let oldest = records.first().map(|r| crate::clock::rfc3339(r.at)).unwrap_or_default();
    found.map(|r| r as i64).ok_or_else(|| {
        format!("nothing is remembered from before {oldest}; `rewind REVISION` reaches further back")
    })
}
