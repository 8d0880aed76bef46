//! Who agrees? The members of the store, the end of the log, and what elections there were.

use super::super::cluster::Stand;
use super::super::look::{Sign, Tone};
use super::super::model::Model;
use super::super::text::took;
use super::super::words::Word;
use super::{Canvas, short};
use crate::tap::Record;

/// Records of the store about who leads.
const ELECTIONS: &[&str] =
    &["role", "leader", "election-timeout", "vote", "refuse-vote", "step-down", "transfer", "conf-change"];

/// The newest leader and term that the store told of.
pub fn leader(model: &Model) -> Option<(String, u64)> {
    model.traffic.leader.clone()
}

pub fn draw(canvas: &mut Canvas<'_>, model: &Model) {
    let members = model.cluster.members();
    let store = || model.traffic.records.iter().rev().filter(|r| r.component == "etcd");
    let commits: Vec<&Record> = store().filter(|r| r.verb == "commit").take(40).collect();
    let elections: Vec<&Record> = store().filter(|r| ELECTIONS.contains(&r.verb.as_str())).take(12).collect();
    let leader = leader(model);
    let term = commits.first().and_then(|r| r.detail["term"].as_u64()).or(leader.as_ref().map(|l| l.1));
    let term = term.map_or(String::new(), |t| canvas.word(Word::StatusTerm, &[&t.to_string()]));
    let quorum =
        canvas.word(Word::Quorum, &[&(members.len() / 2 + 1).to_string(), &members.len().to_string()]);
    canvas.row(1, 0, &[(&term, Tone::Strong), ("   ", Tone::Plain), (&quorum, Tone::Dim)]);
    let mut x = 12;
    let width = (canvas.width().saturating_sub(x) / members.len().max(1)).clamp(8, 24);
    let mut columns = Vec::new();
    for member in &members {
        let leads = members.len() == 1 || leader.as_ref().is_some_and(|l| l.0 == member.node);
        let at = canvas.put_in(x, 1, width - 2, short(&member.node), Tone::Strong);
        if member.stand != Stand::Ready {
            canvas.put(at + 1, 1, canvas.sign(Sign::Down), Tone::Bad);
        } else if leads {
            canvas.put(at + 1, 1, canvas.sign(Sign::Leader), Tone::Accent);
        }
        columns.push(x);
        x += width;
    }
    if commits.is_empty() {
        return canvas.note(3, &model.lang.say(Word::NoRaft, &[]));
    }
    let rows = canvas.height().saturating_sub(5).max(1);
    canvas.put(1, 2, &model.lang.say(Word::RaftLog, &[]), Tone::Dim);
    let shown: Vec<&&Record> = commits.iter().take(rows).collect();
    for (at, record) in shown.iter().rev().enumerate() {
        let y = 2 + at;
        let index = record.detail["index"].as_u64().unwrap_or_default().to_string();
        canvas.put(5, y, &index, Tone::Plain);
        // A commit is told by every member that applied it.
        for (member, x) in members.iter().zip(&columns) {
            let applied = members.len() == 1
                || record.node == member.node
                || commits
                    .iter()
                    .any(|r| r.node == member.node && r.detail["index"] == record.detail["index"]);
            if applied {
                canvas.put(*x, y, canvas.sign(Sign::Block), Tone::Good);
            }
        }
        let fsync = record.detail["fsync_us"].as_u64().unwrap_or_default();
        let revision = record
            .revision
            .filter(|r| *r > 0)
            .map_or(String::new(), |r| canvas.word(Word::RevisionShort, &[&r.to_string()]));
        if members.len() == 1 {
            canvas.put(columns[0] + 3, y, &format!("{revision}  fsync {}", took(fsync)), Tone::Dim);
        }
    }
    let last = canvas.height().saturating_sub(1);
    if let Some(record) = elections.first() {
        let told: Vec<String> = ["term", "role", "leader", "to", "why"]
            .iter()
            .filter(|k| !record.detail[**k].is_null())
            .map(|k| {
                format!(
                    "{k} {}",
                    record.detail[*k].as_str().map_or(record.detail[*k].to_string(), String::from)
                )
            })
            .collect();
        let text = format!("{}: {} {}", canvas.word(Word::RaftEvents, &[]), record.verb, told.join(" "));
        canvas.put(1, last, &text, Tone::Dim);
    }
}
