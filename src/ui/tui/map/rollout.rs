//! What replaces what? A Deployment's ReplicaSets, and a sign for each pod.

use super::super::cluster::{Cluster, Deployment, Key, Pod, ReplicaSet};
use super::super::look::{Sign, Tone};
use super::super::model::Model;
use super::super::words::Word;
use super::canvas::Canvas;
use super::cluster::stand;
use super::common::{is_roomy, none_of, not_listed, subject};
use super::ghosts::{Ghost, ghosts};
use super::strip::{Lines, Piece, counted, event_piece, is_unwell, news};
use super::{blocked, rollout_wide, scaler, unowned};

/// The Deployment that the view is about.
fn shown<'a>(model: &Model, scene: &'a Cluster) -> Option<(&'a Key, &'a Deployment)> {
    let deployments = model.deployments(scene);
    let keys: Vec<Key> = deployments.iter().map(|(key, _)| (*key).clone()).collect();
    let at = subject(model, "deployments", &keys)?;
    deployments.get(at).copied()
}

/// Returns whether the learner may list Deployments. If not, that none is known means nothing.
fn are_listed(model: &Model) -> bool {
    not_listed(model, &["deployments"]).is_empty()
}

/// The pods of a ReplicaSet.
pub(super) fn pods_of_set<'a>(scene: &'a Cluster, set: &ReplicaSet) -> Vec<&'a Pod> {
    let of = |pod: &&Pod| pod.namespace == set.namespace && pod.owner == set.name;
    scene.pods.values().filter(of).collect()
}

/// Two lines about a rollout: ready and desired pods, those of each revision, and the newest event.
pub(super) fn lines(canvas: &Canvas<'_>, model: &Model, scene: &Cluster) -> Lines {
    let Some((key, deployment)) = shown(model, scene) else {
        let others = unowned::lines(canvas, model, scene).filter(|_| are_listed(model));
        return others.unwrap_or_else(|| Lines::none(none_of(model, "deployments", Word::NoRollout)));
    };
    let wanted = [deployment.ready.to_string(), deployment.wanted.to_string()];
    let tone = if deployment.ready >= deployment.wanted { Tone::Good } else { Tone::Warn };
    let mut counts = vec![
        (scene.label(&key.0, &key.1), Tone::Strong),
        (canvas.word(Word::Wanted, &wanted.each_ref().map(String::as_str)), tone),
    ];
    if deployment.paused {
        counts.push((canvas.word(Word::RolloutPaused, &[]), Tone::Warn));
    }
    counts.extend(scene.autoscaler_of(key).map(scaler::brief));
    // The newest revision stands first: where room is scarce, old ones are left out.
    for set in scene.replicasets_of(key).into_iter().rev() {
        let pods = pods_of_set(scene, set);
        if !pods.is_empty() || set.wanted > 0 {
            let revision = canvas.word(Word::RevisionShort, &[&set.number.to_string()]);
            counts.push(counted(canvas, &revision, &pods, Some(set.wanted)));
        }
    }
    let event = || scene.events_about("Deployment", key).last().map(|event| event_piece(canvas, event));
    let refused = blocked::line(canvas, scene, Some(key));
    // What is not well stays first, unless it is that pods of this Deployment are refused.
    let at = usize::from(refused.is_none() && is_unwell(canvas, model, scene));
    let mut news = news(canvas, model, scene);
    if let Some(newest) = refused.or_else(event).filter(|_| !model.traffic.moving()) {
        news.truncate(1);
        news.retain(|piece| *piece != newest);
        news.insert(at.min(news.len()), newest);
    }
    Lines { counts, news }
}

