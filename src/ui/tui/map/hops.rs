//! A hop in words.

use super::super::flow::{Did, Hop, Spot};
use super::super::words::Word;
use super::short;
use crate::texts::Lang;
use tap::Event;

/// Who it is, as short as people say it.
pub fn who(lang: Lang, spot: &Spot) -> String {
    match spot {
        Spot::Client => lang.say(Word::You, &[]),
        Spot::Api => "api".into(),
        Spot::Store => "etcd".into(),
        Spot::Scheduler => "scheduler".into(),
        Spot::Controller(name) if name.is_empty() => lang.say(Word::Controllers, &[]),
        Spot::Controller(name) => name.clone(),
        Spot::Kubelet(node) => format!("kubelet {}", short(node)),
        Spot::Proxy(node) => format!("proxy {}", short(node)),
        Spot::Other(name) => name.clone(),
    }
}

/// The same in half the room: for small panes.
pub fn brief(lang: Lang, hop: &Hop) -> String {
    match &hop.did {
        Did::Asked { code, .. } if *code < 400 => match hop.revision {
            Some(revision) => lang.say(Word::BriefAsked, &[&who(lang, &hop.from), &revision.to_string()]),
            None => describe(lang, hop),
        },
        Did::Stored => match hop.revision {
            Some(revision) => lang.say(Word::BriefStored, &[&revision.to_string()]),
            None => describe(lang, hop),
        },
        Did::Scheduled { chosen: Some(node), fit, of, .. } => {
            lang.say(Word::BriefScheduled, &[&fit.to_string(), &of.to_string(), short(node)])
        }
        Did::Bound { node } => lang.say(Word::BriefBound, &[short(node)]),
        Did::Told(event @ (Event::Sandbox { .. } | Event::Pull { .. })) => {
            lang.say(Word::HopTold, &[&who(lang, &hop.to), event.verb()])
        }
        _ => describe(lang, hop),
    }
}

/// What a component asked for; a binding is a create of another kind.
fn asked(hop: &Hop, verb: &str) -> String {
    if hop.from == Spot::Scheduler && verb == "create" { "bind".into() } else { verb.into() }
}

/// One line that says what happened, without its time.
pub fn describe(lang: Lang, hop: &Hop) -> String {
    let name = hop.object.as_ref().map_or("", |o| if o.name.is_empty() { &o.resource } else { &o.name });
    match &hop.did {
        Did::Stage(stage) => lang.say(Word::HopStage, &[stage]),
        Did::Stored => match hop.revision {
            Some(revision) => lang.say(Word::HopStored, &[&revision.to_string()]),
            None => lang.say(Word::HopStoredPlain, &[]),
        },
        Did::Answered { verb, code } => {
            lang.say(Word::HopAnswered, &[&who(lang, &Spot::Client), verb, &code.to_string()])
        }
        Did::Asked { verb, code } if *code >= 400 => {
            lang.say(Word::HopAsked, &[&who(lang, &hop.from), verb, &format!("{name}: {code}")])
        }
        Did::Asked { verb, .. } => match hop.revision {
            Some(revision) => {
                let asked = asked(hop, verb);
                lang.say(
                    Word::HopAskedRevision,
                    &[&who(lang, &hop.from), &asked, name, &revision.to_string()],
                )
            }
            None => lang.say(Word::HopAsked, &[&who(lang, &hop.from), &asked(hop, verb), name]),
        },
        Did::Scheduled { chosen: Some(node), fit, of, .. } => {
            lang.say(Word::HopScheduled, &[&fit.to_string(), &of.to_string(), short(node)])
        }
        Did::Scheduled { of, .. } => lang.say(Word::HopNobody, &[&of.to_string()]),
        Did::Bound { node } => lang.say(Word::HopBound, &[short(node)]),
        Did::Rules { rules, changed } => {
            let node = if let Spot::Proxy(node) = &hop.to { short(node) } else { "" };
            lang.say(Word::HopProxy, &[node, &rules.to_string(), &changed.to_string()])
        }
        Did::Told(event) => {
            let told = told(event, name);
            match &hop.to {
                Spot::Kubelet(node) => lang.say(Word::HopKubelet, &[short(node), &told]),
                other => lang.say(Word::HopTold, &[&who(lang, other), &told]),
            }
        }
    }
}

/// The event in a few words; `name` is that of the object that the record is about.
pub fn told(event: &Event, name: &str) -> String {
    let verb = event.verb();
    match event {
        Event::Status { phase } => phase.clone(),
        Event::Pull { image, .. } => format!("pull {image}"),
        Event::Start { container, .. } | Event::Stop { container } => format!("{verb} {container}"),
        Event::ScaleReplicaSet { replica_set, from, to } => {
            format!("scale {} {from} → {to}", short(replica_set))
        }
        Event::ScaleTarget { from, to, .. } => format!("scale {} {from} → {to}", short(name)),
        Event::ReconcileReplicaSet { wanted, have, create, delete } => match (create, delete.len()) {
            (0, 0) => format!("{have} of {wanted}"),
            (create, 0) => format!("{have} of {wanted}: create {create}"),
            (_, delete) => format!("{have} of {wanted}: delete {delete}"),
        },
        Event::Endpoints { ready, all } => format!("endpoints {name}: {ready} of {all} ready"),
        _ if name.is_empty() => verb.to_string(),
        _ => format!("{verb} {name}"),
    }
}
