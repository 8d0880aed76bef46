//! `lesson record`: what a teacher types in a session, and which objects that changes.
//!
//! The session notes each line with the moments at which it began and ended. Beside it the record
//! stream of the cluster tells which objects people wrote, and when: a write belongs to the line
//! during which it was committed.

use super::line;
use clock::Timestamp;
use cluster::Place;
use cluster::control::{Ask, Control};
use lab::format::draft::{Act, Change, How};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tap::Record;
use tokio::task::JoinSet;

/// Lines of a recording, at most. A lesson has a tenth of that.
const LINES_MAX: usize = 500;
/// Writes that are kept, at most.
const WRITES_MAX: usize = 5000;
/// How long the stream may take to tell of the last line's writes.
const LATE: Duration = Duration::from_millis(500);

/// A recording while it is made.
#[derive(Debug, Default)]
pub struct Tape(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    lines: Vec<Line>,
    writes: Vec<(Timestamp, Change)>,
    /// The revision of the last write of a person.
    revision: Option<u64>,
    /// The manifest that was pasted for the line that runs now.
    pasted: String,
}

#[derive(Debug)]
struct Line {
    text: String,
    pasted: String,
    code: i32,
    began: Timestamp,
    ended: Timestamp,
}

impl Tape {
    /// Keeps the manifest that was pasted for the line that runs now.
    pub(crate) fn keep_pasted(&self, text: &str) {
        self.0.lock().pasted = text.into();
    }

    /// Notes a line that has run, if it acts on the cluster or in the shell. `name`: the cluster's.
    pub(crate) fn note(&self, text: &str, name: &str, code: i32, began: Timestamp) {
        let meant = line::of_korean_layout(text);
        let text = meant.as_deref().unwrap_or(text).trim();
        let acts = match line::classify(text, name) {
            line::Line::Shell(text) => !line::begins_with_own_word(&text),
            line::Line::Own(words) => words.first().is_some_and(|word| word == "fault"),
            line => matches!(line, line::Line::Kubectl(_) | line::Line::Foreground(_)),
        };
        if acts {
            self.note_line(text, code, (began, clock::now()));
        }
    }

    fn note_line(&self, text: &str, code: i32, (began, ended): (Timestamp, Timestamp)) {
        let mut inner = self.0.lock();
        let pasted = std::mem::take(&mut inner.pasted);
        if inner.lines.len() < LINES_MAX {
            inner.lines.push(Line { text: text.into(), pasted, code, began, ended });
        }
    }

    /// Keeps what a record tells of an object that a person wrote. What one transaction has changed
    /// beside that comes behind it and is left out: the Endpoints of a Service that was deleted,
    /// or a quota.
    fn keep_write(&self, record: &Record) {
        let Some(write) = record.write().filter(|write| write.journey.is_none()) else { return };
        if !record.request.as_ref().is_some_and(tap::Request::is_persons) {
            return;
        }
        let Some(object) = &record.object else { return };
        let how = match () {
            () if write.deleted || write.deleting => How::Deleted,
            () if write.created => How::Created,
            () => How::Updated,
        };
        let (resource, namespace, name) = (object.qualified(), object.namespace.clone(), object.name.clone());
        let change = Change { resource, namespace, name, how };
        let mut inner = self.0.lock();
        let before = std::mem::replace(&mut inner.revision, record.revision);
        if record.revision.is_some() && record.revision == before {
            return;
        }
        // A pod that has no time to end is marked and erased by one request: that is one change.
        let is_told = how == How::Deleted && inner.writes.last().is_some_and(|(_, last)| *last == change);
        if inner.writes.len() < WRITES_MAX && !is_told {
            inner.writes.push((record.at, change));
        }
    }

    /// Follows the record stream of the cluster until it ends. What was written before the
    /// recording `began` belongs to no line, and is left out.
    async fn follow(self: Arc<Tape>, place: Place, began: Timestamp) {
        let Ok(mut control) = Control::connect(&place).await else { return };
        let mut next = control.ask(&Ask::Records { since: 0 }).await.ok();
        while let Some(value) = next.take() {
            // A cluster of another version tells of events that are unknown here.
            if let Ok(record) = serde_json::from_value::<Record>(value)
                && record.at >= began
            {
                self.keep_write(&record);
            }
            next = control.next().await.ok().flatten();
        }
    }

    /// What was done, in order: each line that acts on the cluster or in the shell, with the
    /// objects that changed while it ran. At most 500 lines.
    pub fn acts(&self) -> Vec<Act> {
        let inner = self.0.lock();
        let act = |line: &Line| {
            let is_its_own = |at: &Timestamp| *at >= line.began && *at <= line.ended;
            let changes = inner.writes.iter().filter(|(at, _)| is_its_own(at));
            Act {
                line: line.text.clone(),
                pasted: line.pasted.trim_end().into(),
                code: line.code,
                changes: changes.map(|(_, change)| change.clone()).collect(),
            }
        };
        inner.lines.iter().map(act).collect()
    }
}

