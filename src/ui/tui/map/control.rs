//! Who did what? The six stations of a command, filled in as the show reaches them.

use super::super::flow::{Did, Flow, Hop, Spot};
use super::super::look::{Sign, Tone};
use super::super::model::Model;
use super::super::text::{cells, took};
use super::super::words::Word;
use super::canvas::Canvas;
use super::common::caption;
use super::hops::{brief, describe, short, told};

pub(super) fn draw(canvas: &mut Canvas<'_>, model: &Model) {
    let Some(flow) = model.traffic.shown() else {
        return empty(canvas, model);
    };
    match canvas.width() >= 62 && canvas.height() >= 13 {
        true => stations(canvas, model, flow),
        false => list(canvas, model, flow),
    }
}

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

/// The number of the station where a hop ends.
fn station(hop: &Hop) -> usize {
    match (&hop.did, &hop.from, &hop.to) {
        (Did::Answered { .. }, ..) => 1,
        (Did::Asked { .. }, from, _) => of(from),
        (_, _, to) => of(to),
    }
}

fn of(spot: &Spot) -> usize {
    match spot {
        Spot::Client => 1,
        Spot::Api => 2,
        Spot::Store => 3,
        Spot::Scheduler | Spot::Controller(_) | Spot::Other(_) => 4,
        Spot::Kubelet(_) => 5,
        Spot::Proxy(_) => 6,
    }
}

fn title(flow: &Flow) -> String {
    let object = flow.object().map_or(String::new(), |o| format!(" {}", o.name));
    format!("{}{object}", flow.command)
}

/// In a small pane: the hops one below the other, the lit one in sight.
fn list(canvas: &mut Canvas<'_>, model: &Model, flow: &Flow) {
    let now = model.traffic.play.at;
    let total = took(flow.total());
    let end = canvas.width().saturating_sub(cells(&total) + 1);
    canvas.put_in(1, 0, end.saturating_sub(2), &title(flow), Tone::Strong);
    canvas.put(end, 0, &total, Tone::Dim);
    let rows = canvas.height().saturating_sub(1);
    let last = now.min(flow.hops.len().saturating_sub(1));
    let first = (last + 2).saturating_sub(rows).min(flow.hops.len().saturating_sub(rows));
    for (row, (at, hop)) in flow.hops.iter().enumerate().skip(first).take(rows).enumerate() {
        let (mark, tone) = match at.cmp(&now) {
            std::cmp::Ordering::Less => (canvas.look.number(station(hop)), Tone::Plain),
            std::cmp::Ordering::Equal => (canvas.sign(Sign::Pick).to_string(), Tone::Strong),
            std::cmp::Ordering::Greater => (canvas.look.number(station(hop)), Tone::Dim),
        };
        let refuses = matches!(hop.did, Did::Answered { refused: Some(_), .. });
        let tone = if refuses && at <= now { Tone::Bad } else { tone };
        let took = took(hop.took_us);
        let end = canvas.width().saturating_sub(cells(&took) + 1);
        canvas.put(1, row + 1, &mark, Tone::Accent);
        canvas.put_in(3, row + 1, end.saturating_sub(4), &brief(model.lang, hop), tone);
        canvas.put(end, row + 1, &took, tone);
    }
}

/// A command in the middle of its show, and where the stations of its request stand.
struct Show<'a> {
    flow: &'a Flow,
    /// The hop that is lit.
    now: usize,
    /// The station that is lit; 0: none.
    lit: usize,
    /// The columns of the API server and of the store.
    api: usize,
    store: usize,
}

impl<'a> Show<'a> {
    /// The hops of the command's last request and what it led to, up to the lit one: kubectl may
    /// have looked first.
    fn last_request(&self) -> Vec<(usize, &'a Hop)> {
        let hops = self.flow.hops.iter().enumerate().take_while(|(at, _)| *at <= self.now);
        let seen: Vec<(usize, &Hop)> = hops.collect();
        let stage = seen.iter().rposition(|(_, h)| matches!(h.did, Did::Stage(_))).unwrap_or(0);
        let answered = seen[..stage].iter().rposition(|(_, h)| matches!(h.did, Did::Answered { .. }));
        seen[answered.map_or(0, |at| at + 1)..].to_vec()
    }

    fn head(&self, station: usize) -> Tone {
        if self.lit == station { Tone::Lit } else { Tone::Strong }
    }

    /// The tone of a hop's text.
    fn tone(&self, at: usize, otherwise: Tone) -> Tone {
        if at == self.now { Tone::Lit } else { otherwise }
    }
}

