//! Who did what? A sequence diagram that grows downwards: a column for each component, a row for
//! each act, the times at the left. Requests are solid lines, watches dotted ones.

use super::super::flow::{Did, Flow, Gate};
use super::super::look::{Sign, Tone};
use super::super::model::Model;
use super::super::text::{cells, cut, measured, took};
use super::super::words::Word;
use super::canvas::Canvas;
use super::common::{caption, title};
use super::hops::short;
use super::scrubber;
use super::sequence::{Act, Lane, Row, kubelets, lanes, rows, with_stages};

/// The column of the learner.
const YOU: usize = 10;
/// The columns of the four gates of the API server, and what stands above them.
const GATES: [(usize, &str, &str); 4] = [
    (16, "authenticate", "authn"),
    (22, "authorize", "authz"),
    (28, "admit", "admit"),
    (34, "validate", "valid"),
];
/// Where lines leave the API server and reach it.
const API: usize = 38;
/// The column of etcd.
const STORE: usize = 41;

/// True if there is room for the diagram, which has the line of the play head.
pub(super) fn fits(canvas: &Canvas<'_>) -> bool {
    canvas.width() >= 62 && canvas.height() >= 13
}

/// Draws the command on the stage as a sequence diagram of the control plane.
pub(super) fn draw(canvas: &mut Canvas<'_>, model: &Model) {
    let Some(flow) = model.traffic.shown() else {
        return empty(canvas, model);
    };
    let rows = with_stages(rows(model, flow, model.traffic.play.at));
    let lanes = lanes(model, flow);
    match fits(canvas) {
        true => diagram(canvas, model, flow, &rows, &lanes),
        false => graph(canvas, model, flow, &rows, lanes),
    }
}

/// The view before the first command: the components by name.
fn empty(canvas: &mut Canvas<'_>, model: &Model) {
    let names = ["kubectl", "kube-apiserver", "etcd", "scheduler · controllers", "kubelet", "kube-proxy"];
    let last = canvas.height().saturating_sub(1);
    for (at, name) in names.iter().enumerate().take(last.saturating_sub(1)) {
        let name = if canvas.look.ascii { name.replace('·', "+") } else { (*name).to_string() };
        let number = canvas.look.number(at + 1);
        canvas.row(1, at, &[(&number, Tone::Accent), (" ", Tone::Plain), (&name, Tone::Dim)]);
    }
    canvas.note(last.saturating_sub(1), &model.lang.say(Word::Quiet, &[]));
}

/// True for the row of the hop that is lit.
fn is_lit(model: &Model, row: &Row) -> bool {
    row.last == Some(model.traffic.play.at)
}

/// Milliseconds with a tenth, or seconds, without room for a unit.
fn clock(us: u64) -> String {
    if us < 1_000_000 { format!("{:.1}", us as f64 / 1e3) } else { took(us).replace(' ', "") }
}

/// A row that failed is marked, also when it is not lit.
fn row_tone(row: &Row, lit: bool) -> Tone {
    match &row.act {
        Act::Asked { failed: true } | Act::Answered { code: 400.., .. } => Tone::Bad,
        _ if lit => Tone::Strong,
        _ => Tone::Plain,
    }
}

/// Draws the sequence diagram, its newest rows if not all have room.
fn diagram(canvas: &mut Canvas<'_>, model: &Model, flow: &Flow, rows: &[Row], lanes: &[Lane]) {
    let step = (canvas.width().saturating_sub(STORE + 2) / lanes.len().max(1)).min(16);
    let columns: Vec<(Lane, usize)> =
        lanes.iter().enumerate().map(|(at, lane)| (*lane, STORE + step * (at + 1) - step / 2 + 3)).collect();
    let lit = rows.iter().rev().find(|row| is_lit(model, row));
    heads(canvas, model, flow, lit, &columns, step);
    let room = canvas.height().saturating_sub(4);
    let skipped = rows.len().saturating_sub(room);
    let mut before = skipped.checked_sub(1).and_then(|at| rows.get(at)).map(|row| row.lane);
    for (y, row) in rows.iter().skip(skipped).enumerate() {
        let column = columns.iter().find(|(lane, _)| *lane == row.lane).map_or(STORE, |(_, x)| *x);
        let place = Place { y: y + 2, column, begins: before != Some(row.lane), lit: is_lit(model, row) };
        rails(canvas, &columns, place.y);
        act(canvas, model, flow, row, &place);
        before = Some(row.lane);
    }
    let last = canvas.height().saturating_sub(1);
    let (text, tone) = match lit {
        Some(row) => why(model, flow, row),
        None => caption(model, false),
    };
    canvas.put(1, last.saturating_sub(1), &text, tone);
    scrubber::draw(canvas, model, 1, last);
}

