//! The scripts in `golden`: ConfigMaps that own each other, in a simulated API server.
//!
//! `objects NAME...` creates them, `owns OWNER DEPENDENT` writes a reference. `delete NAME POLICY`
//! deletes one (`background`, `foreground`, `orphan`) and shows what happens to all of them until
//! the collector has nothing left to do. `left` shows the objects that remain, with their owners.

use super::graph::FOREGROUND;
use super::{ORPHAN, start};
use crate::shared::Shared;
use ::golden::{Answer, Args, Command, Context, Runner, unknown};
use api::{Status, meta, value};
use client::simulated::{Door, Event, Faults, Store, kind};
use rng::Rng;
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::Duration;
use task::Crew;
use tokio::runtime::{Builder, Runtime};

#[test]
fn golden() {
    ::golden::run(concat!(env!("CARGO_MANIFEST_DIR"), "/garbage"), World::default);
}

/// Nothing was written for so long: the collector has nothing left to do.
const QUIET: Duration = Duration::from_secs(20);
const NAMESPACE: &str = "d";

struct World {
    /// Its clock stands still while the collector works.
    runtime: Runtime,
    store: Store,
    crew: Crew,
}

impl Default for World {
    fn default() -> World {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without sockets");
        let (store, crew) = (Store::new(Rng::seeded(1)), Crew::new("garbage"));
        runtime.block_on(async {
            clock::pin("2026-01-02T03:04:05Z".parse().expect("a time"));
            let door = Door::new(&store, &Rng::seeded(2), Faults::default(), None);
            start(&Shared { crew: crew.clone(), ..Shared::fixed(&door.client()) });
        });
        let world = World { runtime, store, crew };
        world.settle();
        world
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.crew.kill();
    }
}

impl Runner for World {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Answer {
        let mut args = Args::of(command);
        let mut out = String::new();
        let maps = kind("configmaps");
        match command.name.as_str() {
            "objects" => {
                while let Ok(name) = args.next::<String>("the name") {
                    self.store
                        .create(maps, NAMESPACE, json!({"metadata": {"name": name}}))
                        .map_err(text_of)?;
                }
            }
            "owns" => {
                let (owner, dependent) =
                    (args.next::<String>("the owner")?, args.next::<String>("the dependent")?);
                let owner = self.store.get(maps, NAMESPACE, &owner).ok_or("no such owner")?;
                let reference = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": meta::name(&owner.value),
                    "uid": meta::uid(&owner.value), "blockOwnerDeletion": true});
                self.store
                    .edit(maps, (NAMESPACE, &dependent), false, |object| {
                        let mut owners = value::list(object, OWNERS).to_vec();
                        owners.push(reference);
                        value::put(object, OWNERS, owners);
                        Ok(())
                    })
                    .map_err(text_of)?;
            }
            "delete" => {
                let (name, policy) = (args.next::<String>("the name")?, args.next::<String>("the policy")?);
                let policy = match policy.as_str() {
                    "background" => "Background",
                    "foreground" => "Foreground",
                    "orphan" => "Orphan",
                    _ => return Err("background, foreground or orphan".into()),
                };
                self.settle();
                let before = self.store.revision();
                self.store
                    .delete(maps, (NAMESPACE, &name), &json!({"propagationPolicy": policy}))
                    .map_err(text_of)?;
                self.settle();
                let history = self.store.history(maps);
                history
                    .iter()
                    .filter(|e| e.revision > before)
                    .try_for_each(|e| writeln!(out, "{}", line_of(e)))?;
            }
            "left" => {
                for item in self.store.all("configmaps") {
                    writeln!(out, "{}{}", meta::name(&item.value), owned_by(&item.value))?;
                }
            }
            _ => return unknown(command),
        }
        args.end()?;
        Ok(out)
    }
}

fn text_of(refusal: Status) -> String {
    refusal.message
}

const OWNERS: &str = "metadata.ownerReferences";

impl World {
    /// Waits until nothing changes any more.
    fn settle(&self) {
        self.runtime.block_on(async {
            loop {
                let before = self.store.revision();
                clock::sleep(QUIET).await;
                if self.store.revision() == before {
                    break;
                }
            }
        });
    }
}

fn owned_by(object: &Value) -> String {
    let owners: Vec<&str> = value::list(object, OWNERS).iter().filter_map(|o| o["name"].as_str()).collect();
    if owners.is_empty() { ", no owner".into() } else { format!(", owned by {}", owners.join(" and ")) }
}

/// Returns what a change of an object comes to.
fn line_of(event: &Event) -> String {
    let (object, name) = (&event.item.value, meta::name(&event.item.value));
    let has = |finalizer: &str| value::list(object, "metadata.finalizers").iter().any(|f| f == finalizer);
    let was_going = event.was.as_ref().is_some_and(|was| meta::is_terminating(&was.value));
    if event.gone {
        return format!("{name} is gone");
    }
    if meta::is_terminating(object) && !was_going {
        return match (has(FOREGROUND), has(ORPHAN)) {
            (true, _) => format!("{name} waits for its dependents to go"),
            (_, true) => format!("{name} waits for its dependents to be released"),
            _ => format!("{name} is being deleted"),
        };
    }
    format!("{name} changes{}", owned_by(object))
}