/// In a large pane: the stations where they stand in the architecture.
fn stations(canvas: &mut Canvas<'_>, model: &Model, flow: &Flow) {
    let lit = model.traffic.lit().map_or(0, station);
    let (api, store) = (canvas.width() * 30 / 100, canvas.width() * 68 / 100);
    let show = Show { flow, now: model.traffic.play.at, lit, api, store };
    request(canvas, &show);
    let watch = if lit >= 4 { Sign::WatchLit } else { Sign::Watch };
    canvas.put(api + 8, 4, canvas.sign(watch), if lit >= 4 { Tone::Strong } else { Tone::Dim });
    canvas.put(api + 10, 4, "watch", Tone::Dim);
    watchers(canvas, model, &show);
    let last = canvas.height().saturating_sub(1);
    bar(canvas, model, flow, last.saturating_sub(1));
    let (text, tone) = caption(model, false);
    canvas.put(1, last, &text, tone);
}

/// 1 you, 2 the API server, 3 etcd.
fn request(canvas: &mut Canvas<'_>, show: &Show<'_>) {
    let (api, store) = (show.api, show.store);
    let you = format!("{} {}", canvas.look.number(1), canvas.word(Word::You, &[]));
    canvas.put(1, 0, &you, show.head(1));
    canvas.put(api, 0, &format!("{} kube-apiserver", canvas.look.number(2)), show.head(2));
    canvas.put(store, 0, &format!("{} etcd", canvas.look.number(3)), show.head(3));
    canvas.put_in(1, 1, api - 6, &title(show.flow), Tone::Plain);
    let seen = show.last_request();
    stages(canvas, show, &seen);
    if let Some((at, stored)) = seen.iter().rfind(|(_, h)| h.did == Did::Stored) {
        arrow(canvas, store - 4, 1, show.lit == 3, false);
        let revision = stored.revision.map_or(String::new(), |r| r.to_string());
        let text = canvas.word(Word::StatusRevision, &[&revision]);
        canvas.put(store, 1, &text, show.tone(*at, Tone::Plain));
        if let Some(fsync) = stored.revision.and_then(|revision| show.flow.fsync(revision)) {
            canvas.put(store, 2, &format!("fsync {}", took(fsync)), Tone::Plain);
        }
        let text = canvas.word(Word::Committed, &[&took(stored.took_us)]);
        canvas.put(store, 3, &text, Tone::Plain);
        arrow(canvas, store - 4, 3, show.lit == 3, true);
    }
    if let Some((at, hop)) = seen.iter().rfind(|(_, h)| matches!(h.did, Did::Answered { .. }))
        && let Did::Answered { verb, code, .. } = &hop.did
    {
        let tone = if *code >= 400 { Tone::Bad } else { Tone::Good };
        canvas.put_in(1, 3, api - 6, &format!("{verb}: {code}"), show.tone(*at, tone));
        arrow(canvas, api - 4, 3, *at == show.now, true);
        canvas.put(api, 4, &took(hop.took_us), Tone::Dim);
    }
}

/// An arrow to the right, or back.
fn arrow(canvas: &mut Canvas<'_>, x: usize, y: usize, on: bool, back: bool) {
    let sign = match (on, back) {
        (true, false) => Sign::RightLit,
        (false, false) => Sign::Right,
        (true, true) => Sign::LeftLit,
        (false, true) => Sign::Left,
    };
    let tone = if on { Tone::Strong } else { Tone::Dim };
    canvas.put(x, y, canvas.look.sign(sign), tone);
}

/// The last six stages of the request, in at most three lines.
fn stages(canvas: &mut Canvas<'_>, show: &Show<'_>, seen: &[(usize, &Hop)]) {
    let (api, store) = (show.api, show.store);
    let stages: Vec<_> = seen.iter().filter(|(_, h)| matches!(h.did, Did::Stage(_))).collect();
    if !stages.is_empty() {
        arrow(canvas, api - 4, 1, show.lit == 2, false);
    }
    let (mut x, mut y) = (api, 1);
    for (at, hop) in &stages[stages.len().saturating_sub(6)..] {
        let Did::Stage(stage) = &hop.did else { continue };
        let stage = match stage.as_str() {
            "authenticate" => "authn",
            "authorize" => "authz",
            other => other,
        };
        let text = format!("{stage} {}", took(hop.took_us).trim_end_matches(" ms"));
        if x > api && x + cells(&text) + 4 > store {
            (x, y) = (api, y + 1);
        }
        if y > 3 {
            break;
        }
        x = canvas.put_in(x, y, store.saturating_sub(x + 4), &text, show.tone(*at, Tone::Plain)) + 2;
    }
    // The stage at which the request ended.
    let ends = |(_, hop): &&(usize, &Hop)| matches!(hop.did, Did::Answered { refused: Some(_), .. });
    if let Some((_, hop)) = seen.iter().rfind(ends)
        && let Did::Answered { refused: Some(gate), .. } = &hop.did
    {
        let text = format!("{} {}", canvas.sign(Sign::Failed), canvas.word(gate.word(), &[]));
        if x > api && x + cells(&text) + 2 > store {
            (x, y) = (api, (y + 1).min(3));
        }
        canvas.put_in(x, y, store.saturating_sub(x + 1), &text, Tone::Bad);
    }
}