/// Begins to follow the cluster, if the session is recorded.
pub(crate) fn start(tape: Option<&Arc<Tape>>, place: &Place) -> JoinSet<()> {
    let mut following = JoinSet::new();
    if let Some(tape) = tape {
        following.spawn(tape.clone().follow(place.clone(), clock::now()));
    }
    following
}

/// Ends what [`start`] began, once the stream has had time to tell of the last line.
pub(crate) async fn finish(following: JoinSet<()>) {
    if !following.is_empty() {
        clock::pause(LATE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tap::{Event, ObjectRef, Request, Write};
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::UnixListener;

    fn record(user: &str, name: &str, write: Write) -> Record {
        let request = Request { user: user.into(), verb: "create".into(), code: 201, ..Request::default() };
        let object = Some(ObjectRef::new("configmaps", "default", name));
        Record { at: clock::now(), request: Some(request), object, ..Record::new(Event::Commit(write)) }
    }

    #[test]
    fn what_only_looks_around_in_the_program_is_not_recorded() {
        let tape = Tape::default();
        let lines =
            ["get pods", "help", "lesson list", "why", "fault kill etcd", "cd /tmp", "quit", "what pod", ""];
        for text in lines {
            tape.note(text, "main", 0, clock::now());
        }
        let acts = tape.acts();
        let kept: Vec<&str> = acts.iter().map(|act| act.line.as_str()).collect();
        assert_eq!(kept, ["get pods", "fault kill etcd", "cd /tmp"]);
    }

    /// A cluster that has run for long tells first of all that people have written on it.
    #[tokio::test]
    async fn what_was_written_before_the_recording_takes_no_room() {
        let dir = tempfile::tempdir().unwrap();
        let place = cluster::Home::at(dir.path()).cluster("main").unwrap();
        std::fs::create_dir_all(&place.root).unwrap();
        let listener = UnixListener::bind(place.socket()).unwrap();
        let began = clock::now();
        let old = Record { at: Timestamp::UNIX_EPOCH, ..record("learner", "old", Write::CREATED) };
        let late = began + Duration::from_secs(1);
        let new = Record { at: late, ..record("learner", "new", Write::CREATED) };
        let cluster = async {
            let (read, mut write) = listener.accept().await.unwrap().0.into_split();
            let mut lines = BufReader::new(read).lines();
            lines.next_line().await.unwrap(); // the greeting
            write.write_all(b"{\"ok\":null}\n").await.unwrap();
            lines.next_line().await.unwrap(); // the question
            for record in [old, new] {
                let told = serde_json::json!({ "ok": record });
                write.write_all(format!("{told}\n").as_bytes()).await.unwrap();
            }
        };
        let tape = Arc::new(Tape::default());
        futures::join!(tape.clone().follow(place, began), cluster);
        let kept: Vec<String> = tape.0.lock().writes.iter().map(|(_, change)| change.name.clone()).collect();
        assert_eq!(kept, ["new"]);
    }

    #[test]
    fn a_write_belongs_to_the_line_during_which_a_person_made_it() {
        let tape = Tape::default();
        let first = clock::now();
        let at = |second| first + Duration::from_secs(second);
        let write = |second, record: Record| tape.keep_write(&Record { at: at(second), ..record });
        write(0, record("learner", "before", Write::CREATED));
        tape.keep_pasted("kind: ConfigMap\n");
        write(1, record("learner", "mine", Write::CREATED));
        write(2, record("system:serviceaccount:kube-system:x", "theirs", Write::CREATED));
        tape.note_line("kubectl apply -f -", 0, (at(1), at(3)));
        write(5, record("learner", "mine", Write::DELETING));
        let revised = |name: &str| Record { revision: Some(9), ..record("learner", name, Write::DELETED) };
        write(6, revised("mine"));
        write(6, revised("beside it"));
        tape.note_line("kubectl delete configmap mine", 0, (at(4), at(7)));
        tape.note_line("ls", 1, (at(8), at(9)));
        let acts = tape.acts();
        let changes = |at: usize| -> Vec<(&str, How)> {
            acts[at].changes.iter().map(|change| (change.name.as_str(), change.how)).collect()
        };
        assert_eq!(changes(0), [("mine", How::Created)]);
        assert_eq!(changes(1), [("mine", How::Deleted)]);
        assert_eq!((acts[0].pasted.as_str(), acts[1].pasted.as_str()), ("kind: ConfigMap", ""));
        assert_eq!((acts[2].code, changes(2).len()), (1, 0));
    }
}