/// Draws a Deployment with its ReplicaSets and pods.
pub(super) fn draw(canvas: &mut Canvas<'_>, model: &Model, scene: &Cluster) {
    let Some((key, deployment)) = shown(model, scene) else {
        if !(are_listed(model) && unowned::draw(canvas, model, scene)) {
            canvas.note(1, &none_of(model, "deployments", Word::NoRollout));
        }
        return;
    };
    canvas.row(
        1,
        0,
        &[
            ("Deployment ", Tone::Dim),
            (&scene.label(&key.0, &key.1), Tone::Strong),
            ("  ", Tone::Plain),
            (&deployment.image, Tone::Accent),
        ],
    );
    let wanted = canvas.word(Word::Wanted, &[&deployment.ready.to_string(), &deployment.wanted.to_string()]);
    let surge = match deployment.recreates {
        true => "Recreate".to_string(), // the field's own word
        false => canvas.word(Word::Surge, &[&deployment.surge, &deployment.unavailable]),
    };
    let tone = if deployment.ready >= deployment.wanted { Tone::Good } else { Tone::Warn };
    let mut x = canvas.row(1, 1, &[(&wanted, tone), ("   ", Tone::Plain), (&surge, Tone::Dim)]);
    if deployment.paused {
        let paused = canvas.word(Word::RolloutPaused, &[]);
        x = canvas.put(x + 3, 1, &paused, Tone::Warn);
    }
    if let Some((text, tone)) = scene.autoscaler_of(key).map(scaler::brief) {
        canvas.put(x + 3, 1, &text, tone);
    }
    if is_roomy(canvas) {
        return rollout_wide::draw(canvas, model, scene, key, deployment);
    }
    let mut y = 3;
    let ghosts = ghosts(model);
    let last = canvas.height().saturating_sub(1);
    let sets = scene.replicasets_of(key);
    // Old ones with nothing left are history; the newest two or three tell the story.
    let skip = sets.len().saturating_sub(last.saturating_sub(y) / 2);
    for set in sets.iter().skip(skip) {
        let pods = pods_of_set(scene, set);
        let revision = canvas.word(Word::RevisionShort, &[&set.number.to_string()]);
        let tone = if pods.is_empty() && set.wanted == 0 { Tone::Dim } else { Tone::Plain };
        canvas.row(
            1,
            y,
            &[
                (&set.name, tone),
                ("  ", Tone::Plain),
                (&revision, Tone::Dim),
                ("  ", Tone::Plain),
                (&set.image, Tone::Dim),
            ],
        );
        let of_set = |ghost: &&Ghost<'_>| ghost.pod.namespace == key.0 && ghost.pod.owner == set.name;
        let gone: Vec<&Ghost<'_>> = ghosts.iter().filter(of_set).collect();
        signs(canvas, set, &pods, &gone, y + 1);
        y += 2;
        if y >= last {
            break;
        }
    }
    if let Some((text, tone)) = newest(canvas, scene, key) {
        canvas.put(1, last, &text, tone);
    }
}

/// What holds the rollout up, or what its controller reported last.
pub(super) fn newest(canvas: &Canvas<'_>, scene: &Cluster, key: &Key) -> Option<Piece> {
    let event = || Some((scene.events_about("Deployment", key).last()?.message.clone(), Tone::Dim));
    blocked::line(canvas, scene, Some(key)).or_else(event)
}

/// A sign for each pod of a ReplicaSet, also for those that went away, and how many are ready.
fn signs(canvas: &mut Canvas<'_>, set: &ReplicaSet, pods: &[&Pod], gone: &[&Ghost<'_>], y: usize) {
    let mut x = 3;
    for pod in pods {
        let (sign, tone) = stand(pod.stand);
        x = canvas.put(x, y, canvas.sign(sign), tone);
    }
    for _ in gone {
        x = canvas.put(x, y, canvas.sign(Sign::Ghost), Tone::Dim);
    }
    let count = canvas.word(Word::Wanted, &[&set.ready.to_string(), &set.wanted.to_string()]);
    let x = canvas.put(x + 2, y, &count, Tone::Dim);
    if let Some(newest) = gone.first() {
        canvas.put(x + 2, y, &newest.end_time(canvas), Tone::Dim);
    }
}