/// 4 scheduler and controllers, 5 kubelet, 6 proxy: they hear of the write by a watch.
fn watchers(canvas: &mut Canvas<'_>, model: &Model, show: &Show<'_>) {
    let top = 6;
    let width = canvas.width();
    let columns = [1, width * 36 / 100, width * 70 / 100];
    let room = |n: usize| columns.get(n + 1).copied().unwrap_or(width).saturating_sub(columns[n] + 1);
    let rows = canvas.height().saturating_sub(top + 3).max(1);
    let seen = show.last_request();
    let mut nodes: Vec<&str> = seen
        .iter()
        .flat_map(|(_, h)| [&h.from, &h.to])
        .filter_map(|s| if let Spot::Kubelet(n) = s { Some(short(n)) } else { None })
        .collect();
    nodes.dedup();
    let heads = [
        format!("{} scheduler, controllers", canvas.look.number(4)),
        format!("{} kubelet {}", canvas.look.number(5), nodes.last().copied().unwrap_or_default()),
        format!("{} kube-proxy", canvas.look.number(6)),
    ];
    for (n, text) in heads.iter().enumerate() {
        canvas.put_in(columns[n], top, room(n), text, show.head(n + 4));
        let done: Vec<_> = seen.iter().filter(|(_, h)| station(h) == n + 4).collect();
        for (row, (at, hop)) in done[done.len().saturating_sub(rows)..].iter().enumerate() {
            let time = took(hop.took_us);
            let text = action(model, hop, n == 1 && nodes.len() > 1);
            let (y, end) = (top + 1 + row, columns[n] + room(n));
            let text_room = room(n).saturating_sub(cells(&time) + 1);
            let x = canvas.put_in(columns[n], y, text_room, &text, show.tone(*at, Tone::Plain));
            let time_at = end.saturating_sub(cells(&time)).max(x + 1);
            canvas.put_in(time_at, y, cells(&time), &time, Tone::Dim);
        }
    }
}

/// A hop in the column of who did it: without the name that stands above.
fn action(model: &Model, hop: &Hop, named: bool) -> String {
    let name = hop.object.as_ref().map_or("", |o| o.name.as_str());
    match &hop.did {
        Did::Scheduled { fit, of, scores, .. } => {
            let scores: Vec<String> = scores.iter().take(3).map(ToString::to_string).collect();
            model.lang.say(Word::BriefFit, &[&fit.to_string(), &of.to_string(), &scores.join(" / ")])
        }
        Did::Bound { node } => format!("bind {}", short(node)),
        Did::Rules { rules, changed } => {
            let node = if let Spot::Proxy(node) = &hop.to { short(node) } else { "" };
            format!("{node} {rules} ({changed})")
        }
        Did::Asked { verb, code, refused } if *code >= 400 => {
            let gate = refused.map_or(String::new(), |gate| format!(" {}", model.lang.say(gate.word(), &[])));
            format!("{verb} {code}{gate}")
        }
        Did::Asked { verb, .. } => {
            let revision = hop
                .revision
                .map_or(String::new(), |r| format!(" {} {r}", if model.look.ascii { ">" } else { "→" }));
            let resource = hop.object.as_ref().map_or("", |o| o.resource.as_str());
            let verb = if hop.from == Spot::Scheduler && verb == "create" { "bind" } else { verb };
            format!("{verb} {resource}{revision}")
        }
        Did::Told(event) => {
            let text = told(model.lang, event, name);
            match (&hop.to, named) {
                (Spot::Kubelet(node), true) => format!("{}: {text}", short(node)),
                _ => text,
            }
        }
        _ => describe(model.lang, hop),
    }
}

/// The keys of the show, and how far it is.
fn bar(canvas: &mut Canvas<'_>, model: &Model, flow: &Flow, y: usize) {
    let play = &model.traffic.play;
    let middle = if play.playing && model.traffic.moving() { Sign::Pause } else { Sign::Play };
    let keys = [Sign::First, Sign::Back, middle, Sign::Step, Sign::Last].map(|s| canvas.sign(s)).join(" ");
    let x = canvas.put(1, y, &keys, Tone::Accent) + 2;
    let tail = format!(" {}  1/{}", took(flow.total()), play.slower);
    let room = canvas.width().saturating_sub(x + cells(&tail) + 2);
    let done = if flow.hops.is_empty() { 0 } else { room * play.at.min(flow.hops.len()) / flow.hops.len() };
    let x = canvas.put(x, y, &canvas.sign(Sign::LineLit).repeat(done), Tone::Accent);
    let x = canvas.put(x, y, &canvas.sign(Sign::Line).repeat(room - done), Tone::Dim);
    canvas.put(x, y, &tail, Tone::Dim);
}
