//! A hop in words.

use super::super::flow::{Did, Hop, Spot};
use super::super::words::Word;
use crate::texts::Lang;
use tap::Event;

/// Shortens the name of a node: `ropewalk-worker2` is `worker2`.
pub(crate) fn short(name: &str) -> &str {
    name.strip_prefix("ropewalk-").unwrap_or(name)
}

/// The name of a resource; a long one as `kubectl api-resources` shortens it.
pub(super) fn kind(resource: &str) -> &str {
    match resource {
        "customresourcedefinitions" => "crd",
        "horizontalpodautoscalers" => "hpa",
        "persistentvolumeclaims" => "pvc",
        "persistentvolumes" => "pv",
        "poddisruptionbudgets" => "pdb",
        "resourcequotas" => "quota",
        other => other,
    }
}

/// Who it is, as short as people say it.
pub(super) fn who(lang: Lang, spot: &Spot) -> String {
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

/// Describes a hop in half the room of [`describe`]: for small panes.
pub(super) fn brief(lang: Lang, hop: &Hop) -> String {
    match &hop.did {
        Did::Asked { code, .. } if *code < 400 => match hop.revision {
            Some(revision) => lang.say(Word::BriefAsked, &[&who(lang, &hop.from), &revision.to_string()]),
            None => describe(lang, hop),
        },
        Did::Answered { code, refused: Some(gate), .. } | Did::Asked { code, refused: Some(gate), .. } => {
            lang.say(Word::BriefRefused, &[&lang.say(gate.word(), &[]), &code.to_string()])
        }
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
pub(super) fn describe(lang: Lang, hop: &Hop) -> String {
    let name = hop.object.as_ref().map_or("", |o| if o.name.is_empty() { &o.resource } else { &o.name });
    match &hop.did {
        Did::Stage(stage) => lang.say(Word::HopStage, &[stage]),
        Did::Stored => match hop.revision {
            Some(revision) => lang.say(Word::HopStored, &[&revision.to_string()]),
            None => lang.say(Word::HopStoredPlain, &[]),
        },
        Did::Answered { verb, code, refused: Some(gate), .. } => {
            let gate = lang.say(gate.word(), &[]);
            lang.say(Word::HopRefused, &[&who(lang, &Spot::Client), verb, &code.to_string(), &gate])
        }
        Did::Answered { verb, code, from_pod, .. } => {
            let word = if *from_pod { Word::HopPodAnswered } else { Word::HopAnswered };
            lang.say(word, &[&who(lang, &Spot::Client), verb, &code.to_string()])
        }
        Did::Asked { verb, code, refused: Some(gate), .. } => {
            let (code, gate) = (code.to_string(), lang.say(gate.word(), &[]));
            lang.say(Word::HopAskedRefused, &[&who(lang, &hop.from), verb, name, &code, &gate])
        }
        Did::Asked { verb, code, from_pod, .. } if *code >= 400 => {
            let word = if *from_pod { Word::HopPodAsked } else { Word::HopAsked };
            lang.say(word, &[&who(lang, &hop.from), verb, &format!("{name}: {code}")])
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
            let told = event_words(lang, event, name);
            match &hop.to {
                Spot::Kubelet(node) => lang.say(Word::HopKubelet, &[short(node), &told]),
                other => lang.say(Word::HopTold, &[&who(lang, other), &told]),
            }
        }
    }
}

/// The event in a few words; `name` is that of the object that the record is about.
pub(super) fn event_words(lang: Lang, event: &Event, name: &str) -> String {
    let verb = event.verb();
    let counts = |word: Word, all: &[usize]| {
        let all: Vec<String> = all.iter().map(ToString::to_string).collect();
        lang.say(word, &all.iter().map(String::as_str).collect::<Vec<_>>())
    };
    match event {
        Event::Status { phase } => phase.clone(),
        Event::Pull { image, .. } => format!("pull {image}"),
        Event::Start { container, .. } | Event::Stop { container } => format!("{verb} {container}"),
        Event::ScaleReplicaSet { replica_set, from, to } => {
            lang.say(Word::HopScale, &[short(replica_set), &from.to_string(), &to.to_string()])
        }
        Event::ScaleTarget { from, to, .. } => {
            lang.say(Word::HopScale, &[short(name), &from.to_string(), &to.to_string()])
        }
        Event::ReconcileReplicaSet { wanted, have, create, delete } => match (*create, delete.len()) {
            (0, 0) => counts(Word::HopHave, &[*have, *wanted]),
            (create, 0) => counts(Word::HopCreate, &[*have, *wanted, create]),
            (_, delete) => counts(Word::HopDelete, &[*have, *wanted, delete]),
        },
        Event::Endpoints { ready, all } => {
            lang.say(Word::HopEndpoints, &[name, &ready.to_string(), &all.to_string()])
        }
        _ if name.is_empty() => verb.to_string(),
        _ => format!("{verb} {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_in_the_language_of_the_interface() {
        let reconcile = |create, delete: &[&str]| Event::ReconcileReplicaSet {
            wanted: 5,
            have: 3,
            create,
            delete: delete.iter().map(ToString::to_string).collect(),
        };
        for (event, english, korean) in [
            (reconcile(0, &[]), "3 of 5", "3/5"),
            (reconcile(2, &[]), "3 of 5: create 2", "3/5: 2개 생성"),
            (reconcile(0, &["a"]), "3 of 5: delete 1", "3/5: 1개 삭제"),
            (
                Event::Endpoints { ready: 1, all: 2 },
                "endpoints web: 1 of 2 ready",
                "엔드포인트 web: 1개 준비됨 (전체 2개)",
            ),
        ] {
            assert_eq!(event_words(Lang::En, &event, "web"), english);
            assert_eq!(event_words(Lang::Ko, &event, "web"), korean);
        }
    }

    #[test]
    fn the_answer_of_a_pod_is_called_so() {
        let described = |from_pod: bool| {
            let hop = Hop {
                at: clock::Timestamp::UNIX_EPOCH,
                took_us: 0,
                from: Spot::Api,
                to: Spot::Client,
                did: Did::Answered { verb: "get".into(), code: 404, refused: None, from_pod },
                object: None,
                subresource: "proxy".into(),
                revision: None,
            };
            describe(Lang::En, &hop)
        };
        assert!(described(true).ends_with("get 404, the pod answered"), "{}", described(true));
        assert!(described(false).ends_with("get 404"), "{}", described(false));
    }
}
