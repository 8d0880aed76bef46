//! The rollout view where there is room: how many pods there are between the fewest and the most
//! that the strategy allows, the ReplicaSets with the names and ages of their pods, and the
//! revisions before.
//!
//! ```text
//! pods     ##################oooooooooooo......  now 5, ready 3
//!                     min 3 ^                 ^ max 6
//! rev 3  web-5c9c7b9f4d  nginx:1.27  0 of 3 ready  4 s  ox
//!   o web-5c9c7b9f4d-jc628  ContainerCreating  worker2  3 s
//! history  rev 1  web-65c9c7b9f4  nginx:1.25  2 h
//! ```

use super::super::cluster::{Cluster, Deployment, Key, Pod, ReplicaSet, Stand};
use super::super::look::{Sign, Tone};
use super::super::model::Model;
use super::super::text::{cells, cut_middle};
use super::super::words::Word;
use super::canvas::Canvas;
use super::cluster::stand;
use super::common::{age, moment, node_name};
use super::ghosts::{Ghost, ghosts};
use super::rollout::{newest, pods_of_set};
use clock::Timestamp;

/// The column where the bar begins, its greatest width, and the most cells that one pod has.
const BAR: (usize, usize, usize) = (10, 36, 6);
/// The row of the bar.
const GAUGE: usize = 2;
/// The row of the first ReplicaSet.
const SETS: usize = 5;
/// With more rows than this for ReplicaSets the history has several.
const TALL: usize = 12;

/// A ReplicaSet with its pods, those that the command on the stage made go away too.
struct Block<'a> {
    set: &'a ReplicaSet,
    pods: Vec<&'a Pod>,
    gone: Vec<&'a Ghost<'a>>,
}

/// Draws all below the lines of the Deployment.
pub(super) fn draw(
    canvas: &mut Canvas<'_>,
    model: &Model,
    scene: &Cluster,
    key: &Key,
    deployment: &Deployment,
) {
    let moment = moment(model);
    let ghosts = ghosts(model);
    let blocks = scene.replicasets_of(key).into_iter().rev().map(|set| {
        let of_set = |ghost: &&Ghost<'_>| ghost.pod.namespace == key.0 && ghost.pod.owner == set.name;
        Block { set, pods: pods_of_set(scene, set), gone: ghosts.iter().filter(of_set).collect() }
    });
    let is_active = |b: &Block<'_>| b.set.wanted > 0 || !b.pods.is_empty() || !b.gone.is_empty();
    let (active, old): (Vec<_>, Vec<_>) = blocks.partition(is_active);
    gauge(canvas, deployment, &active);
    let last = canvas.height().saturating_sub(1);
    let history_rows = match last.saturating_sub(SETS) > TALL {
        true => old.len().min(TALL / 3),
        false => old.len().min(1),
    };
    let end = last.saturating_sub(history_rows);
    let mut y = SETS;
    for (at, block) in active.iter().enumerate() {
        if y >= end {
            break;
        }
        y = head(canvas, block, moment, y);
        // Each later ReplicaSet has its line, and the same share of the rows.
        let later = active.len() - at - 1;
        let share = end.saturating_sub(y + later) / (later + 1);
        y = pods(canvas, scene, &block.pods, moment, y, share);
    }
    history(canvas, &old, moment, (end, history_rows));
    if let Some((text, tone)) = newest(canvas, scene, key) {
        canvas.put(1, last, &text, tone);
    }
}

/// How many pods there are, of how many at least and at most.
fn gauge(canvas: &mut Canvas<'_>, deployment: &Deployment, active: &[Block<'_>]) {
    let (min, max) = deployment.bounds();
    let [min, max] = [min, max].map(|count| usize::try_from(count).unwrap_or_default());
    // An evicted pod stays as an object, and its controller does not count it.
    let pods = || active.iter().flat_map(|block| &block.pods).filter(|pod| !pod.is_over);
    let leaving = pods().filter(|pod| pod.stand == Stand::Leaving).count();
    let ready = pods().filter(|pod| pod.stand == Stand::Ready).count();
    let now = pods().count() - leaving;
    let (left, widest, most) = BAR;
    let whole = max.max(now + leaving).max(1);
    let cell = |count: usize| match whole <= widest {
        true => count * (widest / whole).min(most),
        false => count.saturating_mul(widest) / whole,
    };
    let label = canvas.word(Word::GaugePods, &[]);
    canvas.put(1, GAUGE, &label, Tone::Dim);
    let parts = [
        (0, ready, Sign::Block, Tone::Good),
        (ready, now, Sign::Hollow, Tone::Warn),
        (now, now + leaving, Sign::Leaving, Tone::Dim),
        (now + leaving, whole, Sign::Empty, Tone::Dim),
    ];
    for (from, to, sign, tone) in parts {
        let bar = canvas.sign(sign).repeat(cell(to) - cell(from));
        canvas.put(left + cell(from), GAUGE, &bar, tone);
    }
    let text = canvas.word(Word::GaugeNow, &[&now.to_string(), &ready.to_string()]);
    canvas.put(left + cell(whole) + 2, GAUGE, &text, Tone::Strong);
    // A mark stands below the last cell of its pods, the lower one behind its text.
    let place = |count: usize| left + cell(count) - 1;
    let tone = if ready < min { Tone::Warn } else { Tone::Good };
    let text = canvas.word(Word::GaugeMin, &[&min.to_string()]);
    canvas.put(place(min).saturating_sub(cells(&text) + 1), GAUGE + 1, &text, tone);
    canvas.put(place(min), GAUGE + 1, canvas.sign(Sign::Here), tone);
    let text = canvas.word(Word::GaugeMax, &[&max.to_string()]);
    canvas.put(place(max), GAUGE + 1, canvas.sign(Sign::Here), Tone::Dim);
    canvas.put(place(max) + 2, GAUGE + 1, &text, Tone::Dim);
}