/// The sentence below the picture, about the row that is lit.
fn why(model: &Model, flow: &Flow, row: &Row) -> (String, Tone) {
    let is_told = row.last.is_some() && row.last == flow.refusal_at() && !flow.refusal.is_empty();
    let last = row.last.and_then(|at| flow.hops.get(at));
    let from_pod = last.is_some_and(|hop| matches!(hop.did, Did::Answered { from_pod: true, .. }));
    let word = match &row.act {
        Act::Answered { .. } if is_told => return (flow.refusal.clone(), Tone::Bad),
        Act::Answered { refused: Some(_), .. } => Word::WhyRefused,
        Act::Answered { .. } if from_pod => Word::WhyPodAnswered,
        Act::Answered { .. } => Word::WhyAnswered,
        _ => row.lane.why(),
    };
    (model.lang.say(word, &[]), Tone::Plain)
}

/// The names above the columns. One that is away has a mark before its name, or behind its letter.
fn heads(
    canvas: &mut Canvas<'_>,
    model: &Model,
    flow: &Flow,
    lit: Option<&Row>,
    columns: &[(Lane, usize)],
    step: usize,
) {
    let tone = |lane: Lane| if lit.is_some_and(|row| row.lane == lane) { Tone::Lit } else { Tone::Strong };
    let you = canvas.word(Word::You, &[]);
    canvas.put(YOU.saturating_sub(cells(&you) / 2), 0, &you, tone(Lane::You));
    canvas.put(18, 0, Lane::Api.head().0, tone(Lane::Api));
    canvas.put(STORE - 2, 0, Lane::Store.head().0, tone(Lane::Store));
    for (x, _, name) in GATES {
        canvas.put(x - 2, 1, name, Tone::Dim);
    }
    let nodes = kubelets(flow);
    for (lane, x) in columns {
        let (first, second) = match (lane, nodes.as_slice()) {
            (Lane::Kubelet, [node]) => (lane.head().0, short(node)),
            _ => lane.head(),
        };
        if step < 8 {
            canvas.put(*x, 0, lane.letter(), tone(*lane));
            mark_away(canvas, model, *lane, x + 1);
            let name = format!("{}{}", lane.head().0.trim_end_matches('-'), lane.head().1);
            canvas.put_in(x.saturating_sub(step / 2), 1, step.saturating_sub(1), &name, Tone::Dim);
            continue;
        }
        let begin = x.saturating_sub(cells(first) / 2);
        canvas.put(begin, 0, first, tone(*lane));
        mark_away(canvas, model, *lane, begin.saturating_sub(2));
        canvas.put_in(x.saturating_sub(cells(second).min(step) / 2), 1, step, second, Tone::Dim);
    }
}

/// Marks a component that is away, in the first row.
fn mark_away(canvas: &mut Canvas<'_>, model: &Model, lane: Lane, x: usize) {
    if lane.is_away(model) {
        canvas.put(x, 0, canvas.sign(Sign::Down), Tone::Bad);
    }
}

/// The lifelines of a row.
fn rails(canvas: &mut Canvas<'_>, columns: &[(Lane, usize)], y: usize) {
    let rail = canvas.sign(Sign::Rail);
    for x in [YOU, STORE].into_iter().chain(columns.iter().map(|(_, x)| *x)) {
        canvas.put(x, y, rail, Tone::Dim);
    }
}

/// Where a row is drawn.
struct Place {
    y: usize,
    /// The column of its component.
    column: usize,
    /// The row before it is of another component.
    begins: bool,
    lit: bool,
}

