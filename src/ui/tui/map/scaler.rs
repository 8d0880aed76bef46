//! A HorizontalPodAutoscaler beside the workload that it scales.
//!
//! ```text
//! HPA shop --> Deployment/shop  cpu: 12%/50%  1 to 3 pods, now 1
//! shop: desired 1, ready 1
//! ```

use super::super::cluster::{Autoscaler, Cluster, Deployment, Key};
use super::super::look::{Sign, Tone};
use super::super::model::Model;
use super::super::text::{cells, cut, cut_middle};
use super::super::words::Word;
use super::canvas::Canvas;
use super::namespaces;
use super::strip::Piece;

/// Cells that the names keep where a line is short: then the metrics are cut, too.
const NAMES: usize = 24;

/// The autoscaler on the map: that of the Deployment on the last line, else the newest.
pub(super) fn shown<'a>(model: &Model, scene: &'a Cluster) -> Option<&'a Autoscaler> {
    let first = model.deployments(scene).first().and_then(|(key, _)| scene.autoscaler_of(key));
    first.or_else(|| scene.autoscalers_by_age().first().copied())
}

/// An autoscaler on a line of so many cells: its workload, what it has measured, and how many pods
/// it allows. Where there is too little room, names are shortened: the numbers stay.
pub(super) fn line(canvas: &Canvas<'_>, scene: &Cluster, scaler: &Autoscaler, room: usize) -> Piece {
    let (min, max) = (scaler.min.to_string(), scaler.max.to_string());
    // Its controller has not counted the pods yet.
    let has_pods = |(key, it): (&Key, &Deployment)| scaler.scales(key) && it.wanted > 0;
    let is_untold = scaler.current == 0 && scaler.desired == 0 && scene.deployments.iter().any(has_pods);
    let now = match scaler.desired {
        _ if is_untold => "?".to_string(),
        desired if desired > 0 && desired != scaler.current => {
            format!("{} {} {desired}", scaler.current, canvas.sign(Sign::Task))
        }
        _ => scaler.current.to_string(),
    };
    let pods = canvas.word(Word::PlanScaler, &[&min, &max, &now]);
    let more = match scene.autoscalers_by_age().len() {
        0 | 1 => String::new(),
        all => format!("  +{}", all - 1),
    };
    let (arrow, ellipsis) = (canvas.sign(Sign::Right), canvas.sign(Sign::Ellipsis));
    let whole = |names: &str, metrics: &str| format!("HPA {names}  {metrics}  {pods}{more}");
    let metrics = cut(&scaler.metrics, room.saturating_sub(cells(&whole("", "")) + NAMES), ellipsis);
    let left = room.saturating_sub(cells(&whole("", &metrics)));
    let label = scene.label(&scaler.namespace, &scaler.name);
    (whole(&names(&label, scaler, left, (arrow, ellipsis)), &metrics), tone(scaler))
}

/// The name of an autoscaler and its workload in so many cells. A Deployment needs no word for its
/// kind, and one of the same name is in the line below: both are left out before a name is cut.
fn names(label: &str, scaler: &Autoscaler, room: usize, (arrow, ellipsis): (&str, &str)) -> String {
    let (kind, name) = &scaler.target;
    let mut targets = vec![format!("{kind}/{name}")];
    match (*name == scaler.name, kind == "Deployment") {
        (true, true) => targets.extend([kind.clone(), String::new()]),
        (true, false) => targets.push(kind.clone()),
        (false, true) => targets.push(name.clone()),
        (false, false) => {}
    }
    let joined = |label: &str, target: &str| match target.is_empty() {
        true => label.to_string(),
        false => format!("{label} {arrow} {target}"),
    };
    if let Some(target) = targets.iter().find(|target| cells(&joined(label, target)) <= room) {
        return joined(label, target);
    }
    let target = targets.pop().unwrap_or_default();
    let left = (room + cells(&target)).saturating_sub(cells(&joined("", &target)));
    let target = cut_middle(&target, (left / 2).max(left.saturating_sub(cells(label))), ellipsis);
    joined(&cut_middle(label, left.saturating_sub(cells(&target)), ellipsis), &target)
}

/// An autoscaler behind its Deployment, in the line of a narrow screen and in the rollout view: it
/// needs no name of its own if it has the same.
pub(super) fn brief(scaler: &Autoscaler) -> Piece {
    let name = if scaler.name == scaler.target.1 { String::new() } else { format!("{} ", scaler.name) };
    (format!("HPA {name}{} {}-{}", scaler.metrics, scaler.min, scaler.max), tone(scaler))
}

/// The autoscalers whose workload is no Deployment on the map, each with the workload's name.
pub(super) fn others(canvas: &Canvas<'_>, scene: &Cluster) -> Vec<Piece> {
    let is_other = |scaler: &&Autoscaler| !scene.deployments.keys().any(|key| scaler.scales(key));
    let arrow = canvas.sign(Sign::Right);
    let piece = |scaler: &Autoscaler| {
        let (kind, name) = &scaler.target;
        let label = namespaces::brief(scene, &scaler.namespace, &scaler.name);
        (format!("HPA {label} {arrow} {kind}/{name} {}", scaler.metrics), tone(scaler))
    };
    scene.autoscalers_by_age().into_iter().filter(is_other).map(piece).collect()
}

/// Returns the newest autoscaler that cannot work, with what `kubectl get hpa` shows of it and,
/// unless a lab asks for the cause, the reason of its condition: `! HPA shop cpu: <unknown>/50%`.
pub(super) fn unwell(canvas: &Canvas<'_>, scene: &Cluster) -> Option<Piece> {
    let all = scene.autoscalers_by_age();
    let scaler = all.into_iter().find(|scaler| !scaler.failure.is_empty())?;
    let name = scene.label(&scaler.namespace, &scaler.name);
    let mut text = format!("{} HPA {name} {}", canvas.sign(Sign::Warn), scaler.metrics);
    if !canvas.asks_cause {
        text = format!("{text} {}", scaler.failure);
    }
    Some((text, Tone::Bad))
}

/// An autoscaler that cannot measure does not scale. Its text says so, too: `<unknown>`.
fn tone(scaler: &Autoscaler) -> Tone {
    if scaler.metrics.contains("<unknown>") { Tone::Warn } else { Tone::Plain }
}