/// A ReplicaSet in one line, with a sign for each pod; in two if the signs need a line. The row
/// behind it.
fn head(canvas: &mut Canvas<'_>, block: &Block<'_>, moment: Timestamp, y: usize) -> usize {
    let Block { set, pods, gone } = block;
    let count = canvas.word(Word::Wanted, &[&set.ready.to_string(), &set.wanted.to_string()]);
    let tone = if set.ready >= set.wanted { Tone::Good } else { Tone::Warn };
    let x = named(canvas, set, (1, y), Tone::Strong) + 2;
    let mut x = canvas.put(x, y, &count, tone) + 2;
    if let Some(created) = set.created {
        let age = age(canvas, created, moment);
        x = canvas.put(x, y, &age, Tone::Dim) + 2;
    }
    let ended = gone.first().map_or(String::new(), |newest| newest.end_time(canvas));
    let signs = pods.len() + gone.len();
    let fits = x + signs + 2 + cells(&ended) <= canvas.width();
    let (mut x, y) = if fits { (x, y) } else { (3, y + 1) };
    for pod in pods {
        let (sign, tone) = stand(pod.stand);
        x = canvas.put(x, y, canvas.sign(sign), tone);
    }
    for _ in gone {
        x = canvas.put(x, y, canvas.sign(Sign::Ghost), Tone::Dim);
    }
    canvas.put(x + 2, y, &ended, Tone::Dim);
    y + 1
}

/// Revision, name and image of a ReplicaSet; the column behind it.
fn named(canvas: &mut Canvas<'_>, set: &ReplicaSet, (x, y): (usize, usize), tone: Tone) -> usize {
    let revision = canvas.word(Word::RevisionShort, &[&set.number.to_string()]);
    let x = canvas.put(x, y, &revision, tone) + 2;
    let name = cut_middle(&set.name, 24, canvas.sign(Sign::Ellipsis));
    let x = canvas.put(x, y, &name, if tone == Tone::Dim { tone } else { Tone::Plain }) + 2;
    canvas.put_in(x, y, 24, &set.image, Tone::Dim)
}

/// The pods in so many rows: a row each or, if there are too few rows, two in a row, those that are
/// not ready first. The row behind them.
pub(super) fn pods(
    canvas: &mut Canvas<'_>,
    scene: &Cluster,
    pods: &[&Pod],
    moment: Timestamp,
    y: usize,
    rows: usize,
) -> usize {
    if rows == 0 {
        return y;
    }
    let is_whole = pods.len() <= rows;
    let mut pods = pods.to_vec();
    if !is_whole {
        pods.sort_by_key(|pod| pod.stand == Stand::Ready); // stable: else in the order of names
    }
    let per_row = if is_whole { 1 } else { 2 };
    let width = canvas.width().saturating_sub(4) / per_row;
    let places = rows * per_row;
    let shown = if pods.len() > places { places - 1 } else { pods.len() };
    for (at, pod) in pods.iter().take(shown).enumerate() {
        let place = (3 + at % per_row * width, y + at / per_row);
        one(canvas, scene, pod, moment, place, (width, is_whole));
    }
    if shown < pods.len() {
        let more = canvas.word(Word::TimeMore, &[&(pods.len() - shown).to_string()]);
        canvas.put(3 + shown % per_row * width, y + shown / per_row, &more, Tone::Dim);
    }
    y + pods.len().min(places).div_ceil(per_row)
}

/// One pod: name, status, node and age; in half a row without its node.
fn one(
    canvas: &mut Canvas<'_>,
    scene: &Cluster,
    pod: &Pod,
    moment: Timestamp,
    (x, y): (usize, usize),
    (width, is_whole): (usize, bool),
) {
    let (sign, tone) = stand(pod.stand);
    let end = x + width;
    canvas.put(x, y, canvas.sign(sign), tone);
    let room = if is_whole { 26 } else { 12 };
    let name = cut_middle(&pod.name, room, canvas.sign(Sign::Ellipsis));
    canvas.put(x + 2, y, &name, Tone::Plain);
    let status = x + 4 + room;
    let age = pod.created.map_or(String::new(), |created| age(canvas, created, moment));
    let age_at = end.saturating_sub(cells(&age) + 2);
    canvas.put_in(status, y, age_at.saturating_sub(status + 1).min(18), &pod.status, tone);
    let node = status + 20;
    if is_whole {
        let (name, tone) = node_name(canvas, scene, &pod.node);
        canvas.put_in(node, y, age_at.saturating_sub(node + 1), &name, tone);
    }
    canvas.put(age_at, y, &age, Tone::Dim);
}

/// The ReplicaSets that have no pods any more, the newest first.
fn history(canvas: &mut Canvas<'_>, old: &[Block<'_>], moment: Timestamp, (y, rows): (usize, usize)) {
    if rows == 0 {
        return;
    }
    let label = canvas.word(Word::History, &[]);
    let left = canvas.put(1, y, &label, Tone::Dim) + 2;
    for (at, Block { set, .. }) in old.iter().take(rows).enumerate() {
        let mut x = named(canvas, set, (left, y + at), Tone::Dim) + 2;
        if let Some(created) = set.created {
            let age = age(canvas, created, moment);
            x = canvas.put(x, y + at, &age, Tone::Dim) + 2;
        }
        x = match set.cause.is_empty() {
            true => x,
            false => canvas.put(x, y + at, &set.cause, Tone::Dim) + 2,
        };
        if at + 1 == rows && old.len() > rows {
            let more = canvas.word(Word::TimeMore, &[&(old.len() - rows).to_string()]);
            canvas.put(x, y + at, &more, Tone::Dim);
        }
    }
}