/// Draws a row: its time, and what its component did.
fn act(canvas: &mut Canvas<'_>, model: &Model, flow: &Flow, row: &Row, place: &Place) {
    let y = place.y;
    let tone = row_tone(row, place.lit);
    if place.lit {
        canvas.put(1, y, canvas.sign(Sign::Pick), Tone::Accent);
    }
    let time = clock(row.since);
    let strength = if place.lit { Tone::Strong } else { Tone::Dim };
    canvas.put(8_usize.saturating_sub(cells(&time)), y, &time, strength);
    match &row.act {
        Act::Stages(stages) => {
            canvas.put(YOU, y, canvas.sign(Sign::Fork), tone);
            line(canvas, Sign::Line, (YOU + 1, GATES[0].0 - 2), y, tone);
            canvas.put(GATES[0].0 - 2, y, canvas.sign(Sign::Tip), tone);
            for (x, stage, _) in GATES {
                if stages.iter().any(|passed| passed == stage) {
                    canvas.put(x, y, canvas.sign(Sign::Met), Tone::Good);
                }
            }
        }
        Act::Stored => {
            line(canvas, Sign::Line, (API, STORE - 1), y, tone);
            canvas.put(STORE - 1, y, canvas.sign(Sign::Tip), tone);
            canvas.put(STORE, y, canvas.sign(Sign::Stored), tone);
            let revision = row.revision.map_or(String::new(), |r| r.to_string());
            let x = canvas.put(STORE + 2, y, &revision, tone);
            if let Some(fsync) = row.revision.and_then(|r| flow.fsync(r)) {
                canvas.put(x + 1, y, &format!("fsync {}", took(fsync)), Tone::Dim);
            }
        }
        Act::Answered { code, refused } => answered(canvas, *code, *refused, row, place),
        Act::Heard => watched(canvas, place, tone),
        Act::Asked { .. } => asked(canvas, row, place, tone),
        Act::Done => {
            if place.begins {
                watched(canvas, place, tone);
            }
            beside(canvas, &row.text(model.look.ascii), place, tone);
        }
    }
}

/// A horizontal line over these columns, the last one not included. It crosses lifelines.
fn line(canvas: &mut Canvas<'_>, sign: Sign, (from, to): (usize, usize), y: usize, tone: Tone) {
    let rail = canvas.sign(Sign::Rail);
    for x in from..to {
        let sign = if canvas.shows(x, y, rail) { Sign::Cross } else { sign };
        canvas.put(x, y, canvas.sign(sign), tone);
    }
}

/// The answer to the command, from the API server or from the gate that refused the request.
fn answered(canvas: &mut Canvas<'_>, code: u16, refused: Option<Gate>, row: &Row, place: &Place) {
    let y = place.y;
    let tone = row_tone(row, place.lit);
    canvas.put(YOU + 1, y, canvas.sign(Sign::TipBack), tone);
    let gate = match refused {
        Some(Gate::Authentication) | None => 0,
        Some(Gate::Authorization) => 1,
        Some(Gate::Admission) => 2,
        Some(Gate::Validation) => 3,
    };
    let end = GATES[gate].0;
    line(canvas, Sign::Line, (YOU + 2, end - 1), y, tone);
    match refused {
        Some(gate) => {
            let gate = canvas.word(gate.word(), &[]);
            canvas.put(end, y, &format!("{} {gate} {code}", canvas.sign(Sign::Failed)), tone);
        }
        None => {
            let good = if code < 400 { Tone::Good } else { Tone::Bad };
            let x = canvas.put(end, y, &code.to_string(), good);
            canvas.put(x + 2, y, &measured(row.took), Tone::Dim);
        }
    }
}

/// A watch of the API server tells the component.
fn watched(canvas: &mut Canvas<'_>, place: &Place, tone: Tone) {
    canvas.put(API - 6, place.y, "watch", Tone::Dim);
    line(canvas, Sign::Dots, (API, place.column.saturating_sub(1)), place.y, tone);
    canvas.put(place.column.saturating_sub(1), place.y, canvas.sign(Sign::Tip), tone);
}

/// The component asks the API server.
fn asked(canvas: &mut Canvas<'_>, row: &Row, place: &Place, tone: Tone) {
    canvas.put(API - 1, place.y, canvas.sign(Sign::TipBack), tone);
    line(canvas, Sign::Line, (API, place.column), place.y, tone);
    canvas.put(place.column, place.y, canvas.sign(Sign::Join), tone);
    if row.revision.is_some() {
        canvas.put(STORE, place.y, canvas.sign(Sign::Stored), tone);
    }
    beside(canvas, &row.text(canvas.look.ascii), place, tone);
}

/// A text at the right of the column, or where there is no room for it at the left.
fn beside(canvas: &mut Canvas<'_>, text: &str, place: &Place, tone: Tone) {
    let right = canvas.width().saturating_sub(place.column + 2);
    if cells(text) <= right {
        canvas.put(place.column + 2, place.y, text, tone);
        return;
    }
    let left = place.column.saturating_sub(API + 4);
    if left <= right {
        canvas.put_in(place.column + 2, place.y, right, text, tone);
        return;
    }
    let text = format!(" {} ", cut(text, left, canvas.sign(Sign::Ellipsis)));
    canvas.put(place.column.saturating_sub(1 + cells(&text)), place.y, &text, tone);
}

/// In a small pane: a letter for each component, and the text at the right.
fn graph(canvas: &mut Canvas<'_>, model: &Model, flow: &Flow, rows: &[Row], lanes: Vec<Lane>) {
    let columns: Vec<Lane> = [Lane::You, Lane::Api, Lane::Store].into_iter().chain(lanes).collect();
    let lit = rows.iter().rev().find(|row| is_lit(model, row));
    for (at, lane) in columns.iter().enumerate() {
        let on = lit.is_some_and(|row| row.lane == *lane);
        canvas.put(1 + 2 * at, 0, lane.letter(), if on { Tone::Lit } else { Tone::Strong });
        mark_away(canvas, model, *lane, 2 + 2 * at);
    }
    let text = 2 + 2 * columns.len();
    let total = took(flow.total());
    let end = canvas.width().saturating_sub(cells(&total) + 1);
    canvas.put_in(text, 0, end.saturating_sub(text + 1), &title(flow), Tone::Strong);
    canvas.put(end, 0, &total, Tone::Dim);
    let room = canvas.height().saturating_sub(1);
    let skipped = rows.len().saturating_sub(room);
    for (y, row) in rows.iter().skip(skipped).enumerate() {
        let tone = row_tone(row, is_lit(model, row));
        arrow(canvas, &columns, row, y + 1, tone);
        let time = measured(row.took); // a watch's news has none
        let end = canvas.width().saturating_sub(cells(&time) + 1);
        canvas.put_in(text, y + 1, end.saturating_sub(text + 1), &brief(model, row), tone);
        canvas.put(end, y + 1, &time, tone);
    }
}

/// The lifelines of a small row with its arrow.
fn arrow(canvas: &mut Canvas<'_>, columns: &[Lane], row: &Row, y: usize, tone: Tone) {
    let x = |lane: Lane| 1 + 2 * columns.iter().position(|l| *l == lane).unwrap_or(0);
    for lane in columns {
        canvas.put(x(*lane), y, canvas.sign(Sign::Rail), Tone::Dim);
    }
    let (from, to) = match &row.act {
        Act::Stages(_) => (Lane::You, Lane::Api),
        Act::Stored => (Lane::Api, Lane::Store),
        Act::Answered { .. } => (Lane::Api, Lane::You),
        Act::Asked { .. } => (row.lane, Lane::Api),
        Act::Heard => (Lane::Api, row.lane),
        Act::Done => {
            canvas.put(x(row.lane), y, canvas.sign(Sign::Stored), tone);
            return;
        }
    };
    let (from, to) = (x(from), x(to));
    let sign = if row.act == Act::Heard { Sign::Dots } else { Sign::Line };
    line(canvas, sign, (from.min(to) + 1, from.max(to)), y, tone);
    let (begin, tip) = if from < to { (Sign::Fork, Sign::Tip) } else { (Sign::Join, Sign::TipBack) };
    canvas.put(from, y, canvas.sign(begin), tone);
    canvas.put(to, y, canvas.sign(tip), tone);
}

/// The text of a small row.
fn brief(model: &Model, row: &Row) -> String {
    match &row.act {
        Act::Stages(stages) => {
            let passed = model.look.sign(Sign::Met).repeat(stages.len());
            format!("{passed} {}", stages.last().map_or("", String::as_str))
        }
        Act::Stored => {
            let revision = row.revision.map_or(String::new(), |r| r.to_string());
            model.lang.say(Word::StatusRevision, &[&revision])
        }
        Act::Answered { code, refused: Some(gate) } => {
            let gate = model.lang.say(gate.word(), &[]);
            model.lang.say(Word::BriefRefused, &[&gate, &code.to_string()])
        }
        Act::Heard => "watch".to_string(),
        Act::Answered { .. } | Act::Asked { .. } | Act::Done => row.text(model.look.ascii),
    }
}
